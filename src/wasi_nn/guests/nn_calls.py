"""The functions of wasi-nn that a guest imports: the calls that it can make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wasmtime import Engine, FuncType, Module
from wasmtime.component import ComponentInstanceType, FuncType as ComponentFuncType

from wasi_nn.abi.core.dialects import MODULES

Calls = dict[str, tuple[str, ...]]
"""The functions of each interface, with their parameters, such as `load_by_name(i32, i32, i32) -> i32` of a core module
and `load-by-name(name)` or `graph.init-execution-context()` of a component."""


def calls_of_module(module: Module) -> Calls:
    """The functions that a core module imports, by module."""
    calls: Calls = {}
    for item in module.imports:
        if item.module in MODULES and item.name is not None and isinstance(item.type, FuncType):
            text = f"{item.name}({', '.join(map(str, item.type.params))})"
            results = ", ".join(map(str, item.type.results))
            calls[item.module] = (*calls.get(item.module, ()), f"{text} -> {results}" if results else text)
    return calls


def calls_of_component(imports: Mapping[str, Any], nn: Iterable[str], engine: Engine) -> Calls:
    """The functions in those imports of a component that are interfaces of wasi-nn. An interface that only has types
    isn't named."""
    calls: Calls = {}
    for interface in nn:
        instance = imports[interface].ty
        if isinstance(instance, ComponentInstanceType):
            functions = {name: item.ty for name, item in instance.exports(engine).items()}
            texts = [_text(name, it) for name, it in functions.items() if isinstance(it, ComponentFuncType)]
            if texts:
                calls[interface] = tuple(texts)
    return calls


def _text(name: str, function: ComponentFuncType) -> str:
    """A function with the names of its parameters. That of a resource is without the marks that its name has in the
    binary, as in `[method]graph.init-execution-context`, and without the resource itself."""
    kind, bracket, rest = name.partition("]")
    parameters = [parameter for parameter, _ in function.params]
    if kind == "[method":
        del parameters[:1]
    return f"{rest if bracket else name}({', '.join(parameters)})"
