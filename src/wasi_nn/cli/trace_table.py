"""The calls of a trace as a table, and as JSON. Both are printed while the trace is read, however long it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice

from wasi_nn.cli.table import Columns, hanging, terminal_width
from wasi_nn.errors import counted, printable, shortened
from wasi_nn.tracing.call_words import time_text
from wasi_nn.tracing.trace_file import TraceReader
from wasi_nn.tracing.traced_calls import TracedCall, TracedCalls, TracedRun

_ROWS_FOR_WIDTHS = 500
_HEADINGS = ("call", "at", "time", "guest before", "name", "arguments", "result")


def print_table(path: str) -> None:
    """Print a row for each call, and a line for each run."""
    width = terminal_width()
    with TraceReader(path, needs_data=False) as reader:
        calls = TracedCalls(reader)
        each = iter(calls)
        first = list(islice(each, _ROWS_FOR_WIDTHS))
        has_runs = len(calls.runs) > 1
        rows = [(("run",) if has_runs else ()) + _HEADINGS, *(_cells(call, has_runs) for call in first)]
        columns = Columns(rows, width=width)
        for line in columns.lines(rows):
            print(line)
        for line in chain.from_iterable(columns.lines([_cells(call, has_runs)]) for call in each):
            print(line)
        if not first:
            print("no nn calls")
        for run in calls.runs.values():
            print(hanging(_line_of(run, named=len(calls.runs) > 1), width))
        if reader.cut_short:
            print("the trace ends in the middle: these are all its complete calls")
        if not reader.has_data:
            print(hanging("the trace has no data: for the tensors' elements, record it with --trace-data", width))


def _cells(call: TracedCall, has_runs: bool) -> tuple[str, ...]:
    recorded = call.recorded
    number = "-" if call.number is None else str(call.number)
    own = "" if call.own_time is None else time_text(1000 * call.own_time)
    run = (str(recorded.run),) if has_runs else ()
    began, time = f"{recorded.began / 1000:.3f} ms", time_text(1000 * recorded.time)
    return (*run, number, began, time, own, call.name, call.given, call.result)


def _line_of(run: TracedRun, *, named: bool) -> str:
    title = printable(shortened(run.title))
    name = f"run {run.number}, {title}: " if named else f"{title}: "
    calls = f"{counted(run.calls, 'call')} in {time_text(1000 * run.call_time)}"
    parts = [f"{calls}, {run.failed:,} failed" if run.failed else calls]
    parts += [f"the guest's own time {time_text(1000 * run.own_time)}"] if run.own_time else []
    for phase, time in run.phases.items():
        words = "read from the cache" if phase == "compile" and run.about.get("cached") is True else phase
        parts.append(f"{words} {time_text(1000 * time)}")
    parts += [f"exit code {run.about['exit_code']}"] if "exit_code" in run.about else []
    parts += [f"it ended: {run.about['error']}"] if "error" in run.about else []
    return name + ", ".join(parts)


def print_json(path: str) -> None:
    """Print an object: the calls, and the sums of each run."""
    with TraceReader(path, needs_data=False) as reader:
        calls = TracedCalls(reader)
        print('{"calls": [', end="")
        for line in _separated(calls):
            print(line, end="")
        runs = [run.as_json() for run in calls.runs.values()]
        facts = {"runs": runs, "cut_short": reader.cut_short, "has_data": reader.has_data}
        print(f"\n], {json.dumps(facts)[1:]}")


def _separated(calls: TracedCalls) -> Iterator[str]:
    comma = ""
    for call in calls:
        yield f"{comma}\n{json.dumps(call.as_json())}"
        comma = ","
