"""The cost of a model on another server: an inference and a token of a text, compared with the same model in this
process.

The server is the command in a process of its own, on this machine. A bare client (grpcio's stub and `http.client`)
shows the least time that these libraries take. The language model is tiny: most of a token's time is its transport."""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import ggml_models
import numpy as np
import onnx_models
import serving

import wasi_nn
from bench.ratios import best, side_by_side
from bench.serving import DIMS, calling, largest

ROUNDS = 300
TEXTS = 40
TOKENS = 200

Call = Callable[[], object]


def bound(graph: wasi_nn.Graph, array: object) -> Call:
    """An inference of an execution context whose input is set once."""
    context = graph.init_execution_context()
    context.set_input("x", array)  # type: ignore[arg-type]
    return context.compute


def inferences(address: str, model: bytes) -> None:
    """Print the times of one inference."""
    image = np.random.default_rng(1).random(DIMS, np.float32)
    four = np.zeros(4, np.float32)
    calls = {
        "in this process": bound(wasi_nn.load(model), image),
        "on the server (`grpc://`)": bound(wasi_nn.load(f"grpc://{address}/largest"), image),
        "a bare client of the server": calling(address, "largest", image),
        "16 bytes, in this process": bound(wasi_nn.load(onnx_models.relu()), four),
        "16 bytes, on the server": bound(wasi_nn.load(f"grpc://{address}/net"), four),
        "16 bytes, a bare client": calling(address, "net", four),
    }
    times = side_by_side(calls, ROUNDS)
    print("| 602,112 bytes in, 4 bytes out | ms | median |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {1e3 * best(taken):.3f} | {1e3 * statistics.median(taken):.3f} |")


def writing(graph: wasi_nn.Graph) -> Call:
    """A text, piece by piece."""
    options = json.dumps({"n-predict": TOKENS}).encode()

    def write() -> None:
        context = graph.init_execution_context()
        context.set_input("prompt", b"a")
        context.set_input("options", options)
        if sum(1 for _ in context.pieces()) != TOKENS:
            raise SystemExit("the text has another number of tokens")

    return write


def reading(address: tuple[str, int]) -> Call:
    """A text by `http.client`, which reads the events and nothing in them."""
    body = json.dumps({"model": "llm", "prompt": "a", "max_tokens": TOKENS, "seed": 0, "stream": True})

    def read() -> None:
        connection = http.client.HTTPConnection(*address)
        connection.request("POST", "/v1/completions", body)
        response = connection.getresponse()
        if response.status != 200 or not response.read().endswith(b"data: [DONE]\n\n"):
            raise SystemExit("the server gave no text")
        connection.close()

    return read


def texts(address: tuple[str, int], model: bytes) -> None:
    """Print the times of a token."""
    calls = {
        "in this process": writing(wasi_nn.load(model)),
        "on the server (`openai+http://`)": writing(wasi_nn.load(f"openai+http://{address[0]}:{address[1]}/v1#llm")),
        "a bare client of the server": reading(address),
    }
    times = side_by_side(calls, TEXTS)
    print(f"\n| a text of {TOKENS} tokens | microseconds a token | median |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {1e6 * best(taken) / TOKENS:.0f} | {1e6 * statistics.median(taken) / TOKENS:.0f} |")


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        model, language_model = largest(), ggml_models.steady()
        graphs = serving.write_graphs(Path(folder), {"largest": model, "net": onnx_models.relu()})
        (Path(folder) / "llm.gguf").write_bytes(language_model)
        with serving.command("--graphs", str(graphs), "--graph", f"llm={Path(folder) / 'llm.gguf'}") as server:
            server.wait_until_ready()
            inferences(server.grpc, model)
            texts(server.http, language_model)


if __name__ == "__main__":
    main()
