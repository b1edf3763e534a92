"""`wasi-nn trace`: shows the calls of a trace, as a table, JSON or a page; compares two traces."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, json_output

if TYPE_CHECKING:
    from wasi_nn.tracing.trace_comparison import TraceComparison

_EPILOG = """\
CALL is a call's number in the table. Where a call has several tensors, it is
NUMBER:NAME, or NUMBER:input.NAME and NUMBER:output.NAME. With the files of
the example that wasi-nn sdk names:

  wasi-nn run --trace t.json --trace-data --graph colours=colours.onnx \\
      --dir . classify.wasm --graph colours --labels colours.txt apple.ppm
  wasi-nn trace t.json
  wasi-nn trace t.json --dump 3 input.npy
  wasi-nn trace t.json --compare t.json
  wasi-nn trace t.json --html t.html
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `trace` to the command's parser."""
    parser = subcommands.add_parser(
        "trace",
        usage=f"{PROGRAM} trace [OPTIONS] FILE",
        help="show the calls of a trace, or what differs between two",
        description="Show the calls of a trace, which wasi-nn run --trace records: arguments,\n"
        "tensors in numbers, results and times. With --compare, show what differs\n"
        "between two traces; the exit code is 1 if anything does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    json_output.add_option(parser)
    parser.add_argument(
        "--dump",
        nargs=2,
        metavar=("CALL", "OUT"),
        help="write a tensor of a call into a file of numpy's (.npy); the trace needs its data (--trace-data)",
    )
    parser.add_argument("--compare", metavar="OTHER", help="compare the calls with those of another trace")
    parser.add_argument(
        "--rtol", type=float, metavar="R", help="how far floats may differ, as a fraction of the value in FILE"
    )
    parser.add_argument(
        "--atol", type=float, metavar="A", help="how far floats may differ on top of --rtol, where both have data"
    )
    parser.add_argument("--html", metavar="OUT", help="write a page for browsers that needs no other file")
    parser.add_argument("trace", metavar="FILE", help="the trace")
    parser.set_defaults(main=main, module="wasi_nn.tracing.traced_calls")


def main(options: argparse.Namespace) -> int:
    """Show the trace; returns the exit code."""
    if options.dump and (options.compare or options.json or options.html):
        raise UsageError("--dump writes a tensor: leave --compare, --json and --html out")
    if options.json and options.html:
        raise UsageError("--json and --html: give one of them")
    if (options.rtol is not None or options.atol is not None) and not options.compare:
        raise UsageError("--rtol and --atol are for --compare OTHER")
    if options.dump:
        return _dump(options.trace, *options.dump)
    comparison = None
    if options.compare:
        from wasi_nn.tracing.trace_comparison import compare_traces

        comparison = compare_traces(options.trace, options.compare, rtol=options.rtol, atol=options.atol)
    if options.html:
        from wasi_nn.cli.pages.trace_page import write_trace_page

        print(write_trace_page(options.html, options.trace, comparison=comparison, compared_with=options.compare or ""))
    if comparison is not None:
        if not options.html:
            _print_json_of(comparison) if options.json else _print_comparison(comparison)
        return FAILURE if comparison.differ else 0
    if not options.html:
        from wasi_nn.cli.trace_table import print_json, print_table

        (print_json if options.json else print_table)(options.trace)
    return 0


def _dump(trace: str, call: str, out: str) -> int:
    from wasi_nn.tracing.tensor_dump import recorded_tensor, write_npy
    from wasi_nn.types import dims_text

    number, _, name = call.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UsageError(f"--dump {call}: CALL is a call's number, such as 3, or NUMBER:NAME")
    array = recorded_tensor(trace, int(number), name)
    write_npy(out, array)
    print(f"{out}: {array.dtype}{dims_text(array.shape)}")
    return 0


_MOST_SHOWN = 20  # calls that differ


def _print_comparison(comparison: TraceComparison) -> None:
    """Print the first call that differs with all of its differences, and a line for each further one."""
    from wasi_nn.cli.table import hanging, terminal_width

    width = terminal_width()
    for note in comparison.notes:
        print(hanging(note, width))
    for place, difference in enumerate(comparison.differences[:_MOST_SHOWN]):
        first, *more = difference.texts
        print(hanging(f"call {difference.numbers}, {difference.name}: {first}", width))
        for text in more if place == 0 else ():
            print(hanging(f"  {text}", width))
    if comparison.differ > _MOST_SHOWN:
        print(f"and {comparison.differ - _MOST_SHOWN:,} more calls that differ")
    print(hanging(comparison.summary, width))
    if comparison.differ and not comparison.with_data:
        print(hanging("without the data of both (--trace-data), elements are compared by hashes", width))


def _print_json_of(comparison: TraceComparison) -> None:
    from dataclasses import asdict

    facts = asdict(comparison) | {"ratio": comparison.ratio, "compute_ratio": comparison.compute_ratio}
    json_output.print_json(facts)
