"""The gain from batches: requests a second with and without them, and the bytes of memory after many requests.

The server is the command in a process of its own, and serves one model under two names: `single`, and `batched`, whose
requests are joined to up to 16 rows. The clients are Python's http.client and grpcio. Both names are measured in turns,
so that a disturbance affects both; the best of the rounds counts. With the argument `growth`, the memory is measured.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import serving
from onnx import helper, numpy_helper

from bench import serving as bench
from bench.served import Measured, measure_in_turns, print_table
from bench.serving import calling, inferring, memory, rate

LAYERS, WIDTH = 8, 1024
ROWS = 16
ROUNDS = 5
MANY = 100_000  # requests


def perceptron() -> bytes:
    """Eight layers of 1,024, f32 [n, 1024] to the same, with 32 MiB of weights."""
    random = np.random.default_rng(3)
    nodes, weights, last = [], [], "x"
    for place in range(LAYERS):
        scaled = (random.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
        weights.append(numpy_helper.from_array(scaled, f"w{place}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"h{place}"]))
        last = "y" if place == LAYERS - 1 else f"r{place}"
        nodes.append(helper.make_node("Relu", [f"h{place}"], [last]))
    return onnx_models.build(nodes, {"x": (1, ["n", WIDTH])}, {"y": (1, ["n", WIDTH])}, weights)


def graphs(folder: Path, model: bytes) -> Path:
    """A file of graphs with the model under both names."""
    (folder / "model.onnx").write_bytes(model)
    lines = [
        "[graphs.single]\npath = 'model.onnx'\noptions = { threads = 1 }\n",
        f"[graphs.batched]\npath = 'model.onnx'\nmax-batch = {ROWS}\noptions = {{ threads = 1 }}\n",
    ]
    path = folder / "graphs.toml"
    path.write_text("".join(lines))
    return path


def kinds(server: serving.Command, array: Any) -> dict[str, Measured]:
    """The kinds of requests, by their names."""
    process = server.process.pid
    return {
        "HTTP, single": Measured(lambda: inferring(server.http, "single", array), process),
        "HTTP, batched": Measured(lambda: inferring(server.http, "batched", array), process),
        "gRPC, single": Measured(lambda: calling(server.grpc, "single", array), process),
        "gRPC, batched": Measured(lambda: calling(server.grpc, "batched", array), process),
    }


def rates(server: serving.Command, array: Any) -> None:
    """Print the requests a second, the ratios, and the sizes of batches."""
    measured = kinds(server, array)
    measure_in_turns(measured.values(), ROUNDS)
    print_table(measured)
    for protocol in ("HTTP", "gRPC"):
        single, batched = measured[f"{protocol}, single"], measured[f"{protocol}, batched"]
        faster, cheaper = batched.rates[16] / single.rates[16], single.seconds[16] / batched.seconds[16]
        print(
            f"\n{protocol}, 16 clients: {faster:.1f} times as many requests, 1/{cheaper:.1f} of the processor for each"
        )
    before = counted(server)
    measured["HTTP, batched"].measure(16)
    after = counted(server)
    print(f"\nrows of a batch with 16 clients, mean: {(after[0] - before[0]) / (after[1] - before[1]):.1f}")


def counted(server: serving.Command) -> tuple[int, int]:
    """The rows and the executions of the model in batches so far."""
    (statistics,) = server.ask("GET", "/v2/models/batched/stats")[1]["model_stats"]
    return statistics["inference_count"], statistics["execution_count"]


def growth() -> None:
    """Print the memory of the server after many requests of the model that costs nothing."""
    row = np.ones((1, 4), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = graphs(Path(folder), onnx_models.relu(("n", 4)))
        with serving.command("--graphs", str(path)) as server:
            server.wait_until_ready()
            bench.SECONDS = 2.0
            for name, kind in kinds(server, row).items():
                sizes: list[str] = []
                done, goal = 0.0, 0.0
                while done < MANY:
                    done += rate(kind.make, 16) * bench.SECONDS
                    if done >= goal:
                        sizes.append(f"{memory(server.process.pid) / 2**20:.1f}")
                        goal += MANY / 5
                shown = f"{done:.0f} requests, {name}: {', '.join(sizes)}"
                print(f"MiB of the server after each fifth of {shown}", flush=True)


def main() -> None:
    """Print all tables; with `growth` as an argument, the memory only."""
    if sys.argv[1:] == ["growth"]:
        growth()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = graphs(Path(folder), perceptron())
        with serving.command("--graphs", str(path)) as server:
            server.wait_until_ready()
            bench.SECONDS = 1.5
            rates(server, np.ones((1, WIDTH), np.float32))


if __name__ == "__main__":
    main()
