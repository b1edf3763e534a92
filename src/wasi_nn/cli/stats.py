"""Prints the facts about a run (`wasi-nn run --stats`), or writes them as JSON (`--stats-json`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import PROGRAM
from wasi_nn.errors import GuestTrap, WasiNNError, printable

if TYPE_CHECKING:
    from wasi_nn.guests.run_stats import RunStats
    from wasi_nn.guests.runs import RunResult


class Report:
    """The outcome of a run: its result, or its failure."""

    result: RunResult | None = None
    failure: WasiNNError | None = None

    @property
    def stats(self) -> RunStats | None:
        """The facts about the run, if the guest ran."""
        if self.result is not None:
            return self.result.stats
        return self.failure.stats if isinstance(self.failure, GuestTrap) else None

    def as_json(self, guest: str) -> dict[str, Any]:
        """The facts for programs. docs/reference/command.md has the keys."""
        from wasi_nn.guests.run_stats import RunStats

        exit_code = None if self.result is None else self.result.exit_code & 0xFF
        error = None if self.failure is None else str(self.failure)
        facts = asdict(self.stats or RunStats())
        return {"guest": guest, "exit_code": exit_code, "error": error, **facts}


@contextmanager
def reported(guest: str, *, shows: bool, path: str | None) -> Iterator[Report]:
    """Report the run in the block, however it ends: on stderr if `shows`, and in the file at `path`. Raises `OSError`
    before the run for a file that can't be written."""
    report = Report()
    with ExitStack() as stack:
        file = None if path is None else stack.enter_context(open(path, "w", encoding="utf-8"))
        try:
            yield report
        except WasiNNError as error:
            report.failure = error
            raise
        finally:
            if shows and report.stats is not None:
                print_stats(report.stats)
            if file is not None:
                file.write(json.dumps(report.as_json(printable(guest)), indent=2) + "\n")


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
