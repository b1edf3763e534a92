"""Target: traces that are replayed. An input is the events of a trace, one a line, a zero byte, and the trace's data.

The digest of each content is corrected, since the fuzzer can't find one. The graphs are those of the ABIs' targets, and
one with signatures and variables. Nothing but a deliberate error with a printable message may come of a replay.
"""

from __future__ import annotations

import atexit
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzz import graphs
from fuzz.checks import refusals
from wasi_nn import Graph, GraphEncoding, NNError, TensorInfo
from wasi_nn.graph.runner import RunFunction
from wasi_nn.graph.variables import Variables
from wasi_nn.tracing import replay

if TYPE_CHECKING:
    from wasi_nn.types import Array

MAX_SIZE = 8192

OPENING, CLOSING = b'{"traceEvents": [\n', b"\n]}\n"
_F32, _OBJECT = np.dtype(np.float32), np.dtype(object)
_FIELDS = {"offset", "bytes", "sha256"}


class _Counted(Variables):
    def __init__(self) -> None:
        self.values: dict[str, Array] = {"count": np.zeros(2, np.float32), "steps": np.zeros((), np.int64)}
        self.nbytes = 16

    def graph(self, signature: str) -> Graph:
        return _Counting(signature, self)

    def get(self) -> dict[str, Array]:
        return {name: value.copy() for name, value in self.values.items()}

    def set(self, values: Mapping[str, Array]) -> None:
        self.values |= {name: value.copy() for name, value in values.items()}


class _Counting(Graph):
    """Its signature `add` adds to a variable, and `echo` gives strings back."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "numpy"
    signatures = ("add", "echo")

    def __init__(self, signature: str, variables: _Counted | None = None) -> None:
        numbers, strings = TensorInfo("x", _F32, (2,)), TensorInfo("s", _OBJECT, ("n",), "string")
        infos = [strings] if signature == "echo" else [numbers]
        super().__init__(infos, infos, {"name": "counting"})
        self.signature = signature
        self._variables = variables

    def variables(self) -> Variables:
        return _Counted()

    def runner(self) -> RunFunction:
        variables = self._variables or _Counted()

        def run(inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
            if self.signature == "echo":
                return [inputs[0].copy()]
            variables.values["count"] = variables.values["count"] + inputs[0]
            return [variables.values["count"].copy()]

        return run


def registry() -> Any:
    """The graphs that a trace may name."""
    named = graphs.registry()
    named.add("c", _Counting("add"))
    return named


_FOLDER = TemporaryDirectory(prefix="wasi-nn-traces-")
atexit.register(_FOLDER.cleanup)
_TRACE = Path(_FOLDER.name) / "trace.json"
_DATA = Path(f"{_TRACE}.data")


def run(data: bytes) -> None:
    """Replay a trace."""
    lines, _, content = data.partition(b"\0")
    corrected = [_corrected(line, content) for line in lines.split(b"\n")]
    _TRACE.write_bytes(OPENING + b",\n".join(corrected) + CLOSING)
    _DATA.write_bytes(content)
    with refusals(NNError):
        for difference in replay(_TRACE, registry(), allow_load=False).differences:
            assert str(difference).isprintable()


def _corrected(line: bytes, content: bytes) -> bytes:
    """An event with the right digests of its contents."""
    try:
        event = json.loads(line)
        _correct(event, content)
        return json.dumps(event).encode()
    except (ValueError, RecursionError):
        return line


def _correct(part: Any, content: bytes) -> None:
    if isinstance(part, dict):
        if part.keys() == _FIELDS and all(type(part[name]) is int for name in ("offset", "bytes")):
            start, size = part["offset"], part["bytes"]
            if 0 <= start <= start + size <= len(content):
                part["sha256"] = hashlib.sha256(content[start : start + size]).hexdigest()
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            _correct(each, content)
