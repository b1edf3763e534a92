"""A model that costs nothing on `wasi-nn serve`, compared with kserve's ModelServer and a plain echo: requests a
second, and the processor time of the server for each.

kserve has an environment of its own: `python -m venv DIR && DIR/bin/pip install kserve`, some 450 MB. Then
`python -m bench.serving_kserve DIR/bin/python`. Its model computes in the event loop, and its server writes no log.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import serving

from bench import serving as bench
from bench.served import Measured, measure_in_turns, print_table
from bench.serving import Call, calling, echoes, posting

ROUNDS = 5


def in_json(address: tuple[str, int], array: Any) -> Call:
    """An inference by HTTP with JSON. kserve's answers need the id of the request."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
    body = json.dumps({"id": "1", "inputs": [tensor]}).encode()
    return posting(address, "/v2/models/net/infer", body, {"Content-Type": "application/json"})


def in_binary(address: tuple[str, int], array: Any) -> Call:
    """An inference by HTTP with binary data."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape)}
    inputs = [tensor | {"parameters": {"binary_data_size": array.nbytes}}]
    head = json.dumps({"id": "1", "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return posting(address, "/v2/models/net/infer", head + array.tobytes(), headers)


@contextmanager
def kserve(python: str) -> Iterator[tuple[tuple[str, int], str, int]]:
    """kserve's server: its addresses of HTTP and gRPC, and its process."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as found:
            ports.append(found.getsockname()[1])
    program = [python, str(Path(__file__).with_name("kserve_server.py")), *map(str, ports)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(ports[0]):
            if process.poll() is not None:
                raise SystemExit(f"{python} can't run kserve: pip install kserve into an environment of its own")
            time.sleep(0.1)
        yield ("127.0.0.1", ports[0]), f"127.0.0.1:{ports[1]}", process.pid
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/v2/models/net/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def main() -> None:
    """Print the table."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        raise SystemExit(__doc__)
    bench.SECONDS = 1.0
    row = np.array([[1, -2, 3, -4]], np.float32)
    with tempfile.TemporaryDirectory() as folder, echoes() as (port, _), kserve(sys.argv[1]) as (http, grpc, other):
        graphs = serving.write_graphs(Path(folder), {"net": onnx_models.relu(("n", 4))})
        with serving.command("--graphs", str(graphs)) as server:
            server.wait_until_ready()
            ours = server.process.pid
            (echoing,) = [child.pid or 0 for child in multiprocessing.active_children()]
            measured = {
                "HTTP, JSON": Measured(lambda: in_json(server.http, row), ours),
                "HTTP, JSON, kserve": Measured(lambda: in_json(http, row), other),
                "HTTP, binary data": Measured(lambda: in_binary(server.http, row), ours),
                "HTTP, binary data, kserve": Measured(lambda: in_binary(http, row), other),
                "gRPC": Measured(lambda: calling(server.grpc, "net", row), ours),
                "gRPC, kserve": Measured(lambda: calling(grpc, "net", row), other),
                "a plain echo of Starlette": Measured(
                    lambda: posting(("127.0.0.1", port), "/", row.tobytes(), {}), echoing
                ),
            }
            measure_in_turns(measured.values(), ROUNDS)
    print_table(measured)


if __name__ == "__main__":
    main()
