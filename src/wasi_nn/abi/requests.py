"""Requests as both ABIs give them to guests: one after another, each as bytes in the guest's memory.

The bytes are the records of `wasi-nn-serving.wit` in the canonical ABI's layout.

All numbers are little-endian u32s but for the datatype, which is one byte with zeros after it. A text and a list are an
address and a count. All addresses are within the bytes themselves, which begin at the address `base`. The data of each
tensor begins at a multiple of 16 from there.

    inputs (8 bytes)        0 list of tensors
    tensor (28 bytes)       0 name, 8 datatype, 12 dims, 20 data
"""

from __future__ import annotations

from struct import Struct, pack
from typing import TYPE_CHECKING

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.guest_requests import GuestRequest, datatype_number, tensor_bytes

if TYPE_CHECKING:
    from wasi_nn.session.session import Session
    from wasi_nn.types import Array

HEAD = Struct("<II")
"""The list of tensors."""
TENSOR = Struct("<IIB3xIIII")
"""A tensor: name, datatype, dims, data."""

_ALIGNED = 16
_LAST_ADDRESS = 2**32 - 1


def next_request(session: Session) -> int:
    """The number of the guest's next request; 0 if there are no more.

    Raises `NNError` with `invalid-argument` while the guest holds one, and `GuestFault` if the iterable of requests
    fails: the run then raises its error.
    """
    requests = session.requests
    if requests is None:
        return 0
    requests.require_none_held()
    try:
        return requests.take()
    except Exception as error:
        session.interruption = error
        raise GuestFault("next-request: there are no requests, since what gives them failed") from None


class RequestRecord:
    """The record of a request's inputs, laid out. `size` is its size in bytes.

    Raises `NNError` with `too-large` for a tensor with too many strings.
    """

    def __init__(self, request: GuestRequest) -> None:
        self.size = HEAD.size + TENSOR.size * len(request.inputs)
        self._parts: list[tuple[int, bytes | memoryview]] = []
        self._records = [self._record(name, array) for name, array in request.inputs]

    def _record(self, name: str, array: Array) -> tuple[int, ...]:
        """A tensor, with places within the record in place of addresses."""
        named = self._put(name.encode("utf-8", "replace"), 1)
        dims, _ = self._put(pack(f"<{array.ndim}I", *array.shape), 4)
        return (*named, datatype_number(array), dims, array.ndim, *self._put(tensor_bytes(array), _ALIGNED))

    def _put(self, part: bytes | memoryview, aligned: int) -> tuple[int, int]:
        at = -(-self.size // aligned) * aligned
        self.size = at + len(part)
        self._parts.append((at, part))
        return at, len(part)

    def write(self, to: memoryview, base: int) -> None:
        """Write the record into `size` bytes, which are at the address `base` for the guest. Raises `NNError` with
        `too-large` where the guest has no addresses for all of it."""
        if base + self.size > _LAST_ADDRESS:
            message = f"the inputs of the request have {self.size} bytes: more than the guest can hold"
            raise NNError(ErrorCode.TOO_LARGE, message)
        HEAD.pack_into(to, 0, base + HEAD.size, len(self._records))
        for place, (name, length, datatype, dims, rank, data, size) in enumerate(self._records):
            at = HEAD.size + TENSOR.size * place
            TENSOR.pack_into(to, at, base + name, length, datatype, base + dims, rank, base + data, size)
        for at, part in self._parts:
            to[at : at + len(part)] = part
