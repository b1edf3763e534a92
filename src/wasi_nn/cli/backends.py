"""`wasi-nn backends`: lists the ML runtimes, their devices, and how to install those that are missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import ENCODINGS, PROGRAM, TARGETS, json_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wasi_nn.backends import Backend


_BROKEN = "can't be used"

_EPILOG = """\
For example, for a person and for a program:

  wasi-nn backends
  wasi-nn backends --json
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `backends` to the command's parser."""
    parser = subcommands.add_parser(
        "backends",
        usage=f"{PROGRAM} backends [OPTIONS]",
        help="list the ML runtimes, their devices, and how to install missing ones",
        description="List the runtimes for each graph encoding, in the order of preference, with\ntheir "
        "device for each target. For a runtime that isn't installed, show the\ncommand that installs it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.backends")


def main(options: argparse.Namespace) -> int:
    """List the backends; returns the exit code."""
    from importlib.metadata import packages_distributions

    from wasi_nn.backends import available, remote

    distributions = packages_distributions()
    rows = sorted(
        (_row(b, distributions) for b in (*available(), *remote())), key=lambda row: ENCODINGS.index(row["encoding"])
    )
    if options.json:
        json_output.print_json(rows)
        return 0
    _print_table(rows)
    return 0


def _row(backend: Backend, distributions: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    from importlib.metadata import version

    import wasi_nn
    from wasi_nn.backends import how_to_install, module_of
    from wasi_nn.errors import one_line
    from wasi_nn.loading.rules import LoadRules

    row: dict[str, Any] = {
        "encoding": backend.encoding.value,
        "runtime": backend.runtime,
        "version": None,
        "devices": {},
        "install": None,
        "guests_may_load": LoadRules().let_guests_load(backend),
    }
    try:
        devices = {target.value: device for target, device in backend.devices().items()}
    except ModuleNotFoundError:
        return row | {"install": how_to_install(backend)}
    except Exception as error:  # the runtime is installed, but broken
        return row | {"install": f"{_BROKEN}: {one_line(error)}"}
    names = distributions.get(module_of(backend).partition(".")[0])
    own = wasi_nn.__version__ if backend.schemes else None  # a client that is a part of this package
    return row | {"version": version(names[0]) if names else own, "devices": devices}


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from wasi_nn.cli.table import hanging, table, terminal_width
    from wasi_nn.settings import how_to_install_extra

    width = terminal_width()
    cells = [("encoding", "runtime", "version", *TARGETS)]
    for row in rows:
        version = "missing" if row["install"] else row["version"] or ""
        cells.append((row["encoding"], row["runtime"], version, *(row["devices"].get(it, "-") for it in TARGETS)))
    print(*table(cells, width=width), sep="\n")
    missing = {row["runtime"]: row["install"] for row in rows if row["install"]}
    if all(row["install"] for row in rows if row["devices"] != {"cpu": "remote"}):
        print(hanging(f"no runtime is installed yet: {how_to_install_extra('onnx')} is a good first one", width))
    for runtime, install in missing.items():
        is_broken = install.startswith(_BROKEN)
        print(hanging(f"{runtime} {install}" if is_broken else f"{runtime} isn't installed: {install}", width))
