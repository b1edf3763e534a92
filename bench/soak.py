"""Whether a host stays as it is through ten thousand guests that end in every way and leave all that they had; and
whether isolated graphs go on rightly while their workers are killed (`soak_workers`).

The first argument is another number of guests, the second is for how many seconds workers are killed.
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
"""By how much a measure may be more at the end than half-way: allocators don't give all back at once, and deadlines
that were cleared are kept until there are many. Of the others, nothing may be left."""


def soak(host: Host, sessions: int) -> list[tuple[int, Footprint]]:
    """Footprints after so and so many sessions, the first once all is warm."""
    found = []
    every = max(1, sessions // _TIMES_LOOKED)
    for done in range(sessions + 1):
        if done % every == 0:
            found.append((done, Footprint.now()))
        UNTIDY[done % len(UNTIDY)](host)
    return found


def growth(found: list[tuple[int, Footprint]]) -> float:
    """The bytes of memory that a session leaves behind: the slope over the second half, when all is warm."""
    later = found[len(found) // 2 :]
    slope: float = np.polyfit([done for done, _ in later], [footprint.memory for _, footprint in later], 1)[0]
    return slope


def main() -> int:
    """Print the tables; gives 1 if something leaks."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    logging.disable()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        found = soak(Host(graphs(), cache=cache), sessions)
    seconds = time.perf_counter() - begun
    print(f"| sessions | {' | '.join(name.replace('_', ' ') for name in MEASURES)} |")
    print("|---" * (len(MEASURES) + 1) + "|")
    for done, footprint in found:
        values = [f"{getattr(footprint, name):,}" for name in MEASURES]
        print(f"| {done:,} | {' | '.join(values)} |")
    slope = growth(found)
    print(f"\n{sessions:,} sessions in {seconds:.0f} s; each leaves {slope:.0f} bytes of resident memory (second half)")
    warm, last = found[len(found) // 2][1], found[-1][1]
    leaks = [name for name in MEASURES if getattr(last, name) > getattr(warm, name) + _MAY_GROW_BY.get(name, 0)]
    print(f"leaks: {', '.join(leaks) or 'none'}\n")
    return bool(leaks) | soak_workers.main(float(sys.argv[2]) if len(sys.argv) > 2 else 60)


if __name__ == "__main__":
    sys.exit(main())
