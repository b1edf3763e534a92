"""`wasi-nn backends`: lists the ML runtimes, their devices, and how to install those that are missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import ENCODINGS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wasi_nn.backends import Backend


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `backends` to the command's parser."""
    parser = subcommands.add_parser(
        "backends",
        help="list the ML runtimes, their devices, and how to install missing ones",
        description="List the runtimes for each graph encoding, in the order in which they are chosen, with their "
        "device for each target. For a runtime that isn't installed, show the command that installs it.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """List the backends; returns the exit code."""
    from importlib.metadata import packages_distributions

    from wasi_nn.backends import available

    distributions = packages_distributions()
    rows = sorted((_row(b, distributions) for b in available()), key=lambda row: ENCODINGS.index(row["encoding"]))
    if options.json:
        import json

        print(json.dumps(rows, indent=2))
        return 0
    _print_table(rows)
    return 0


def _row(backend: Backend, distributions: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    from importlib.metadata import version

    from wasi_nn.errors import one_line

    row: dict[str, Any] = {
        "encoding": backend.encoding.value,
        "runtime": backend.runtime,
        "version": None,
        "devices": {},
        "install": None,
        "guests_may_load": backend.withstands_hostile_bytes,
    }
    try:
        devices = {target.value: device for target, device in backend.devices().items()}
    except ModuleNotFoundError:
        return row | {"install": f"pip install 'wasi-nn[{backend.extra}]'"}
    except Exception as error:  # the runtime is installed, but broken
        return row | {"install": f"it can't be used: {one_line(error)}"}
    names = distributions.get(backend.runtime.partition(".")[0])
    return row | {"version": version(names[0]) if names else None, "devices": devices}


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    table = [("encoding", "runtime", *TARGETS)]
    for row in rows:
        runtime = f"{row['runtime']} {row['version'] or ''}".rstrip()
        if row["install"]:
            table.append((row["encoding"], runtime, f"not installed: {row['install']}", "", ""))
        else:
            table.append((row["encoding"], runtime, *(row["devices"].get(target, "-") for target in TARGETS)))
    widths = [max(len(line[column]) for line in table if len(line[2]) < 40) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
