"""A component of this package that is instantiated beside a guest, to ask the engine for streams and pollables: the
engine gives these to components only."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from wasmtime import Engine, Trap, WasmtimeError
from wasmtime.component import Component, ExportIndex, Linker

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.values import VALUE_SIZE, ValueType
from wasi_nn.guests.http.value_calls import call, frame_of
from wasi_nn.guests.store_limits import GuestStore
from wasi_nn.guests.wasi import define_wasip2

_PAYLOAD = 8  # bytes before the content of a value

Signatures = Mapping[str, tuple[ValueType, ...]]
"""The functions that a helper exports, by name, with the types of their parameters."""


class HelperComponent:
    """A helper, compiled for an engine. `http` says whether it imports `wasi:http`."""

    def __init__(self, engine: Engine, source: str | bytes, signatures: Signatures, *, http: bool = False) -> None:
        self._component = Component(engine, source)
        self._signatures = signatures
        # A linker without the host's own functions: for guests, some of these take the place of the engine's.
        self._linker = Linker(engine)
        define_wasip2(self._linker, http=http)
        self._exports = {name: self._index(name) for name in signatures}

    def _index(self, name: str) -> ExportIndex:
        index = self._component.get_export_index(name)
        assert index is not None  # it is in the helper's source
        return index

    def in_store(self, store: GuestStore) -> HelperFunctions:
        """The helper's functions in a store, whose WASI is set."""
        instance = store.instantiate(self._linker, self._component)
        functions = {name: instance.get_func(store, index) for name, index in self._exports.items()}
        return HelperFunctions(store, functions, self._signatures)


class HelperFunctions:
    """The functions of a helper in a store. Called on the guest's thread only."""

    def __init__(self, store: GuestStore, functions: Mapping[str, Any], signatures: Signatures) -> None:
        self._frame = frame_of(store, Resources(0))
        self._functions = functions
        self._signatures = signatures

    def call(self, name: str, *arguments: Any, has_result: bool = True) -> int:
        """Call a function; returns the 64 bits of its result, of which a smaller one fills the lowest; 0 without one.

        Raises `GuestFault` if the engine refuses: the guest was stopped meanwhile, or holds a stream that it had to
        drop.
        """
        result = ctypes.create_string_buffer(VALUE_SIZE)
        try:
            call(
                self._functions[name],
                self._frame,
                *(self._signatures[name], arguments),
                result=ctypes.addressof(result) if has_result else None,
            )
        except (Trap, WasmtimeError) as error:
            text = str(error)
            raise GuestFault(" ".join((text.partition("Caused by:")[2] or text).split())) from None
        return ctypes.c_uint64.from_buffer(result, _PAYLOAD).value
