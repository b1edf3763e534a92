"""The time of an inference in each backend, as a ratio to the runtime called directly; the gain from a second thread.

The network is EfficientNet-Lite0, in each runtime's own format. Each backend is measured in a separate process, since
the threads of several runtimes would disturb each other.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import classifiers
import numpy as np

import wasi_nn
from bench import direct
from bench.guest_loop import through_a_guest
from bench.ratios import best, ratio, side_by_side

# By name: the format, the runtime, the direct caller, and the options of the graph.
BACKENDS: dict[str, tuple[str, str, Callable[[Any], Callable[[], direct.Caller]], dict[str, Any]]] = {
    "ONNX, onnxruntime": ("onnx", "onnxruntime", direct.onnxruntime, {"threads": 1}),
    "OpenVINO IR, openvino": ("openvino", "openvino", direct.openvino, {"threads": 2, "streams": 2}),
    "TorchScript, torch": ("torchscript", "torch", direct.torchscript, {}),
    ".pt2, torch": ("pt2", "torch", direct.pt2, {}),
    "SavedModel, tensorflow": ("saved_model", "tensorflow", direct.saved_model, {"threads": 1}),
    "TensorFlow Lite, ai_edge_litert": ("tflite", "ai_edge_litert", direct.tflite, {"threads": 1}),
}
SECONDS, TIMES = 1.0, 10


def measured(name: str) -> str:
    """A row of the table."""
    kind, runtime, directly, options = BACKENDS[name]
    model = classifiers.classifier(kind)
    image = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    caller = directly(model)
    graph = wasi_nn.load(model, runtime=runtime, options=options)
    run, read = through_a_guest(graph, image, TIMES)
    run()
    call = caller()
    expected = np.asarray(call(image))
    np.testing.assert_allclose(np.frombuffer(read(expected.nbytes), np.float32), expected.reshape(-1), atol=1e-4)

    def repeatedly() -> None:
        for _ in range(TIMES):
            call(image)

    times = side_by_side({"guest": run, "direct": repeatedly}, rounds=25)

    def guest_caller() -> direct.Caller:
        run_in_thread, _ = through_a_guest(graph, image, 1)
        return lambda _: run_in_thread()

    scaling = [_scaling(made, image) for made in (guest_caller, caller)]
    each = " | ".join(f"{1e3 / TIMES * best(times[who]):.2f} ms" for who in ("direct", "guest"))
    return f"| {name} | {each} | {ratio(times['guest'], times['direct'])} | {scaling[0]:.2f} | {scaling[1]:.2f} |"


def _scaling(caller: Callable[[], direct.Caller], image: Any) -> float:
    """The throughput of two threads as a ratio to one thread's: the best of four runs each, measured alternately."""
    one, two = zip(*((_throughput(caller, image, 1), _throughput(caller, image, 2)) for _ in range(4)), strict=True)
    return float(max(two) / max(one))


def _throughput(caller: Callable[[], direct.Caller], image: Any, threads: int) -> float:
    """Inferences per second on so many threads, each with a separate caller."""

    def work(call: direct.Caller) -> int:
        count, end = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            call(image)
            count += 1
        return count

    callers = [caller() for _ in range(threads)]
    for call in callers:
        call(image)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, callers)) / SECONDS


def main() -> None:
    """Print the table."""
    logging.disable()
    print("| EfficientNet-Lite0, one thread | directly | through a guest | ratio | 2 threads on one graph | directly |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in BACKENDS:
        command = [sys.executable, "-m", "bench.backends", name]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode != 0:
            sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        warnings.simplefilter("ignore")
        print(measured(sys.argv[1]), flush=True)
    else:
        main()
