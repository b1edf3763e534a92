"""Frameworks that are compiled to WebAssembly, compared with this host's native runtime.

    python -m bench.compiled_framework

The network EfficientNet-Lite0 runs on the same input in three ways: in ONNX Runtime by a guest of this host; in ONNX
Runtime for the web (compiled to WebAssembly, with SIMD and threads) on Node; and in ncnn, compiled to WebAssembly with
SIMD, inside a guest of this host. They take turns, each in a process of its own, first on one processor, then on two.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

import models as real_models
import numpy as np
from numpy.typing import NDArray

from bench import compiled_setup

GUESTS = Path(__file__).parent.parent / "guests"
TURNS, ROUNDS = 5, 20


class Way(NamedTuple):
    """A way to run the network: its title, the size of its WebAssembly in bytes, and the command for some rounds."""

    title: str
    size: int
    command: list[str]
    folder: Path | None = None


def turn(way: Way) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The seconds of each inference of a process, and its last output."""
    done = subprocess.run(way.command, cwd=way.folder, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(way.command)} failed: {done.stderr.decode(errors='replace').strip()}")
    (steps,) = struct.unpack_from("<Q", done.stdout)
    times = np.frombuffer(done.stdout, "<u8", ROUNDS * steps, offset=8).reshape(ROUNDS, steps)
    return times.sum(axis=1) / 1e9, np.frombuffer(done.stdout, "<f4", offset=8 + times.nbytes)


def ways(threads: int) -> list[Way]:
    """The ways that can use so many threads; the first is this host's."""
    model = real_models.efficientnet().model
    host = [sys.executable, "-m", "wasi_nn", "run"]
    guest = GUESTS / "c" / "measure.wasm"
    graph = ["--graph", f"efficientnet={model}", "--graph-option", f"efficientnet:threads={threads}"]
    web = compiled_setup.onnxruntime_web()
    of_web = next(web.parent.glob("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"))
    found = [
        Way(
            "a guest of wasi-nn, native ONNX Runtime",
            guest.stat().st_size,
            [*host, *graph, str(guest), "efficientnet", str(ROUNDS)],
        ),
        Way(
            "ONNX Runtime compiled to WebAssembly, on Node",
            of_web.stat().st_size,
            ["node", str(web), str(model), str(threads), str(ROUNDS)],
        ),
    ]
    if threads == 1:
        framework, network = compiled_setup.ncnn(model)
        command = [*host, "--dir", f"{network}::.", str(framework), str(ROUNDS)]
        found.append(Way("ncnn compiled to WebAssembly, in a guest of wasi-nn", framework.stat().st_size, command))
    return found


def main() -> None:
    """Print the table."""
    processors = sorted(os.sched_getaffinity(0))
    print("| threads | way | size of the WebAssembly | an inference, best (median) | ratio of best | of medians |")
    print("|---|---|---|---|---|---|")
    for threads in (1, 2):
        if len(processors) < threads:
            continue
        tried = ways(threads)
        os.sched_setaffinity(0, processors[-threads:])  # also of the processes that this one starts
        taken: list[list[NDArray[np.float64]]] = [[] for _ in tried]
        outputs = []
        for _ in range(TURNS):
            for times, way in zip(taken, tried, strict=True):
                seconds, output = turn(way)
                times.append(seconds)
                outputs.append(output)
        for output in outputs:
            np.testing.assert_allclose(output, outputs[0], rtol=1e-2, atol=1e-2)
        best = [float(np.concatenate(times).min()) for times in taken]
        middle = [median(float(np.median(turn)) for turn in times) for times in taken]
        for number, way in enumerate(tried):
            ratios = f"{best[number] / best[0]:.1f} | {middle[number] / middle[0]:.1f}"
            figures = f"{1e3 * best[number]:.1f} ms ({1e3 * middle[number]:.1f})"
            print(f"| {threads} | {way.title} | {way.size / 1000:,.0f} kB | {figures} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
