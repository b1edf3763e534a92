"""The page of a trace: its runs, a timeline, its calls with their tensors, and the differences that were found."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from wasi_nn.cli.pages.page import write_page
from wasi_nn.errors import printable, shortened
from wasi_nn.tracing.call_recorder import CATEGORY
from wasi_nn.tracing.replay import Difference, Replayed
from wasi_nn.tracing.trace_comparison import CallDifference, TraceComparison
from wasi_nn.tracing.trace_file import TraceReader
from wasi_nn.tracing.traced_calls import TracedCall, TracedCalls, TracedRun

_MOST_CALLS = 20_000
_MOST_SPECIAL = 2_000  # further calls that failed or differ
_MOST_TEXT = 24 << 20  # characters of the calls
_MOST_TENSORS = 32  # of a call
_MOST_RUNS = 1_000
_MOST_DIFFERENCES = 5_000


def write_trace_page(
    out: str | os.PathLike[str],
    trace: str | os.PathLike[str],
    *,
    comparison: TraceComparison | None = None,
    compared_with: str = "",
    replayed: Replayed | None = None,
    outcome: str = "",
) -> str:
    """Write the page of a trace; returns a line that says how many calls it has.

    comparison, compared_with  what `compare_traces` found, and the other trace
    replayed, outcome          what `replay` found, and a line about it

    Raises `NNError` as `TraceReader` does, and with `runtime-error` if the page can't be written.
    """
    found, without_call = _differences(
        () if comparison is None else comparison.differences, () if replayed is None else replayed.differences
    )
    with TraceReader(trace, needs_data=False) as reader:
        calls = TracedCalls(reader)
        rows, count, notes = _rows(calls, found)
        if reader.cut_short:
            notes.append("The trace ends in the middle: these are all its complete calls.")
        runs = list(calls.runs.values())
        if len(runs) > _MOST_RUNS:
            notes.append(f"The page shows the first {_MOST_RUNS:,} of {len(runs):,} runs.")
        data = {
            "runs": [_run(run) for run in runs[:_MOST_RUNS]],
            "rows": [[run, row, _name(name)] for (run, row), name in list(reader.rows.items())[:_MOST_RUNS]],
            "calls": rows,
            "differences": found,
            "others": without_call,
            "kind": "replay" if replayed is not None else "comparison" if comparison is not None else "",
            "other": printable(compared_with),
            "outcome": outcome if comparison is None else ". ".join([*comparison.notes, comparison.summary]),
            "notes": notes,
        }
    name = os.path.basename(os.fspath(trace))
    write_page(out, f"Trace {name}", ["trace_times.js", "trace_timeline.js", "trace_calls.js", "trace.js"], data)
    shown = f"{len(rows):,}" if len(rows) == count else f"{len(rows):,} of {count:,}"
    return f"{printable(os.fspath(out))}: a page with {shown} calls"


def _differences(
    comparison: Iterable[CallDifference], replay: Iterable[Difference]
) -> tuple[dict[int, list[str]], list[str]]:
    """The texts of differences by the number of their call, and those without a call in this trace."""
    found: dict[int, list[str]] = defaultdict(list)
    others: list[str] = []
    for count, difference in enumerate(comparison):
        if count >= _MOST_DIFFERENCES:
            break
        if difference.first is None:
            others.append(str(difference))
        else:
            found[difference.first] += difference.texts
    for count, each in enumerate(replay):
        if count >= _MOST_DIFFERENCES:
            break
        found[each.call].append(printable(each.text[:2000]))
    return dict(found), others


def _rows(calls: TracedCalls, found: Mapping[int, list[str]]) -> tuple[list[list[Any]], int, list[str]]:
    """The calls that the page has, how many there are in the trace, and a note if these aren't all."""
    rows: list[list[Any]] = []
    count = special = text = 0
    for call in calls:
        count += 1
        is_special = call.has_failed or call.number in found
        if len(rows) >= _MOST_CALLS or text >= _MOST_TEXT:
            if not is_special or special >= _MOST_SPECIAL:
                continue
            special += 1
        row = _row(call)
        text += len(json.dumps(row))
        rows.append(row)
    if len(rows) == count:
        return rows, count, []
    more = f", and {special:,} of the later ones that failed or differ" if special else ""
    note = f"The page shows the first {len(rows) - special:,} of {count:,} calls{more}. "
    return rows, count, [note + "wasi-nn trace shows all, as a table or with --json."]


def _row(call: TracedCall) -> list[Any]:
    recorded = call.recorded
    state = 0 if not call.has_failed else 1 if recorded.category == CATEGORY else 2
    tensors = [tensor.as_json() for tensor in call.tensors[:_MOST_TENSORS]]
    for tensor in tensors:
        tensor["name"] = printable(tensor.get("name", ""))
    own = list(call.own) if call.own is not None else None
    times = [recorded.began, recorded.time, own]
    return [call.number, recorded.run, recorded.row, call.name, *times, call.given, call.result, state, tensors]


def _run(run: TracedRun) -> dict[str, Any]:
    return {**run.as_json(), "title": _name(run.title), "spans": run.spans}


def _name(text: str) -> str:
    return printable(shortened(text))
