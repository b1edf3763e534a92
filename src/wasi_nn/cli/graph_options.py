"""The options by which the command is told of graphs, and of how to load them; shared by its subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, TARGETS, UsageError

if TYPE_CHECKING:
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.rules import LoadRules


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand's parser."""
    graphs = parser.add_argument_group("graphs that the guest finds by name (each option may be repeated)")
    graphs.add_argument(
        "--graph",
        action="append",
        default=[],
        metavar="NAME=[ENCODING:TARGET:]PATH",
        help="a model file, or a directory that holds one",
    )
    graphs.add_argument("--graphs", metavar="FILE", help="a file that names graphs (graphs.toml); once")
    graphs.add_argument(
        "--nn-graph",
        action="append",
        default=[],
        metavar="ENCODING::DIR",
        help="the same as Wasmtime has it: the name is the directory's",
    )
    graphs.add_argument(
        "--nn-preload",
        action="append",
        default=[],
        metavar="NAME:ENCODING:TARGET:PATH[:PATH]...",
        help="the same as WasmEdge has it; target 'auto' is cpu",
    )
    add_rules(parser)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how models are loaded."""
    parser.add_argument(
        "--target-fallback",
        choices=TARGETS,
        help="where to run what asks for a target that isn't there (else refused)",
    )
    parser.add_argument(
        "--runtime",
        action="append",
        default=[],
        metavar="ENCODING=RUNTIME",
        help="the runtime for an encoding that several can run, such as onnx=openvino (may be repeated)",
    )
    parser.add_argument(
        "--convert-types",
        action="store_true",
        help="give tensors of types that wasi-nn lacks (int8, bool, strings ...) as ones that it has",
    )
    parser.add_argument(
        "--isolate",
        action=argparse.BooleanOptionalAction,
        help="run graphs in processes of their own, which can do nothing but compute (default: only models that the "
        "guest loads from bytes which their runtime doesn't withstand)",
    )


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which models may be loaded from a guest's own bytes."""
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--no-load", action="store_true", help="refuse models that the guest loads from its own bytes")
    load.add_argument(
        "--allow-load",
        action="append",
        choices=ENCODINGS[:-1],
        metavar="ENCODING",
        help="let the guest load such models, and no others, from its own bytes (may be repeated; "
        "by default, those whose runtimes withstand hostile bytes: onnx, tensorflowlite; and openvino, isolated)",
    )
    parser.add_argument(
        "--allow-target",
        action="append",
        choices=TARGETS,
        help="let the guest ask for this target, and no others, for models from its own bytes (may be repeated)",
    )
    parser.add_argument(
        "--allow-name",
        action="append",
        metavar="PATTERN",
        help="let the guest load graphs of these names, and no others; * stands for anything (may be repeated)",
    )


def rules(options: argparse.Namespace) -> LoadRules:
    """How models are to be loaded."""
    from wasi_nn.loading.rules import LoadRules

    runtimes = {}
    for text in options.runtime:
        encoding, equals, runtime = text.partition("=")
        if not (equals and runtime):
            raise UsageError(f"--runtime {text}: it takes ENCODING=RUNTIME")
        runtimes[_encoding(f"--runtime {text}", encoding)] = runtime
    return LoadRules(options.target_fallback, runtimes, options.convert_types, options.isolate)


def registry(options: argparse.Namespace, rules: LoadRules) -> Registry:
    """The graphs that the options name."""
    from wasi_nn.loading.registry import Registry

    registry = Registry(options.graphs, rules=rules)
    for name, graph in _graphs(options):
        if not name:
            raise UsageError("a graph's name can't be empty")
        if name in registry:
            raise UsageError(f"two graphs are named {name!r}: give one of them another name")
        registry.add(name, graph)
    return registry


def _graphs(options: argparse.Namespace) -> Iterator[tuple[str, NamedGraph]]:
    """The graphs of the three options for single ones, each with its name."""
    for text in options.graph:
        yield _graph(text)
    for text in options.nn_graph:
        yield _wasmtime_graph(text)
    for text in options.nn_preload:
        yield _wasmedge_graph(text)


def _graph(text: str) -> tuple[str, NamedGraph]:
    from wasi_nn.loading.named_graph import NamedGraph

    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise UsageError(f"--graph {text}: it takes NAME=PATH or NAME=ENCODING:TARGET:PATH")
    parts = model.split(":", 2)
    if len(parts) == 3 and parts[0] in ENCODINGS:
        encoding, target, path = parts
        return name, NamedGraph(path, _encoding(text, encoding), _target(text, target))
    return name, NamedGraph(model)


def _wasmtime_graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.loading.named_graph import NamedGraph

    encoding, colons, directory = text.partition("::")
    name = os.path.basename(os.path.normpath(directory))
    if not (colons and directory and name not in (".", "..", os.sep)):
        raise UsageError(f"--nn-graph {text}: it takes ENCODING::DIR, and the name of the directory names the graph")
    return name, NamedGraph(directory, _encoding(text, encoding.lower()))


def _wasmedge_graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.loading.named_graph import NamedGraph

    parts = text.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise UsageError(f"--nn-preload {text}: it takes NAME:ENCODING:TARGET:PATH")
    name, encoding, target, rest = parts
    target = "cpu" if target.lower() == "auto" else target.lower()
    paths = rest.split(":") if ":" in rest and not os.path.exists(rest) else rest
    return name, NamedGraph(paths, _encoding(text, encoding.lower()), _target(text, target))


def _encoding(text: str, encoding: str) -> str:
    if encoding not in ENCODINGS:
        raise UsageError(f"{text}: no encoding is named {encoding!r}; there are {', '.join(ENCODINGS)}")
    return encoding


def _target(text: str, target: str) -> str:
    if target not in TARGETS:
        raise UsageError(f"{text}: no target is named {target!r}; there are {', '.join(TARGETS)}")
    return target
