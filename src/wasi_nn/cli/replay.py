"""`wasi-nn replay`: makes the calls of a trace again, and compares their outputs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, graph_options, json_output
from wasi_nn.cli.steps import report_steps
from wasi_nn.errors import counted

if TYPE_CHECKING:
    from wasi_nn.tracing.replay import Replayed

_EPILOG = """\
A name may now stand for another model, encoding, runtime or target than in
the recorded run. With the files of the example that wasi-nn sdk names:

  wasi-nn run --trace t.json --trace-data --graph colours=colours.onnx \\
      --dir . classify.wasm --graph colours --labels colours.txt apple.ppm
  wasi-nn replay --graph colours=colours.onnx t.json
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `replay` to the command's parser."""
    parser = subcommands.add_parser(
        "replay",
        usage=f"{PROGRAM} replay [OPTIONS] FILE",
        help="make the calls of a trace again, and compare the outputs",
        description="Make the calls of a trace again, without the guest, and print each difference.\n"
        "The trace must have been recorded with --trace-data.\n"
        "The exit code is 1 if anything differs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    graph_options.add(parser)
    graph_options.add_load(parser)
    parser.add_argument(
        "--rtol", type=float, metavar="R", help="how far floats may differ, as a fraction of the recorded value"
    )
    parser.add_argument(
        "--atol",
        type=float,
        metavar="A",
        help="how far floats may differ on top of --rtol (defaults by type: docs/how-to/trace.md)",
    )
    json_output.add_option(parser)
    parser.add_argument("--html", metavar="OUT", help="also write a page of the trace with these differences")
    parser.add_argument("trace", metavar="FILE", help="the trace; FILE.data has its data")
    parser.set_defaults(main=main, module="wasi_nn.tracing.replay")


def main(options: argparse.Namespace) -> int:
    """Replay the trace; returns the exit code."""
    if options.json and options.html:
        raise UsageError("--json and --html: give one of them")
    from wasi_nn.cli.table import hanging, terminal_width
    from wasi_nn.tracing.replay import replay

    width = terminal_width()
    rules = graph_options.rules(options)
    graphs = graph_options.registry(options, rules)
    report_steps()
    replayed = replay(
        options.trace,
        graphs,
        allow_load=options.allow_load or not options.no_load,
        rules=rules,
        rtol=options.rtol,
        atol=options.atol,
        report=None if options.json else lambda difference: print(hanging(str(difference), width), flush=True),
    )
    if options.json:
        json_output.print_json(_as_json(replayed))
        return FAILURE if replayed.differences else 0
    if replayed.cut_short:
        print("the trace ends in the middle: all its complete calls were replayed")
    counts = [counted(replayed.calls, "call")]
    counts += [f"{replayed.left_out} left out for a missing graph"] if replayed.left_out else []
    counts += [f"{counted(replayed.outputs, 'output')} compared", counted(len(replayed.differences), "difference")]
    print(hanging(", ".join(counts), width))
    if options.html:
        from wasi_nn.cli.pages.trace_page import write_trace_page

        print(write_trace_page(options.html, options.trace, replayed=replayed, outcome=", ".join(counts)))
    return FAILURE if replayed.differences else 0


def _as_json(replayed: Replayed) -> dict[str, Any]:
    return {
        "calls": replayed.calls,
        "outputs": replayed.outputs,
        "left_out": replayed.left_out,
        "cut_short": replayed.cut_short,
        "differences": [{"call": it.call, "name": it.name, "text": it.text} for it in replayed.differences],
    }
