"""Tensors: arrays of Python with dims."""

from __future__ import annotations

from array import array
from collections.abc import Buffer, Sequence
from math import prod
from operator import index
from typing import Any

from .error import NNError
from .numbers import Code, Type

_ARRAYS = {
    Type.F16: "H",  # its bits: `array` has no such numbers
    Type.BF16: "H",
    Type.F32: "f",
    Type.F64: "d",
    Type.U8: "B",
    Type.I32: "i",
    Type.I64: "q",
}
"""The type code of `array` for each type."""

_FORMATS = {Type.F16: "eH", Type.BF16: "H", Type.F32: "f", Type.F64: "d", Type.U8: "", Type.I32: "il", Type.I64: "ql"}
"""The formats of a buffer that has elements of a type. Each has their size, but for `l`."""

_BYTES = "Bc"
_OF_FORMAT = {"e": Type.F16, "f": Type.F32, "d": Type.F64, "B": Type.U8, "c": Type.U8, "i": Type.I32, "q": Type.I64}
"""The types that a buffer's format tells. `H` may be f16 or bf16."""


class Tensor:
    """Elements in row-major order, with dims and a type.

        Tensor([2, 2], array("f", [1, 2, 3, 4]))
        Tensor([3], b"abc")
        Tensor([2], array("H", [0x3C00, 0xC000]), Type.F16)  # bits
        Tensor([1, 4], bytes_of_a_file, Type.F32)            # bytes of any type, little-endian

    dims      a whole number for each dimension; none for a scalar
    elements  a buffer: `array`, `bytes`, `bytearray`, `memoryview`. It is copied, so that it may be reused
    type      the type of the elements. An array tells it, but for f16 and bf16; bytes alone are u8

    Raises `NNError` with `invalid-argument` if the dims don't multiply out to the number of elements, or if the buffer
    has elements of another type.
    """

    __slots__ = ("_data", "_dims", "_type")

    def __init__(self, dims: Sequence[int], elements: Buffer, type: Type | None = None) -> None:  # noqa: A002
        sizes = tuple(map(index, dims))
        with memoryview(elements) as view:
            if type is None:
                type = type_of(view)  # noqa: A001
            elif not _has(view, type):
                raise NNError(Code.INVALID_ARGUMENT, f"elements of the format {view.format!r} aren't {type}")
            size = view.nbytes
            if any(not 0 <= dim < 1 << 32 for dim in sizes) or prod(sizes) * type.size != size:
                count = size // type.size
                raise NNError(Code.INVALID_ARGUMENT, f"{count} elements don't fit the dims {list(sizes)}")
            self._dims = sizes
            self._type = type
            self._data = bytes_of(elements)

    @property
    def dims(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self._dims

    @property
    def type(self) -> Type:
        """The type of the elements."""
        return self._type

    @property
    def data(self) -> bytes:
        """The elements as bytes, little-endian."""
        return self._data

    def array(self, type: Type | None = None) -> array[Any]:  # noqa: A002
        """The elements as a new array; f16 and bf16 are their bits.

        Raises `NNError` with `invalid-argument` if a type is given, and the elements are of another one.
        """
        return array_of(self._data, self._type, type, "the tensor")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        return (self._dims, self._type, self._data) == (other._dims, other._type, other._data)

    def __hash__(self) -> int:
        return hash((self._dims, self._type, self._data))

    def __repr__(self) -> str:
        return f"<Tensor {self._type} {list(self._dims)}>"


def bytes_of(buffer: Buffer) -> bytes:
    """The bytes of a buffer, which may change afterwards. Raises `TypeError` for anything else."""
    return buffer if type(buffer) is bytes else memoryview(buffer).tobytes()


def type_of(view: memoryview) -> Type:
    """The type of a buffer's elements. Raises `NNError` with `invalid-argument` if the buffer doesn't tell it."""
    form = _format(view)
    if form == "l":  # of the platform's size
        return Type.I32 if view.itemsize == Type.I32.size else Type.I64
    if (found := _OF_FORMAT.get(form)) is None:
        raise NNError(Code.INVALID_ARGUMENT, f"elements of the format {view.format!r} tell no type: name one")
    return found


def _has(view: memoryview, wanted: Type) -> bool:
    """Whether a buffer has elements of a type, or their bytes."""
    form = _format(view)
    return form in _BYTES or (form in _FORMATS[wanted] and view.itemsize == wanted.size)


def _format(view: memoryview) -> str:
    return view.format.lstrip("@=<")


def array_of(data: bytes, has: Type, wanted: Type | None, what: str) -> array[Any]:
    """Elements of a type as an array; any elements as bytes where u8 is wanted."""
    if wanted not in (None, Type.U8, has):
        raise NNError(Code.INVALID_ARGUMENT, f"{what} is of {has}, not of {wanted}")
    elements: array[Any] = array(_ARRAYS[wanted or has])
    elements.frombytes(data)
    return elements


def copy_into(data: bytes, has: Type, buffer: Buffer, what: str) -> int:
    """Copy elements into a buffer of their type or of bytes; gives the number of the buffer's elements that are set."""
    with memoryview(buffer) as view:
        if not _has(view, has):
            message = f"{what} is of {has}, the buffer's elements are of the format {view.format!r}"
            raise NNError(Code.INVALID_ARGUMENT, message)
        if len(data) > view.nbytes:
            message = f"{what} has {len(data)} bytes, the buffer only {view.nbytes}"
            raise NNError(Code.TOO_LARGE, message, len(data))
        with view.cast("B") as room:
            room[: len(data)] = data
        return len(data) // view.itemsize
