"""The cost of isolation: an inference in a worker compared with one in this process, and the replacement of a
worker."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
from classifiers import classifier

import wasi_nn
from bench.guest_loop import through_a_guest
from bench.ratios import best, ratio, side_by_side
from wasi_nn.isolation import Isolation

_ISOLATED = wasi_nn.LoadRules(isolate=True)
_SIZE = 602_112  # bytes: an image f32 [1, 3, 224, 224]


def contenders(model: bytes | Path, tensor: Any, options: dict[str, int]) -> dict[str, Callable[[], object]]:
    """Ten inferences through a core guest on the same model: in this process, and in a worker."""
    calls: dict[str, Callable[[], object]] = {}
    for name, rules in (("here", None), ("isolated", _ISOLATED)):
        graph = wasi_nn.load(model, options=options, rules=rules)
        calls[name], _ = through_a_guest(graph, tensor, 10)
    return calls


def replacement(model: bytes | Path, tensor: Any) -> tuple[list[float], list[float], int]:
    """Seconds of a compute that has to replace its worker, three times without a spare and with one; and the bytes of
    memory that the spare has for itself."""
    times: list[list[float]] = [[], []]
    contexts = []
    for spare in (False, True):
        graph: Any = wasi_nn.load(model, rules=wasi_nn.LoadRules(isolate=Isolation(spare=spare)))
        context = graph.init_execution_context()
        context.set_input(0, tensor)
        context.compute()
        contexts.append((graph, context))
    own = 0
    for _ in range(3):
        for (graph, context), taken in zip(contexts, times, strict=True):
            while context is contexts[1][1] and graph.spare_process is None:
                time.sleep(0.1)
            own = own if graph.spare_process is None else _own_memory(graph.spare_process)
            worker = graph.worker_process
            os.kill(worker, signal.SIGKILL)
            os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)  # releasing its memory takes a while
            begun = time.perf_counter()
            context.compute()
            taken.append(time.perf_counter() - begun)
            while context is contexts[1][1] and graph.spare_process is None:  # it would slow down the other graph
                time.sleep(0.1)
    return times[0], times[1], own


def _own_memory(process: int) -> int:
    """The bytes of memory that a process shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def main() -> None:
    """Print the tables."""
    image = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    assert image.nbytes == _SIZE
    print(f"| one inference, {_SIZE:,} bytes in | here | isolated | ratio |\n|---|---|---|---|")
    cases: dict[str, tuple[bytes | Path, dict[str, int]]] = {
        f"onnxruntime, convolutions of {n} channels": (onnx_models.convolution(224, n), {"threads": 1})
        for n in (16, 64, 128)
    }
    for kind in ("onnx", "openvino", "torchscript", "saved_model", "tflite"):
        cases[f"{kind}, EfficientNet-Lite0"] = (classifier(kind), {} if kind == "torchscript" else {"threads": 1})
    for name, (model, options) in cases.items():
        times = side_by_side(contenders(model, image, options), rounds=15)
        here, isolated = times["here"], times["isolated"]
        each = f"{100 * best(here):.2f} ms | {100 * best(isolated):.2f} ms"
        print(f"| {name} | {each} | {ratio(isolated, here)} |", flush=True)

    print(
        "\n| a killed worker is replaced, and the model loaded and run (medians of 3) | without | with a spare |",
        end="",
    )
    print(" its own memory |\n|---|---|---|---|")
    for kind in ("onnx", "openvino", "torchscript", "saved_model", "tflite"):
        without, spare, own = replacement(classifier(kind), image)
        each = f"{statistics.median(without):.2f} s | {statistics.median(spare):.2f} s"
        print(f"| {kind} | {each} | {own / 2**20:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
