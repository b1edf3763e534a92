"""Graphs and guests on Ray: the steps of Ray Data and the application of a model by themselves, and all of it on a real
cluster of two nodes, of which one is killed under load."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import serving_guests
from command_guests import ECHOES_STDIN, OBEYS, command
from conftest import REPOSITORY, SUPPORT

import wasi_nn
from wasi_nn.errors import ErrorCode
from wasi_nn.ray import ComputeGraph, RunGuest
from wasi_nn.ray.messages import HttpRequest, handed_back, passed_on
from wasi_nn.ray.model_app import ModelApp, models_of
from wasi_nn.serving.settings import ServingLimits

PYTHON = Path(sys.prefix) / "ray" / "bin" / "python"
TOKEN = "a token of the tests"


# The steps of Ray Data


def f32(*rows: Any) -> Any:
    return np.array(rows, np.float32)


def test_a_graph_takes_a_whole_batch_where_its_rows_may_vary() -> None:
    step = ComputeGraph({"net": onnx_models.relu(("batch", 2))}, "net")
    result = step({"x": f32([1, -1], [-2, 2]), "id": np.array([7, 8])})
    assert {name: array.tolist() for name, array in result.items()} == {
        "x": [[1, -1], [-2, 2]],
        "id": [7, 8],
        "y": [[1, 0], [0, 2]],
    }


@pytest.mark.parametrize("dims", [(2,), (1, 2)])
def test_a_graph_of_fixed_dims_takes_row_by_row(dims: tuple[int, ...]) -> None:
    step = ComputeGraph({"net": onnx_models.relu(dims)}, "net", inputs={"x": "in"}, outputs={"y": "out"}, keep=False)
    result = step({"in": f32([1, -1], [-2, 2], [3, 3]), "id": np.array([7, 8, 9])})
    assert {name: array.tolist() for name, array in result.items()} == {"out": [[1, 0], [0, 2], [3, 3]]}


@pytest.mark.parametrize("dims", [("batch", 2), (2,)])
def test_a_batch_without_rows_has_columns_without_rows(dims: tuple[int | str, ...]) -> None:
    result = ComputeGraph({"net": onnx_models.relu(dims)}, "net")({"x": np.empty((0, 2), np.float32)})
    assert result["y"].shape == (0, 2)
    assert result["y"].dtype == np.dtype(np.float32)


def test_a_batch_that_does_not_fit_is_an_error() -> None:
    step = ComputeGraph({"net": onnx_models.relu(("batch", 2))}, "net")
    with pytest.raises(wasi_nn.NNError, match="no column 'x' for the input 'x'; its columns are 'X'") as raised:
        step({"X": f32([1, 2])})
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    with pytest.raises(wasi_nn.NNError):
        step({"x": np.array([[1, 2]], np.float64)})


def test_an_output_that_does_not_count_rows_is_an_error() -> None:
    step = ComputeGraph({"net": onnx_models.relu(("batch",))}, "net", batched=True)
    assert step({"x": f32(1, -2, 3)})["y"].tolist() == [1, 0, 3]
    with pytest.raises(wasi_nn.NNError, match=r"the output 'y' has the dims \[4\] for 2 rows"):
        ComputeGraph({"net": onnx_models.relu((4,))}, "net", batched=True)._whole({"x": f32(1, 2, 3, 4)}, 2)


def test_a_guest_runs_for_each_row() -> None:
    step = RunGuest(OBEYS, stdin="text", jobs=2, host={"cache": False})
    values = np.array(["one", b"two", "Trap", "Exit", np.frombuffer(b"abc", np.uint8)], object)
    result = step({"text": values})
    assert result["text"] is values
    assert result["exit_code"].tolist() == [0, 0, -1, 3, 0]
    assert result["stdout"].tolist() == [b"one", b"two", b"Trap", b"Exit", b"abc"]
    assert result["error"].tolist() == [
        "",
        "",
        "the guest trapped: wasm `unreachable` instruction executed",
        "the guest ended with the exit code 3",
        "",
    ]
    assert all(len(column) == 0 for column in step({"text": values[:0]}).values())


def test_a_guest_gets_files_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    step = RunGuest(command("").encode(), path="file", host={"cache": False})
    result = step({"file": np.array([str(tmp_path / "a"), str(tmp_path / "none")], object)})
    assert result["exit_code"].tolist() == [0, -1]
    assert result["error"].tolist() == ["", f"the item '{tmp_path}/none' doesn't exist"]


@pytest.mark.parametrize("columns", [{}, {"stdin": "a", "path": "b"}])
def test_one_column_must_be_given(columns: dict[str, str]) -> None:
    with pytest.raises(wasi_nn.NNError, match="one column says what the guest gets"):
        RunGuest(OBEYS, **columns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "value", "message"),
    [
        ({"stdin": "a"}, 3, "a row of the column 'a' must be bytes, a text or an array"),
        ({"path": "a"}, b"x", "a path in the column 'a' must be a text"),
        ({"stdin": "b"}, b"x", "the batch has no column 'b' for the guest"),
    ],
)
def test_a_wrong_row_is_an_error(columns: dict[str, str], value: Any, message: str) -> None:
    with pytest.raises(wasi_nn.NNError, match=message):
        RunGuest(command(ECHOES_STDIN).encode(), host={"cache": False}, **columns)({"a": np.array([value], object)})  # type: ignore[arg-type]


# The application of a model


def answers(model: bytes, *requests: HttpRequest, **limits: Any) -> list[tuple[int, Any]]:
    async def main() -> list[tuple[int, Any]]:
        (deployed,) = models_of(wasi_nn.Registry({"a/net": model}), 60.0)
        app = ModelApp(pickle.loads(pickle.dumps(deployed)), ServingLimits(**limits), log_json=False)
        await app.load()
        got = [await app.answer(request) for request in requests]
        app.close()
        return [(answer.status, json.loads(answer.body)) for answer in got]

    return asyncio.run(main())


def get(path: str) -> HttpRequest:
    return HttpRequest("GET", path, b"", [], b"")


def post(path: str, content: Any) -> HttpRequest:
    body = json.dumps(content).encode()
    return HttpRequest("POST", path, b"", passed_on([], body, "id"), body)


def test_a_model_answers_by_itself() -> None:
    inputs = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [1, -2, 3, -4]}]}
    path = "/v2/models/a/net"
    got = answers(onnx_models.relu(), get(f"{path}/ready"), get(path), post(f"{path}/infer", inputs), get("/v2"))
    assert [status for status, _ in got] == [200, 200, 200, 404]
    assert got[1][1]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [4]}]
    assert got[2][1]["outputs"][0]["data"] == [1, 0, 3, 0]


def test_a_model_that_cannot_be_loaded_says_why() -> None:
    ((ready, _), (status, content)) = answers(
        onnx_models.relu()[:-20], get("/v2/models/a/net/ready"), get("/v2/models/a/net")
    )
    assert (ready, status) == (503, 503)
    assert content["error"].startswith("model 'a/net' isn't ready: ")


def test_a_guest_is_deployed_with_the_graphs_that_it_may_load(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    (tmp_path / "good.wat").write_text(serving_guests.GOOD)
    tables: dict[str, Any] = {
        "graphs": {
            "net": {"path": "net.onnx"},
            "other": {"path": "net.onnx"},
            "shared": {"path": "net.onnx", "share-variables": True},
        },
        "guests": {
            "good": serving_guests.small_guest("good.wat", graphs=["n*"]),
            "learns": serving_guests.small_guest("good.wat", graphs=["*"]),
        },
    }
    (tmp_path / "graphs.toml").write_text(serving_guests.as_toml(tables))
    models = models_of(wasi_nn.Registry(tmp_path / "graphs.toml"), 60.0)
    assert [(it.name, sorted(it.graphs), it.guest is None, it.can_repeat) for it in models] == [
        ("net", ["net"], True, True),
        ("other", ["other"], True, True),
        ("shared", ["shared"], True, False),
        ("good", ["net"], False, True),
        ("learns", ["net", "other", "shared"], False, False),
    ]
    assert list(models[3].registry().guests) == ["good"]


def test_tokens_stay_at_the_ingress() -> None:
    headers = [
        (b"authorization", b"Bearer secret"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"9"),
        (b"accept", b"*/*"),
        (b"x-request-id", b"theirs"),
    ]
    assert passed_on(headers, b"1234", "ours") == [
        (b"accept", b"*/*"),
        (b"content-length", b"4"),
        (b"x-request-id", b"ours"),
    ]
    assert handed_back([(b"x-request-id", b"ours"), (b"connection", b"close"), (b"etag", b"e")]) == [(b"etag", b"e")]


# A cluster


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `ray_cluster.py` found."""
    if not PYTHON.exists():
        message = f"Ray isn't installed: make {PYTHON.parent.parent.with_name('.ray')}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("ray")
    graphs = {"loop": onnx_models.loop(), "rows": onnx_models.relu(("batch", 2))}
    for name, model in graphs.items():
        (folder / f"{name}.onnx").write_bytes(model)
    (folder / "good.wat").write_text(serving_guests.GOOD)
    tables = {
        "graphs": {"loop": {"path": "loop.onnx", "options": {"threads": 1}}},
        "guests": {"team/guest": serving_guests.small_guest("good.wat")},
    }
    (folder / "graphs.toml").write_text(serving_guests.as_toml(tables))
    (folder / "rows.toml").write_text('[graphs.rows]\npath = "rows.onnx"\n')
    (folder / "guest.wat").write_bytes(OBEYS)
    (folder / "tokens").write_text(TOKEN)
    program = [str(PYTHON), str(SUPPORT / "ray_cluster.py"), str(folder), str(folder / "report.json")]
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # the memory of this machine is others' too
        "RAY_health_check_period_ms": "1000",  # a node that was killed is missed after five seconds
    }
    pipe: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    ended = subprocess.run(program, env=environment, timeout=540, **pipe)  # with the program, all of Ray ends
    assert ended.returncode == 0, ended.stdout[-5000:]
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.mark.timeout(600)
def test_a_pipeline_runs_on_a_cluster(report: dict[str, Any]) -> None:
    assert report["nodes"] == 2
    trap = "the guest trapped: wasm `unreachable` instruction executed"
    assert sorted(report["pipeline"]) == [
        ["Exit", 3, "the guest ended with the exit code 3", [1, 0], "Exit"],
        ["Trap", -1, trap, [2, 0], "Trap"],
        ["one", 0, "", [0, 0], "one"],
        ["two", 0, "", [3, 0], "two"],
    ]


@pytest.mark.timeout(600)
def test_wrong_arguments_of_an_application_are_refused(report: dict[str, Any]) -> None:
    none, missing, *others = report["refused"]
    assert none == "there are no graphs to serve"
    assert missing.endswith("none.toml: no such file or directory")
    beginnings = (
        "deployments: no model is named 'lop'; there are loop, team/guest; did you mean loop?",
        "the argument graphs is missing: the path of a file of graphs",
        "no argument is named 'graph'; there are graphs, deployments, ",
        "no limit is named 'requests'; there are computes, queue, ",
    )
    assert [other[: len(beginning)] for other, beginning in zip(others, beginnings, strict=True)] == list(beginnings)


@pytest.mark.timeout(600)
def test_a_cluster_speaks_the_protocol(report: dict[str, Any]) -> None:
    answers = report["served"]["answers"]
    assert {name: status for name, (status, _) in answers.items()} == {
        "live": 200,
        "no token": 401,
        "ready": 200,
        "server": 200,
        "metadata": 200,
        "infer": 200,
        "version": 200,
        "guest": 200,
        "wrong input": 400,
        "no model": 404,
        "no path": 404,
        "page": 403,
    }
    assert answers["metadata"][1]["name"] == "loop"
    assert answers["infer"][1]["outputs"][0]["data"] == [3]
    assert answers["guest"][1]["outputs"][0]["data"] == [1.5]
    assert answers["version"][1]["model_version"] == "1"
    assert answers["no model"][1] == {"error": "no model is named 'lop'; did you mean loop?"}


@pytest.mark.timeout(600)
def test_a_client_that_goes_ends_its_compute(report: dict[str, Any]) -> None:
    status, content = report["served"]["after leaving"]
    assert (status, content["outputs"][0]["data"]) == (200, [3])


@pytest.mark.timeout(600)
def test_no_request_is_lost_when_a_node_dies(report: dict[str, Any]) -> None:
    answers = report["served"]["killed"]
    turns = report["served"]["turns"]
    assert len(answers) >= 28
    assert report["served"]["nodes left"] == 1
    assert [answer for answer in answers if answer != [200, [turns]]] == []
