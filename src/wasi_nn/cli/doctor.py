"""`wasi-nn doctor`: checks this machine, and says what to do where something is wrong."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, json_output

if TYPE_CHECKING:
    from wasi_nn.cli.doctor_checks import Finding

_EPILOG = """\
For example, all checks, and only two of them:

  wasi-nn doctor
  wasi-nn doctor engine cache

A check is ok; or it warns of what may matter; or it found nothing (absent),
such as a runtime that isn't installed; or it failed. The exit code is 1 if
one failed, and 0 otherwise.
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the command's parser."""
    parser = subcommands.add_parser(
        "doctor",
        usage=f"{PROGRAM} doctor [--json] [CHECK ...]",
        help="check this machine, and say what to do where something is wrong",
        description="Check what guests and models need of this machine. Each runtime that is\ninstalled computes a "
        "tiny model, once here and once in isolation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checks", metavar="CHECK", nargs="*", help="a check's name, as the table has it (default: all)")
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.errors")


def main(options: argparse.Namespace) -> int:
    """Make the checks; returns the exit code."""
    from wasi_nn.cli.doctor_checks import CHECKS
    from wasi_nn.cli.progress import TerminalLine
    from wasi_nn.errors import nearest, printable

    for name in options.checks:
        if name not in CHECKS:
            known = f"there are {', '.join(CHECKS)}{nearest(name, CHECKS)}"
            raise UsageError(f"no check is named {printable(name)!r}; {known}")
    findings: list[Finding] = []
    under_way = TerminalLine(sys.stderr)
    for name in options.checks or CHECKS:
        under_way.show(f"checking {name} ...")
        for finding in CHECKS[name]():
            under_way.hide()
            findings.append(finding)
            if not options.json:
                _print(finding, max(map(len, CHECKS)))
    under_way.hide()
    if options.json:
        json_output.print_json([finding.as_json() for finding in findings])
    return FAILURE if any(finding.status == "failed" for finding in findings) else 0


def _print(finding: Finding, longest: int) -> None:
    from wasi_nn.cli.colours import Colours
    from wasi_nn.cli.table import hanging, terminal_width
    from wasi_nn.errors import printable

    paint = {"ok": "green", "warning": "yellow", "failed": "red", "absent": "dim"}[finding.status]
    line = f"{finding.status:<7}  {finding.check:<{longest}}  {printable(finding.found)}"
    shown = hanging(line, terminal_width())
    print(Colours().painted(shown[:7], paint) + shown[7:], flush=True)
    if finding.advice:
        print(hanging(f"           {printable(finding.advice)}", terminal_width()), flush=True)
