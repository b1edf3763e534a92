"""Prints the facts about a run (`wasi-nn run --stats`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wasi_nn.cli import PROGRAM

if TYPE_CHECKING:
    from wasi_nn.guests.run_stats import RunStats


def print_stats(stats: RunStats) -> None:
    """Print the facts about a run to stderr, one a line."""
    print(f"{PROGRAM}: the run in numbers", file=sys.stderr)
    for name, value in _rows(stats):
        print(f"  {name:<14}{value:>12}", file=sys.stderr)


def _rows(stats: RunStats) -> list[tuple[str, str]]:
    compiling = "from cache" if stats.from_cache else "compiling"
    memory = "unknown" if stats.guest_memory is None else f"{stats.guest_memory / 2**20:,.1f} MiB"
    return [
        (compiling, _seconds(stats.compile_time)),
        ("running", _seconds(stats.run_time)),
        ("  loading", _seconds(stats.load_time)),
        ("  computing", _seconds(stats.compute_time)),
        ("guest memory", memory),
        ("nn calls", f"{stats.nn_calls:,}"),
        ("  failed", f"{stats.nn_failures:,}"),
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:,.3f} s"
