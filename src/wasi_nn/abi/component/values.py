"""Values of the component model in the engine's memory: read as Python's, and written from Python's.

wasmtime-py converts values by asking the engine for their types in each call, byte by byte, and with a set that all
threads share. The types here are known beforehand, and several threads may use them at once. They cover what the
host's own interfaces need (`abi.http`), and no more.

A type has two methods. `lift` reads the value at an address, and leaves the value's memory to the engine. `lower`
writes a value at an address, whose memory the engine takes. Python's forms of the values:

    bool, numbers, string   bool, int, str
    list<u8>, other lists   bytes, list
    tuple, record           tuple
    option                  None, or the value
    result                  Ok(value), or Err(value)
    variant                 (name of the case, value)
    own, borrow             the host's object behind the resource
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from wasmtime import _ffi as ffi

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.wasmtime_c_api import ADDRESS, SIZE, offset_of, quick_symbol, require_success

VALUE_SIZE = 32  # bytes of a value: its kind in the first byte, and its payload from byte 8 on
_ENTRY_SIZE = 48  # bytes of a record's field: its name, then its value
_ENTRY_VALUE = 16
_PAYLOAD, _DATA, _CASE_VALUE = 8, 16, 24

_LONGEST_LIST = 2**20  # elements: more than any that these interfaces have a use for

_vector = Struct("<QQ")  # of a list or a string: the size, and the address of what it has
_variant = Struct("<QQQ")  # the name's size and address, and the address of the value, or 0

_byte_vec_new = quick_symbol("wasm_byte_vec_new", None, ADDRESS, SIZE, ctypes.c_char_p)
_list_new = quick_symbol("wasmtime_component_vallist_new_uninit", None, ADDRESS, SIZE)
_tuple_new = quick_symbol("wasmtime_component_valtuple_new_uninit", None, ADDRESS, SIZE)
_record_new = quick_symbol("wasmtime_component_valrecord_new_uninit", None, ADDRESS, SIZE)
_value_new = quick_symbol("wasmtime_component_val_new", ADDRESS, ADDRESS)
_host_new = quick_symbol(
    "wasmtime_component_resource_host_new", ADDRESS, ctypes.c_bool, ctypes.c_uint32, ctypes.c_uint32
)
_host_rep = quick_symbol("wasmtime_component_resource_host_rep", ctypes.c_uint32, ADDRESS)
_host_delete = quick_symbol("wasmtime_component_resource_host_delete", None, ADDRESS)
_host_to_any = quick_symbol("wasmtime_component_resource_host_to_any", ADDRESS, ADDRESS, ADDRESS, ADDRESS)
_any_to_host = quick_symbol("wasmtime_component_resource_any_to_host", ADDRESS, ADDRESS, ADDRESS, ADDRESS)
_any_drop = quick_symbol("wasmtime_component_resource_any_drop", ADDRESS, ADDRESS, ADDRESS)


@dataclass(frozen=True)
class Ok:
    """The good case of a result."""

    value: Any = None


@dataclass(frozen=True)
class Err:
    """The bad case of a result."""

    value: Any = None


@dataclass(frozen=True)
class Frame:
    """A call: the engine's context of the store, as an address, and the resources of the guest."""

    context: int
    resources: Resources


class ValueType(ABC):
    """A type of values."""

    kind: int

    @abstractmethod
    def lift(self, frame: Frame, at: int) -> Any:
        """Read the value at an address."""

    @abstractmethod
    def lower(self, frame: Frame, at: int, value: Any) -> None:
        """Write a value at an address: first its payload, then its kind, so that an incomplete one is none."""

    def _mark(self, at: int) -> None:
        ctypes.c_uint8.from_address(at).value = self.kind


class Number(ValueType):
    """`bool`, and the unsigned numbers."""

    def __init__(self, kind: int, of: Any) -> None:
        self.kind = kind
        self._of = of

    def lift(self, frame: Frame, at: int) -> Any:
        return self._of.from_address(at + _PAYLOAD).value

    def lower(self, frame: Frame, at: int, value: Any) -> None:
        self._of.from_address(at + _PAYLOAD).value = value
        self._mark(at)


class Text(ValueType):
    """`string`."""

    kind = ffi.WASMTIME_COMPONENT_STRING.value

    def lift(self, frame: Frame, at: int) -> str:
        return _text_at(at + _PAYLOAD)

    def lower(self, frame: Frame, at: int, value: str) -> None:
        content = value.encode("utf-8", "replace")
        _byte_vec_new(at + _PAYLOAD, len(content), content)
        self._mark(at)


class Bytes(ValueType):
    """`list<u8>`, of which the engine makes one value for each byte."""

    kind = ffi.WASMTIME_COMPONENT_LIST.value
    _element = ffi.WASMTIME_COMPONENT_U8.value

    def lift(self, frame: Frame, at: int) -> bytes:
        size, data = _vector_at(at)
        return ctypes.string_at(data, size * VALUE_SIZE)[_PAYLOAD::VALUE_SIZE] if size else b""

    def lower(self, frame: Frame, at: int, value: bytes) -> None:
        _list_new(at + _PAYLOAD, len(value))
        if value:
            content = bytearray(len(value) * VALUE_SIZE)
            content[::VALUE_SIZE] = bytes((self._element,)) * len(value)
            content[_PAYLOAD::VALUE_SIZE] = value
            ctypes.memmove(ctypes.c_uint64.from_address(at + _DATA).value, bytes(content), len(content))
        self._mark(at)


class List(ValueType):
    """`list<T>`."""

    kind = ffi.WASMTIME_COMPONENT_LIST.value

    def __init__(self, element: ValueType) -> None:
        self._element = element

    def lift(self, frame: Frame, at: int) -> list[Any]:
        size, data = _vector_at(at)
        lift = self._element.lift
        return [lift(frame, data + place * VALUE_SIZE) for place in range(size)]

    def lower(self, frame: Frame, at: int, value: list[Any]) -> None:
        _list_new(at + _PAYLOAD, len(value))
        _lower_all([self._element] * len(value), frame, at, value)
        self._mark(at)


class Tuple(ValueType):
    """`tuple<...>`."""

    kind = ffi.WASMTIME_COMPONENT_TUPLE.value

    def __init__(self, *elements: ValueType) -> None:
        self._elements = elements

    def lift(self, frame: Frame, at: int) -> tuple[Any, ...]:
        _, data = _vector_at(at)
        return tuple(of.lift(frame, data + place * VALUE_SIZE) for place, of in enumerate(self._elements))

    def lower(self, frame: Frame, at: int, value: tuple[Any, ...]) -> None:
        _tuple_new(at + _PAYLOAD, len(self._elements))
        _lower_all(self._elements, frame, at, value)
        self._mark(at)


class Record(ValueType):
    """`record`, by the names of its fields."""

    kind = ffi.WASMTIME_COMPONENT_RECORD.value

    def __init__(self, **fields: ValueType) -> None:
        self._fields = [(name.replace("_", "-").encode(), of) for name, of in fields.items()]

    def lift(self, frame: Frame, at: int) -> tuple[Any, ...]:
        _, data = _vector_at(at)
        return tuple(
            of.lift(frame, data + place * _ENTRY_SIZE + _ENTRY_VALUE) for place, (_, of) in enumerate(self._fields)
        )

    def lower(self, frame: Frame, at: int, value: tuple[Any, ...]) -> None:
        size = len(self._fields)
        _record_new(at + _PAYLOAD, size)
        _, data = _vector.unpack_from(_block_at(at + _PAYLOAD))
        ctypes.memset(data, 0, size * _ENTRY_SIZE)
        for place, ((name, of), part) in enumerate(zip(self._fields, value, strict=True)):
            entry = data + place * _ENTRY_SIZE
            _byte_vec_new(entry, len(name), name)
            of.lower(frame, entry + _ENTRY_VALUE, part)
        self._mark(at)


class Variant(ValueType):
    """`variant`, by the names of its cases; None for a case without a value."""

    kind = ffi.WASMTIME_COMPONENT_VARIANT.value

    def __init__(self, cases: Mapping[str, ValueType | None]) -> None:
        self._cases = cases

    def lift(self, frame: Frame, at: int) -> tuple[str, Any]:
        size, data, value = _variant.unpack_from(_block_at(at + _PAYLOAD))
        name = ctypes.string_at(data, size).decode()
        of = self._cases[name]
        return name, None if of is None else of.lift(frame, value)

    def lower(self, frame: Frame, at: int, value: tuple[str, Any]) -> None:
        name, part = value
        of = self._cases[name]
        inner = 0 if of is None else _new_value(of, frame, part)
        encoded = name.encode()
        _byte_vec_new(at + _PAYLOAD, len(encoded), encoded)
        ctypes.c_uint64.from_address(at + _CASE_VALUE).value = inner
        self._mark(at)


class Option(ValueType):
    """`option<T>`."""

    kind = ffi.WASMTIME_COMPONENT_OPTION.value

    def __init__(self, of: ValueType) -> None:
        self._of = of

    def lift(self, frame: Frame, at: int) -> Any:
        inner = ctypes.c_uint64.from_address(at + _PAYLOAD).value
        return self._of.lift(frame, inner) if inner else None

    def lower(self, frame: Frame, at: int, value: Any) -> None:
        inner = 0 if value is None else _new_value(self._of, frame, value)
        ctypes.c_uint64.from_address(at + _PAYLOAD).value = inner
        self._mark(at)


class Result(ValueType):
    """`result<T, E>`; None for a case without a value."""

    kind = ffi.WASMTIME_COMPONENT_RESULT.value

    def __init__(self, ok: ValueType | None = None, error: ValueType | None = None) -> None:
        self._ok = ok
        self._error = error

    def lift(self, frame: Frame, at: int) -> Ok | Err:
        is_ok = ctypes.c_bool.from_address(at + _PAYLOAD).value
        inner = ctypes.c_uint64.from_address(at + _DATA).value
        of = self._ok if is_ok else self._error
        value = None if of is None or not inner else of.lift(frame, inner)
        return Ok(value) if is_ok else Err(value)

    def lower(self, frame: Frame, at: int, value: Ok | Err) -> None:
        of = self._ok if isinstance(value, Ok) else self._error
        inner = 0 if of is None else _new_value(of, frame, value.value)
        ctypes.c_bool.from_address(at + _PAYLOAD).value = isinstance(value, Ok)
        ctypes.c_uint64.from_address(at + _DATA).value = inner
        self._mark(at)


class Resource(ValueType):
    """`own<R>` or `borrow<R>` of a resource that the host defines. `number` is its number for the engine."""

    kind = ffi.WASMTIME_COMPONENT_RESOURCE.value

    def __init__(self, number: int, *, is_own: bool) -> None:
        self._number = number
        self._is_own = is_own

    def lift(self, frame: Frame, at: int) -> Any:
        host = ctypes.c_uint64(0)
        handle = ctypes.c_uint64.from_address(at + _PAYLOAD).value
        require_success(_any_to_host(frame.context, handle, ctypes.addressof(host)))
        rep = _host_rep(host.value)
        _host_delete(host.value)
        return frame.resources.take(rep) if self._is_own else frame.resources.get(rep)

    def lower(self, frame: Frame, at: int, value: Any) -> None:
        host = _host_new(self._is_own, frame.resources.add(value), self._number)
        handle = ctypes.c_uint64(0)
        try:
            require_success(_host_to_any(frame.context, host, ctypes.addressof(handle)))
        finally:
            _host_delete(host)
        ctypes.c_uint64.from_address(at + _PAYLOAD).value = handle.value
        self._mark(at)


class EngineResource(ValueType):
    """A resource that the engine defines, such as a stream: as the address of the engine's handle. Reading a borrowed
    one gives it back at once, and gives None."""

    kind = ffi.WASMTIME_COMPONENT_RESOURCE.value

    def lift(self, frame: Frame, at: int) -> None:
        require_success(_any_drop(frame.context, ctypes.c_uint64.from_address(at + _PAYLOAD).value))

    def lower(self, frame: Frame, at: int, value: int) -> None:
        ctypes.c_uint64.from_address(at + _PAYLOAD).value = value
        self._mark(at)


BOOL = Number(ffi.WASMTIME_COMPONENT_BOOL.value, ctypes.c_bool)
U8 = Number(ffi.WASMTIME_COMPONENT_U8.value, ctypes.c_uint8)
U16 = Number(ffi.WASMTIME_COMPONENT_U16.value, ctypes.c_uint16)
U32 = Number(ffi.WASMTIME_COMPONENT_U32.value, ctypes.c_uint32)
U64 = Number(ffi.WASMTIME_COMPONENT_U64.value, ctypes.c_uint64)
TEXT = Text()
BYTES = Bytes()


def _block_at(at: int) -> Any:
    return (ctypes.c_char * VALUE_SIZE).from_address(at)


def _vector_at(at: int) -> tuple[int, int]:
    size, data = _vector.unpack_from(_block_at(at + _PAYLOAD))
    if size > _LONGEST_LIST:
        raise GuestFault(f"a list of {size} elements: at most {_LONGEST_LIST} are allowed")
    return size, data


def _text_at(at: int) -> str:
    size, data = _vector.unpack_from(_block_at(at))
    if size > _LONGEST_LIST:
        raise GuestFault(f"a text of {size} bytes: at most {_LONGEST_LIST} are allowed")
    return ctypes.string_at(data, size).decode() if size else ""


def _lower_all(types: Any, frame: Frame, at: int, values: Any) -> None:
    """Write the elements of a list or a tuple, whose memory is there."""
    data = ctypes.c_uint64.from_address(at + _DATA).value
    if len(types):
        ctypes.memset(data, 0, len(types) * VALUE_SIZE)  # each is `false` until it is written
    for place, (of, value) in enumerate(zip(types, values, strict=True)):
        of.lower(frame, data + place * VALUE_SIZE, value)


def _new_value(of: ValueType, frame: Frame, value: Any) -> int:
    """A value in memory of its own, which the engine frees; gives its address."""
    block = ctypes.create_string_buffer(VALUE_SIZE)
    of.lower(frame, ctypes.addressof(block), value)
    address: int = _value_new(ctypes.addressof(block))
    return address


def fits() -> bool:
    """Whether the engine has the functions and layouts that this module needs."""
    try:
        value, union = ffi.wasmtime_component_val_t, ffi.wasmtime_component_valunion_t
        entry = ffi.wasmtime_component_valrecord_entry_t
        variant, result = ffi.wasmtime_component_valvariant_t, ffi.wasmtime_component_valresult_t
        vector, parts = ffi.wasm_byte_vec_t, ffi.wasmtime_component_vallist_t
        layout = [ctypes.sizeof(value), offset_of(value, "of"), ctypes.sizeof(entry), offset_of(entry, "val")]
        layout += [offset_of(variant, "discriminant"), offset_of(variant, "val")]
        layout += [offset_of(result, "is_ok"), offset_of(result, "val")]
        layout += [offset_of(it, field) for it in (vector, parts) for field in ("size", "data")]
        layout += [ctypes.sizeof(ctypes.c_void_p), offset_of(union, "resource"), ffi.WASMTIME_COMPONENT_BOOL.value]
    except AttributeError:
        return False
    functions = (_byte_vec_new, _list_new, _tuple_new, _record_new, _value_new, _host_new, _host_rep, _host_delete)
    wanted = [VALUE_SIZE, _PAYLOAD, _ENTRY_SIZE, _ENTRY_VALUE, 0, 16, 0, 8, 0, 8, 0, 8, 8, 0, 0]
    return all((*functions, _host_to_any, _any_to_host, _any_drop)) and layout == wanted
