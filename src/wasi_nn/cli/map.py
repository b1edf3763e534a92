"""`wasi-nn map`: runs a guest once for each item of a data set."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, host_options, keep, limit_options, registry_options
from wasi_nn.cli.progress import Progress

if TYPE_CHECKING:
    from wasi_nn.cli.map_inputs import Inputs
    from wasi_nn.cli.map_results import Results
    from wasi_nn.cli.parser import Parser
    from wasi_nn.mapping.guest_map import GuestMap, Item
    from wasi_nn.tracing import Trace

_FIRST = (
    *("--graph", "--graphs", "--dir", "--output", "--resume", "--retry-failed"),
    *("--jobs", "--give", "--from-file", "--json"),
)
_EPILOG = """\
Each item is a run in a sandbox of its own, and its result a line of JSON. The
guest's arguments come after --, where {} stands for the item. With the files of
the example that wasi-nn sdk names:

  wasi-nn map --graph colours=colours.onnx --dir .:ro classify.wasm apple.ppm \\
      -- --graph colours --labels colours.txt {}

With --output and --resume, a map that was interrupted goes on where it ended:

  wasi-nn map --graph colours=colours.onnx --dir .:ro classify.wasm *.ppm \\
      --output results.jsonl --resume -- --graph colours --labels colours.txt

The exit code is 1 if an item failed. docs/how-to/map.md has the fields of a
result.
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `map` to the command's parser."""
    parser = subcommands.add_parser(
        "map",
        usage=f"{PROGRAM} map [OPTIONS] GUEST INPUT... [-- ARGS ...]",
        help="run a guest for each item of a data set",
        description="Run a guest once for each item of a data set, some at a time.\nThe results are lines of JSON.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.words_to, parser.behind_to = "inputs", "args"
    items = parser.add_argument_group("items")
    items.add_argument(
        "--give",
        choices=("path", "content", "lines"),
        default="path",
        help="how the guest gets an item. path: a file as an argument, with its directory to read; content: a file as "
        "standard input; lines: each line of the files as the standard input of a run of its own (default: path)",
    )
    items.add_argument("--from-file", metavar="LIST", help="a file with the path of a file in each line; - for stdin")
    items.add_argument(
        "--null", action="store_true", help="the paths of LIST end with a zero byte, as find -print0 has it"
    )
    items.add_argument("--jobs", type=limit_options.count, metavar="N", help="runs at a time (default: processors)")
    results = parser.add_argument_group("results")
    results.add_argument("--output", metavar="FILE", help="the file of the results (default: standard output)")
    results.add_argument(
        "--resume", action="store_true", help="go on with FILE: skip the items that have a result in it"
    )
    results.add_argument("--retry-failed", action="store_true", help="with --resume: run the items again that failed")
    results.add_argument("--unordered", action="store_true", help="write a result as soon as it is there")
    results.add_argument(
        "--json", action="store_true", help="the guest's output is JSON: it becomes a part of the result"
    )
    results.add_argument("--max-failures", type=limit_options.count, metavar="N", help="stop after so many failures")
    results.add_argument("--quiet", action="store_true", help="show neither progress nor a summary on stderr")
    results.add_argument(
        "--trace", metavar="FILE", help="record the nn calls of all items in a trace, each item as a run of its own"
    )
    results.add_argument("--trace-data", action="store_true", help="also record models, inputs and outputs")
    host_options.add(parser)
    host_options.add_limits(parser)
    parser.add_argument("guest", metavar="GUEST", help="a .wasm or .wat file, or oci://HOST/NAME:TAG")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="a file; - for a list of files, or lines, on stdin")
    parser.first_options = _FIRST
    parser.set_defaults(main=main, module="wasi_nn.mapping.guest_map")


@dataclass
class _Counts:
    """What became of the items."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    failed_before: int = 0

    @property
    def all(self) -> int:
        """Those that were looked at."""
        return self.done + self.failed + self.skipped + self.failed_before


def main(options: argparse.Namespace) -> int:
    """Run the guest for all items; returns the exit code."""
    if options.resume and options.output is None:
        raise UsageError("--resume needs --output FILE")
    if options.retry_failed and not options.resume:
        raise UsageError("--retry-failed needs --resume")
    if options.trace_data and not options.trace:
        raise UsageError("--trace-data needs --trace FILE")
    from wasi_nn.cli.map_inputs import Inputs
    from wasi_nn.cli.map_results import Results
    from wasi_nn.mapping.guest_map import GuestMap
    from wasi_nn.process.processors import processors

    dirs, env = host_options.directories(options), host_options.environment(options)
    inputs = Inputs(options.inputs, options.from_file, options.give, b"\0" if options.null else b"\n")
    jobs = options.jobs or processors()
    limits, totals = limit_options.limits(options)
    if hasattr(options, "max_workers") and totals.workers is not None:
        totals = replace(totals, workers=totals.workers * jobs)  # the option is for one guest
    host = host_options.host(options, limits, totals)
    if options.streams is not None:  # the process does nothing else
        keep(host)
    options.guest = registry_options.file_of(options.guest, options)
    counts, began = _Counts(), time.monotonic()
    with Results(options.output, resumes=options.resume) as results, _trace(options) as trace:
        if results.mended:
            print(f"{PROGRAM}: {options.output}: dropped the last line, which was torn", file=sys.stderr)
        items = _items(inputs, results, counts, retries=options.retry_failed)
        guest_map = GuestMap(
            host,
            options.guest,
            items,
            options.args,
            jobs=jobs,
            ordered=not options.unordered,
            env=env,
            dirs=dirs,
            trace=trace,
        )
        with closing(guest_map), _stopped_by_signals(guest_map) as signals:
            first = _write(options, guest_map, results, counts, inputs.count)
    if not options.quiet:
        print(f"{PROGRAM}: {_summary(counts, time.monotonic() - began, signals)}", file=sys.stderr)
        if first:
            print(f"{PROGRAM}: the first failure: {first}", file=sys.stderr)
    if signals:
        return 128 + signals[0]
    return FAILURE if counts.failed or counts.failed_before else 0


def _trace(options: argparse.Namespace) -> AbstractContextManager[Trace | None]:
    """The trace of all items, if the options ask for one."""
    if not options.trace:
        return nullcontext()
    from wasi_nn.tracing import Trace

    return Trace(options.trace, data=options.trace_data, title="wasi-nn map", runs=True)


def _items(inputs: Inputs, results: Results, counts: _Counts, *, retries: bool) -> Iterator[Item]:
    """The items that have no result yet."""
    for name, line in inputs.items():
        if results.has_done(name):
            counts.skipped += 1
        elif not retries and results.has_failed(name):
            counts.failed_before += 1
        else:
            yield inputs.item(name, line)


def _write(
    options: argparse.Namespace, guest_map: GuestMap, results: Results, counts: _Counts, count: int | None
) -> str:
    """Write all results; returns the name of the first item that failed, the reason, and the guest's last words."""
    from wasi_nn.cli.map_results import record
    from wasi_nn.errors import last_words, printable

    progress = Progress(None if options.quiet else sys.stderr, count)
    first = ""
    try:
        for result in guest_map:
            content = record(result, parses=options.json)
            if options.output is None and sys.stdout.isatty():
                progress.hide()
            results.write(content)
            if content["ok"]:
                counts.done += 1
            else:
                counts.failed += 1
                first = first or printable(f"{content['item']}: {content['error']}{last_words(result.stderr)}")
                if counts.failed == options.max_failures:
                    guest_map.stop()
            progress.show(counts.all, counts.failed + counts.failed_before, counts.skipped + counts.failed_before)
    finally:
        progress.hide()
    return first


def _summary(counts: _Counts, seconds: float, signals: list[int]) -> str:
    rate = (counts.done + counts.failed) / seconds if seconds else 0.0
    parts = [f"{counts.done:,} done", f"{counts.failed:,} failed"]
    if counts.skipped:
        parts.append(f"{counts.skipped:,} were done before")
    if counts.failed_before:
        parts.append(f"{counts.failed_before:,} had failed before (--retry-failed runs them again)")
    how = "interrupted" if signals else "ended"
    return f"{', '.join(parts)}; {how} after {seconds:.1f} s, {rate:,.1f} a second"


@contextmanager
def _stopped_by_signals(guest_map: GuestMap) -> Iterator[list[int]]:
    """During the block, Ctrl-C and SIGTERM stop the map; a second one ends the process at once. Gives a list that has
    the number of the signal that came."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def stop(number: int, _: object) -> None:
        came.append(number)
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        # The handler may have interrupted this thread while it has the map's locks.
        threading.Thread(target=guest_map.stop).start()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield came
    finally:
        for caught, action in before.items():
            signal.signal(caught, action)
