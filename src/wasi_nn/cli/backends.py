"""`wasi-nn backends`: what can be run here, and what would have to be installed for the rest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.backends import Backend


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `backends` to the command's parser."""
    parser = subcommands.add_parser(
        "backends",
        help="show which encodings can be run here",
        description="Show each graph encoding with its runtime and devices, or with what to install for it.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Show the backends; gives the exit code."""
    from wasi_nn.backends import available
    from wasi_nn.types import GraphEncoding

    rows = [_row(backend) for backend in available()]
    served = {row["encoding"] for row in rows}
    nothing: dict[str, Any] = {"runtime": None, "version": None, "devices": {}, "install": None}
    rows += [{"encoding": e.value} | nothing for e in GraphEncoding if e.value not in served | {"autodetect"}]
    if options.json:
        import json

        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['encoding']:<16}{_summary(row)}")
    return 0


def _row(backend: Backend) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    row: dict[str, Any] = {"encoding": backend.encoding.value, "runtime": backend.distribution}
    try:
        devices = {target.value: device for target, device in backend.devices().items()}
        return row | {"version": version(backend.distribution), "devices": devices, "install": None}
    except (ImportError, PackageNotFoundError):
        return row | {"version": None, "devices": {}, "install": f"pip install 'wasi-nn[{backend.extra}]'"}


def _summary(row: dict[str, Any]) -> str:
    if row["runtime"] is None:
        return "no backend in this release"
    if row["install"]:
        return f"not installed: {row['install']}"
    devices = ", ".join(
        f"{target} ({device})" if target != device else target for target, device in row["devices"].items()
    )
    return f"{row['runtime']} {row['version']} on {devices}"
