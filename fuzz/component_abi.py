"""Target: the host functions of components, with those of wasi-nn:ext, called as by the bridge of a guest that makes
any calls with any values.

The bridge passes only valid handles and valid numbers of types; the guest chooses dims, data, names and the order of
calls. Small tensors may be in the bridge's memory while they are computed. Results have the declared types, the host
has no fault, and the session is empty once the guest has dropped all its resources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import iter_unpack, pack, unpack_from
from typing import TYPE_CHECKING

import numpy as np

from fuzz import graphs
from fuzz.checks import no_faults
from fuzz.choices import Choices
from wasi_nn import Session
from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component import exchange, kept, numbers
from wasi_nn.abi.component.extension_functions import ExtendedAbi
from wasi_nn.abi.component.host_functions import STRING, U64
from wasi_nn.abi.wit_encodings import ENCODINGS

if TYPE_CHECKING:
    from wasi_nn.types import Array

MAX_SIZE = 2048

BUILDER = 255
"""This size stands for the bytes of a real model."""

_MAX_STEPS = 64
_DIGITS = 8
_REGISTRY = graphs.registry()
_PAGE = 65536  # bytes of the guest's memory
_RECORD = 64  # bytes of the record of a graph
_BRIDGE_PAGES, SLOTS_AT = 6, _PAGE  # of the bridge's memory; the exchange is at its beginning
_ABSURD = (0, 1, 4, 2**16, 2**31, 2**32 - 1)


def run(data: bytes) -> None:
    """Run one guest."""
    choices = Choices(data)
    with no_faults(), Session(_REGISTRY, allow_load=["onnx"]) as session:
        session.takes_byte_strings = len(data) % 2 == 0
        guest = _Guest(session)
        for _ in range(_MAX_STEPS):
            if not choices:
                break
            choices.of(STEPS)(guest, choices)
        guest.drop_all()
        assert not session.used("handles"), "the guest has dropped everything"
        assert not session.used("contexts"), "sequences keep contexts no longer than themselves"


class _Guest:
    """The bridge's side: handles by kind."""

    def __init__(self, session: Session) -> None:
        abi = ExtendedAbi(session)
        self._functions = {name: abi.function(name) for name in ExtendedAbi.signatures}
        self.memory: Array = np.zeros(_PAGE, np.uint8)
        self._number = abi.memories.add(self.memory.ctypes.data, 1)
        self.bridge: Array = np.zeros(_BRIDGE_PAGES * _PAGE, np.uint8)
        self.bridge_number = abi.memories.add(self.bridge.ctypes.data, _BRIDGE_PAGES)
        abi.kept.use(self.bridge_number, 0, SLOTS_AT)
        self.tensors: list[int] = []
        self.graphs: list[int] = []
        self.contexts: list[int] = []
        self.sequences: list[int] = []
        self.errors: list[int] = []

    def call(self, name: str, *arguments: int | bytes) -> int | bytes:
        """Call a host function with numbers and strings; checks its result's type and returns the result."""
        given = [memoryview(argument) if isinstance(argument, bytes) else argument for argument in arguments]
        result = self._functions[name](*given)
        kind = ExtendedAbi.signatures[name].result
        if isinstance(result, tuple):
            size, write = result
            text = bytearray(size)
            write(memoryview(text))
            result = bytes(text)
        if kind == STRING:
            assert isinstance(result, bytes)
            result.decode()
        elif kind is not None:
            assert isinstance(result, int)
            assert 0 <= result < 1 << (64 if kind == U64 else 32)
        return b"" if result is None else result

    def keep(self, outcome: int | bytes, where: list[int]) -> None:
        """Keep the handle that a call returned: an error's, or one for `where`."""
        assert isinstance(outcome, int)
        if outcome >> 32:
            self.errors.append(outcome >> 32)
        else:
            where.append(outcome)

    def new_tensor(self, kind: int, dims: bytes, data: bytes, in_parts: bool) -> int:
        row, rank = data + dims, len(dims) // 4
        if not in_parts:
            handle = self.call("tensor-new", kind, len(data), rank, _planes(row))
        else:
            handle = self.call("tensor-new", kind, len(data), rank, b"")
            assert isinstance(handle, int)
            for offset, part in ((0, data), (len(data), dims)):
                if part:
                    self.call("tensor-write", handle, offset, _planes(part))
        assert isinstance(handle, int)
        return handle

    def new_tensor_in_memory(self, kind: int, dims: bytes, data: bytes, at: int) -> int:
        """Make a tensor from the guest's memory, with its dimensions at `at` and its data behind them."""
        self.put(at, dims + data)
        handle = self.call("tensor-new-direct", self._number, kind, at + len(dims), len(data), at, len(dims) // 4)
        assert isinstance(handle, int)
        return handle

    def read_into_memory(self, tensor: int, at: int) -> bytes:
        """The data of a tensor, by way of the guest's memory."""
        extent = self.call("tensor-extent", tensor)
        assert isinstance(extent, int)
        size = extent & 0xFFFFFFFF
        assert at + size <= _PAGE
        self.call("tensor-read-direct", tensor, self._number, at, size)
        return self.memory[at : at + size].tobytes()

    def parts(self, tensor: int) -> tuple[int, bytes, bytes]:
        """The number of the type, the data and the dimensions of a tensor."""
        extent, kind = self.call("tensor-extent", tensor), self.call("tensor-type", tensor)
        assert isinstance(extent, int)
        assert isinstance(kind, int)
        planes = self.call("tensor-read", tensor, extent & 0xFFFFFFFF, 4 * (extent >> 32))
        assert isinstance(planes, bytes)
        half = len(planes) // 2
        dims = bytes(low | high << 4 for low, high in zip(planes[:half], planes[half:], strict=True))
        return kind, self.read_into_memory(tensor, 0), dims

    def slot(self, number: int) -> Array:
        """The data of a slot in the bridge's memory."""
        at = SLOTS_AT + exchange.SLOT_SIZE * number + exchange.SLOT_HEAD
        return self.bridge[at : at + exchange.MOST_DATA]

    def load_from_memory(self, encoding: int, target: int, builders: Sequence[bytes], at: int) -> int | bytes:
        """Load a graph from builders in the guest's memory, with their list at `at`."""
        places, end = b"", at + 8 * len(builders)
        for builder in builders:
            self.put(end, builder)
            places += pack("<II", end, len(builder))
            end += len(builder)
        self.put(at, places)
        return self.call("load-direct", self._number, encoding, target, at, len(builders))

    def put(self, at: int, content: bytes) -> None:
        self.memory[at : at + len(content)] = np.frombuffer(content, np.uint8)

    def drop_all(self) -> None:
        for handle in (*self.tensors, *self.graphs, *self.contexts, *self.sequences, *self.errors):
            self.call("drop", handle)


def _planes(content: bytes) -> bytes:
    return bytes(byte & 15 for byte in content) + bytes(byte >> 4 for byte in content)


def _data(choices: Choices) -> bytes:
    size = choices.number()
    return graphs.MODEL if size == BUILDER else choices.bytes(size % 64)


def _make_tensor(guest: _Guest, choices: Choices) -> None:
    shape = choices.number()
    rank = shape % 4 if shape < 250 else 65
    dims = [choices.number() for _ in range(rank)]
    dims = [dim if dim < 250 else _ABSURD[dim - 250] for dim in dims]
    kind = choices.number() % len(numbers.TENSOR_TYPES)
    encoded, data, way = pack(f"<{rank}I", *dims), _data(choices), shape % 8
    if way == 7:
        guest.tensors.append(guest.new_tensor_in_memory(kind, encoded, data, 4 * (shape % 64)))
    else:
        guest.tensors.append(guest.new_tensor(kind, encoded, data, way > 3))


def _look_at_tensor(guest: _Guest, choices: Choices) -> None:
    if guest.tensors:
        tensor = choices.of(guest.tensors)
        extent = guest.call("tensor-extent", tensor)
        assert isinstance(extent, int)
        size, rank = extent & 0xFFFFFFFF, extent >> 32
        text = guest.call("tensor-read", tensor, 0, size)
        assert isinstance(text, bytes)
        assert text == _planes(guest.read_into_memory(tensor, choices.number()))
        assert len(guest.call("tensor-read", tensor, size, 4 * rank)) == 8 * rank  # type: ignore[arg-type]
        guest.call("tensor-type", tensor)


def _load(guest: _Guest, choices: Choices) -> None:
    encoding, target = (
        choices.number() % len(ENCODINGS),
        choices.number() % len(numbers.TARGETS),
    )
    count = choices.number()
    if count > 8:
        guest.keep(guest.call("load", encoding, target, count << 16, b""), guest.graphs)
        return
    if target:  # the CPU is the only target that has a model here, so a few models are loaded in this way
        guest.keep(guest.load_from_memory(encoding, 0, [_data(choices) for _ in range(count)], target), guest.graphs)
        return
    builders = [guest.new_tensor(4, b"", _data(choices), False) for _ in range(count)]
    digits = b"".join(b"%08x" % builder for builder in builders)
    guest.keep(guest.call("load", encoding, target, count, digits), guest.graphs)


def _load_by_name(guest: _Guest, choices: Choices) -> None:
    name = choices.text().encode()
    repeat = 70_000 if name.startswith(b"*") else 1
    guest.keep(guest.call("load-by-name", name * repeat), guest.graphs)


def _make_context(guest: _Guest, choices: Choices) -> None:
    if guest.graphs:
        guest.keep(guest.call("init-execution-context", choices.of(guest.graphs)), guest.contexts)


def _set_input(guest: _Guest, choices: Choices) -> None:
    if guest.contexts and guest.tensors:
        tensor = guest.tensors.pop(choices.number() % len(guest.tensors))
        _keep_status(guest, guest.call("set-input", choices.of(guest.contexts), tensor, choices.text().encode()))


def _compute(guest: _Guest, choices: Choices) -> None:
    if guest.contexts:
        _keep_status(guest, guest.call("compute", choices.of(guest.contexts)))


def _keep_status(guest: _Guest, error: int | bytes) -> None:
    assert isinstance(error, int)
    if error:
        guest.errors.append(error)


def _get_output(guest: _Guest, choices: Choices) -> None:
    if guest.contexts:
        guest.keep(guest.call("get-output", choices.of(guest.contexts), choices.text().encode()), guest.tensors)


def _compute_named(guest: _Guest, choices: Choices) -> None:
    if not guest.contexts:
        return
    context, way = choices.of(guest.contexts), choices.number()
    given = _given_tensors(guest, choices, way)
    if way > 127:
        _compute_kept(guest, context, given, way)
    else:
        _keep_outputs(guest, guest.call("compute-named", context, _named_tensors(given)))


def _given_tensors(guest: _Guest, choices: Choices, count: int) -> list[tuple[int, bytes]]:
    """Some tensors with any names. The guest hasn't got them any more."""
    given = []
    for _ in range(min(count % 8, len(guest.tensors))):
        tensor, name = guest.tensors.pop(choices.number() % len(guest.tensors)), choices.text().encode()
        given.append((tensor, name))
    return given


def _named_tensors(given: Sequence[tuple[int, bytes]]) -> bytes:
    """Tensors with names, as the bridge passes them."""
    return b"".join(b"%08x%08x%s" % (tensor, len(name), name) for tensor, name in given)


def _keep_outputs(guest: _Guest, outputs: int | bytes) -> None:
    assert isinstance(outputs, bytes)
    error, count = _number(outputs, 0), _number(outputs, _DIGITS)
    if error:
        guest.errors.append(error)
    at = 2 * _DIGITS
    for _ in range(count):
        guest.tensors.append(_number(outputs, at))
        assert _number(outputs, at + _DIGITS) == guest.call("tensor-extent", guest.tensors[-1]) & 0xFFFFFFFF  # type: ignore[operator]
        at += 3 * _DIGITS + _number(outputs, at + 2 * _DIGITS)
    assert at == len(outputs)


def _compute_kept(guest: _Guest, context: int, given: Sequence[tuple[int, bytes]], way: int) -> None:
    """Compute up to four times on the same inputs, as the bridge does for tensors of which some are in its memory."""
    copies = [guest.parts(tensor) for tensor, _ in given]
    for tensor, _ in given:
        guest.call("drop", tensor)
    for _ in range(1 + way % 4):
        slot, request, handles = 0, b"", b""
        for (kind, data, dims), (_, name) in zip(copies, given, strict=True):
            padded = len(name).to_bytes(4, "little") + name.ljust((len(name) + 3) // 4 * 4, b"\0")
            if way & 8 << slot % 4 and len(data) <= exchange.MOST_DATA and len(dims) <= 4 * exchange.MOST_DIMS:
                guest.slot(slot)[: len(data)] = np.frombuffer(data, np.uint8)
                request += (
                    pack("<I", exchange.KEPT | slot) + padded + pack("<3I", kind, len(data), len(dims) // 4) + dims
                )
                slot += 1
            else:
                tensor = guest.new_tensor_in_memory(kind, dims, data, 0)
                request += pack("<I", exchange.NO_SLOT) + padded
                handles += pack("<I", tensor)
        offered = range(slot, slot + way % 4)
        request = pack(f"<{2 + len(offered)}I", len(given), len(offered), *offered) + request
        if len(request) > exchange.AREA:
            for (tensor,) in iter_unpack("<I", handles):
                guest.call("drop", tensor)
            return
        guest.bridge[: len(request)] = np.frombuffer(request, np.uint8)
        guest.bridge[2 * exchange.AREA : 2 * exchange.AREA + len(handles)] = np.frombuffer(handles, np.uint8)
        outcome = guest.call("compute-kept", guest.bridge_number, context, len(request))
        assert isinstance(outcome, int)
        if outcome == kept.IN_ANSWER:
            _keep_answer(guest)
        elif outcome == kept.AS_TEXT:
            _keep_outputs(guest, guest.call("compute-outputs"))
        else:
            guest.errors.append(outcome >> 32)


def _keep_answer(guest: _Guest) -> None:
    answer = guest.bridge[exchange.AREA : 2 * exchange.AREA].tobytes()
    (count,) = unpack_from("<I", answer)
    at = 4
    for _ in range(count):
        number, size, length = unpack_from("<3I", answer, at)
        at += 12 + (length + 3) // 4 * 4
        if number & exchange.KEPT:
            kind, rank = unpack_from("<2I", answer, at)
            dims = answer[at + 8 : at + 8 + 4 * rank]
            at += 8 + 4 * rank
            data = guest.slot(number & ~exchange.KEPT)[:size].tobytes()
            guest.tensors.append(guest.new_tensor(kind, dims, data, False))
        else:
            guest.tensors.append(number)
            assert size == guest.call("tensor-extent", number) & 0xFFFFFFFF  # type: ignore[operator]


def _number(text: bytes, at: int) -> int:
    return int(text[at : at + _DIGITS], 16)


def _make_error(guest: _Guest, choices: Choices) -> None:
    code = choices.number() % len(numbers.ERROR_CODES)
    error = guest.call("error-new", code, choices.text().encode())
    assert isinstance(error, int)
    guest.errors.append(error)


def _look_at_error(guest: _Guest, choices: Choices) -> None:
    if guest.errors:
        error = choices.of(guest.errors)
        guest.call("error-code", error)
        guest.call("error-data", error)


def _drop(guest: _Guest, choices: Choices) -> None:
    held = choices.of((guest.tensors, guest.graphs, guest.contexts, guest.errors, guest.sequences))
    if held:
        guest.call("drop", held.pop(choices.number() % len(held)))


def _wrong_places(guest: _Guest, choices: Choices) -> None:
    """Pass places outside the guest's memory, as the shim never does: this must trap."""
    at, size = choices.of(_ABSURD), choices.of(_ABSURD)
    if at + size <= _PAGE:
        return
    tensor = guest.tensors[0] if guest.tensors else 0
    for name, arguments in (
        ("tensor-new-direct", (1, 4, at, size, 0, 0)),
        ("tensor-new-direct", (1, 4, 0, 0, at, size)),
        ("tensor-read-direct", (tensor, 1, at, size)),
        ("load-direct", (1 + choices.number(), 1, 0, at, size)),
        ("memory-find", (choices.number(), size)),
    ):
        try:
            result = guest.call(name, *arguments)
        except GuestFault:
            continue
        assert isinstance(result, int)
        assert name not in ("tensor-read-direct", "tensor-new-direct")
        if name == "load-direct":
            guest.errors.append(result >> 32)
        assert name != "memory-find" or result == 0


def _call_with_any_handle(guest: _Guest, choices: Choices) -> None:
    """Pass a wrong handle, as the bridge never does: this must trap or be an error."""
    name = choices.of(("tensor-type", "tensor-extent", "init-execution-context", "compute", "error-code"))
    try:
        result = guest.call(name, choices.number(4))
    except GuestFault:
        return
    if isinstance(result, int) and name == "init-execution-context":
        guest.keep(result, guest.contexts)
    elif name == "compute":
        _keep_status(guest, result)


def _describe(guest: _Guest, choices: Choices) -> None:
    if not guest.graphs:
        return
    address = choices.of((16, 2**16, 2**31))
    record = guest.call("describe", choices.of(guest.graphs), address)
    assert isinstance(record, bytes)
    assert len(record) > 2 * _RECORD, "a graph of the registry has a description"
    planes: Array = np.frombuffer(record, np.uint8)
    content = (planes[: len(planes) // 2] | planes[len(planes) // 2 :] << 4).tobytes()
    for at in (4, 12, 20, 28, 36, 48, 56):
        place, count = unpack_from("<II", content, at)
        assert not count or 0 <= place - address < len(content)


def _use_signature(guest: _Guest, choices: Choices) -> None:
    if guest.graphs:
        name = choices.of((b"infer", b"train", b"", b"\xff", b"n" * 70_000))
        guest.keep(guest.call("use-signature", choices.of(guest.graphs), name), guest.graphs)


def _get_state(guest: _Guest, choices: Choices) -> None:
    """Get a graph's state as a tensor, which may become another graph's state."""
    if guest.graphs:
        guest.keep(guest.call("state-get", choices.of(guest.graphs)), guest.tensors)


def _set_state(guest: _Guest, choices: Choices) -> None:
    if not guest.graphs:
        return
    if guest.tensors and choices.number() % 2:
        state = guest.tensors.pop(choices.number() % len(guest.tensors))
    else:
        outcome = guest.call("bytes-new", choices.number(), 0)
        assert isinstance(outcome, int)
        state = outcome
    _keep_status(guest, guest.call("state-set", choices.of(guest.graphs), state))


def _begin_sequence(guest: _Guest, choices: Choices) -> None:
    if guest.contexts:
        context = choices.of(guest.contexts)
        text = _named_tensors(_given_tensors(guest, choices, choices.number()))
        guest.keep(guest.call("begin-sequence", context, text), guest.sequences)


def _next_of_sequence(guest: _Guest, choices: Choices) -> None:
    if guest.sequences:
        outputs = guest.call("next-of-sequence", choices.of(guest.sequences))
        assert isinstance(outputs, bytes)
        if outputs[_DIGITS:] != b"f" * _DIGITS:
            _keep_outputs(guest, outputs)


def _make_strings(guest: _Guest, choices: Choices) -> None:
    """Make a tensor of byte strings; their ends are valid, since the bridge writes them."""
    sizes = [choices.number() for _ in range(choices.number() % 4)]
    ends = pack(f"<{len(sizes)}I", *np.cumsum(sizes, dtype=np.uint32).tolist())
    dims = [choices.of((0, 1, 2, 3, 2**32 - 1)) for _ in range(choices.number() % 70)]
    content = ends + bytes(sum(sizes)) + pack(f"<{len(dims)}I", *dims)
    outcome = guest.call("bytes-new", len(content) - 4 * len(dims), len(dims))
    assert isinstance(outcome, int)
    if outcome >> 32:
        guest.errors.append(outcome >> 32)
        return
    for offset, part in ((0, content[: len(content) - 4 * len(dims)]), (len(content) - 4 * len(dims), content)):
        part = part[offset:] if offset else part
        if part:
            guest.call("tensor-write", outcome, offset, _planes(part))
    guest.keep(guest.call("strings-new", outcome, len(sizes)), guest.tensors)


def _look_at_strings(guest: _Guest, choices: Choices) -> None:
    """The data of a tensor of strings is as the bridge expects it."""
    if not guest.tensors:
        return
    tensor = choices.of(guest.tensors)
    outcome = guest.call("strings-count", tensor)
    assert isinstance(outcome, int)
    if outcome >> 32:
        guest.errors.append(outcome >> 32)
        return
    extent = guest.call("tensor-extent", tensor)
    assert isinstance(extent, int)
    size = extent & 0xFFFFFFFF
    assert size >= 4 * outcome
    planes = guest.call("tensor-read", tensor, 0, 4 * outcome)
    assert isinstance(planes, bytes)
    low, high = planes[: 4 * outcome], planes[4 * outcome :]
    ends = np.frombuffer(bytes(a | b << 4 for a, b in zip(low, high, strict=True)), "<u4")
    assert (np.diff(ends.astype(np.int64)) >= 0).all()
    assert not outcome or ends[-1] == size - 4 * outcome


STEPS: tuple[Callable[[_Guest, Choices], None], ...] = (
    _make_tensor,
    _look_at_tensor,
    _load,
    _load_by_name,
    _make_context,
    _set_input,
    _compute,
    _get_output,
    _compute_named,
    _make_error,
    _look_at_error,
    _drop,
    _call_with_any_handle,
    _wrong_places,
    _describe,
    _use_signature,
    _get_state,
    _set_state,
    _begin_sequence,
    _next_of_sequence,
    _make_strings,
    _look_at_strings,
)
"""A guest's possible steps, by the numbers that choose them."""
