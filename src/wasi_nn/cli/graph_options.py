"""Options that several subcommands share: those that name graphs, and those that say how to load models."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, TARGETS, UsageError, worker_options
from wasi_nn.errors import nearest

if TYPE_CHECKING:
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.rules import LoadRules


class _Once(argparse.Action):
    """Keeps the value of an option, and refuses a second one, which would silently replace the first."""

    def __call__(self, _: object, namespace: argparse.Namespace, value: object, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "it may be given only once")
        setattr(namespace, self.dest, value)


def add(parser: argparse.ArgumentParser, purpose: str = "graphs that the guest can load by name") -> None:
    """Add the options that name graphs, and those of `add_rules`. `purpose` is what the graphs are for."""
    graphs = parser.add_argument_group(f"{purpose} (repeat an option for more graphs)")
    graphs.add_argument(
        "--graph",
        action="append",
        default=[],
        metavar="NAME=[ENCODING:TARGET:]PATH",
        help="a graph: its name and its model, a file or a directory with one; without ENCODING, it is detected",
    )
    graphs.add_argument(
        "--graphs",
        action=_Once,
        metavar="FILE",
        help="a file that describes graphs, such as graphs.toml (only once; see docs/reference/graphs.md)",
    )
    graphs.add_argument(
        "--nn-graph",
        action="append",
        default=[],
        metavar="ENCODING::DIR",
        help="a graph in Wasmtime's syntax: the directory of its model, which gives the graph its name",
    )
    graphs.add_argument(
        "--nn-preload",
        action="append",
        default=[],
        metavar="NAME:ENCODING:TARGET:PATH[:PATH]...",
        help="a graph in WasmEdge's syntax; the target 'auto' means cpu",
    )
    graphs.add_argument(
        "--graph-option",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="a setting of a graph as in a file of graphs: an option of its backend, such as threads=2, or one of "
        "encoding, target, runtime, sha256, convert-types, share-variables, max-batch, max-delay; VALUE is JSON "
        "or plain text",
    )
    add_rules(parser)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how models are loaded."""
    parser.add_argument(
        "--target-fallback",
        choices=TARGETS,
        help="the target to use where a requested one isn't available (default: refuse to load the model)",
    )
    parser.add_argument(
        "--runtime",
        action="append",
        default=[],
        metavar="ENCODING=RUNTIME",
        help="the runtime for models of an encoding, such as onnx=openvino (may be repeated)",
    )
    parser.add_argument(
        "--convert-types",
        action="store_true",
        help="convert tensors of types that wasi-nn lacks (int8, bool, strings ...) to types that it has",
    )
    worker_options.add(parser)


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which models a guest may load."""
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--no-load", action="store_true", help="refuse all models from the guest's own bytes")
    load.add_argument(
        "--allow-load",
        action="append",
        choices=ENCODINGS[:-1],
        metavar="ENCODING",
        help="allow models from the guest's own bytes only if they have this encoding (may be repeated; default: "
        "those that run on ONNX Runtime or LiteRT, and isolated those on OpenVINO)",
    )
    parser.add_argument(
        "--allow-target",
        action="append",
        choices=TARGETS,
        help="allow models from the guest's own bytes only on this target (may be repeated; default: all)",
    )
    parser.add_argument(
        "--allow-name",
        action="append",
        metavar="PATTERN",
        help="let the guest load only graphs whose names match, where * stands for any characters "
        "(may be repeated; default: all)",
    )


def rules(options: argparse.Namespace) -> LoadRules:
    """The rules for loading models that the options give. Raises `UsageError`."""
    from wasi_nn.loading.rules import LoadRules

    runtimes = {}
    for text in options.runtime:
        encoding, equals, runtime = text.partition("=")
        if not (equals and runtime):
            raise UsageError(f"--runtime {text}: it takes ENCODING=RUNTIME")
        runtimes[_encoding(f"--runtime {text}", encoding)] = runtime
    isolation = worker_options.isolation(options)
    return LoadRules(options.target_fallback, runtimes, options.convert_types, options.isolate, isolation)


def registry(options: argparse.Namespace, rules: LoadRules) -> Registry:
    """The graphs that the options name. Raises `UsageError`, or `NNError` for a missing model or file of graphs."""
    from wasi_nn.errors import NNError
    from wasi_nn.loading.registry import Registry

    registry = Registry(options.graphs, rules=rules)
    for name, graph in _graphs(options):
        if not name:
            raise UsageError("a graph's name can't be empty")
        if name in registry:
            raise UsageError(f"two graphs are named {name!r}: give one of them another name")
        if name in registry.guests:
            raise UsageError(f"a graph and a guest are both named {name!r}: give one of them another name")
        registry.add(name, graph)
    graphs = {name: registry.named(name) for name in registry}
    for name, graph in _with_settings(options.graph_option, graphs).items():
        try:
            registry.add(name, graph, overwrite=True)
        except NNError as error:
            raise UsageError(str(error)) from error
    registry.adjust = partial(_adjusted, options, dict(_graphs(options)))
    return registry


def _adjusted(
    options: argparse.Namespace, beside: Mapping[str, NamedGraph], in_file: Mapping[str, NamedGraph]
) -> dict[str, NamedGraph]:
    """The graphs of a file that is read again, with the settings of `--graph-option`; `beside` are those of other
    options. Raises `NNError` for a setting of a graph that isn't there any more."""
    from wasi_nn.errors import ErrorCode, NNError

    try:
        changed = _with_settings(options.graph_option, {**beside, **in_file})
    except UsageError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, str(error)) from error
    return {name: changed.get(name, graph) for name, graph in in_file.items()}


def _with_settings(texts: Sequence[str], named: Mapping[str, NamedGraph]) -> dict[str, NamedGraph]:
    """Those of the named graphs that `--graph-option` changes, with the changes."""
    graphs: dict[str, NamedGraph] = {}
    for text in texts:
        # A graph's name may have any characters, also these two.
        name = max((known for known in named if text.startswith(f"{known}:")), key=len, default=None)
        if name is None:
            raise UsageError(f"--graph-option {text}: {_why_no_graph(text, named)}")
        setting = text[len(name) + 1 :]
        graphs[name] = with_setting(f"--graph-option {text}", graphs.get(name, named[name]), setting)
    return graphs


def with_setting(option: str, graph: NamedGraph, setting: str) -> NamedGraph:
    """The graph with the setting KEY=VALUE of a command-line option, which errors show as the user wrote it. Raises
    `UsageError`."""
    from wasi_nn.errors import NNError
    from wasi_nn.loading import graphs_file

    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise UsageError(f"{option}: it takes KEY=VALUE, such as threads=2")
    try:
        return graphs_file.with_setting(graph, key, value)
    except NNError as error:
        raise UsageError(f"{option}: {error}") from error


def _why_no_graph(text: str, names: Iterable[str]) -> str:
    name, colon, _ = text.partition("=")[0].rpartition(":")
    if not colon:
        return "it takes NAME:KEY=VALUE, such as net:threads=2"
    known = list(names)
    if not known:
        return f"no graph is named {name!r}; there are none: name one by --graph NAME=PATH"
    return f"no graph is named {name!r}; the names here: {', '.join(known)}{nearest(name, known)}"


def _graphs(options: argparse.Namespace) -> Iterator[tuple[str, NamedGraph]]:
    """The graphs of the options that name a single graph, each with its name."""
    for text in options.graph:
        yield _graph(text)
    for text in options.nn_graph:
        yield _wasmtime_graph(text)
    for text in options.nn_preload:
        yield _wasmedge_graph(text)


_GRAPH_TAKES = "it takes NAME=PATH or NAME=ENCODING:TARGET:PATH"


def _graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.loading.named_graph import NamedGraph

    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise UsageError(f"--graph {text}: {_GRAPH_TAKES}")
    option = f"--graph {text}"
    encoding, colon, path = model.partition(":")
    if colon and encoding in ENCODINGS and ":" not in path and not os.path.exists(model):
        raise UsageError(f"{option}: {_GRAPH_TAKES}, such as {name}={encoding}:cpu:{path}")
    parts = model.split(":", 2)
    # Any other beginning may be a path with colons, unless what looks like a target follows and there is no such file.
    if len(parts) == 3 and (parts[0] in ENCODINGS or (parts[1] in TARGETS and not os.path.exists(model))):
        encoding, target, path = parts
        return name, NamedGraph(path, _encoding(option, encoding), _target(option, target))
    return name, NamedGraph(model)


def _wasmtime_graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.loading.named_graph import NamedGraph

    encoding, colons, directory = text.partition("::")
    name = os.path.basename(os.path.normpath(directory))
    if not (colons and directory and name not in (".", "..", os.sep)):
        raise UsageError(f"--nn-graph {text}: it takes ENCODING::DIR, and the graph gets the name of the directory")
    return name, NamedGraph(directory, _encoding(f"--nn-graph {text}", encoding.lower()))


def _wasmedge_graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.backends.remote.addresses import is_address
    from wasi_nn.loading.named_graph import NamedGraph

    parts = text.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise UsageError(f"--nn-preload {text}: it takes NAME:ENCODING:TARGET:PATH[:PATH]...")
    name, encoding, target, rest = parts
    target = "cpu" if target.lower() == "auto" else target.lower()
    paths = rest.split(":") if ":" in rest and not (is_address(rest) or os.path.exists(rest)) else rest
    option = f"--nn-preload {text}"
    return name, NamedGraph(paths, _encoding(option, encoding.lower()), _target(option, target))


def _encoding(option: str, encoding: str) -> str:
    return _word(option, "encoding", encoding, ENCODINGS)


def _target(option: str, target: str) -> str:
    return _word(option, "target", target, TARGETS)


def _word(option: str, kind: str, word: str, words: Sequence[str]) -> str:
    if word not in words:
        message = f"{option}: no {kind} is named {word!r}; there are {', '.join(words)}{nearest(word, words)}"
        raise UsageError(message)
    return word
