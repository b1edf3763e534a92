"""`wasi-nn run`: runs a guest."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import PROGRAM, UsageError, extension_options, graph_options, keep, limit_options

if TYPE_CHECKING:
    from wasi_nn.guests.directories import Directory

_EPILOG = """\
The guest's own options come after its name. With the files of the example
that wasi-nn sdk names:

  wasi-nn run --graph colours=colours.onnx --dir . classify.wasm \\
      --graph colours --labels colours.txt apple.ppm
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run` to the command's parser."""
    parser = subcommands.add_parser(
        "run",
        usage=f"{PROGRAM} run [OPTIONS] GUEST [ARGS ...]",
        help="run a guest",
        description="Run a guest with the graphs and directories that it may use.\n"
        "The guest's output and exit code become the command's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    graph_options.add(parser)
    graph_options.add_load(parser)
    parser.add_argument("--allow-http", action="store_true", help="let a component make HTTP requests (wasi:http)")
    extension_options.add(parser)
    parser.add_argument(
        "--dialect",
        choices=("auto", "spec", "wasmedge", "wamr"),
        default="auto",
        help="the variant of wasi-nn that a core module was built for: the specification's, WasmEdge's or WAMR's "
        "(default: auto, by its imports)",
    )
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        metavar="HOST[::GUEST][:ro]",
        help="a directory that the guest may read and write, or with :ro only read; GUEST is its path for the guest "
        "(default: HOST; may be repeated; dirs in Python has GUEST first)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an environment variable of the guest (may be repeated)",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="record the guest's wasi-nn calls as a timeline, which Perfetto opens"
    )
    parser.add_argument(
        "--trace-data",
        action="store_true",
        help="also record models, inputs and outputs, in FILE.data: wasi-nn replay needs them",
    )
    parser.add_argument(
        "--log-calls",
        action="store_true",
        help="print each of the guest's wasi-nn calls as a line on stderr: arguments, result or error, and time",
    )
    parser.add_argument(
        "--stats", action="store_true", help="print the times, memory and number of nn calls of the run on stderr"
    )
    limit_options.add(parser)
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="compile the guest, even if its compiled code is cached, and don't cache it",
    )
    parser.add_argument("guest", metavar="GUEST", help="a .wasm or .wat file")
    parser.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the guest's arguments")
    parser.set_defaults(main=main, module="wasi_nn.host")


def main(options: argparse.Namespace) -> int:
    """Run the guest; returns its exit code."""
    dirs = _directories(options.dir)
    env = dict(_variable(text) for text in options.env)
    if options.trace_data and not options.trace:
        raise UsageError("--trace-data needs --trace FILE")
    rules = graph_options.rules(options)
    graphs = graph_options.registry(options, rules)
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=logging.WARNING)
    if sys.stderr.isatty():
        logging.getLogger("wasi_nn").setLevel(logging.INFO)  # which reports slow steps, such as compiling
    from wasi_nn.errors import GuestTrap
    from wasi_nn.host import Host

    limits, totals = limit_options.limits(options)
    if not hasattr(options, "max_output_bytes"):
        limits = replace(limits, output_bytes=None)  # the output is passed on, not kept in memory
    streams = options.streams
    if streams is None and limits.output_bytes is not None:
        streams = (1, 2)  # the engine doesn't count output that it writes itself
    host = Host(
        graphs,
        allow_load=options.allow_load or not options.no_load,
        allow_targets=options.allow_target,
        allow_names=options.allow_name,
        limits=limits,
        totals=totals,
        allow_http=options.allow_http,
        rules=rules,
        dialect=options.dialect,
        cache=not options.no_cache,
        extensions=options.allow_ext or not options.no_ext,
        show_metadata=not options.no_metadata,
    )
    if options.streams is not None:  # the process does nothing else
        keep(host)
    stats = None
    try:
        result = host.run(
            options.guest,
            options.args,
            env=env,
            dirs=dirs,
            stdin=sys.stdin,
            streams=streams,
            **_recording(options),
        )
        stats = result.stats
    except GuestTrap as trap:
        stats = trap.stats
        raise
    finally:
        if options.stats and stats is not None:
            from wasi_nn.cli.stats import print_stats

            print_stats(stats)
    return result.exit_code & 0xFF


def _recording(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Host.run` that have the guest's calls recorded, shown, or both."""
    if not options.log_calls:
        return {"trace": options.trace, "trace_data": options.trace_data}
    from wasi_nn.guests.guest_file import name_of
    from wasi_nn.tracing import CallLog, Trace

    file = (
        None if options.trace is None else Trace(options.trace, data=options.trace_data, title=name_of(options.guest))
    )
    return {"trace": CallLog(lambda line: print(f"{PROGRAM}: {line}", file=sys.stderr), file)}


def _directories(texts: Sequence[str]) -> dict[str, Directory]:
    from wasi_nn.errors import GuestError
    from wasi_nn.guests.directories import require_distinct

    dirs = [_directory(text) for text in texts]
    try:
        require_distinct(path for path, _ in dirs)
    except GuestError as error:
        raise UsageError(f"--dir: {error}") from error
    return dict(dirs)


def _directory(text: str) -> tuple[str, Directory]:
    from wasi_nn.guests.directories import READ_ONLY, Directory

    host, colons, guest = text.partition("::")
    last = guest if colons else host
    path = last.removesuffix(READ_ONLY)
    if not (host and path):
        raise UsageError(f"--dir {text}: it takes HOST or HOST::GUEST, and either may end in {READ_ONLY}")
    ending = path.rpartition(":")[2] if ":" in path else "/"
    if "/" not in ending and (colons or not os.path.isdir(path)):
        raise UsageError(
            f"--dir {text}: unknown ending ':{ending}'; the only one is {READ_ONLY}, for a read-only directory"
        )
    return path, Directory(host if colons else path, read_only=path != last)


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--env {text}: it takes KEY=VALUE")
    return key, value
