"""`wasi-nn replay`: make the calls of a trace again, and compare what comes of them."""

from __future__ import annotations

import argparse

from wasi_nn.cli import FAILURE, PROGRAM, graph_options

_EPILOG = """\
Names may be served by other models, encodings, runtimes or targets than when the trace was recorded:

  wasi-nn run --graph net=net.onnx --trace t.json --trace-data guest.wasm
  wasi-nn replay --graph net=net.onnx --runtime onnx=openvino t.json
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `replay` to the command's parser."""
    parser = subcommands.add_parser(
        "replay",
        help="make the calls of a recorded guest again, and compare",
        description="Make the calls of a trace that was recorded with --trace-data again, without the guest, and say "
        "call by call what differs. Exit code 1 if anything does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    graph_options.add(parser)
    graph_options.add_load(parser)
    parser.add_argument(
        "--rtol", type=float, metavar="R", help="how far floats may differ, as a part of what was recorded"
    )
    parser.add_argument("--atol", type=float, metavar="A", help="and how far besides (defaults by type: docs/trace.md)")
    parser.add_argument("trace", metavar="FILE", help="the trace; its data is in FILE.data")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Replay the trace; gives the exit code."""
    import logging

    from wasi_nn.tracing.replay import replay

    rules = graph_options.rules(options)
    graphs = graph_options.registry(options, rules)
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=logging.WARNING)
    found = replay(
        options.trace,
        graphs,
        allow_load=options.allow_load or not options.no_load,
        rules=rules,
        rtol=options.rtol,
        atol=options.atol,
        report=lambda difference: print(difference, flush=True),
    )
    if found.cut_short:
        print("the trace ends in the middle: what is whole was replayed")
    left_out = f", {found.left_out} left out for want of their graph" if found.left_out else ""
    print(f"{found.calls} calls{left_out}, {found.outputs} outputs compared, {len(found.differences)} differences")
    return FAILURE if found.differences else 0
