"""`compare_traces`: compares the calls of two traces, to find the first one in which a wrong guest differs from a right
one, or a slow run from a fast one.

The runs of the traces are compared pairwise, and so are the calls of a run, in their order. Handles are the same if
they are of the same item, counted by when it was made. Floats may differ within a tolerance, if both traces have data;
else contents are compared by their hashes. Traces are untrusted.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.errors import counted, printable, shortened
from wasi_nn.tracing.comparison import difference, tolerances_of
from wasi_nn.tracing.recorded_tensors import NUMBERS, RecordedTensor, array_of, tensors_of
from wasi_nn.tracing.tensor_order import relation
from wasi_nn.tracing.trace_file import BadTrace, RecordedCall, TraceReader

_HANDLES = ("graph", "context", "handle", "sequence")
_MADE = ("graph", "context", "sequence")  # the handles that a result may have
_OF_TENSORS = frozenset(("type", "dims", "bytes", "data", "hash", "nonfinite", *NUMBERS, "inputs", "outputs"))
_NOT_COMPARED = frozenset(("encoding", "runtime", "device"))  # of a graph that is loaded: runtimes may differ
_MOST_DIFFERENCES = 1000  # that are kept
_MOST_PENDING = 100_000  # calls of runs that are further in one trace than in the other
_ENOUGH = 1e-5  # as a part of a number: summaries have six digits


@dataclass(frozen=True)
class CallDifference:
    """A call that differs.

    first, second  the call's number in each trace. None: that trace has no such call
    name           the call's name
    texts          a line for each difference
    """

    first: int | None
    second: int | None
    name: str
    texts: tuple[str, ...]

    @property
    def numbers(self) -> str:
        """The call's numbers in words, such as `5`, or `5 of A, 6 of B`."""
        numbers = [str(number) for number in (self.first, self.second) if number is not None]
        return numbers[0] if len(set(numbers)) == 1 else f"{numbers[0]} of A, {numbers[1]} of B"

    def __str__(self) -> str:
        return printable(f"call {self.numbers}, {self.name}: {'; '.join(self.texts)}")


@dataclass
class TraceComparison:
    """The result of a comparison.

    calls          the number of calls of each trace
    compared       the number of calls that were compared
    differ         the number of these that differ
    differences    the first 1000 of them
    times          the time of all compared calls in each trace, in microseconds
    compute_times  the time of the computes among them, in microseconds
    with_data      whether the data of tensors was compared, which both traces must have
    notes          what else differs, such as the runtimes, a line each
    """

    calls: tuple[int, int] = (0, 0)
    compared: int = 0
    differ: int = 0
    differences: list[CallDifference] = field(default_factory=list)
    times: tuple[float, float] = (0.0, 0.0)
    compute_times: tuple[float, float] = (0.0, 0.0)
    with_data: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The counts and the times in one line."""
        ratios = ((self.ratio, "in all calls"), (self.compute_ratio, "in computes"))
        times = ", ".join(f"{ratio:.3g} times {noun}" for ratio, noun in ratios if ratio is not None)
        counts = f"{counted(self.compared, 'call')} compared, {self.differ:,} different"
        return f"{counts}; B's time is A's {times}" if times else counts

    @property
    def ratio(self) -> float | None:
        """The time of the second trace's calls, as a multiple of the first one's; None without times."""
        return self.times[1] / self.times[0] if self.times[0] else None

    @property
    def compute_ratio(self) -> float | None:
        """The time of the second trace's computes, as a multiple of the first one's; None without times."""
        return self.compute_times[1] / self.compute_times[0] if self.compute_times[0] else None


def compare_traces(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> TraceComparison:
    """Compare the calls of two traces, A and B. `rtol` and `atol` are those of `replay`; they hold where both traces
    have data.

    Raises `NNError`: `not-found` or `runtime-error` for files that can't be read, `invalid-argument` for a wrong
    tolerance or a malformed trace.
    """
    tolerances = tolerances_of(rtol, atol)
    with ExitStack() as files:
        readers = [files.enter_context(TraceReader(path, needs_data=False)) for path in (first, second)]
        return _Comparer(readers[0], readers[1], tolerances).compared()


_Numbered = tuple[int, RecordedCall]


class _Comparer:
    """Reads both traces in step, and keeps calls of one trace until those of the same run come in the other."""

    def __init__(self, first: TraceReader, second: TraceReader, tolerances: Mapping[str, tuple[float, float]]) -> None:
        self._readers = (first, second)
        self._tolerances = tolerances
        self._with_data = first.has_data and second.has_data
        self._made: tuple[dict[tuple[int, int], int], ...] = ({}, {})  # the ordinal of each handle of a run
        self._result = TraceComparison(with_data=self._with_data)
        self._extra: dict[tuple[int, int], tuple[_Numbered, int]] = {}
        self._ended: set[int] = set()  # runs whose calls have other names, and aren't compared any further

    def compared(self) -> TraceComparison:
        pending: tuple[dict[int, deque[_Numbered]], ...] = ({}, {})
        counts = [0, 0]
        kept = 0
        sides = [iter(enumerate(reader.calls(), 1)) for reader in self._readers]
        open_sides = {0, 1}
        while open_sides:
            for side in sorted(open_sides):
                numbered = next(sides[side], None)
                if numbered is None:  # nothing more comes that calls of the other trace could be compared with
                    open_sides.discard(side)
                    for calls in pending[1 - side].values():
                        for call in calls:
                            self._missing(1 - side, call)
                    pending[1 - side].clear()
                    continue
                counts[side] = numbered[0]
                run = numbered[1].run
                others = pending[1 - side].get(run)
                if run in self._ended:
                    continue
                if others:
                    other = others.popleft()
                    kept -= 1
                    if not others:
                        del pending[1 - side][run]
                    pair = (numbered, other) if side == 0 else (other, numbered)
                    self._compare(*pair)
                elif 1 - side in open_sides:
                    pending[side].setdefault(run, deque()).append(numbered)
                    kept += 1
                    if kept > _MOST_PENDING:
                        raise BadTrace(f"one trace is more than {_MOST_PENDING} calls ahead of the other in some run")
                else:
                    self._missing(side, numbered)
        self._result.calls = (counts[0], counts[1])
        for (side, run), ((number, extra), count) in self._extra.items():
            text = f"only {'AB'[side]} has it; {'BA'[side]} has {counted(count, 'call')} fewer"
            text = f"{text} in run {run}" if run > 1 else text
            self._add(number if side == 0 else None, number if side == 1 else None, extra.name, [text])
        return self._result

    def _missing(self, side: int, numbered: _Numbered) -> None:
        """Note a call that the other trace doesn't have: the first one of each run, and how many there are."""
        run = numbered[1].run
        if run not in self._ended:
            first, count = self._extra.get((side, run), (numbered, 0))
            self._extra[side, run] = first, count + 1

    def _compare(self, first: _Numbered, second: _Numbered) -> None:
        (number, a), (other, b) = first, second
        if a.run in self._ended:
            return
        if a.name != b.name:
            self._ended.add(a.run)
            text = f"A calls {shortened(a.name)}, B calls {shortened(b.name)}; the calls after it aren't compared"
            self._add(number, other, a.name, [text])
            return
        result = self._result
        result.compared += 1
        result.times = (result.times[0] + a.time, result.times[1] + b.time)
        if a.name.startswith("compute"):
            result.compute_times = (result.compute_times[0] + a.time, result.compute_times[1] + b.time)
        try:
            texts = [*self._arguments_differ(a, b), *self._results_differ(a, b), *self._tensors_differ(a, b)]
        except BadTrace as error:
            raise BadTrace(printable(f"line {a.line} of A, line {b.line} of B: {error.message}")) from None
        if texts:
            self._add(number, other, a.name, texts)

    def _add(self, first: int | None, second: int | None, name: str, texts: list[str]) -> None:
        self._result.differ += 1
        if len(self._result.differences) < _MOST_DIFFERENCES:
            found = CallDifference(first, second, printable(shortened(name)), tuple(printable(text) for text in texts))
            self._result.differences.append(found)

    def _arguments_differ(self, a: RecordedCall, b: RecordedCall) -> Iterator[str]:
        leave = (*_OF_TENSORS, "result", "error")
        yield from _values_differ(self._plain(0, a.run, a.arguments, leave), self._plain(1, b.run, b.arguments, leave))

    def _results_differ(self, a: RecordedCall, b: RecordedCall) -> Iterator[str]:
        failures = [_failure(call) for call in (a, b)]
        if failures[0] != failures[1]:
            yield f"A {_outcome(a)}, B {_outcome(b)}"
        results = [call.arguments.get("result") for call in (a, b)]
        plain = []
        for side, (call, result) in enumerate(zip((a, b), results, strict=True)):
            described = result if isinstance(result, dict) else {}
            self._note_made(side, call.run, described)
            plain.append(self._plain(side, call.run, described, (*_OF_TENSORS, *_NOT_COMPARED)))
            if side == 1:
                self._note_runtime(results)
        if not any(failures):
            yield from _values_differ(plain[0], plain[1])

    def _note_runtime(self, results: list[Any]) -> None:
        one, other = ((it.get("runtime"), it.get("device")) if isinstance(it, dict) else None for it in results)
        if one is not None and other is not None and one != other:
            words = [" on ".join(shortened(str(word)) for word in pair) for pair in (one, other)]
            note = printable(f"A runs on {words[0]}, B on {words[1]}")
            if note not in self._result.notes and len(self._result.notes) < _MOST_NOTES:
                self._result.notes.append(note)

    def _note_made(self, side: int, run: int, result: Mapping[str, Any]) -> None:
        for key in _MADE:
            handle = result.get(key)
            if type(handle) is int:
                self._made[side].setdefault((run, handle), len(self._made[side]))

    def _plain(self, side: int, run: int, described: Mapping[str, Any], leave: tuple[str, ...]) -> dict[str, str]:
        """What a call was given or gave but for tensors, each value as a text; handles by when they were made."""
        plain = {}
        for key, value in described.items():
            if key in leave:
                continue
            if key in _HANDLES and type(value) is int and (run, value) in self._made[side]:
                value = f"{key} number {self._made[side][run, value] + 1} that was made"
            plain[key] = _text(value, self._with_data)
        return plain

    def _tensors_differ(self, a: RecordedCall, b: RecordedCall) -> Iterator[str]:
        tensors = tensors_of(a), tensors_of(b)
        keys = [{(it.role, it.name): it for it in side} for side in tensors]
        if len(tensors[0]) == len(tensors[1]) == 1 and tensors[0][0].role == tensors[1][0].role:
            pairs = [(tensors[0][0], tensors[1][0])]
        else:
            for role, name in sorted(keys[0].keys() ^ keys[1].keys()):
                if not (_failure(a) or _failure(b)):
                    yield f"only {'A' if (role, name) in keys[0] else 'B'} has the {role} {name!r}"
            pairs = [(one, keys[1][key]) for key, one in keys[0].items() if key in keys[1]]
        for one, other in pairs:
            for text in self._tensor_differs(one, other):
                yield f"{one.role} {one.name or other.name}: {text}"

    def _tensor_differs(self, a: RecordedTensor, b: RecordedTensor) -> Iterator[str]:
        arrays = None
        if self._with_data and "data" in a.described and "data" in b.described:
            arrays = [array_of(reader, it.described) for reader, it in zip(self._readers, (a, b), strict=True)]
        if a.shape != b.shape:
            yield f"it is {b.shape}, in A {a.shape}"
        elif arrays is not None:
            text = difference(arrays[0], arrays[1], self._tolerances)
            if text is None:
                return
            yield text.replace(" of the recorded value", " of A's value").replace(", was ", ", in A ")
        elif (a.hash, a.bytes) == (b.hash, b.bytes):
            return
        related = "" if arrays is None else relation(arrays[0], arrays[1])
        if related:
            yield related
        yield from _summaries_differ(a, b)


_MOST_NOTES = 10


def _summaries_differ(a: RecordedTensor, b: RecordedTensor) -> Iterator[str]:
    names = [name for name in (*NUMBERS, "nonfinite") if not _near(a.numbers.get(name), b.numbers.get(name))]
    for name in names:
        was, now = (_number(it.numbers.get(name)) for it in (a, b))
        yield f"{name} is {now}, in A {was}"
    if a.bytes != b.bytes and a.shape == b.shape:
        yield f"it has {b.bytes} bytes, in A {a.bytes}"
    if a.hash != b.hash:
        same = not names and any(name in a.numbers for name in NUMBERS)
        order = "; min, max and mean are the same, as with the same elements in another order" if same else ""
        yield f"hash is {b.hash or 'none'}, in A {a.hash or 'none'}{order}"


def _near(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= _ENOUGH * max(abs(a), abs(b))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _failure(call: RecordedCall) -> tuple[str, str] | None:
    """The code and the kind of a call's error; None for a call that succeeded."""
    if "error" not in call.arguments:
        return None
    error = call.arguments["error"]
    found = error if isinstance(error, dict) else {}
    return str(found.get("code")), str(found.get("kind"))


def _outcome(call: RecordedCall) -> str:
    error = call.arguments.get("error")
    if error is None:
        return "succeeds"
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    return f"fails with {shortened(str(code))}: {_cut(str(message))}"


def _values_differ(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for key in [*a, *(key for key in b if key not in a)]:
        if a.get(key) != b.get(key):
            yield f"{shortened(key)} is {_cut(b.get(key, 'missing'))}, in A {_cut(a.get(key, 'missing'))}"


def _text(value: object, with_data: bool) -> str:
    """A value for a comparison. Contents are compared by their sizes, and by their digests where both have them."""
    try:
        return repr(_without_places(value, with_data))
    except RecursionError:
        return "(nested too deep)"


def _without_places(value: object, with_data: bool) -> object:
    if isinstance(value, dict):
        plain = {key: _without_places(part, with_data) for key, part in value.items() if key != "data"}
        data = value.get("data")
        return plain | {"sha256": data.get("sha256")} if with_data and isinstance(data, dict) else plain
    return [_without_places(part, with_data) for part in value] if isinstance(value, list) else value


_LONGEST = 200


def _cut(text: str) -> str:
    return shortened(text, _LONGEST)
