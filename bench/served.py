"""Measures a server under load: requests a second, and the processor time of its process for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import serving as bench
from bench.serving import Call, rate

CLIENTS = (1, 16)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """The results for one kind of requests to one server: the highest rate in requests a second, and the lowest
    processor time of a request in seconds."""

    make: Callable[[], Call]
    process: int
    rates: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def measure(self, clients: int) -> None:
        """Have this number of clients make requests for some time."""
        before = processor_seconds(self.process)
        found = rate(self.make, clients)
        took = (processor_seconds(self.process) - before) / (found * bench.SECONDS)
        self.rates[clients] = max(found, self.rates.get(clients, 0.0))
        self.seconds[clients] = min(took, self.seconds.get(clients, took))


def processor_seconds(process: int) -> float:
    """The processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure_in_turns(measured: Iterable[Measured], rounds: int) -> None:
    """Measure all kinds of requests in turns, for this number of rounds: so a disturbance affects all of them."""
    kinds = list(measured)
    for _ in range(rounds):
        for clients in CLIENTS:
            for each in kinds:
                each.measure(clients)


def print_table(measured: Mapping[str, Measured]) -> None:
    """Print a table with a row for each kind of requests."""
    print("| | requests a second, 1 client | 16 clients | processor time of a request, 1 client | 16 clients |")
    print("|---|---|---|---|---|")
    for name, each in measured.items():
        rates = " | ".join(f"{each.rates[clients]:.0f}" for clients in CLIENTS)
        times = " | ".join(f"{1e3 * each.seconds[clients]:.2f} ms" for clients in CLIENTS)
        print(f"| {name} | {rates} | {times} |")
