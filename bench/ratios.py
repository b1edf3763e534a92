"""Functions that the benchmarks share: they time several calls side by side and compare the times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Timed = Callable[[], object]


def seconds(call: Timed) -> float:
    """The duration of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def side_by_side(calls: dict[str, Timed], rounds: int, pause: float = 0) -> dict[str, list[float]]:
    """Times of each call, in seconds. Each round makes all calls, so that a disturbance affects all of them. A pause,
    in seconds, precedes each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            times[name].append(seconds(call))
    return times


def best(times: list[float]) -> float:
    """The shortest time: that of the work without disturbances."""
    return min(times)


def ratio(times: list[float], base: list[float]) -> str:
    """The ratio to `base`, as text: of the shortest times, and of the medians."""
    medians = statistics.median(times) / statistics.median(base)
    return f"{best(times) / best(base):.3f} (medians {medians:.3f})"
