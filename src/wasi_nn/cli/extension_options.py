"""The options that say which extensions of wasi-nn a guest may use."""

from __future__ import annotations

import argparse

EXTENSIONS = ("describe", "signatures", "state", "sequences", "byte-strings")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("extensions of wasi-nn (docs/reference/extensions.md)")
    interfaces = group.add_mutually_exclusive_group()
    interfaces.add_argument("--no-ext", action="store_true", help="run no guest that imports an extension")
    interfaces.add_argument(
        "--allow-ext",
        action="append",
        choices=EXTENSIONS,
        metavar="NAME",
        help=f"allow only this extension (may be repeated; default: all): {', '.join(EXTENSIONS)}",
    )
    group.add_argument(
        "--no-metadata", action="store_true", help="leave out what models say about themselves where a guest asks"
    )
