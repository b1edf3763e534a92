"""The time of an inference through the core ABI, as a ratio to ONNX Runtime called directly on the same array; and the
time of a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import models as real_models
import numpy as np
import onnx_models

import wasi_nn
from bench.guest_loop import descriptions_in_a_guest, through_a_guest
from bench.ratios import best, ratio, side_by_side
from wasi_nn.abi.core import host_functions
from wasi_nn.graph.runner import RunFunction


def contenders(model: bytes, tensor: Any, times: int) -> dict[str, Callable[[], object]]:
    """The same inferences through a guest and directly; each call makes `times` of them. Checks that results agree."""
    graph = wasi_nn.load(model, options={"threads": 1})
    run_guest, read = through_a_guest(graph, tensor, times)
    session: Any = graph.session  # type: ignore[attr-defined]
    name = graph.inputs[0].name

    def directly() -> None:
        for _ in range(times):
            session.run(None, {name: tensor})

    run_guest()
    expected = session.run(None, {name: tensor})[0].tobytes()
    assert read(len(expected)) == expected
    return {"guest": run_guest, "direct": directly}


def main() -> None:
    """Print the tables."""
    print("| one inference | through a guest | directly | ratio |\n|---|---|---|---|")
    image = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    networks = {f"convolutions of {n} channels": onnx_models.convolution(224, n) for n in (16, 64, 128)}
    networks["EfficientNet-Lite0"] = real_models.efficientnet().model.read_bytes()
    efficientnet = wasi_nn.load(networks["EfficientNet-Lite0"], options={"threads": 1})
    for name, model in networks.items():
        times = side_by_side(contenders(model, image, 10), rounds=40)
        guest, direct = times["guest"], times["direct"]
        each = f"{100 * best(guest):.3f} ms | {100 * best(direct):.3f} ms"
        print(f"| {image.nbytes:,} bytes in, {name} | {each} | {ratio(guest, direct)} |")

    print("\n| 4 floats, three host calls | through a guest | directly | the host's own |\n|---|---|---|---|")
    numbers = onnx_models.f32([1, -1, 2, -2])
    for way in ("raw", "public"):
        host_functions.RAW_CALLS = way == "raw"
        times = side_by_side(contenders(onnx_models.relu(), numbers, 2000), rounds=20)
        guest_us, direct_us = (1e6 * best(times[who]) / 2000 for who in ("guest", "direct"))
        print(f"| {way} calls | {guest_us:.2f} us | {direct_us:.2f} us | {guest_us - direct_us:.2f} us |")
    host_functions.RAW_CALLS = True

    print("\n| a description, with the call for its size | time |\n|---|---|")
    llm = "a language model, 40 texts of metadata"
    for name, graph in {"EfficientNet-Lite0": efficientnet, llm: _Described()}.items():
        times = side_by_side({"guest": descriptions_in_a_guest(graph, 200)}, rounds=20)
        print(f"| {name} | {1e6 * best(times['guest']) / 200:.1f} us |")


class _Described(wasi_nn.Graph):
    """A graph with the description of a language model."""

    def __init__(self) -> None:
        prompt, options = wasi_nn.TensorInfo.of_bytes("prompt"), wasi_nn.TensorInfo.of_bytes("options", optional=True)
        metadata = {f"llama.a_key_of_usual_length.{n}": "a value" for n in range(40)}
        super().__init__([prompt, options], [prompt, prompt], metadata)

    def runner(self) -> RunFunction:
        return lambda inputs, reuse: inputs


if __name__ == "__main__":
    main()
