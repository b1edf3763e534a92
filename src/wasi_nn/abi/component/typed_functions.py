"""Defines functions and resources of the host in a component linker that several guests share.

A linker is made once for a guest's component, and has no state of a run: each function gets the object that the thread
has set as its own (`Caller`) when the guest was called. The engine calls a guest's imports on the thread that runs the
guest.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wasmtime.component import LinkerInstance, ResourceType

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.values import VALUE_SIZE, Frame, ValueType
from wasi_nn.abi.wasmtime_c_api import ADDRESS, FORGET, SIZE, keep, kept, new_error, require_success, symbol

logger = logging.getLogger("wasi_nn")


class Caller(threading.local):
    """What the functions of a thread's guest work on."""

    state: Any = None
    """What `define` gives to functions."""
    resources: Resources
    """The objects behind the guest's resources."""


caller = Caller()


def define(
    instance: LinkerInstance,
    name: str,
    parameters: Sequence[ValueType],
    result: ValueType | None,
    function: Callable[..., Any],
) -> None:
    """Define a function, which gets the caller's state and the arguments. It may raise `GuestFault` to trap the guest;
    any other exception is logged, and traps the guest too."""
    lifts = [(of.lift, place * VALUE_SIZE) for place, of in enumerate(parameters)]
    lower = None if result is None else result.lower

    def call(context: int, values: int, results: int) -> int | None:
        try:
            frame = Frame(context, caller.resources)
            value = function(caller.state, *[lift(frame, values + offset) for lift, offset in lifts])
            if lower is not None:
                lower(frame, results, value)
        except GuestFault as fault:
            return new_error(str(fault))
        except BaseException as error:
            # None may go on into the engine, whatever its kind.
            return _internal_error(name, error)
        return None

    _add(_add_func, instance, name, (ctypes.cast(_CALL, ADDRESS),), call)


def define_resource(instance: LinkerInstance, name: str, number: int, dropped: Callable[[Any, Any], None]) -> None:
    """Define a resource. `dropped` gets the caller's state and an object whose handle the guest has dropped."""

    def drop(rep: int) -> int | None:
        try:
            if not caller.resources.has_expired(rep):
                dropped(caller.state, caller.resources.take(rep))
        except GuestFault as fault:
            return new_error(str(fault))
        except BaseException as error:
            return _internal_error(f"the end of a {name}", error)
        return None

    with ResourceType.host(number) as kind:
        arguments = (ctypes.cast(kind.ptr(), ADDRESS), ctypes.cast(_DROP, ADDRESS))
        _add(_add_resource, instance, name, arguments, drop)


def _internal_error(name: str, error: BaseException) -> int:
    try:
        logger.error("%s failed: internal error of the host", name, exc_info=error)
    finally:
        return new_error(f"{name}: internal error of the host, {type(error).__name__}")  # noqa: B012


def _add(add: Any, instance: LinkerInstance, name: str, arguments: tuple[Any, ...], function: Any) -> None:
    encoded = name.encode()
    at = ctypes.cast(instance.ptr(), ADDRESS)
    require_success(add(at, encoded, len(encoded), *arguments, keep(function), ctypes.cast(FORGET, ADDRESS)))


def _call(key: int, context: int, _: int, values: int, __: int, results: int, ___: int) -> int | None:
    try:
        error: int | None = kept[key](context, values, results)
    except BaseException as fault:  # of the handling of another one: an exception that left would count as success
        return new_error(type(fault).__name__)
    return error


def _drop(key: int, _: int, rep: int) -> int | None:
    try:
        error: int | None = kept[key](rep)
    except BaseException as fault:
        return new_error(type(fault).__name__)
    return error


_CALL = ctypes.CFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE)(_call)
_DROP = ctypes.CFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ctypes.c_uint32)(_drop)
_add_func = symbol(
    "wasmtime_component_linker_instance_add_func",
    ADDRESS,
    *(ADDRESS, ctypes.c_char_p, SIZE, ADDRESS, ADDRESS, ADDRESS),
)
_add_resource = symbol(
    "wasmtime_component_linker_instance_add_resource",
    ADDRESS,
    *(ADDRESS, ctypes.c_char_p, SIZE, ADDRESS, ADDRESS, ADDRESS, ADDRESS),
)
