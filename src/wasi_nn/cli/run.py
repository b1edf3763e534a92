"""`wasi-nn run`: run a guest."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, PROGRAM, TARGETS, UsageError

if TYPE_CHECKING:
    from wasi_nn.registry import NamedGraph, Registry

_EPILOG = """\
The guest's own options come after its name. A graph's encoding is told from its bytes unless it is given.

  wasi-nn run --graph mobilenet=model.onnx --dir photos classify.wasm photos/cat.ppm
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run` to the command's parser."""
    parser = subcommands.add_parser(
        "run",
        help="run a guest",
        description="Run a guest with the graphs and directories that it may use. "
        "Its output and exit code are the command's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    graphs = parser.add_argument_group("graphs that the guest finds by name (each option may be repeated)")
    graphs.add_argument(
        "--graph",
        action="append",
        default=[],
        metavar="NAME=[ENCODING:TARGET:]PATH",
        help="a model file, or a directory that holds one",
    )
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
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--no-load", action="store_true", help="refuse models that the guest loads from its own bytes")
    load.add_argument(
        "--allow-load",
        action="append",
        choices=ENCODINGS[:-1],
        metavar="ENCODING",
        help="let the guest load such models, and no others, from its own bytes (may be repeated; "
        "by default, those whose runtimes withstand hostile bytes: onnx, tensorflowlite)",
    )
    parser.add_argument(
        "--no-http", action="store_true", help="refuse a component that makes HTTP requests (wasi:http)"
    )
    parser.add_argument(
        "--target-fallback",
        choices=TARGETS,
        help="where to run what asks for a target that isn't there (else refused)",
    )
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        metavar="HOST[::GUEST]",
        help="a directory that the guest may read and write, under the same path or another",
    )
    parser.add_argument(
        "--env", action="append", default=[], metavar="KEY=VALUE", help="a variable of the guest's environment"
    )
    parser.add_argument("--no-cache", action="store_true", help="compile the guest anew, and don't keep it")
    parser.add_argument("guest", metavar="GUEST", help="a .wasm or .wat file")
    parser.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the guest's arguments")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Run the guest; gives its exit code."""
    dirs = dict(_directory(text) for text in options.dir)
    env = dict(_variable(text) for text in options.env)
    graphs = _registry(options)
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=logging.WARNING)
    if sys.stderr.isatty():
        logging.getLogger("wasi_nn").setLevel(logging.INFO)  # what takes long
    # Ctrl-C ends the process at once, wherever the guest is; nothing of ours needs tidying up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from wasi_nn.host import Host

    host = Host(
        graphs,
        allow_load=options.allow_load or not options.no_load,
        allow_http=not options.no_http,
        target_fallback=options.target_fallback,
        cache=not options.no_cache,
    )
    return host.run(options.guest, options.args, env=env, dirs=dirs, stdin=sys.stdin).exit_code & 0xFF


def _registry(options: argparse.Namespace) -> Registry:
    from wasi_nn.registry import Registry

    registry = Registry(target_fallback=options.target_fallback)
    for name, graph in _graphs(options):
        if not name:
            raise UsageError("a graph's name can't be empty")
        if name in registry:
            raise UsageError(f"two graphs are named {name!r}: give one of them another name")
        registry.add(name, graph)
    return registry


def _graphs(options: argparse.Namespace) -> Iterator[tuple[str, NamedGraph]]:
    """The graphs of all three options, each with its name."""
    for text in options.graph:
        yield _graph(text)
    for text in options.nn_graph:
        yield _wasmtime_graph(text)
    for text in options.nn_preload:
        yield _wasmedge_graph(text)


def _graph(text: str) -> tuple[str, NamedGraph]:
    from wasi_nn.registry import NamedGraph

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

    from wasi_nn.registry import NamedGraph

    encoding, colons, directory = text.partition("::")
    name = os.path.basename(os.path.normpath(directory))
    if not (colons and directory and name not in (".", "..", os.sep)):
        raise UsageError(f"--nn-graph {text}: it takes ENCODING::DIR, and the name of the directory names the graph")
    return name, NamedGraph(directory, _encoding(text, encoding.lower()))


def _wasmedge_graph(text: str) -> tuple[str, NamedGraph]:
    import os

    from wasi_nn.registry import NamedGraph

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


def _directory(text: str) -> tuple[str, str]:
    host, colons, guest = text.partition("::")
    if not host or (colons and not guest):
        raise UsageError(f"--dir {text}: it takes HOST or HOST::GUEST")
    return guest or host, host


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--env {text}: it takes KEY=VALUE")
    return key, value
