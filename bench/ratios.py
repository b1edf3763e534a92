"""What the benchmarks share: timing two things side by side, and saying by how much they differ."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Timed = Callable[[], object]


def seconds(call: Timed) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def side_by_side(calls: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Times of each call, in seconds: one of each in every round, so that what disturbs one disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def best(times: list[float]) -> float:
    """The least of the times: what the work costs when nothing disturbs it."""
    return min(times)


def ratio(times: list[float], base: list[float]) -> str:
    """How many times as long as `base`: of the best of each, and of the medians."""
    medians = statistics.median(times) / statistics.median(base)
    return f"{best(times) / best(base):.3f} (medians {medians:.3f})"
