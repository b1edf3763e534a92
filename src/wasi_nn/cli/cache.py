"""`wasi-nn cache`: shows the guests that are kept, compiled or pulled from registries, and removes them."""

from __future__ import annotations

import argparse

from wasi_nn.cli import PROGRAM, json_output

_EPILOG = """\
A guest is compiled at its first run, and later ones take it from the cache,
which has at most 2 GiB. A guest from a registry is pulled once. For example:

  wasi-nn cache
  wasi-nn cache --clear
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cache` to the command's parser."""
    parser = subcommands.add_parser(
        "cache",
        usage=f"{PROGRAM} cache [--clear] [--json]",
        help="show where compiled and pulled guests are kept, and remove them",
        description="Show the folders of compiled and of pulled guests, their number and their size.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--clear", action="store_true", help="remove them all; guests are compiled and pulled again when they run"
    )
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.guests.compile_cache")


def main(options: argparse.Namespace) -> int:
    """Show the cache, or empty it; returns the exit code."""
    from wasi_nn.errors import counted, printable
    from wasi_nn.guests.compile_cache import cache_in, default_directory
    from wasi_nn.oci import pulling

    compiled = [cache_in(default_directory(), fuel=fuel) for fuel in (False, True)]
    sizes = {
        "compiled": [file.size for cache in compiled for file in cache.files()],
        "pulled": list(pulling.kept_guests().values()),
    }
    folders = {"compiled": default_directory(), "pulled": pulling.default_cache()}
    removed = dict.fromkeys(sizes, 0)
    if options.clear:
        removed = {"compiled": sum(cache.clear() for cache in compiled), "pulled": pulling.remove_guests()}
    facts = {
        kind: {"folder": str(folder), "guests": len(sizes[kind]), "bytes": sum(sizes[kind]), "removed": removed[kind]}
        for kind, folder in folders.items()
    }
    if options.json:
        json_output.print_json({**facts["compiled"], "pulled": facts["pulled"]})
        return 0
    for kind, folder in folders.items():
        count, size = len(sizes[kind]), sum(sizes[kind]) / 2**20
        guests = f"{counted(count, f'{kind} guest')}, {size:,.1f} MiB"
        print(f"{printable(str(folder))}: {guests}{', removed' if options.clear else ''}")
    return 0
