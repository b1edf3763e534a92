"""Checks that a host leaks nothing over ten thousand guests that release nothing, and then runs `soak_workers`.

The first argument is another number of guests, the second is the number of seconds for `soak_workers`.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time

import numpy as np
from footprint import MEASURES, Footprint
from untidy_guests import UNTIDY, graphs

from bench import soak_workers
from wasi_nn import Host

_TIMES_LOOKED = 10
_MAY_GROW_BY = {"memory": 4 * 2**20, "objects": 20_000}
"""How much a measure may grow in the second half: allocators don't release all memory at once, and the watchdog keeps
some cleared alarms. No other measure may grow."""


def soak(host: Host, sessions: int) -> list[tuple[int, Footprint]]:
    """Run guests; returns footprints after certain numbers of sessions."""
    footprints = []
    every = max(1, sessions // _TIMES_LOOKED)
    for done in range(sessions + 1):
        if done % every == 0:
            footprints.append((done, Footprint.now()))
        UNTIDY[done % len(UNTIDY)](host)
    return footprints


def growth(footprints: list[tuple[int, Footprint]]) -> float:
    """The bytes of memory that a session leaks: the slope over the second half, after caches are filled."""
    later = footprints[len(footprints) // 2 :]
    slope: float = np.polyfit([done for done, _ in later], [footprint.memory for _, footprint in later], 1)[0]
    return slope


def main() -> int:
    """Print the tables. Returns 1 if something leaks or `soak_workers` fails."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    logging.disable()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        footprints = soak(Host(graphs(), cache=cache), sessions)
    seconds = time.perf_counter() - begun
    print(f"| sessions | {' | '.join(name.replace('_', ' ') for name in MEASURES)} |")
    print("|---" * (len(MEASURES) + 1) + "|")
    for done, footprint in footprints:
        values = [f"{getattr(footprint, name):,}" for name in MEASURES]
        print(f"| {done:,} | {' | '.join(values)} |")
    slope = growth(footprints)
    print(f"\n{sessions:,} sessions in {seconds:.0f} s; each leaves {slope:.0f} bytes of resident memory (second half)")
    warm, last = footprints[len(footprints) // 2][1], footprints[-1][1]
    leaks = [name for name in MEASURES if getattr(last, name) > getattr(warm, name) + _MAY_GROW_BY.get(name, 0)]
    print(f"leaks: {', '.join(leaks) or 'none'}\n")
    return bool(leaks) | soak_workers.main(float(sys.argv[2]) if len(sys.argv) > 2 else 60)


if __name__ == "__main__":
    sys.exit(main())
