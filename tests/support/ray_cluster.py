"""Graphs and guests on a cluster of Ray with two nodes, both on this machine; `test_ray.py` runs it in the environment
that has Ray. Writes the results as JSON: `ray_cluster.py FOLDER OUTPUT`.

The folder has `graphs.toml` with the graph `loop` and the guest `team/guest`, `rows.toml` with the graph `rows`,
`guest.wat`, and the file `tokens` with a token.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.cluster_utils import Cluster

import wasi_nn
import wasi_nn.ray

HERE = "127.0.0.1"
SMALL = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
QUICK = {"health_check_period_s": 1, "health_check_timeout_s": 5, "graceful_shutdown_timeout_s": 1}
TURNS = 50_000  # of the loop in the model: some tens of milliseconds
CLIENTS = 4


def main(folder: Path, output: Path) -> None:
    """Run all parts."""
    os.chdir(folder)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as temporary:  # short: sockets are in it
        cluster = Cluster(initialize_head=True, head_node_args={"temp_dir": temporary, **SMALL})
        try:
            worker = cluster.add_node(**SMALL)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            report["nodes"] = sum(node["Alive"] for node in ray.nodes())
            report["pipeline"] = pipeline()
            report["refused"] = refused()
            report["served"] = served(lambda: cluster.remove_node(worker, allow_graceful=False))
        finally:
            ray.shutdown()
            cluster.shutdown()
    output.write_text(json.dumps(report))


# Ray Data


def pipeline() -> Any:
    """A graph on batches, and then a guest for each row, in actors on both nodes."""
    rows = [{"x": np.array([n, -n], np.float32), "text": text} for n, text in enumerate(("one", "Exit", "Trap", "two"))]
    dataset = (
        ray.data.from_items(rows, override_num_blocks=2)
        .map_batches(
            wasi_nn.ray.ComputeGraph,
            fn_constructor_args=(str(Path("rows.toml").absolute()), "rows"),
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0.5,
        )
        .map_batches(
            wasi_nn.ray.RunGuest,
            fn_constructor_args=(Path("guest.wat").read_bytes(),),
            fn_constructor_kwargs={"stdin": "text", "host": {"cache": False}},
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=0.5,
        )
    )
    fields = ("text", "exit_code", "error")
    return [[*(row[name] for name in fields), row["y"].tolist(), row["stdout"].decode()] for row in dataset.iter_rows()]


# Ray Serve


def refused() -> list[str]:
    """The errors for wrong arguments."""
    messages = []
    for function, arguments in (
        (wasi_nn.ray.app, [{}]),
        (wasi_nn.ray.app, ["none.toml"]),
        (partial(wasi_nn.ray.app, deployments={"lop": {}}), ["graphs.toml"]),
        (wasi_nn.ray.build, [{}]),
        (wasi_nn.ray.build, [{"graph": "graphs.toml"}]),
        (wasi_nn.ray.build, [{"graphs": "graphs.toml", "limits": {"requests": 1}}]),
    ):
        try:
            function(*arguments)
        except wasi_nn.NNError as error:
            messages.append(error.message)
    return messages


def ask(port: int, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HERE, port, timeout=120)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, content, headers or {})
        response = connection.getresponse()
        answer = response.read()
        if response.getheader("content-type") == "application/json":
            return response.status, json.loads(answer)
        return response.status, answer.decode("latin-1")
    finally:
        connection.close()


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": name, "datatype": datatype, "shape": [len(data)], "data": data}]}


def served(kill: Callable[[], object]) -> dict[str, Any]:
    """The answers of the application before and while a node is killed."""
    port = free_port()
    serve.start(
        http_options={"host": HERE, "port": port},
        proxy_location="HeadOnly",
        logging_config={"log_level": "ERROR"},
    )
    both = {"num_replicas": 2, "max_replicas_per_node": 1, "ray_actor_options": {"num_cpus": 0.1}, **QUICK}
    one = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.1}, **QUICK}
    application = wasi_nn.ray.app(
        "graphs.toml", deployments={"*": one, "loop": both}, ingress=both, token_file="tokens"
    )
    serve.run(application)
    report: dict[str, Any] = {"answers": {}, "turns": TURNS}
    token = {"Authorization": "Bearer " + Path("tokens").read_text().strip()}
    for name, (method, path, body, headers) in {
        "live": ("GET", "/v2/health/live", None, {}),
        "no token": ("GET", "/v2", None, {}),
        "ready": ("GET", "/v2/health/ready", None, {}),
        "server": ("GET", "/v2", None, token),
        "metadata": ("GET", "/v2/models/loop", None, token),
        "infer": ("POST", "/v2/models/loop/infer", tensor("x", "INT64", [3]), token),
        "version": ("POST", "/v2/models/loop/versions/1/infer", tensor("x", "INT64", [3]), token),
        "guest": ("POST", "/v2/models/team/guest/infer", tensor("x", "FP32", [1]), token),
        "wrong input": ("POST", "/v2/models/loop/infer", tensor("z", "FP32", [1]), token),
        "no model": ("GET", "/v2/models/lop", None, token),
        "no path": ("GET", "/v3", None, token),
        "page": ("GET", "/v2", None, {"Origin": "http://localhost", **token}),
    }.items():
        report["answers"][name] = ask(port, method, path, body, headers)
    report["after leaving"] = after_leaving(port, token)
    report["killed"] = under_load(port, token, kill)
    report["nodes left"] = sum(node["Alive"] for node in ray.nodes())
    serve.shutdown()
    return report


def after_leaving(port: int, token: dict[str, str]) -> tuple[int, Any]:
    """The answer to a request behind others that would compute for hours, and whose clients have gone."""
    content = json.dumps(tensor("x", "INT64", [10**12])).encode()
    lines = ["POST /v2/models/loop/infer HTTP/1.1", "Host: here", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in token.items()]
    for _ in range(6):
        with socket.create_connection((HERE, port)) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            time.sleep(0.2)  # so that some compute, and others wait
    return ask(port, "POST", "/v2/models/loop/infer", tensor("x", "INT64", [3]), token)


def under_load(port: int, token: dict[str, str], kill: Callable[[], object]) -> list[Any]:
    """The answers that clients get who ask all the time, while a node is killed."""
    answers: list[Any] = []
    is_over = threading.Event()

    def client() -> None:
        while not is_over.is_set():
            try:
                status, content = ask(port, "POST", "/v2/models/loop/infer", tensor("x", "INT64", [TURNS]), token)
                answers.append([status, content["outputs"][0]["data"] if status == 200 else content])
            except Exception as error:
                answers.append([0, repr(error)])

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    wait_for_answers(answers, 3 * CLIENTS)
    kill()
    wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) == 1)
    wait_for_answers(answers, len(answers) + 4 * CLIENTS)
    is_over.set()
    for each in clients:
        each.join()
    return answers


def wait_for_answers(answers: list[Any], count: int) -> None:
    wait_until(lambda: len(answers) >= count)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so() and time.monotonic() < until:
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server((HERE, 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
