"""Replays a trace: makes a guest's calls again, without the guest, and compares their results with the recorded ones.

The calls are made on a new session, whose graphs may have other encodings, runtimes or targets than the recorded ones.
A call should have its recorded result: the same error code, or the same outputs. Floats may differ within a tolerance;
integers and opaque bytes may not. A trace is untrusted: it can do no more than a guest of this session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import as_number, require_function
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.graph.fitting import MAX_RANK, find
from wasi_nn.session.session import Session
from wasi_nn.tracing.comparison import TOLERANCES, difference
from wasi_nn.tracing.trace_file import BadTrace, RecordedCall, TraceReader, as_nn_error, kind_of
from wasi_nn.types import ExecutionTarget, GraphEncoding, TensorType, dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.types import Array, Dims, DType

_TYPES = {kind.value: kind.dtype for kind in TensorType} | {
    name: np.dtype(name) for name in ("bool", "int8", "int16", "uint16", "uint32", "uint64")
}
_MAX_TEXT = 65536  # characters of a name: the ABIs take no longer ones
_MAX_SHOWN = 200  # characters of a text in a message
_MAX_U32 = 2**32 - 1
_NO_HANDLE = 0  # no item ever has this handle


@dataclass(frozen=True)
class Difference:
    """A call whose result isn't the recorded one: the call's number (from 1) and name, and the difference."""

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

    trace                      the path of the trace
    graphs, allow_load, rules  as for `Session`
    rtol, atol                 a float may differ from the recorded one by `atol` plus `rtol` times the recorded one.
                               None: the value in `TOLERANCES` for the element type
    report                     called with each difference as soon as it is found

    Raises `NNError`: `not-found` or `runtime-error` for files that can't be read, `unsupported-operation` for a trace
    without data, `invalid-argument` for a tolerance that is negative or infinite, or a malformed trace, with the line.
    """
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance is not None:
            as_number(name, tolerance, "a number from 0 on, or None", lambda value: 0 <= value < inf)
    if report is not None:
        require_function("report", report)
    differences = []
    with TraceReader(trace) as reader, Session(graphs, allow_load=allow_load, rules=rules) as session:
        player = _Player(reader, session, rtol, atol)
        number = left_out = 0
        for number, call in enumerate(reader.calls(), 1):
            try:
                texts = list(player.play(call))
            except _LeftOut:
                left_out += 1
                continue
            except BadTrace as error:
                raise BadTrace(printable(f"{reader.where}: {error}")) from None
            for text in texts:
                differences.append(Difference(number, call.name, text))
                if report is not None:
                    report(differences[-1])
        return Replayed(number - left_out, player.outputs, left_out, reader.cut_short, tuple(differences))


class _LeftOut(Exception):
    """A call needs a graph or a context that this replay couldn't make, although the recording has it."""


NamedArrays = list[tuple[int | str, "Array"]]


class _Player:
    """Makes calls on a session. An error in the trace is a `BadTrace`, an error of a call is an `NNError`."""

    def __init__(self, reader: TraceReader, session: Session, rtol: float | None, atol: float | None) -> None:
        self.outputs = 0
        self._reader = reader
        self._session = session
        self._tolerances = {
            kind: (default_rtol if rtol is None else rtol, default_atol if atol is None else atol)
            for kind, (default_rtol, default_atol) in TOLERANCES.items()
        }
        # From recorded handles to those of this session; to None if this session couldn't make the item.
        self._handles: dict[int, int | None] = {}

    def play(self, call: RecordedCall) -> Iterator[str]:
        """Make a call; yields a line for each difference."""
        make = _CALLS.get(call.name)
        if make is None:
            raise BadTrace(f"unknown call {_short(call.name)!r}")
        recorded = _recorded_error(call.arguments)
        result = {} if recorded else _mapping(call.arguments.get("result", {}), "result")
        new = next((kind for kind in ("graph", "context") if kind in result), None)  # the item that the call makes
        try:
            returned = make(self, call.arguments)
        except BadTrace:
            raise
        except Exception as error:
            if new is not None:
                self._handles[_integer(result, new)] = None
            if isinstance(error, _LeftOut):
                raise
            yield from _errors_differ(recorded, as_nn_error(error))
            return
        if recorded:
            yield f"the call succeeds; when it was recorded, it failed with {recorded.text}"
        elif isinstance(returned, int):
            if new is None:
                raise BadTrace("the result has no handle")
            self._handles[_integer(result, new)] = returned
        elif returned is not None:
            yield from self._outputs_differ(result, returned)

    def load(self, arguments: Mapping[str, Any]) -> int:
        encoding = _member(arguments, "encoding", GraphEncoding)
        return self._session.load(self._builders(arguments), encoding, _member(arguments, "target", ExecutionTarget))

    def load_extension(self, arguments: Mapping[str, Any]) -> int:
        number, name = _integer(arguments, "number"), _text(arguments, "encoding")
        target = _member(arguments, "target", ExecutionTarget)
        return self._session.load_extension(self._builders(arguments), number, name, target)

    def load_by_name(self, arguments: Mapping[str, Any]) -> int:
        config = self._content(arguments["config"]) if "config" in arguments else b""
        return self._session.load_by_name(_text(arguments, "name"), config)

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
        handle, key = self._handle(arguments, "context"), _index_or_name(arguments, "input")
        dtype, dims = _dtype(arguments), _dims(arguments)
        content = self._content(arguments)
        index = find(self._session.context(handle).graph.inputs, key, "input") if isinstance(key, str) else key
        self._session.write_input(handle, index, dtype, dims, content)

    def compute(self, arguments: Mapping[str, Any]) -> None:
        self._session.compute(self._handle(arguments, "context"))

    def compute_named(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle = self._handle(arguments, "context")
        inputs = [(_text(item, "name"), self._array(item)) for item in _items(arguments, "inputs")]
        return list(self._session.compute_named(handle, inputs))

    def get_output(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle, key = self._handle(arguments, "context"), _index_or_name(arguments, "output")
        if "error" in arguments and isinstance(key, int):
            self._session.output_bytes(handle, key)  # raises for element types that `get_output` returns
        return [(key, self._session.get_output(handle, key))]

    def compute_single(self, arguments: Mapping[str, Any]) -> None:
        self._session.compute_single(self._handle(arguments, "context"))

    def get_output_single(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle, index = self._handle(arguments, "context"), _integer(arguments, "output")
        content = self._session.single_output_bytes(handle, index)
        return [(index, np.frombuffer(content, np.uint8))]

    def fini_single(self, arguments: Mapping[str, Any]) -> None:
        self._session.fini_single(self._handle(arguments, "context"))

    def _handle(self, arguments: Mapping[str, Any], name: str) -> int:
        handle = self._handles.get(_integer(arguments, name), _NO_HANDLE)
        if handle is None:
            raise _LeftOut
        return handle

    def _builders(self, arguments: Mapping[str, Any]) -> list[memoryview]:
        return [self._content(item) for item in _items(arguments, "builders")]

    def _content(self, described: object) -> memoryview:
        if not isinstance(described, dict) or "data" not in described:
            raise BadTrace("there is no data for a tensor, a model or a configuration")
        return self._reader.content(described["data"])

    def _array(self, described: Mapping[str, Any]) -> Array:
        dtype, dims, content = _dtype(described), _dims(described), self._content(described)
        if prod(dims) * dtype.itemsize != len(content):
            raise BadTrace(f"{dtype_name(dtype)}{dims_text(dims)} isn't {len(content)} bytes")
        try:
            array: Array = np.frombuffer(content, dtype).reshape(dims)
        except ValueError as error:  # no elements, yet numpy rejects dimensions whose product is too large
            raise BadTrace(one_line(error)) from None
        return array

    def _outputs_differ(self, result: Mapping[str, Any], outputs: NamedArrays) -> Iterator[str]:
        """A line for each output that differs from the recorded one."""
        if "outputs" in result:
            expected: dict[int | str, Mapping[str, Any]] = {
                _text(item, "name"): item for item in _items(result, "outputs")
            }
        else:
            expected = {outputs[0][0]: result}
        actual = dict(outputs)
        for key in [key for key in expected if key not in actual]:
            yield f"output {key!r} is missing"
        for key, array in actual.items():
            if key not in expected:
                yield f"output {key!r} is new"
                continue
            item = expected[key]
            if "data" not in item and item.get("type") not in _TYPES:  # elements without bytes, such as strings
                continue
            self.outputs += 1
            text = difference(self._array(item), array, self._tolerances)
            if text:
                yield f"output {key!r}: {text}"


_CALLS: Mapping[str, Callable[[_Player, Mapping[str, Any]], int | NamedArrays | None]] = {
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
        return f"{self.code.value}: {_short(self.message)}"


def _recorded_error(arguments: Mapping[str, Any]) -> _RecordedError | None:
    if "error" not in arguments:
        return None
    error = _mapping(arguments["error"], "error")
    kind = _text(error, "kind") if "kind" in error else None
    return _RecordedError(_member(error, "code", ErrorCode), kind, _text(error, "message", None))


def _errors_differ(recorded: _RecordedError | None, error: NNError) -> Iterator[str]:
    text = f"{error.code.value}: {error.message}"
    if recorded is None:
        yield f"the call fails with {text}"
    elif recorded.code is not error.code or recorded.kind != kind_of(error):
        yield f"the call fails with {text}; when it was recorded, it failed with {recorded.text}"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadTrace(f"{name!r} must be an object")
    return value


def _items(arguments: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    items = arguments.get(name)
    if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        raise BadTrace(f"{name!r} must be a list of objects")
    return items


def _integer(arguments: Mapping[str, Any], name: str) -> int:
    value = arguments.get(name)
    if not (type(value) is int and -_MAX_U32 <= value <= _MAX_U32):
        raise BadTrace(f"{name!r} must be a number of 32 bits")
    return value


def _text(arguments: Mapping[str, Any], name: str, longest: int | None = _MAX_TEXT) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise BadTrace(f"{name!r} must be a text")
    if longest is not None and len(value) > longest:
        raise BadTrace(f"{name!r} has {len(value)} characters: at most {longest} are allowed")
    return value


def _index_or_name(arguments: Mapping[str, Any], name: str) -> int | str:
    return _text(arguments, name) if isinstance(arguments.get(name), str) else _integer(arguments, name)


def _member(arguments: Mapping[str, Any], name: str, kind: Any) -> Any:
    try:
        return kind(_text(arguments, name))
    except ValueError:
        words = ", ".join(member.value for member in kind)
        raise BadTrace(f"{name!r} can't be {_short(arguments[name])!r}; there are {words}") from None


def _dtype(arguments: Mapping[str, Any]) -> DType:
    dtype = _TYPES.get(_text(arguments, "type"))
    if dtype is None:
        raise BadTrace(f"tensors of the type {_short(arguments['type'])!r} can't be replayed")
    return dtype


def _dims(arguments: Mapping[str, Any]) -> Dims:
    dims = arguments.get("dims")
    if not (isinstance(dims, list) and all(type(dim) is int and 0 <= dim <= _MAX_U32 for dim in dims)):
        raise BadTrace("'dims' must be a list of numbers of 32 bits")
    if len(dims) > MAX_RANK:
        raise BadTrace(f"'dims' has {len(dims)} numbers: at most {MAX_RANK} are allowed")
    return tuple(dims)
