"""The cost of serving: a request by HTTP or gRPC compared with the bare compute, requests a second, and memory.

The server is the command in a process of its own. The clients are Python's http.client and grpcio; a plain echo of
Starlette and an empty method of grpcio show the least time that these libraries take.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx_models
import serving
from onnx import helper

import wasi_nn
from bench.ratios import best, side_by_side
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub

ROUNDS = 400
SECONDS = 3.0
MANY = 20_000  # requests
DIMS = [1, 3, 224, 224]
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Call = Callable[[], object]


def largest() -> bytes:
    """y = the largest element of x, an image f32 [1, 3, 224, 224] of 602,112 bytes."""
    node = helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)
    return onnx_models.build([node], {"x": (1, DIMS)}, {"y": (1, [])})


def echo(listening: Any) -> None:
    """Serve a plain echo by Starlette and uvicorn, and an empty method by grpcio; tells the two ports."""
    import asyncio

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from wasi_nn.oip.proto.open_inference_pb2_grpc import (
        GRPCInferenceServiceServicer,
        add_GRPCInferenceServiceServicer_to_server,
    )

    async def size(request: Request) -> Response:
        return Response(str(len(await request.body())))

    class Empty(GRPCInferenceServiceServicer):
        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            return messages.ModelInferResponse()

    async def serve() -> None:
        application = Starlette(routes=[Route("/", size, methods=["POST"])])
        config = uvicorn.Config(application, http="httptools", port=0, access_log=False, log_level="error")
        server = grpc.aio.server(options=UNBOUNDED)
        add_GRPCInferenceServiceServicer_to_server(Empty(), server)  # type: ignore[no-untyped-call]
        grpc_port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        plain = uvicorn.Server(config)
        task = asyncio.create_task(plain.serve())
        while not plain.started:
            await asyncio.sleep(0.01)
        listening.send((plain.servers[0].sockets[0].getsockname()[1], grpc_port))
        await task

    asyncio.run(serve())


@contextmanager
def echoes() -> Iterator[tuple[int, int]]:
    """The ports of the two echoes, in a process of their own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=echo, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def posting(address: tuple[str, int], path: str, body: bytes, headers: dict[str, str]) -> Call:
    """A request over a connection that stays."""
    connection = http.client.HTTPConnection(*address)

    def call() -> None:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {content!r}")

    return call


def inferring(address: tuple[str, int], model: str, array: Any) -> Call:
    """An inference by HTTP with binary tensors."""
    about = {"name": "x", "datatype": "FP32", "shape": list(array.shape)}
    request: dict[str, Any] = {"inputs": [about | {"parameters": {"binary_data_size": array.nbytes}}]}
    head = json.dumps(request | {"parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return posting(address, f"/v2/models/{model}/infer", head + array.tobytes(), headers)


def calling(address: str, model: str, array: Any) -> Call:
    """An inference by gRPC with raw tensors."""
    # A channel of its own for each client: otherwise they would share one connection.
    options = [*UNBOUNDED, ("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(address, options=options)
    stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]

    def call() -> object:
        request = messages.ModelInferRequest(model_name=model)
        request.inputs.add(name="x", datatype="FP32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
        return stub.ModelInfer(request)

    return call


def rate(make: Callable[[], Call], clients: int) -> float:
    """The requests a second of this number of clients, each a thread with a connection of its own, in processes of
    eight."""
    processes = max(1, clients // 8)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_drive, args=(make, clients // processes, queue)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total: int = sum(queue.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total / SECONDS


def _drive(make: Callable[[], Call], clients: int, queue: Any) -> None:
    counts = [0] * clients
    calls = [make() for _ in range(clients)]
    until = time.monotonic() + SECONDS

    def drive(place: int) -> None:
        while time.monotonic() < until:
            calls[place]()
            counts[place] += 1

    threads = [threading.Thread(target=drive, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(sum(counts))


def memory(process: int) -> int:
    """The bytes of memory that a process has for itself."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def latencies(server: serving.Command, ports: tuple[int, int], model: bytes) -> None:
    """Print the times of one request."""
    image = np.random.default_rng(1).random(DIMS, np.float32)
    graph = wasi_nn.load(model)
    four = np.zeros(4, np.float32)
    calls = {
        "`Graph.compute` in this process": lambda: graph.compute({"x": image}),
        "HTTP": inferring(server.http, "largest", image),
        "gRPC": calling(server.grpc, "largest", image),
        "a plain echo of Starlette": posting(("127.0.0.1", ports[0]), "/", image.tobytes(), {}),
        "an empty method of grpcio": calling(f"127.0.0.1:{ports[1]}", "largest", image),
        "16 bytes by HTTP": inferring(server.http, "net", four),
        "16 bytes by gRPC": calling(server.grpc, "net", four),
    }
    times = side_by_side(calls, ROUNDS)
    bare = best(times["`Graph.compute` in this process"])
    print("| 602,112 bytes in, 4 bytes out | ms | median | more than the compute |\n|---|---|---|---|")
    for name, taken in times.items():
        shown = f"{1e3 * best(taken):.2f} | {1e3 * statistics.median(taken):.2f} | {1e3 * (best(taken) - bare):+.2f}"
        print(f"| {name} | {shown} |")


def rates(server: serving.Command, ports: tuple[int, int]) -> None:
    """Print the requests a second. The clients are processes that haven't used gRPC before they are forked."""
    four = np.zeros(4, np.float32)
    makes: dict[str, Callable[[], Call]] = {
        "a plain echo of Starlette": lambda: posting(("127.0.0.1", ports[0]), "/", four.tobytes(), {}),
        "HTTP": lambda: inferring(server.http, "net", four),
        "an empty method of grpcio": lambda: calling(f"127.0.0.1:{ports[1]}", "net", four),
        "gRPC": lambda: calling(server.grpc, "net", four),
    }
    print("\n| 16 bytes in and out, requests a second | 1 client | 16 clients |\n|---|---|---|")
    for name, make in makes.items():
        print(f"| {name} | {rate(make, 1):.0f} | {rate(make, 16):.0f} |")


def loops(server: serving.Command, graphs: Path) -> None:
    """Print the requests a second with uvloop, which the server uses where it is installed, and without it."""
    four = np.zeros(4, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "uvloop.py").write_text("raise ImportError")
        path = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = f"{folder}:{path}"
        try:
            plain = serving.Command("--graphs", str(graphs))
        finally:
            os.environ["PYTHONPATH"] = path
    columns = ["HTTP", "gRPC", "HTTP, 16 clients", "gRPC, 16 clients"]
    print(f"\n| 16 bytes in and out, requests a second | {' | '.join(columns)} |\n|---|---|---|---|---|")
    try:
        plain.wait_until_ready()
        servers = {"Python's event loop": plain, "uvloop": server}
        best_rates: dict[str, list[float]] = {name: [0.0] * 4 for name in servers}
        for _ in range(3):
            for name, it in servers.items():
                makes = [partial(inferring, it.http, "net", four), partial(calling, it.grpc, "net", four)]
                rates = [rate(make, clients) for clients in (1, 16) for make in makes]
                best_rates[name] = [max(pair) for pair in zip(best_rates[name], rates, strict=True)]
    finally:
        plain.signal(signal.SIGTERM)
        plain.end()
    for name, rates in best_rates.items():
        print(f"| {name} | {' | '.join(f'{it:.0f}' for it in rates)} |")


def growth(server: serving.Command) -> None:
    """Print the memory of the server after many requests."""
    image = np.zeros(DIMS, np.float32)
    calls = [inferring(server.http, "largest", image), calling(server.grpc, "largest", image)]
    sizes = []
    for _ in range(5):
        for _ in range(MANY // 10):
            for call in calls:
                call()
        sizes.append(memory(server.process.pid))
    shown = ", ".join(f"{size / 2**20:.1f}" for size in sizes)
    print(f"\nMiB of the server's own memory after each fifth of {MANY} requests: {shown}")


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory() as folder, echoes() as ports:
        model = largest()
        graphs = serving.write_graphs(Path(folder), {"largest": model, "net": onnx_models.relu()})
        with serving.command("--graphs", str(graphs)) as server:
            loops(server, graphs)
            rates(server, ports)
            latencies(server, ports, model)
            growth(server)


if __name__ == "__main__":
    main()
