"""The engine's side of requests that guests make: its streams and pollables for each."""

from __future__ import annotations

import ctypes
from typing import Any

from wasmtime import Engine, Store, Trap, WasmtimeError
from wasmtime.component import Component, ExportIndex, Linker

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.values import BOOL, TEXT, U32, VALUE_SIZE, Frame, ValueType
from wasi_nn.abi.wasmtime_c_api import ADDRESS, SIZE, quick_symbol, require_success, symbol

_call = symbol("wasmtime_component_func_call", ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE)
_delete = quick_symbol("wasmtime_component_val_delete", None, ADDRESS)
_PAYLOAD = 8  # bytes before the content of a value

_FUNCTIONS: dict[str, tuple[ValueType, ...]] = {
    "send": (TEXT, TEXT, BOOL),
    "request-body": (U32,),
    "finish": (U32,),
    "break-off": (U32,),
    "subscribe": (U32,),
    "look": (U32,),
    "response-body": (U32,),
}
"""The functions of `guests/bridge/outgoing.c`, which describes them, and the types of their parameters."""

INSTANCES = 4
"""The most instances and memories that the component has."""


class OutgoingHelper:
    """The component that makes requests, compiled for an engine."""

    def __init__(self, engine: Engine) -> None:
        self._component = Component(engine, bridge.outgoing())
        self._linker = Linker(engine)
        self._linker.add_wasip2()
        self._linker.add_wasi_http()
        self._exports = {name: self._index(name) for name in _FUNCTIONS}

    def _index(self, name: str) -> ExportIndex:
        index = self._component.get_export_index(name)
        assert index is not None  # it is in the component's source
        return index

    def in_store(self, store: Store) -> EngineExchanges:
        """The requests of a store, whose WASI and `wasi:http` are set."""
        instance = self._linker.instantiate(store, self._component)
        functions = {name: instance.get_func(store, index) for name, index in self._exports.items()}
        return EngineExchanges(store, functions)


class EngineExchanges:
    """The requests of a store, by the numbers that `send` gives. Called on the guest's thread only."""

    def __init__(self, store: Store, functions: dict[str, Any]) -> None:
        self._context = ctypes.cast(store._context(), ADDRESS)
        self._frame = Frame(self._context.value or 0, Resources(0))
        self._functions = functions

    def send(self, authority: str, path: str, *, has_body: bool) -> int:
        """Send a request to an authority; 0 if that can't be."""
        return self._call("send", authority, path, has_body)

    def request_body(self, number: int) -> int:
        """The output stream of a request's body, as the address of the engine's handle."""
        return self._call("request-body", number)

    def finish(self, number: int) -> bool:
        """End a request's body."""
        return bool(self._call("finish", number) & 0xFF)

    def break_off(self, number: int) -> None:
        """Leave a request's body incomplete."""
        self._call("break-off", number)

    def subscribe(self, number: int) -> int:
        """A pollable that is ready once there is an answer, likewise."""
        return self._call("subscribe", number)

    def look(self, number: int) -> int:
        """0 while there is no answer, 1 if there is one, 2 if there will be none."""
        return self._call("look", number) & 0xFFFF_FFFF

    def response_body(self, number: int) -> int:
        """The input stream of an answer's body, likewise."""
        return self._call("response-body", number)

    def _call(self, name: str, *arguments: Any) -> int:
        """Call a function; gives the 64 bits of its result. Raises `GuestFault` if the guest was stopped meanwhile, or
        still holds a stream that it had to drop."""
        types = _FUNCTIONS[name]
        values = (ctypes.c_char * (VALUE_SIZE * len(types)))()
        at = ctypes.addressof(values)
        result = ctypes.create_string_buffer(VALUE_SIZE)
        count = 0 if name == "break-off" else 1
        for place, (of, value) in enumerate(zip(types, arguments, strict=True)):
            of.lower(self._frame, at + place * VALUE_SIZE, value)
        function = ctypes.addressof(self._functions[name]._func)
        try:
            require_success(_call(function, self._context, at, len(types), ctypes.addressof(result), count))
        except (Trap, WasmtimeError) as error:
            text = str(error)
            raise GuestFault(" ".join((text.partition("Caused by:")[2] or text).split())) from None
        finally:
            for place in range(len(types)):
                _delete(at + place * VALUE_SIZE)
        return ctypes.c_uint64.from_buffer(result, _PAYLOAD).value
