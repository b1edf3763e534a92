"""Defines the host functions behind wasi:nn, and behind wasi-nn:ext for a guest that imports that, in a linker."""

from __future__ import annotations

from collections.abc import Callable, Collection

from wasmtime.component import Component, Linker, LinkerInstance

from wasi_nn.abi.component import bridge, host_functions
from wasi_nn.abi.component.bridge_functions import FUNCTIONS, ComponentAbi
from wasi_nn.abi.component.host_functions import HostFunction
from wasi_nn.abi.component.typed_functions import caller
from wasi_nn.arguments import require_kind
from wasi_nn.session.session import Session

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
    instances = {bridge.HOST: FUNCTIONS}
    abi = ComponentAbi(session)
    if bridge.EXTENSIONS_HOST in imports:
        from wasi_nn.abi.component.extension_functions import EXTENSION_FUNCTIONS, ExtendedAbi  # which few guests need

        instances[bridge.EXTENSIONS_HOST] = EXTENSION_FUNCTIONS
        abi = ExtendedAbi(session)
        session.takes_byte_strings = "byte-strings" in used and "byte-strings" in session.extensions
    with linker.root() as root:
        for name, functions in instances.items():
            with root.add_instance(name) as instance:
                for function, signature in functions.items():
                    define(instance, function, signature.parameters, signature.result, abi.function(function))
        for interface in used:
            if interface == "types" or interface in session.extensions:
                with root.add_instance(bridge.marker(interface)) as instance:
                    define(instance, bridge.ALLOWED, (), None, _do_nothing)
    return abi


def add_shared_functions(linker: Linker, imports: Collection[str], extensions: Collection[str]) -> type[ComponentAbi]:
    """`add_functions` for a linker that several guests use at once: each function is looked up among those that the
    thread of a guest has (`typed_functions.caller.nn`). Returns the class that makes them for a session, whose
    `extensions` must be these."""

    def define_shared(
        instance: LinkerInstance, name: str, parameters: tuple[str, ...], result: str | None, function: HostFunction
    ) -> None:
        if function is not _do_nothing:
            function = lambda *arguments: caller.nn[name](*arguments)  # noqa: E731
        host_functions.define(instance, name, parameters, result, function)

    return type(add_functions(linker, Session(extensions=extensions), define_shared, imports))


def _do_nothing() -> None:
    pass
