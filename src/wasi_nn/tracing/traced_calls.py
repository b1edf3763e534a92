"""`TracedCall`: a call of a trace as it is shown, in a table or a page. A trace may be hostile: what is malformed in a
call is shown as such, and a long text is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.errors import printable, shortened
from wasi_nn.tracing.call_recorder import CATEGORY, OWN_TIME, PHASE, RUN
from wasi_nn.tracing.call_words import shown_name, words_of
from wasi_nn.tracing.recorded_tensors import RecordedTensor, tensors_of
from wasi_nn.tracing.trace_file import RecordedCall, TraceReader

_LONGEST = 600  # characters of the words of a call
_MALFORMED = "(malformed)"


@dataclass(frozen=True)
class TracedCall:
    """A call. `number` counts the calls that reached the session, as `replay` counts them; None for a call that an ABI
    refused before. `own` is the time of the guest's own code before the call: its begin and how long it was, in
    microseconds; None where the trace doesn't have it."""

    number: int | None
    recorded: RecordedCall
    given: str
    result: str
    own: tuple[float, float] | None

    @property
    def tensors(self) -> list[RecordedTensor]:
        """The tensors of the call, inputs first."""
        return tensors_of(self.recorded)

    @property
    def own_time(self) -> float | None:
        """How long the guest's own code ran before the call, in microseconds."""
        return None if self.own is None else self.own[1]

    @property
    def has_failed(self) -> bool:
        return "error" in self.recorded.arguments

    @property
    def name(self) -> str:
        """The call's name, without control characters."""
        return shown_name(self.recorded.name, self.recorded.arguments)

    def as_json(self) -> dict[str, Any]:
        """The call with its recorded arguments, and its result or error."""
        recorded = self.recorded
        outcome = {key: recorded.arguments[key] for key in ("result", "error") if key in recorded.arguments}
        given = {key: value for key, value in recorded.arguments.items() if key not in outcome}
        facts: dict[str, Any] = {"call": self.number, "run": recorded.run, "name": recorded.name}
        facts |= {"began_us": recorded.began, "time_us": recorded.time, "guest_us": self.own_time}
        facts |= {"arguments": given}
        return facts | outcome


@dataclass
class TracedRun:
    """The sums of a run. `phases` has the time of each part, such as `compile`, in microseconds; `spans` has the parts
    themselves, with their begins; `own_time` is that of the guest's own code; `about` has facts, such as the exit code.
    """

    number: int
    title: str = ""
    calls: int = 0
    failed: int = 0
    call_time: float = 0.0
    own_time: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The sums, with their units in their names."""
        facts: dict[str, Any] = {"run": self.number, "title": self.title, "calls": self.calls, "failed": self.failed}
        facts |= {"call_us": self.call_time, "guest_us": self.own_time, "phases_us": self.phases}
        return facts | {"about": self.about}


class TracedCalls:
    """The calls of a trace, in the order of their ends, and the sums of the runs that were read so far."""

    def __init__(self, reader: TraceReader) -> None:
        self.reader = reader
        self.runs: dict[int, TracedRun] = {}
        self._own: dict[int, tuple[float, float]] = {}

    def __iter__(self) -> Iterator[TracedCall]:
        number = 0
        for recorded in self.reader.calls_and_phases():
            run = self.runs.setdefault(recorded.run, TracedRun(recorded.run))
            run.title = self.reader.titles.get(recorded.run, "")
            if recorded.category == PHASE:
                self._note(run, recorded)
                continue
            is_call = recorded.category == CATEGORY
            number += is_call
            call = _traced(number if is_call else None, recorded, self._own.pop(recorded.run, None))
            run.calls += 1
            run.failed += call.has_failed
            run.call_time += recorded.time
            yield call

    def _note(self, run: TracedRun, phase: RecordedCall) -> None:
        if phase.name == OWN_TIME:
            run.own_time += phase.time
            self._own[run.number] = phase.began, phase.time
            return
        name = printable(shortened(phase.name))
        if name in run.phases or len(run.phases) < _MOST_PHASES:
            run.phases[name] = run.phases.get(name, 0.0) + phase.time
        if len(run.spans) < _MOST_PHASES:
            run.spans.append((name, phase.began, phase.time))
        if phase.name == RUN:
            self._own.pop(run.number, None)
        for key in ("cached", "exit_code", "error"):
            value = phase.arguments.get(key)
            if isinstance(value, str):
                run.about[key] = printable(value[:_LONGEST])
            elif isinstance(value, bool | int) and abs(value) < 2**64:
                run.about[key] = value


_MOST_PHASES = 20


def _traced(number: int | None, recorded: RecordedCall, own: tuple[float, float] | None) -> TracedCall:
    try:
        given, result = words_of(recorded.arguments, recorded.category)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
        given, result = _MALFORMED, "FAILED" if "error" in recorded.arguments else ""
    return TracedCall(number, recorded, _cut(given), _cut(result), own)


def _cut(text: str) -> str:
    return shortened(printable(text), _LONGEST)
