"""`wasi-nn push`: puts a guest into a registry."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import PROGRAM, json_output, registry_options

if TYPE_CHECKING:
    from pathlib import Path

    from wasi_nn.cli.parser import Parser

_EPILOG = """\
For example, with a registry on this machine and the example that wasi-nn sdk
names:

  wasi-nn push classify.wasm oci://localhost:5000/classify:1.0
  wasi-nn run oci://localhost:5000/classify:1.0 --help
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `push` to the command's parser."""
    parser = subcommands.add_parser(
        "push",
        usage=f"{PROGRAM} push [OPTIONS] GUEST oci://HOST/NAME[:TAG]",
        help="put a guest into a registry",
        description="Put a guest into an OCI registry, and print its reference with the digest, which\n"
        "names just these bytes. The credentials are those that docker login or podman\nlogin keep.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("guest", metavar="GUEST", help="a .wasm or .wat file")
    parser.add_argument("reference", metavar="REFERENCE", help="oci://HOST/NAME:TAG")
    parser.add_argument(
        "--graphs",
        metavar="FILE",
        help="push this file of graphs too, with the models and guests that it names, which are in its directory",
    )
    parser.add_argument(
        "--sign",
        metavar="KEY.pem",
        help="sign the guest by this private key, in cosign's format, for --require-signature "
        "(the password of an encrypted key: COSIGN_PASSWORD in the environment)",
    )
    registry_options.add_plain_http(parser)
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.oci")


def main(options: argparse.Namespace) -> int:
    """Push the guest, and print its reference; returns the exit code."""
    from wasi_nn.oci import push_guest

    files = {} if options.graphs is None else _files_of(options.graphs)
    pushed = push_guest(
        options.guest, options.reference, files=files, sign=options.sign, **registry_options.settings(options)
    )
    if options.json:
        json_output.print_json({"reference": str(pushed), "digest": pushed.digest})
    else:
        print(pushed)
    return 0


def _files_of(path: str) -> dict[str, Path]:
    from pathlib import Path

    from wasi_nn.loading import graphs_file
    from wasi_nn.oci.pushing import files_of_graphs

    return files_of_graphs(path, graphs_file.read(Path(path)))
