"""Defines the host functions behind wasi:nn, and behind wasi-nn:ext and wasi-nn:serving for a guest that imports them,
in a linker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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
    used = bridge.marked(imports)
    instances: dict[str, tuple[Mapping[str, Signature], ComponentAbi | ServingAbi]] = {}
    abi = ComponentAbi(session)
    if bridge.EXTENSIONS_HOST in imports:
        from wasi_nn.abi.component.extension_functions import EXTENSION_FUNCTIONS, ExtendedAbi  # which few guests need

        abi = ExtendedAbi(session)
        instances[bridge.EXTENSIONS_HOST] = EXTENSION_FUNCTIONS, abi
        session.takes_byte_strings = "byte-strings" in used and "byte-strings" in session.extensions
    instances[bridge.HOST] = FUNCTIONS, abi
    if bridge.SERVING_HOST in imports:
        from wasi_nn.abi.component.serving_functions import SERVING_FUNCTIONS, ServingAbi

        instances[bridge.SERVING_HOST] = SERVING_FUNCTIONS, ServingAbi(session)
    with linker.root() as root:
        for name, (functions, of) in instances.items():
            with root.add_instance(name) as instance:
                for function, signature in functions.items():
                    define(instance, function, signature.parameters, signature.result, of.function(function))
        for interface in used:
            if interface == "types" or interface in session.extensions:
                with root.add_instance(bridge.marker(interface)) as instance:
                    define(instance, bridge.ALLOWED, (), None, _do_nothing)
    return abi


def _do_nothing() -> None:
    pass
