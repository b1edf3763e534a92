"""`wasi-nn cache`: shows the compiled guests that are kept, and removes them."""

from __future__ import annotations

import argparse

from wasi_nn.cli import PROGRAM, json_output

_EPILOG = """\
A guest is compiled at its first run, and later ones take it from the cache,
which has at most 2 GiB. For example:

  wasi-nn cache
  wasi-nn cache --clear
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cache` to the command's parser."""
    parser = subcommands.add_parser(
        "cache",
        usage=f"{PROGRAM} cache [--clear] [--json]",
        help="show where compiled guests are kept, and remove them",
        description="Show the folder of compiled guests, their number and their size.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clear", action="store_true", help="remove them all; guests are compiled again when they run")
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.guests.compile_cache")


def main(options: argparse.Namespace) -> int:
    """Show the cache, or empty it; returns the exit code."""
    from wasi_nn.errors import printable
    from wasi_nn.guests.compile_cache import CompileCache, default_directory

    directories = [default_directory(), default_directory() / "fuel"]
    files = [file for directory in directories for file in CompileCache(directory).files()]
    removed = [CompileCache(directory).clear() for directory in directories] if options.clear else []
    size = sum(file.size for file in files)
    if options.json:
        json_output.print_json(
            {"folder": str(directories[0]), "guests": len(files), "bytes": size, "removed": sum(removed)}
        )
        return 0
    guests = f"{len(files):,} compiled guest{'' if len(files) == 1 else 's'}, {size / 2**20:,.1f} MiB"
    print(f"{printable(str(directories[0]))}: {guests}{', removed' if options.clear else ''}")
    return 0
