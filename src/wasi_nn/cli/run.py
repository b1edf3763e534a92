"""`wasi-nn run`: runs a guest."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import PROGRAM, UsageError, host_options, keep, limit_options, registry_options

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser
    from wasi_nn.guests.runs import RunResult

_FIRST = (
    *("--graph", "--graphs", "--dir", "--env", "--runtime"),
    *("--isolate", "--allow-http", "--log-calls", "--stats", "--trace"),
)
_EPILOG = """\
The guest's own options come after its name. With the files of the example
that wasi-nn sdk names:

  wasi-nn run --graph colours=colours.onnx --dir . classify.wasm \\
      --graph colours --labels colours.txt apple.ppm
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
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
    host_options.add(parser)
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
    parser.add_argument(
        "--stats-json",
        metavar="FILE",
        help="write these facts into FILE as JSON, with the exit code or the error",
    )
    host_options.add_limits(parser)
    parser.add_argument("guest", metavar="GUEST", help="a .wasm or .wat file, or oci://HOST/NAME:TAG")
    parser.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the guest's arguments")
    parser.first_options = _FIRST
    parser.set_defaults(main=main, module="wasi_nn.host")


def main(options: argparse.Namespace) -> int:
    """Run the guest; returns its exit code."""
    dirs, env = host_options.directories(options), host_options.environment(options)
    if options.trace_data and not options.trace:
        raise UsageError("--trace-data needs --trace FILE")
    limits, totals = limit_options.limits(options)
    if not hasattr(options, "max_output_bytes"):
        limits = replace(limits, output_bytes=None)  # the output is passed on, not kept in memory
    streams = options.streams
    if streams is None and limits.output_bytes is not None:
        streams = (1, 2)  # the engine doesn't count output that it writes itself
    host = host_options.host(options, limits, totals)
    if options.streams is not None:  # the process does nothing else
        keep(host)
    options.guest = registry_options.file_of(options.guest, options)
    settings: dict[str, Any] = {"env": env, "dirs": dirs, "stdin": sys.stdin, "streams": streams}
    if not (options.stats or options.stats_json):
        return _exit_code(options, host.run(options.guest, options.args, **settings, **_recording(options)))
    from wasi_nn.cli.stats import reported

    with reported(options.guest, shows=options.stats, path=options.stats_json) as report:
        result = report.result = host.run(options.guest, options.args, **settings, **_recording(options))
    return _exit_code(options, result)


def _exit_code(options: argparse.Namespace, result: RunResult) -> int:
    """The command's exit code. Where the guest failed, options that it got in the command's place are named."""
    misplaced = _misplaced(options) if result.exit_code else []
    if misplaced:
        flags = " and ".join(misplaced)
        hint = f"if {flags} behind the guest's name {'are' if misplaced[1:] else 'is'} meant for this command"
        print(f"{PROGRAM} run: {hint}: the command's own options stand before the guest", file=sys.stderr)
    return result.exit_code & 0xFF


def _misplaced(options: argparse.Namespace) -> list[str]:
    """The options for graphs and directories that the guest got, in the form that the command takes, and the command
    didn't."""
    given = list(zip(options.args, options.args[1:], strict=False))
    graph = not (options.graph or options.graphs) and any(flag == "--graph" and "=" in value for flag, value in given)
    directory = not options.dir and any(flag == "--dir" for flag, _ in given)
    return ["--graph"] * graph + ["--dir"] * directory


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
