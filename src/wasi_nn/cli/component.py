"""`wasi-nn component`: makes a component of a core guest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import PROGRAM, UsageError, graph_options

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from wasi_nn.cli.parser import Parser

_EPILOG = """\
For example:

  wasi-nn component --graph colours=colours.onnx classify.wasm
  wasi-nn run --graph colours=colours.onnx --dir . classify-component.wasm \\
      --graph colours --labels colours.txt apple.ppm

A component has names where a core module has indexes. Without --graph and
--inputs, the name of an input is its index: this host takes that, as others do
for some encodings only.
"""
_SUFFIX = "-component.wasm"


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `component` to the command's parser."""
    parser = subcommands.add_parser(
        "component",
        usage=f"{PROGRAM} component [OPTIONS] GUEST",
        help="make a component of a guest that is a core module",
        description="Make a component of a guest that is a core module, for hosts that have only\ncomponents. "
        "It imports wasi:nn instead of wasi_ephemeral_nn. A module\nthat imports wasi:nn, as the SDKs build it for a "
        "component, keeps its imports.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("guest", metavar="GUEST", help="the core module: a .wasm or .wat file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=f"the component (default: GUEST{_SUFFIX}, in the current directory)"
    )
    parser.add_argument(
        "--inputs",
        action="append",
        default=[],
        metavar="[GRAPH=]NAME[,NAME]...",
        help="the names of the inputs of a graph, in the order of their indexes; without GRAPH, of all other graphs "
        "(may be repeated)",
    )
    parser.add_argument(
        "--describe",
        action="store_true",
        help="have the component ask the host for the names, by the extension wasi-nn:ext (only on hosts that have it, "
        "such as this one)",
    )
    parser.add_argument(
        "--wasi",
        metavar="FILE",
        help="the adapter of WASI preview 1, of a release of Wasmtime (default: wasi_snapshot_preview1.command.wasm, "
        "or .reactor.wasm for a library, in the current directory)",
    )
    graph_options.add(parser, "graphs whose models name their inputs")
    parser.first_options = ("--output", "--graph", "--inputs", "--describe", "--wasi")
    parser.set_defaults(main=main, module="wasi_nn.guests.guest_file")


def main(options: argparse.Namespace) -> int:
    """Make the component; returns the exit code."""
    from pathlib import Path

    from wasi_nn.abi.producers import producers_of
    from wasi_nn.abi.wasm_binary import Malformed, module_exports, module_imports
    from wasi_nn.cli import adapter
    from wasi_nn.cli.sdk import sdk_folders
    from wasi_nn.errors import GuestError
    from wasi_nn.guests import guest_file

    folder, _ = sdk_folders()
    content, name = guest_file.read(options.guest), guest_file.name_of(options.guest)
    if guest_file.is_component(content):
        raise GuestError(f"{name} is a component already")
    try:
        imports, exports = set(module_imports(content)), set(module_exports(content))
        wit = adapter.wit_of(content, folder)
    except Malformed as error:
        raise GuestError(f"{name} is not valid WebAssembly: {error}") from error
    _require_known(name, imports)
    if any(language.startswith("Go ") for language in producers_of(content).get("language", ())):
        raise GuestError(
            f"{name} is built by Go, whose runtime takes all new memory for its own, that of adapters too, such as the "
            "one of WASI preview 1: after some megabytes the component would overwrite it; run the core module as it is"
        )
    adapters = {}
    modules = {module for module, _ in imports}
    if "wasi_ephemeral_nn" in modules and wit is not None and not adapter.fits(wit):
        raise GuestError(
            f"{name} imports wasi_ephemeral_nn, whose adapter imports the newest wasi:nn alone, and other interfaces "
            "of wasi-nn beside it: build it with one of the two"
        )
    if adapter.PREVIEW_1 in modules:
        adapters[adapter.PREVIEW_1] = _preview_1(options.wasi, is_command="_start" in exports)
    built = Path(options.output) if options.output is not None else Path(Path(name).stem + _SUFFIX)
    names = _names(options)
    if names and options.describe:
        raise UsageError("--describe goes without names: leave out --graph and --inputs, or --describe")
    with adapter.adapter_with(folder, names, describes=options.describe) as path:
        if "wasi_ephemeral_nn" in modules:
            adapters["wasi_ephemeral_nn"] = path
        adapter.componentize(content if wit is None else adapter.with_wit(content, wit), adapters, built)
    return 0


def _require_known(name: str, imports: Collection[tuple[str, str]]) -> None:
    from wasi_nn.abi.core.spec import FUNCTIONS
    from wasi_nn.cli.adapter import missing_from_adapter
    from wasi_nn.errors import GuestError
    from wasi_nn.guests.makes import listed

    missing = missing_from_adapter(sorted(imports), FUNCTIONS)
    if missing:
        raise GuestError(
            f"{name} imports {listed(missing)}, which wasi:nn doesn't have: build it with the functions of "
            "wasi-nn alone, or as a component with an SDK"
        )


def _preview_1(given: str | None, *, is_command: bool) -> Path:
    """The adapter of WASI preview 1. Raises `GuestError` if there is none."""
    from pathlib import Path

    from wasi_nn.cli.adapter import PREVIEW_1
    from wasi_nn.errors import GuestError, printable

    file = f"{PREVIEW_1}.{'command' if is_command else 'reactor'}.wasm"
    path = Path(file if given is None else given)
    if path.is_file():
        return path
    if given is not None:
        raise GuestError(f"no adapter of WASI preview 1 at {printable(given)}: no such file")
    raise GuestError(
        f"the guest imports WASI preview 1, whose adapter isn't here: download {file} of a release of "
        "Wasmtime into this directory, or give its path by --wasi (`npm pack @bytecodealliance/jco` has it too, in lib)"
    )


def _names(options: argparse.Namespace) -> Mapping[str | None, Sequence[str]]:
    """The names of inputs by the names of graphs, None for all other graphs. Raises `UsageError`, or `NNError` for a
    model that can't be loaded."""
    names: dict[str | None, Sequence[str]] = {}
    registry = graph_options.registry(options, graph_options.rules(options))
    for name in registry:
        names[name] = [info.name for info in registry.get(name).inputs]
    for text in options.inputs:
        before, equals, after = text.rpartition("=")
        graph = before if equals else None
        inputs = after.split(",")
        if not all(inputs):
            raise UsageError(f"--inputs {text}: the name of an input is empty")
        if graph in names:
            graphs = "all other graphs" if graph is None else f"the graph {graph!r}"
            raise UsageError(f"--inputs {text}: the names for {graphs} are given twice")
        names[graph] = inputs
    return names
