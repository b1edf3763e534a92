"""Requests that a guest answers: what is behind wasi-nn:serving.

The code that runs a guest has `GuestRequest`s, each with named tensors. The guest asks for one after another, and
answers each with named tensors, or with a message of why it can't.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from struct import unpack_from
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast

import numpy as np

from wasi_nn.arguments import as_mapping, require_kind, shown, wrong_argument
from wasi_nn.errors import ErrorCode, NNError, printable, shortened
from wasi_nn.graph import byte_strings
from wasi_nn.graph.datatypes import BYTES, DATATYPES, DTYPE_NAMES, MAX_TENSOR_NAME, MAX_TENSORS
from wasi_nn.graph.fitting import MAX_RANK, byte_view
from wasi_nn.types import dims_text, dtype_named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.types import Array, Dims

Made = TypeVar("Made")

_DTYPES = [dtype_named(name) for name in DTYPE_NAMES.values()]  # by the numbers of datatypes
_NUMBERS = {dtype: number for number, dtype in enumerate(_DTYPES)}
_STRINGS = DATATYPES.index(BYTES)
_BYTES_OF_A_STRING = 60  # which the host takes for each, beside its own
_LONGEST_MESSAGE = 1000  # characters of a guest's message that a client gets


class Fault(enum.Enum):
    """Whose fault it is that a guest can't answer a request."""

    REQUEST = 0
    """The request is wrong."""
    GUEST = 1
    """The guest failed."""


class GuestRequest:
    """A request for a guest: `inputs` are arrays by their names, with strings as arrays of `bytes` or `str`.

    Once the guest has answered it, `outputs` are arrays by their names, or `fault` and `message` say why there are
    none. A request that the guest left without an answer has neither. Raises `NNError` with `invalid-argument` for an
    array of a type that the Open Inference Protocol lacks.
    """

    def __init__(self, inputs: Mapping[str, ArrayLike]) -> None:
        arrays = as_mapping("inputs", inputs, "a mapping of names to arrays")
        self.inputs: list[tuple[str, Array]] = [(name, np.asarray(array)) for name, array in arrays.items()]
        for name, array in self.inputs:
            if not isinstance(name, str) or not _has_datatype(array):
                wanted = f"an array of numbers or strings that has one of the types {', '.join(DATATYPES)}"
                raise wrong_argument(f"inputs[{shown(name)}]", wanted, array)
        self.outputs: dict[str, Array] | None = None
        self.fault: Fault | None = None
        self.message = ""
        self.is_taken = False
        """Whether the guest has got it, where the iterable of requests tells that."""
        self._settled = threading.Event()

    @property
    def is_answered(self) -> bool:
        """Whether the guest has answered it, with outputs or with a message."""
        return self.outputs is not None or self.fault is not None

    def settle(self) -> None:
        """Let nobody wait for the answer any more: it is there, or there will be none."""
        self._settled.set()

    def begin_again(self) -> None:
        """Let `wait` wait again, for another guest."""
        self._settled.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the guest has answered, or will not. Returns whether that is so within `timeout` seconds."""
        return self._settled.wait(timeout)


def _has_datatype(array: Array) -> bool:
    if array.dtype == object:
        return all(isinstance(item, bytes | str) for item in array.reshape(-1).tolist())
    return array.dtype in _NUMBERS or array.dtype.kind in "SU"


class Limited(Protocol):
    """Refuses tensors that are too large: a session."""

    def require_tensor_bytes(self, size: int) -> None:
        """Raise `NNError` with `too-large` if there is no room for so many bytes of tensors."""


class GuestRequests:
    """The requests of one guest, which holds one of them at a time: by its number, which is never 0."""

    def __init__(self, source: Iterable[GuestRequest]) -> None:
        self._source: Iterator[GuestRequest] = iter(source)
        self._number = 0
        self._held: GuestRequest | None = None
        self._made: object = None
        self.begun: Callable[[], None] = lambda: None
        """Called when the guest gets a request, before it has it."""

    def require_none_held(self) -> None:
        """Raise `NNError` with `invalid-argument` while the guest holds a request."""
        if self._held is not None:
            message = f"request {self._number} isn't answered yet: respond to it or fail it before you ask for another"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)

    def take(self) -> int:
        """Wait for the next request; returns its number, or 0 if there are no more. Raises what the iterable of
        requests raises, and `NNError` with `invalid-argument` if it gives something else."""
        request = next(self._source, None)
        if request is None:
            return 0
        require_kind("a request", request, GuestRequest, "a wasi_nn.GuestRequest(...)")
        self.begun()
        self._held = request
        self._number += 1
        return self._number

    def held(self, number: int) -> GuestRequest:
        """The request of this number. Raises `NNError` with `invalid-argument` unless the guest holds it."""
        if self._held is None or number != self._number:
            known = 0 < number <= self._number
            message = f"request {number} is answered already" if known else f"there is no request {number}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return self._held

    def once(self, number: int, make: Callable[[GuestRequest], Made]) -> Made:
        """What a function makes of a request, which is kept for further calls. Raises as `held` does, and what the
        function raises."""
        request = self.held(number)
        if self._made is None:
            self._made = make(request)
        return cast("Made", self._made)

    def respond(self, number: int, answer: Answer) -> None:
        """Answer a request. Raises `NNError` as `held` does."""
        self.held(number).outputs = answer.outputs
        self._settle()

    def fail(self, number: int, fault: Fault, message: str) -> None:
        """Answer a request with the reason why there are no outputs. Raises `NNError` as `held` does."""
        request = self.held(number)
        request.fault, request.message = fault, printable(message[:_LONGEST_MESSAGE])
        self._settle()

    def drop(self, number: int) -> None:
        """Leave a request without an answer, if it has none."""
        if number == self._number:
            self._settle()

    def close(self) -> None:
        """Take no further requests, after the guest's end. The one that it holds is left without an answer."""
        self._settle()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _settle(self) -> None:
        request, self._held, self._made = self._held, None, None
        if request is not None:
            request.settle()


def datatype_number(array: Array) -> int:
    """The number of an array's type: the place of its word in `DATATYPES`."""
    return _NUMBERS.get(array.dtype, _STRINGS)


def tensor_bytes(array: Array) -> memoryview:
    """The bytes of an input as a guest gets them: numbers in row-major order and little-endian; strings as in
    `wasi_nn.graph.byte_strings`. Raises `NNError` with `too-large` as that does."""
    if datatype_number(array) == _STRINGS:
        return byte_view(byte_strings.encoded(array))
    return byte_view(np.ascontiguousarray(array))


class Answer:
    """The outputs with which a guest answers a request, copied from its bytes one after another. `count` is the number
    that the guest announces. Raises `NNError` with `too-large` for more than an answer may have."""

    def __init__(self, limited: Limited, count: int) -> None:
        if count > MAX_TENSORS:
            raise NNError(ErrorCode.TOO_LARGE, f"the answer has {count} outputs: at most {MAX_TENSORS} are allowed")
        self.outputs: dict[str, Array] = {}
        self._limited = limited
        self._size = 0

    def add(
        self, name: bytes | memoryview, datatype: int, encoded_dims: bytes | memoryview, content: memoryview
    ) -> None:
        """Add an output. The dims are little-endian u32s.

        Raises `NNError`: `invalid-argument` for bytes that aren't such a tensor, or a name that another output has;
        `too-large` if the outputs together are larger than the session allows.
        """
        text = _output_name(name)
        what = f"output {shortened(text)!r}"
        if text in self.outputs:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"two outputs are named {shortened(text)!r}")
        if not 0 <= datatype < len(DATATYPES):
            message = f"{what}: no datatype has the number {datatype}; the last is {len(DATATYPES) - 1}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        rank = len(encoded_dims) // 4
        if rank > MAX_RANK:
            self.refuse_rank(rank)
        dims = unpack_from(f"<{rank}I", encoded_dims) if rank else ()
        self.outputs[text] = self._array(what, datatype, dims, content)

    def _array(self, what: str, datatype: int, dims: Dims, content: memoryview) -> Array:
        if datatype == _STRINGS:
            self._take_room(len(content) + _BYTES_OF_A_STRING * min(prod(dims), byte_strings.MAX_STRINGS))
            return byte_strings.decoded(what, content, dims)
        dtype = _DTYPES[datatype]
        size = prod(dims) * dtype.itemsize
        if size != len(content):
            message = f"{what}: {DATATYPES[datatype]}{dims_text(dims)} has {size} bytes, got {len(content)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self._take_room(size)
        raw: Any = np.frombuffer(content, np.uint8).copy()
        if dtype == np.bool_ and size and raw.max() > 1:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what}: each byte of a BOOL is 0 or 1")
        try:
            array: Array = raw.view(dtype).reshape(dims)
        except ValueError:  # no elements, yet numpy rejects dims whose product is too large
            message = f"{what}: its dims {dims_text(dims)} are too large"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message) from None
        return array

    @staticmethod
    def refuse_rank(rank: int) -> NoReturn:
        """Raise `NNError` with `invalid-argument` for an output with too many dims."""
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"an output has rank {rank}, above {MAX_RANK}")

    def require_room(self, size: int) -> None:
        """Raise `NNError` with `too-large` if there is no room for a further output of so many bytes."""
        self._limited.require_tensor_bytes(self._size + size)

    def _take_room(self, size: int) -> None:
        self.require_room(size)
        self._size += size


def _output_name(encoded: bytes | memoryview) -> str:
    if not 0 < len(encoded) <= MAX_TENSOR_NAME:
        message = f"an output's name has {len(encoded)} bytes: it may have 1 to {MAX_TENSOR_NAME}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    try:
        return bytes(encoded).decode()
    except UnicodeDecodeError:
        message = f"an output's name {bytes(encoded)[:80]!r} is not UTF-8"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message) from None
