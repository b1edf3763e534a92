"""Descriptions of graphs as bytes in a guest's memory: the records of `wasi-nn-ext.wit` in the canonical ABI's layout.

All numbers are little-endian u32s but for tags, numbers of enumerations and flags, which are one byte each with bytes
of zero after them. Strings and lists are an address and a count. All addresses are within the bytes themselves, which
begin at the address `base`.

    graph description (64 bytes)     0 encoding, 4 runtime, 12 device, 20 signature, 28 signatures, 36 inputs,
                                     44 whether the outputs are declared, 48 outputs, 56 metadata
    tensor description (36 bytes)    0 name, 8 element type, 20 whether the rank is known, 24 dimensions, 32 optional
    element type (12 bytes)          0 tag: 0 number, 1 byte string, 2 native, 3 any; 4 number of the type, or name
    dimension (12 bytes)             0 tag: 0 fixed, 1 named, 2 unknown; 4 size, or name
    metadata, each (16 bytes)        0 key, 8 text
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import TypeVar

from wasi_nn.abi.wit_encodings import NUMBER_OF_ENCODING
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.description import GraphDescription
from wasi_nn.graph.guest_types import is_text
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.settings import how_to_set
from wasi_nn.types import TensorType

Item = TypeVar("Item")

_GRAPH = Struct("<B3x" + "II" * 5 + "B3x" + "II" * 2)
_TENSOR = Struct("<IIB3xIIB3xIIB3x")
_DIMENSION = Struct("<B3xII")
_PAIR = Struct("<II")
_TWO_PAIRS = Struct("<IIII")
_NUMBER, _BYTE_STRING, _NATIVE, _ANY = range(4)
_FIXED, _NAMED, _UNKNOWN = range(3)
_NOTHING = (0, 0)
_MAX_DIMENSION = _LAST_ADDRESS = 2**32 - 1

MAX_RECORD = 4 << 20
"""The most bytes of a record: hundred thousand tensors, or metadata of megabytes. A record of this size takes a second.
"""

_PADDING = (b"", bytes(3), bytes(2), bytes(1))

Place = tuple[int, int]
"""The address of a string or a list, and its number of bytes or items."""


class RecordWriter:
    """Writes one description. The numbers of tensor types are those of the guest's ABI, and those of encodings
    are WIT's.

    A description of more than `MAX_RECORD` bytes raises `NNError` with `too-large`.
    """

    def __init__(self, types: Mapping[TensorType, int], base: int = 0) -> None:
        self._types = types
        self._base = base
        self._bytes = bytearray()
        self._has_metadata = False

    def graph(self, description: GraphDescription) -> bytearray:
        """The record of a graph, and all that it has the addresses of."""
        self._has_metadata = bool(description.metadata)
        at = self._reserve(_GRAPH.size)
        outputs = description.outputs
        _GRAPH.pack_into(
            self._bytes,
            at,
            NUMBER_OF_ENCODING[description.encoding],
            *self._string(description.runtime),
            *self._string(description.device),
            *self._string(description.signature),
            *self._list(description.signatures, _PAIR.size, self._put_string),
            *self._list(description.inputs, _TENSOR.size, self._put_tensor),
            outputs is not None,
            *(_NOTHING if outputs is None else self._list(outputs, _TENSOR.size, self._put_tensor)),
            *self._list([*description.metadata.items()], _TWO_PAIRS.size, self._put_texts),
        )
        return self._bytes

    def tensor(self, info: TensorInfo) -> bytearray:
        """The record of an input or output, and all that it has the addresses of."""
        self._put_tensor(self._reserve(_TENSOR.size), info)
        return self._bytes

    def _reserve(self, size: int) -> int:
        at = len(self._bytes)
        self._require_room(at + size)
        self._bytes += bytes(size)
        return at

    def _require_room(self, end: int) -> None:
        if end > MAX_RECORD:
            how = how_to_set("without its metadata: show_metadata=False", "--no-metadata")
            message = f"the description has more than {MAX_RECORD} bytes, the most that a guest gets"
            raise NNError(ErrorCode.TOO_LARGE, f"{message} ({how})" if self._has_metadata else message)

    def _string(self, text: str) -> Place:
        encoded, at = text.encode("utf-8", "replace"), len(self._bytes)
        size = len(encoded)
        self._require_room(at + size)
        self._bytes += encoded + _PADDING[size % 4]
        return (self._base + at) & _LAST_ADDRESS, size

    def _list(self, items: Sequence[Item], size: int, put: Callable[[int, Item], None]) -> Place:
        start = self._reserve(size * len(items))
        for place, item in enumerate(items):
            put(start + place * size, item)
        return (self._base + start) & _LAST_ADDRESS, len(items)

    def _put_string(self, at: int, text: str) -> None:
        _PAIR.pack_into(self._bytes, at, *self._string(text))

    def _put_texts(self, at: int, texts: tuple[str, str]) -> None:
        _TWO_PAIRS.pack_into(self._bytes, at, *self._string(texts[0]), *self._string(texts[1]))

    def _put_tensor(self, at: int, info: TensorInfo) -> None:
        name, dims = self._string(info.name), info.dims
        places = _NOTHING if dims is None else self._list(dims, _DIMENSION.size, self._put_dimension)
        known = dims is not None
        _TENSOR.pack_into(self._bytes, at, *name, *self._element_type(info), known, *places, info.optional)

    def _element_type(self, info: TensorInfo) -> tuple[int, int, int]:
        if info.dtype is None:
            return _ANY, *_NOTHING
        if is_text(info):
            return _BYTE_STRING, *_NOTHING
        number = None if info.type is None else self._types.get(info.type)
        return (_NATIVE, *self._string(info.type_name)) if number is None else (_NUMBER, number, 0)

    def _put_dimension(self, at: int, dim: int | str) -> None:
        if isinstance(dim, str):
            values = (_UNKNOWN, *_NOTHING) if dim in ("", "?") else (_NAMED, *self._string(dim))
        else:  # a size that no tensor of wasi-nn can have is unknown to the guest
            values = (_FIXED, dim, 0) if 0 <= dim <= _MAX_DIMENSION else (_UNKNOWN, *_NOTHING)
        _DIMENSION.pack_into(self._bytes, at, *values)
