"""A component under a test's control: each method makes the guest make one call of wasi:nn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from wasmtime import Engine, Store
from wasmtime.component import Component, Linker

from wasi_nn.abi.component import compose, host_functions, linking
from wasi_nn.session.session import Session

if TYPE_CHECKING:
    from wasi_nn.abi.component.linking import Define
    from wasi_nn.types import Array

HERE = Path(__file__).parent / "components"
TYPES = ["float16", "float32", "float64", "bfloat16", "uint8", "int32", "int64"]
CODES = [
    "invalid-argument",
    "invalid-encoding",
    "timeout",
    "runtime-error",
    "unsupported-operation",
    "too-large",
    "not-found",
    "security",
    "unknown",
]
CPU, GPU, TPU = range(3)
OPENVINO, ONNX, TENSORFLOW, PYTORCH, TENSORFLOWLITE, GGML, AUTODETECT = range(7)

ENGINE = Engine()
_compiled: dict[tuple[str, bool], Component] = {}


class GuestFailed(Exception):
    """A call returned an error to the guest: `code` and `data` of the error."""

    def __init__(self, code: str, data: str) -> None:
        super().__init__(f"{code}: {data}")
        self.code = code
        self.data = data


def dtype_of(number: int) -> Any:
    return np.dtype(ml_dtypes.bfloat16) if TYPES[number] == "bfloat16" else np.dtype(TYPES[number])


def driver(version: str, *, direct: bool = True) -> Component:
    """The compiled driver for a version of wasi:nn, or for wasi-nn:ext if the version is `ext`."""
    if (version, direct) not in _compiled:
        wasm = (HERE / f"driver-{version.rpartition('-rc-')[2]}.wasm").read_bytes()
        _compiled[version, direct] = Component(ENGINE, compose.wrap_component(wasm, direct=direct))
    return _compiled[version, direct]


class Driven:
    """An instance of the driver component, and its session."""

    def __init__(
        self,
        version: str,
        session: Session,
        define: Define = host_functions.define,
        engine: Engine = ENGINE,
        *,
        direct: bool = True,
        component: Component | None = None,
    ) -> None:
        self.session = session
        self.version = version
        self.named = version.endswith(("10-28", "ext"))
        self.component = driver(version, direct=direct) if component is None else component
        self.linker, imports = Linker(engine), self.component.type.imports(engine)
        self.memories = linking.add_functions(self.linker, session, define, imports).memories
        self.store = Store(engine)
        self.instance = self.linker.instantiate(self.store, self.component)

    def twin(self) -> Driven:
        """Another instance of the component in the same Store, by the same linker."""
        twin = copy(self)
        twin.instance = self.linker.instantiate(self.store, self.component)
        return twin

    def __call__(self, name: str, *arguments: Any) -> Any:
        function = self.instance.get_func(self.store, name)
        assert function is not None, name
        return function(self.store, *arguments)

    def stage(self, content: bytes | memoryview, part: int = 8 << 20) -> None:
        """Put bytes into the guest's memory, for its next tensor or model."""
        self("stage-room", len(content))
        for at in range(0, len(content), part):
            source: Array = np.frombuffer(content[at : at + part], np.uint8)
            self("stage", np.concatenate([source & 15, source >> 4]).tobytes().decode())

    def tensor(self, array: Array) -> int:
        name = array.dtype.name
        return self.raw_tensor(array.shape, TYPES.index(name), array.tobytes())

    def raw_tensor(self, dims: Sequence[int], kind: int, content: bytes) -> int:
        self.stage(content)
        made: int = self("tensor", list(dims), kind)
        return made

    def data(self, tensor: int) -> bytes:
        planes: Array = np.frombuffer(self("tensor-data", tensor).encode(), np.uint8)
        size = len(planes) // 2
        return bytes(planes[:size] | planes[size:] << 4)

    def array(self, tensor: int) -> Array:
        array: Array = np.frombuffer(self.data(tensor), dtype_of(self("tensor-type", tensor)))
        return array.reshape(self("tensor-dimensions", tensor))

    def load(self, builders: Sequence[bytes], encoding: int = AUTODETECT, target: int = CPU) -> int:
        self.stage(b"".join(builders))
        return self.outcome(self("load", [len(part) for part in builders], encoding, target))

    def load_by_name(self, name: str) -> int:
        return self.outcome(self("load-by-name", name))

    def init_execution_context(self, graph: int) -> int:
        return self.outcome(self("init-execution-context", graph))

    def set_input(self, context: int, name: str, tensor: int) -> None:
        self.status(self("set-input", context, name, tensor))

    def compute(self, context: int) -> None:
        self.status(self("compute", context))

    def get_output(self, context: int, name: str) -> int:
        return self.outcome(self("get-output", context, name))

    def compute_named(self, context: int, inputs: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        count = self.outcome(self("compute", context, [name for name, _ in inputs], [item for _, item in inputs]))
        return [(self("output-name", index), self("output-tensor", index)) for index in range(count)]

    def infer(self, context: int, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Set inputs, compute and read outputs, by the functions of the guest's version. Drops all but the context."""
        tensors = [(name, self.tensor(array)) for name, array in inputs.items()]
        if self.named:
            named = self.compute_named(context, tensors)
        else:
            for name, tensor in tensors:
                self.set_input(context, name, tensor)
            self.compute(context)
            named = [(name, self.get_output(context, name)) for name in outputs]
        arrays = {name: self.array(tensor) for name, tensor in named}
        for _, tensor in named:
            self("drop-tensor", tensor)
        return arrays

    def outcome(self, outcome: int) -> int:
        self.status(outcome >> 32)
        return outcome & 0xFFFFFFFF

    def status(self, error: int) -> None:
        if error:
            failure = GuestFailed(CODES[self("error-code", error)], self("error-data", error))
            self("drop-error", error)
            raise failure
