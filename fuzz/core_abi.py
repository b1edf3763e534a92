"""Target: core guests that make any calls with any arguments, over a memory with any content, in each dialect.

An input is the dialect, followed by steps: a call of one of its functions, bytes that the guest writes into its memory,
or a call of one of the functions of wasi-nn:ext or wasi-nn:serving. Each call gives an errno or a deliberate trap, the
host has no fault, and the call changes only the memory that it may write.
"""

from __future__ import annotations

import ctypes
from struct import pack

import numpy as np

from fuzz import graphs
from fuzz.checks import no_faults
from fuzz.choices import Choices
from wasi_nn import Session
from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core import extensions, serving
from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.abi.core.wamr import WamrAbi
from wasi_nn.abi.core.wasmedge import END_OF_SEQUENCE, MODEL_NOT_FOUND, WasmEdgeAbi
from wasi_nn.session.guest_requests import GuestRequest, GuestRequests
from wasi_nn.session.state_files import written

MAX_SIZE = 2048

DIALECTS = (CoreAbi, WasmEdgeAbi, WamrAbi)
MEMORY_SIZE = 8192
OUT, TENSORS, DIMS, BUILDERS, NAMES, CONFIG, DATA = 16, 64, 256, 512, 768, 800, 1024
STRINGS, SIGNATURE, STATE = 832, 864, 896
NAME_LETTERS = b"favqmwrst"
OUTPUT = 6144
PLACES: tuple[int, ...] = (
    OUT,
    OUTPUT,
    DATA,
    *range(TENSORS, TENSORS + 5 * 20, 20),
    BUILDERS,
    BUILDERS + 8,
    CONFIG,
    DIMS,
)
STATE_BYTES = written({"factor": np.full(1, 3, np.float32)})
NUMBERS = (
    *(len(graphs.MODEL), 5, 6, 16, 20, 1024, MEMORY_SIZE - 4, MEMORY_SIZE - 3, MEMORY_SIZE, 2**31, 2**32 - 1),
    *(STRINGS, STRINGS + 8, SIGNATURE, STATE, 13, len(STATE_BYTES)),
)
SMALL = 16
"""An argument is one byte: a small number, one of `PLACES`, a name, one of `NUMBERS`; or `WIDE`, and four bytes."""
NAMED = SMALL + len(PLACES)
NUMBERED = NAMED + len(NAME_LETTERS)
WIDE = 255

_MAX_STEPS = 64
_TOO_LARGE, _LAST_ERRNO = 7, 8
_GIVE_OUTPUT = {"get_output", "get_output_single", "describe", "describe_output", "state_get", "get_byte_strings"}
_GIVE_OUTPUT |= {"read_request"}
_GIVE_HANDLE = {"load", "load_by_name", "load_by_name_with_config", "init_execution_context"}
_GIVE_HANDLE |= {"use_signature", "next_of_sequence", "next_request"}
EXTENSIONS = (*extensions.FUNCTIONS, *serving.FUNCTIONS)
_REQUESTS = 3
_REGISTRY = graphs.registry()


def run(data: bytes) -> None:
    """Run one guest."""
    choices = Choices(data)
    dialect = choices.of(DIALECTS)
    with no_faults(), Session(_REGISTRY, allow_load=["onnx"]) as session:
        inputs = {"s": np.array([b"a", b"bc"], object), "x": np.arange(3, dtype=np.int16)}
        session.requests = GuestRequests(GuestRequest(inputs) for _ in range(_REQUESTS))
        guest = _Guest(dialect(session))
        for _ in range(_MAX_STEPS):
            if not choices:
                return
            guest.step(choices)


class _Guest:
    def __init__(self, abi: CoreAbi) -> None:
        self.abi = abi
        self.functions = sorted(abi.functions)
        self.parameters = {**abi.functions, **{name: it.parameters for name, it in extensions.FUNCTIONS.items()}}
        self.parameters |= serving.FUNCTIONS
        self.calls = {name: abi.function(name) for name in self.parameters}
        self.content = bytearray(_memory(abi))
        self.memory = GuestMemory()
        view = (ctypes.c_ubyte * MEMORY_SIZE).from_buffer(self.content)
        self.memory.look(ctypes.addressof(view), MEMORY_SIZE)

    def step(self, choices: Choices) -> None:
        what = choices.number() % (len(self.functions) + 1 + len(EXTENSIONS))
        if what == len(self.functions):
            at = choices.number(2) % MEMORY_SIZE
            written = choices.bytes(choices.number() % 64)[: MEMORY_SIZE - at]
            self.content[at : at + len(written)] = written
            return
        name = self.functions[what] if what < len(self.functions) else EXTENSIONS[what - len(self.functions) - 1]
        self.call(name, [_argument(choices) for _ in range(self.parameters[name])])

    def call(self, name: str, arguments: list[int]) -> None:
        before = bytes(self.content)
        try:
            errno = self.calls[name](self.memory, *arguments)
        except GuestFault as fault:
            assert str(fault).startswith(f"{name}: ")
            errno = None
        if errno is not None:
            dialect_errno = isinstance(self.abi, WasmEdgeAbi) and END_OF_SEQUENCE <= errno <= MODEL_NOT_FOUND
            assert 0 <= errno <= _LAST_ERRNO or dialect_errno, f"{name} gives {errno}"
        allowed = bytearray(before)
        for at, size in self._written(name, arguments, errno, before):
            allowed[at : at + size] = self.content[at : at + size]
        assert allowed == self.content, f"{name}{tuple(arguments)} gives {errno}, and wrote where it may not"

    def _written(self, name: str, arguments: list[int], errno: int | None, before: bytes) -> list[tuple[int, int]]:
        """The memory that a call may have written, as addresses and sizes. A function's last argument is an address."""
        out = arguments[-1]
        if name in _GIVE_HANDLE:
            return [(out, 4)] if errno == 0 else []
        if name not in _GIVE_OUTPUT or errno not in (0, _TOO_LARGE):
            return []
        if errno == _TOO_LARGE:
            return [(out, 4)]
        if isinstance(self.abi, WamrAbi) and name == "get_output":
            buffer, room, unit = arguments[2], _u32(before, out), 4
        else:
            buffer, room, unit = arguments[-3], arguments[-2], 1
        size = _u32(self.content, out)
        assert size <= room, f"{name} writes {size} where there is room for {room}"
        return [(out, 4), (buffer, size * unit)]


def _u32(memory: bytes | bytearray, at: int) -> int:
    return int.from_bytes(memory[at : at + 4], "little")


def _argument(choices: Choices) -> int:
    kind = choices.number()
    if kind == WIDE:
        return choices.number(4)
    if kind < SMALL:
        return kind
    if kind < NAMED:
        return PLACES[kind - SMALL]
    if kind < NUMBERED:
        return NAMES + kind - NAMED
    return NUMBERS[(kind - NUMBERED) % len(NUMBERS)]


def _memory(abi: CoreAbi) -> bytes:
    """A memory with all that valid calls need."""
    memory = bytearray(MEMORY_SIZE)

    def put(at: int, content: bytes) -> None:
        memory[at : at + len(content)] = content

    put(DATA, graphs.MODEL)
    put(BUILDERS, pack("<II", DATA, len(graphs.MODEL)) + pack("<II", BUILDERS, 1))
    put(NAMES, NAME_LETTERS)
    put(CONFIG, b'{"a":1}')
    put(STRINGS, pack("<IIII", 2, 1, 2, 5) + b"hello")  # the dimensions of two strings, and the strings
    put(SIGNATURE, b"train")
    put(STATE, STATE_BYTES)
    data = DATA + len(graphs.MODEL)
    u8 = 2 if isinstance(abi, WamrAbi) else 3
    shapes: list[tuple[list[int], int, int]] = [([4], 1, 16), ([], 1, 4), ([5], u8, 5), ([2, 2], 1, 16), ([3], 0, 6)]
    for place, (dims, kind, size) in enumerate(shapes):
        at = DIMS + 24 * place
        put(at, pack(f"<{len(dims)}I", *dims).ljust(16, b"\0") + pack("<II", at, len(dims)))
        if isinstance(abi, WamrAbi):
            put(TENSORS + 20 * place, pack("<IIII", at + 16, kind, data, size))
        else:
            put(TENSORS + 20 * place, pack("<IIIII", at, len(dims), kind, data, size))
    return bytes(memory)
