"""Replays a trace: makes a guest's calls again, without the guest, and compares their results with the recorded ones.

The calls are made on a new session, whose graphs may have other encodings, runtimes or targets than the recorded ones.
A call should have its recorded result: the same error code, or the same outputs. Floats may differ within a tolerance;
integers and opaque bytes may not. A trace is untrusted: it can do no more than a guest of this session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import require_function
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.graph.fitting import find
from wasi_nn.loading.registry import registry_of
from wasi_nn.session.session import Session
from wasi_nn.tracing.call_recorder import CATEGORY, PHASE, RUN, STRINGS, as_nn_error, kind_of
from wasi_nn.tracing.comparison import tolerances_of
from wasi_nn.tracing.extension_replay import EXTENSION_CALLS, Comparison, ExtensionPlayer
from wasi_nn.tracing.player import LeftOut, NamedArrays
from wasi_nn.tracing.recorded_arguments import (
    read_dims,
    read_dtype,
    read_index_or_name,
    read_integer,
    read_object,
    read_text,
    read_word,
    short,
)
from wasi_nn.tracing.trace_file import BadTrace, RecordedCall, TraceReader
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.loading.rules import LoadRules


_MAX_RUNS = 100  # at once: each has a session


@dataclass(frozen=True)
class Difference:
    """A call whose result isn't the recorded one: the call's number (from 1) and name, and the
    difference as a text."""

    call: int
    name: str
    text: str

    def __str__(self) -> str:
        return printable(f"call {self.call}, {self.name}: {self.text}")


@dataclass(frozen=True)
class Replayed:
    """The result of a replay: the numbers of calls made and of outputs compared, and the differences.

    `left_out` counts the calls that need a graph or a context that this replay couldn't make. `cut_short` is true if
    the trace ends in the middle of an event.
    """

    calls: int
    outputs: int
    left_out: int
    cut_short: bool
    differences: tuple[Difference, ...]


def replay(
    trace: str | os.PathLike[str],
    graphs: Graphs = None,
    *,
    allow_load: bool | Collection[GraphEncoding | str] = True,
    rules: LoadRules | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    report: Callable[[Difference], object] | None = None,
) -> Replayed:
    """Make the calls of a trace again, and compare their results with the recorded ones. The trace must have data.
    Each run of a trace of several has a session of its own.

    trace                      the path of the trace
    graphs, allow_load, rules  as for `Session`
    rtol, atol                 a float may differ from the recorded one by `atol` plus `rtol` times the recorded one.
                               None: the value in `TOLERANCES` for the element type
    report                     called with each difference as soon as it is found

    Raises `NNError`: `not-found` or `runtime-error` for files that can't be read, `unsupported-operation` for a trace
    without data, `invalid-argument` for a tolerance that is negative or infinite, or a malformed trace, with the line.
    """
    tolerances = tolerances_of(rtol, atol)
    if report is not None:
        require_function("report", report)
    differences = []
    registry = registry_of(graphs, rules)
    with (
        TraceReader(trace) as reader,
        closing(
            _Runs(lambda: _Player(reader, Session(registry, allow_load=allow_load, rules=rules), tolerances))
        ) as runs,
    ):
        number = left_out = 0
        for call in reader.calls_and_phases():
            if call.category == PHASE and call.name == RUN:
                runs.end(call.run)
            if call.category != CATEGORY:
                continue
            number += 1
            try:
                texts = list(runs.player(call.run).play(call))
            except LeftOut:
                left_out += 1
                continue
            except BadTrace as error:
                raise BadTrace(printable(f"{reader.where}: {error}")) from None
            for text in texts:
                differences.append(Difference(number, call.name, text))
                if report is not None:
                    report(differences[-1])
        return Replayed(number - left_out, runs.outputs, left_out, reader.cut_short, tuple(differences))


class _Runs:
    """The runs of a trace that are under way, each with a player."""

    def __init__(self, new_player: Callable[[], _Player]) -> None:
        self._new_player = new_player
        self._players: dict[int, _Player] = {}
        self._outputs = 0

    @property
    def outputs(self) -> int:
        """The number of outputs that were compared."""
        return self._outputs + sum(player.outputs for player in self._players.values())

    def player(self, run: int) -> _Player:
        """The player of a run. Raises `BadTrace` for too many runs."""
        if run not in self._players:
            if len(self._players) >= _MAX_RUNS:
                raise BadTrace(f"more than {_MAX_RUNS} runs are under way at once")
            self._players[run] = self._new_player()
        return self._players[run]

    def end(self, run: int) -> None:
        """End a run, which frees its graphs."""
        player = self._players.pop(run, None)
        if player is not None:
            self._outputs += player.outputs
            player.close()

    def close(self) -> None:
        """End all runs."""
        for run in list(self._players):
            self.end(run)


class _Player(ExtensionPlayer):
    """Makes all calls on a session."""

    def play(self, call: RecordedCall) -> Iterator[str]:
        """Make a call; yields a line for each difference."""
        make = _CALLS.get(call.name)
        if make is None:
            raise BadTrace(f"unknown call {short(call.name)!r}")
        recorded = _recorded_error(call.arguments)
        result = {} if recorded else read_object(call.arguments.get("result", {}), "result")
        new = next(
            (kind for kind in ("graph", "context", "sequence") if kind in result), None
        )  # the item that the call makes
        try:
            returned = make(self, call.arguments)
        except BadTrace:
            raise
        except Exception as error:
            if new is not None:
                self._handles[read_integer(result, new)] = None
            if isinstance(error, LeftOut):
                raise
            yield from _errors_differ(recorded, as_nn_error(error))
            return
        if recorded:
            yield f"the call succeeds; when it was recorded, it failed with {recorded.text}"
        elif isinstance(returned, int):
            if new is None:
                raise BadTrace("the result has no handle")
            self._handles[read_integer(result, new)] = returned
        elif isinstance(returned, list):
            yield from self._outputs_differ(result, returned)
        elif returned is not None:
            yield from returned(result)

    def load(self, arguments: Mapping[str, Any]) -> int:
        encoding = read_word(arguments, "encoding", GraphEncoding)
        return self._session.load(self._builders(arguments), encoding, read_word(arguments, "target", ExecutionTarget))

    def load_extension(self, arguments: Mapping[str, Any]) -> int:
        number, name = read_integer(arguments, "number"), read_text(arguments, "encoding")
        target = read_word(arguments, "target", ExecutionTarget)
        return self._session.load_extension(self._builders(arguments), number, name, target)

    def load_by_name(self, arguments: Mapping[str, Any]) -> int:
        config = self._content(arguments["config"]) if "config" in arguments else b""
        return self._session.load_by_name(read_text(arguments, "name"), config)

    def init_execution_context(self, arguments: Mapping[str, Any]) -> int:
        return self._session.init_execution_context(self._handle(arguments, "graph"))

    def unload(self, arguments: Mapping[str, Any]) -> None:
        self._session.unload(self._handle(arguments, "graph"))

    def finalize_execution_context(self, arguments: Mapping[str, Any]) -> None:
        self._session.finalize_execution_context(self._handle(arguments, "context"))

    def drop(self, arguments: Mapping[str, Any]) -> None:
        self._session.drop(self._handle(arguments, "handle"))

    def context(self, arguments: Mapping[str, Any]) -> None:
        self._session.require_graph(self._handle(arguments, "context"))

    def set_input(self, arguments: Mapping[str, Any]) -> None:
        handle, key = self._handle(arguments, "context"), read_index_or_name(arguments, "input")
        if arguments.get("type") == STRINGS:
            self._session.set_input(handle, key, self._array(arguments))
            return
        dtype, dims, content = read_dtype(arguments), read_dims(arguments), self._content(arguments)
        index = find(self._session.context(handle).graph.inputs, key, "input") if isinstance(key, str) else key
        self._session.write_input(handle, index, dtype, dims, content)

    def compute(self, arguments: Mapping[str, Any]) -> None:
        self._session.compute(self._handle(arguments, "context"))

    def compute_named(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle = self._handle(arguments, "context")
        return list(self._session.compute_named(handle, self._named_arrays(arguments)))

    def get_output(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle, key = self._handle(arguments, "context"), read_index_or_name(arguments, "output")
        if "error" in arguments and isinstance(key, int):
            self._session.output_bytes(handle, key)  # raises for element types that `get_output` returns
        return [(key, self._session.get_output(handle, key))]

    def compute_single(self, arguments: Mapping[str, Any]) -> None:
        self._session.compute_single(self._handle(arguments, "context"))

    def get_output_single(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle, index = self._handle(arguments, "context"), read_integer(arguments, "output")
        content = self._session.single_output_bytes(handle, index)
        return [(index, np.frombuffer(content, np.uint8))]

    def fini_single(self, arguments: Mapping[str, Any]) -> None:
        self._session.fini_single(self._handle(arguments, "context"))


_CALLS: Mapping[str, Callable[[_Player, Mapping[str, Any]], int | NamedArrays | Comparison | None]] = {
    **EXTENSION_CALLS,
    "load": _Player.load,
    "load_extension": _Player.load_extension,
    "load_by_name": _Player.load_by_name,
    "init_execution_context": _Player.init_execution_context,
    "unload": _Player.unload,
    "finalize_execution_context": _Player.finalize_execution_context,
    "drop": _Player.drop,
    "context": _Player.context,
    "set_input": _Player.set_input,
    "compute": _Player.compute,
    "compute_named": _Player.compute_named,
    "get_output": _Player.get_output,
    "compute_single": _Player.compute_single,
    "get_output_single": _Player.get_output_single,
    "fini_single": _Player.fini_single,
}


@dataclass(frozen=True)
class _RecordedError:
    code: ErrorCode
    kind: str | None
    message: str

    @property
    def text(self) -> str:
        return f"{self.code.value}: {short(self.message)}"


def _recorded_error(arguments: Mapping[str, Any]) -> _RecordedError | None:
    if "error" not in arguments:
        return None
    error = read_object(arguments["error"], "error")
    kind = read_text(error, "kind") if "kind" in error else None
    return _RecordedError(read_word(error, "code", ErrorCode), kind, read_text(error, "message", None))


def _errors_differ(recorded: _RecordedError | None, error: NNError) -> Iterator[str]:
    text = f"{error.code.value}: {error.message}"
    if recorded is None:
        yield f"the call fails with {text}"
    elif recorded.code is not error.code or recorded.kind != kind_of(error):
        yield f"the call fails with {text}; when it was recorded, it failed with {recorded.text}"
