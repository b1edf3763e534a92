"""A core guest under a test's control: the test writes the guest's memory and makes its calls of nn functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from struct import pack, unpack

import wasmtime

import wasi_nn
from wasi_nn.abi.core import spec
from wasi_nn.abi.core.dialects import ABIS
from wasi_nn.abi.core.extensions import FUNCTIONS, MODULE

SUCCESS, INVALID_ARGUMENT, INVALID_ENCODING, MISSING_MEMORY, BUSY, RUNTIME_ERROR = range(6)
UNSUPPORTED_OPERATION, TOO_LARGE, NOT_FOUND = range(6, 9)
F16, F32, F64, U8, I32, I64 = range(6)
ONNX, AUTODETECT = 1, 5

TRAP = (wasmtime.Trap, wasmtime.WasmtimeError)
"""The errors of a trap in a host function, for both ways of defining host functions."""

OUT = 8  # the default address of results
TENSOR, DIMS, NAME, BUILDERS = 64, 128, 1024, 2048
DATA = 65536

MEMORY = '(memory (export "memory") 16)'


def wat(
    memory: str = MEMORY,
    rest: str = "",
    abi: type[spec.CoreAbi] = spec.CoreAbi,
    extensions: Collection[str] = (),
) -> str:
    """The guest's WebAssembly text. It exports a function for each nn function, and for those of these extensions,
    which passes its arguments on."""
    functions = [(abi.module, name, count) for name, count in abi.functions.items()]
    functions += [(MODULE, name, count) for name, (count, of) in FUNCTIONS.items() if of in extensions]
    imports, exports = [], []
    for module, name, count in functions:
        params = "(param" + " i32" * count + ")"
        arguments = " ".join(f"(local.get {n})" for n in range(count))
        imports.append(f'(import "{module}" "{name}" (func ${name} {params} (result i32)))')
        exports.append(f'(func (export "{name}") {params} (result i32) (call ${name} {arguments}))')
    return f"(module {' '.join(imports)} {memory} {' '.join(exports)} {rest})"


class CoreGuest:
    """An instance of the guest, and its session."""

    def __init__(
        self,
        session: wasi_nn.Session,
        text: str | None = None,
        store: wasmtime.Store | None = None,
        dialect: str = "spec",
        linker: wasmtime.Linker | None = None,
    ) -> None:
        """`linker` has the nn functions already; None: a new one."""
        self.session = session
        self.store = store or wasmtime.Store()
        engine = self.store.engine
        if linker is None:
            linker = wasmtime.Linker(engine)
            wasi_nn.add_to_linker(linker, session, dialect)
        text = text or wat(abi=ABIS[wasi_nn.Dialect(dialect)])
        instance = linker.instantiate(self.store, wasmtime.Module(engine, text))
        self.exports = instance.exports(self.store)

    def call(self, name: str, *arguments: int) -> int:
        """Call an nn function; returns its errno. Arguments are u32, or negative."""
        signed = [argument - 2**32 if argument >= 2**31 else argument for argument in arguments]
        errno: int = self.exports[name](self.store, *signed)  # type: ignore[operator]
        return errno

    @property
    def memory(self) -> wasmtime.Memory:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory

    def write(self, at: int, content: bytes) -> None:
        """Write bytes into the guest's memory."""
        if content:
            self.memory.write(self.store, content, at)

    def read(self, at: int, size: int) -> bytes:
        """Read bytes from the guest's memory."""
        return bytes(self.memory.read(self.store, at, at + size))

    def u32(self, at: int = OUT) -> int:
        """Read a u32 from the guest's memory."""
        value: int = unpack("<I", self.read(at, 4))[0]
        return value

    def load(self, *builders: bytes, encoding: int = ONNX, target: int = 0) -> int:
        """Put builders into memory and load them; returns the errno."""
        array, at = b"", DATA
        for builder in builders:
            self.write(at, builder)
            array += pack("<II", at, len(builder))
            at += len(builder)
        self.write(BUILDERS, array)
        return self.call("load", BUILDERS, len(builders), encoding, target, OUT)

    def load_by_name(self, name: str | bytes) -> int:
        """Put a name into memory and load its graph; returns the errno."""
        encoded = name.encode() if isinstance(name, str) else name
        self.write(NAME, encoded)
        return self.call("load_by_name", NAME, len(encoded), OUT)

    def context(self, name: str) -> int:
        """Load a named graph and make a context on it; returns the context's handle."""
        assert self.load_by_name(name) == SUCCESS
        assert self.call("init_execution_context", self.u32(), OUT) == SUCCESS
        return self.u32()

    def put_tensor(
        self, dims: Sequence[int], kind: int, data: bytes, *, padding: bytes = b"\xaa\xbb\xcc", at: int = DATA
    ) -> None:
        """Put a tensor record into memory, by default with garbage in its padding."""
        self.write(at, data)
        self.write(DIMS, pack(f"<{len(dims)}I", *dims))
        self.write(TENSOR, pack("<IIB3sII", DIMS, len(dims), kind, padding, at, len(data)))

    def set_input(self, context: int, index: int, dims: Sequence[int], kind: int, data: bytes) -> int:
        """Put a tensor into memory and set an input to it; returns the errno."""
        self.put_tensor(dims, kind, data)
        return self.call("set_input", context, index, TENSOR)

    def get_output(self, context: int, index: int = 0) -> bytes:
        """Read an output; the guest first asks for the output's size."""
        errno = self.call("get_output", context, index, 0, 0, OUT)
        assert errno in (SUCCESS, TOO_LARGE)
        size = self.u32()
        assert self.call("get_output", context, index, DATA, size, OUT) == SUCCESS
        assert self.u32() == size
        return self.read(DATA, size)

    def check_relu(self, graph: int) -> None:
        """Make a context on a loaded graph, which must be y = max(x, 0) over f32 [4], and check an inference."""
        assert self.call("init_execution_context", graph, OUT) == SUCCESS
        context = self.u32()
        assert self.set_input(context, 0, [4], F32, pack("<4f", 1, -1, 2, -2)) == SUCCESS
        assert self.call("compute", context) == SUCCESS
        assert unpack("<4f", self.get_output(context)) == (1, 0, 2, 0)
