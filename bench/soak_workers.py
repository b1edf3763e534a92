"""Checks that isolated graphs give no wrong answers while their workers are killed at random.

Four threads compute on contexts of shared graphs, for a minute or for another number of seconds. A compute may fail
with the error that the worker is gone, but its answer must never be wrong. Afterwards, every context must compute.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import onnx_models

from wasi_nn import ExecutionContext, Graph, LoadRules, NNError, load

_THREADS = 4
_BETWEEN_KILLS = 0.5  # seconds, on average
_LONGEST = 5000  # elements


class Soak:
    """Threads that compute, and counts of their outcomes: `right`, `wrong`, and `errors` (the worker is gone)."""

    def __init__(self) -> None:
        rules = LoadRules(isolate=True)
        self.graphs = [load(onnx_models.relu(dims), rules=rules) for dims in ((4,), ("n",))]
        self.contexts = [(graph, graph.init_execution_context()) for graph in self.graphs for _ in range(_THREADS)]
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._lock = threading.Lock()

    def run(self, seconds: float, seed: int) -> int:
        """Compute and kill workers. Returns the number of workers that were killed."""
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._compute, args=[seed + number, self.contexts[number::_THREADS], until])
            for number in range(_THREADS)
        ]
        for thread in threads:
            thread.start()
        chance, kills = random.Random(seed), 0
        while time.monotonic() < until:
            time.sleep(chance.expovariate(1 / _BETWEEN_KILLS))
            with suppress(ProcessLookupError, NNError):
                os.kill(chance.choice(self.graphs).worker_process, signal.SIGKILL)  # type: ignore[attr-defined]
                kills += 1
        for thread in threads:
            thread.join()
        return kills

    def _compute(self, seed: int, contexts: list[tuple[Graph, ExecutionContext]], until: float) -> None:
        rng = np.random.default_rng(seed)
        counts: Counter[str] = Counter()
        while time.monotonic() < until:
            counts[self._outcome(rng, *contexts[rng.integers(len(contexts))])] += 1
        with self._lock:
            self.outcomes += counts

    def _outcome(self, rng: np.random.Generator, graph: Graph, context: ExecutionContext) -> str:
        count = 4 if graph.inputs[0].dims == (4,) else int(rng.integers(_LONGEST))
        x = rng.standard_normal(count, np.float32)
        apart = rng.random() < 0.2
        try:
            y = self._computed(context, x, apart)
        except NNError as error:
            if "is gone" in str(error):
                return "errors"
            self.failures.append(str(error))
            return "wrong"
        return "right" if np.array_equal(y, np.maximum(x, 0)) else "wrong"

    @staticmethod
    def _computed(context: ExecutionContext, x: Any, apart: bool) -> Any:
        if apart:
            return context.compute_named([("x", x)])[0][1]
        context.set_input(0, x)
        context.compute()
        return context.get_output(0)

    def unusable(self) -> int:
        """The number of contexts that don't give ten right answers after the killing has ended."""
        x = np.array([-1, 2, -3, 4], np.float32)
        for _, context in self.contexts:
            with suppress(NNError):  # the first compute may find that its worker is gone
                self._computed(context, x, False)
        return sum(
            not all(np.array_equal(self._computed(context, x, False), np.maximum(x, 0)) for _ in range(10))
            for _, context in self.contexts
        )


def main(seconds: float = 60) -> int:
    """Print the outcomes. Returns 1 if an answer was wrong or a context can't be used."""
    soak = Soak()
    kills = soak.run(seconds, seed=1)
    unusable = soak.unusable()
    counts = ", ".join(f"{soak.outcomes[name]:,} {name}" for name in ("right", "wrong", "errors"))
    print(f"{kills} workers killed in {seconds:.0f} s under {_THREADS} threads: {counts}")
    print(f"contexts that can't be used afterwards: {unusable} of {len(soak.contexts)}")
    for failure in soak.failures[:5]:
        print(f"an error of another kind: {failure}")
    return int(bool(soak.outcomes["wrong"] or unusable))


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2])))
