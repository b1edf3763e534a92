"""`wasi-nn pull`: gets a guest from a registry, with the files that were pushed beside it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import PROGRAM, json_output, registry_options
from wasi_nn.cli.steps import report_steps

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser

_EPILOG = """\
wasi-nn run, map and inspect take a reference where they take a guest, and pull
it by themselves. For example, with a registry on this machine:

  wasi-nn pull oci://localhost:5000/colours:1.0 colours
  wasi-nn run --graphs colours/graphs.toml colours/classify.wasm
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `pull` to the command's parser."""
    parser = subcommands.add_parser(
        "pull",
        usage=f"{PROGRAM} pull [OPTIONS] oci://HOST/NAME[:TAG][@DIGEST] DIRECTORY",
        help="get a guest from a registry",
        description="Get a guest from an OCI registry into a new directory, with the files that were\n"
        "pushed beside it, such as a file of graphs and its models. Look at a file of\n"
        "graphs of someone else before you use it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reference", metavar="REFERENCE", help="the guest: oci://HOST/NAME:TAG or with a digest")
    parser.add_argument("directory", metavar="DIRECTORY", help="a new or empty directory")
    registry_options.add(parser)
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.oci")


def main(options: argparse.Namespace) -> int:
    """Pull the guest, and print the paths of its files; returns the exit code."""
    from wasi_nn.errors import printable
    from wasi_nn.oci import pull_files

    report_steps()
    paths = pull_files(options.reference, options.directory, **registry_options.settings(options))
    if options.json:
        json_output.print_json({"files": [str(path) for path in paths]})
    else:
        print(*(printable(str(path)) for path in paths), sep="\n")
    return 0
