"""What batches give: requests a second with and without them, and the bytes of memory after many requests.

The server is the command in a process of its own, and serves one model under two names: `single`, and `batched`, whose
requests are joined to up to 16 rows. The clients are Python's http.client and grpcio. Both names are measured in turns,
so that a disturbance affects both; the best of the rounds counts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import serving
from onnx import helper, numpy_helper

from bench import serving as bench
from bench.serving import Call, calling, inferring, memory, rate

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


def makes(server: serving.Command, array: Any) -> dict[tuple[str, str], Callable[[], Call]]:
    """The clients, by protocol and model."""
    return {
        (protocol, name): (
            (lambda name=name: inferring(server.http, name, array))  # type: ignore[misc]
            if protocol == "HTTP"
            else (lambda name=name: calling(server.grpc, name, array))  # type: ignore[misc]
        )
        for protocol in ("HTTP", "gRPC")
        for name in ("single", "batched")
    }


def rates(server: serving.Command, array: Any) -> None:
    """Print the requests a second, and the ratios."""
    print("| requests a second | 1 client | 16 clients |\n|---|---|---|")
    found: dict[tuple[str, str, int], list[float]] = {}
    clients = makes(server, array)
    for _ in range(ROUNDS):
        for (protocol, name), make in clients.items():
            for count in (1, 16):
                found.setdefault((protocol, name, count), []).append(rate(make, count))
    for protocol in ("HTTP", "gRPC"):
        for name in ("single", "batched"):
            shown = " | ".join(f"{max(found[protocol, name, count]):.0f}" for count in (1, 16))
            print(f"| {protocol}, {name} | {shown} |")
        ratios = (max(found[protocol, "batched", each]) / max(found[protocol, "single", each]) for each in (1, 16))
        print(f"| {protocol}, batched over single | {' | '.join(f'{each:.2f}' for each in ratios)} |")
    (counted,) = server.ask("GET", "/v2/models/batched/stats")[1]["model_stats"]
    print(f"\nrows of an execution, mean: {counted['inference_count'] / counted['execution_count']:.1f}")


def growth() -> None:
    """Print the memory of the server after many requests of the model that costs nothing."""
    row = np.ones((1, 4), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = graphs(Path(folder), onnx_models.relu(("n", 4)))
        with serving.command("--graphs", str(path)) as server:
            server.wait_until_ready()
            bench.SECONDS = 2.0
            for (protocol, name), make in makes(server, row).items():
                sizes: list[str] = []
                done, goal = 0.0, 0.0
                while done < MANY:
                    done += rate(make, 16) * bench.SECONDS
                    if done >= goal:
                        sizes.append(f"{memory(server.process.pid) / 2**20:.1f}")
                        goal += MANY / 5
                print(
                    f"MiB of the server after each fifth of {done:.0f} requests, {protocol}, {name}: {', '.join(sizes)}"
                )


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
