"""Defines the host functions behind wasi:nn, and behind wasi-nn:ext and wasi-nn:serving for a guest that imports them,
in a linker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from wasmtime.component import Component, Linker, LinkerInstance

from wasi_nn.abi.component import bridge, host_functions
from wasi_nn.abi.component.bridge_functions import FUNCTIONS, ComponentAbi, Signature
from wasi_nn.abi.component.host_functions import HostFunction
from wasi_nn.arguments import require_kind
from wasi_nn.session.session import Session

if TYPE_CHECKING:
    from wasi_nn.abi.component.serving_functions import ServingAbi

Define = Callable[[LinkerInstance, str, "tuple[str, ...]", "str | None", HostFunction], None]


def add_to_component_linker(linker: Linker, session: Session, component: Component | None = None) -> None:
    """Define the host functions behind wasi:nn in a linker, for one guest component. `session` holds the guest's nn
    state.

    The component must have been wrapped (`wasi_nn.wrap_component`) before it was compiled. The session belongs to one
    Store, and so do the functions: use a separate linker for each Store. With `component`, the functions of
    wasi-nn:ext are defined too if the guest imports them, for the interfaces that the session allows.
    """
    require_kind("linker", linker, Linker, "a wasmtime.component.Linker (add_to_linker takes a wasmtime.Linker)")
    require_kind("session", session, Session, "a wasi_nn.Session")
    if component is not None:
        require_kind("component", component, Component, "a wasmtime.component.Component")
    imports = () if component is None else component.type.imports(linker.engine)
    add_functions(linker, session, host_functions.define, imports)


def add_functions(linker: Linker, session: Session, define: Define, imports: Collection[str] = ()) -> ComponentAbi:
    """`add_to_component_linker` with the component's imports instead of the component, and a choice of how to define a
    host function: one of those in `host_functions`. Returns the functions."""
    abis = abis_of(session, imports)
    markers = [it for it in bridge.marked(imports) if it == "types" or it in session.extensions]
    define_functions(linker, define, imports, markers, lambda name, function: abis[name].function(function))
    abi = abis[bridge.HOST]
    assert isinstance(abi, ComponentAbi)
    return abi


def define_functions(
    linker: Linker,
    define: Define,
    imports: Collection[str],
    markers: Iterable[str],
    function_of: Callable[[str, str], HostFunction],
) -> None:
    """Define the host functions of a guest with these imports, and the markers of these interfaces of wasi-nn:ext.
    `function_of` gives the function of an instance, by the names of both."""
    with linker.root() as root:
        for name, functions in signatures_of(imports).items():
            with root.add_instance(name) as instance:
                for function, signature in functions.items():
                    define(instance, function, signature.parameters, signature.result, function_of(name, function))
        for interface in markers:
            with root.add_instance(bridge.marker(interface)) as instance:
                define(instance, bridge.ALLOWED, (), None, _do_nothing)


def signatures_of(imports: Collection[str]) -> dict[str, Mapping[str, Signature]]:
    """The host functions of a guest with these imports, by the names of instances and functions."""
    instances: dict[str, Mapping[str, Signature]] = {bridge.HOST: FUNCTIONS}
    if bridge.EXTENSIONS_HOST in imports:
        from wasi_nn.abi.component.extension_functions import EXTENSION_FUNCTIONS  # which few guests need

        instances[bridge.EXTENSIONS_HOST] = EXTENSION_FUNCTIONS
    if bridge.SERVING_HOST in imports:
        from wasi_nn.abi.component.serving_functions import SERVING_FUNCTIONS

        instances[bridge.SERVING_HOST] = SERVING_FUNCTIONS
    return instances


def abis_of(session: Session, imports: Collection[str]) -> dict[str, ComponentAbi | ServingAbi]:
    """The functions over a session for a guest with these imports, by the names of instances."""
    abi = ComponentAbi(session)
    abis: dict[str, ComponentAbi | ServingAbi] = {}
    if bridge.EXTENSIONS_HOST in imports:
        from wasi_nn.abi.component.extension_functions import ExtendedAbi

        abi = abis[bridge.EXTENSIONS_HOST] = ExtendedAbi(session)
        used = bridge.marked(imports)
        session.takes_byte_strings = "byte-strings" in used and "byte-strings" in session.extensions
    abis[bridge.HOST] = abi
    if bridge.SERVING_HOST in imports:
        from wasi_nn.abi.component.serving_functions import ServingAbi

        abis[bridge.SERVING_HOST] = ServingAbi(session)
    return abis


def _do_nothing() -> None:
    pass
