"""Named graphs: found by the operator's names alone, loaded once, checked, added and removed while in use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from checks import on_threads, refused

import wasi_nn
from wasi_nn import ErrorCode, NamedGraph, Registry, backends

Write = Callable[[str, bytes], Path]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sources of all models that are loaded."""
    sources: list[Any] = []
    load = backends.load

    def counted(source: Any, *arguments: Any, **keywords: Any) -> Any:
        sources.append(source)
        time.sleep(0.05)
        return load(source, *arguments, **keywords)

    monkeypatch.setattr(backends, "load", counted)
    return sources


def test_every_kind_of_source(write: Write) -> None:
    model = models.relu()
    file = write("folder/model.onnx", model)
    registry = Registry(
        {
            "file": file,
            "text": str(file),
            "folder": file.parent,
            "paths": [file],
            "bytes": model,
            "builders": [model],
            "graph": wasi_nn.load(model),
            "named": NamedGraph(file, "onnx", "cpu", {"threads": 1}),
        }
    )
    assert len(registry) == len(list(registry)) == 8
    for name in registry:
        assert name in registry
        assert registry.get(name).compute({"x": models.f32([-1, 1, -2, 2])})["y"].tolist() == [0, 1, 0, 2]


def test_graphs_are_loaded_when_first_asked_for_and_once(loads: list[Any]) -> None:
    registry = Registry({"relu": models.relu()})
    assert not loads
    graphs: list[Any] = []
    on_threads(lambda _: graphs.append(registry.get("relu")), 8)
    assert len(loads) == 1
    assert len(graphs) == 8
    assert len(set(map(id, graphs))) == 1


def test_a_failed_load_is_tried_again(write: Write) -> None:
    file = write("model.onnx", b"no model")
    registry = Registry({"net": NamedGraph(file, "onnx")})
    refused(ErrorCode.RUNTIME_ERROR, "can't load the model", registry.get, "net")
    file.write_bytes(models.relu())
    assert registry.get("net").inputs[0].name == "x"


def test_graphs_are_added_and_removed_while_guests_have_them() -> None:
    registry = Registry({"net": models.relu()})
    graph = registry.get("net")
    refused(ErrorCode.INVALID_ARGUMENT, "two graphs are named 'net'", registry.add, "net", models.relu())
    assert registry.get("net") is graph
    registry.add("net", models.add_and_mul(), overwrite=True)
    assert [info.name for info in registry.get("net").inputs] == ["a", "b"]
    registry.remove("net")
    refused(ErrorCode.NOT_FOUND, "no graph is named 'net'; the names here: none", registry.get, "net")
    refused(ErrorCode.NOT_FOUND, "no graph is named 'net'", registry.remove, "net")
    registry.add("net", models.relu())
    assert registry.get("net") is not graph
    assert graph.compute({"x": np.zeros(4, np.float32)})


def test_a_name_never_becomes_a_path(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write("model.onnx", models.relu())
    monkeypatch.chdir(tmp_path)
    registry = Registry({"net": "model.onnx"})
    for name in ("model.onnx", "./model.onnx", str(tmp_path / "model.onnx"), ""):
        refused(ErrorCode.NOT_FOUND, "no graph is named", registry.get, name)


def test_relative_paths_are_those_of_when_they_were_given(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("model.onnx", models.relu())
    monkeypatch.chdir(tmp_path)
    registry = Registry({"net": "model.onnx"})
    monkeypatch.chdir("/")
    assert registry.get("net").inputs[0].name == "x"


@pytest.mark.parametrize(
    ("name", "graph", "code"),
    [
        ("", b"", ErrorCode.INVALID_ARGUMENT),
        ("net", "nowhere/model.onnx", ErrorCode.NOT_FOUND),
        ("net", ["nowhere/model.xml"], ErrorCode.NOT_FOUND),
        ("net", NamedGraph(b"", "onxx"), ErrorCode.INVALID_ARGUMENT),
        ("net", NamedGraph(b"", target="npu"), ErrorCode.INVALID_ARGUMENT),
        ("net", NamedGraph(".", sha256="0" * 64), ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_what_cannot_be_added(name: str, graph: Any, code: ErrorCode) -> None:
    refused(code, ".", Registry().add, name, graph)


def test_a_digest_is_checked_on_the_bytes_that_are_loaded(write: Write, loads: list[Any]) -> None:
    model = models.relu()
    file = write("model.onnx", model)
    digest = hashlib.sha256(model).hexdigest()
    for source in (file, [file], model, [model]):
        assert Registry({"net": NamedGraph(source, sha256=digest.upper())}).get("net")
    assert all(bytes(source[0]) == model for source in loads)
    for source in (file, model):
        registry = Registry({"net": NamedGraph(source, sha256="0" * 64)})
        refused(ErrorCode.SECURITY, f"has sha256 {digest}, not 000", registry.get, "net")
    assert len(loads) == 4


def test_a_digest_of_one_file_leaves_no_room_for_others(tmp_path: Path) -> None:
    model = models.with_external_data(tmp_path)
    (tmp_path / "model.onnx").write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    assert Registry({"net": tmp_path / "model.onnx"}).get("net")
    registry = Registry({"net": NamedGraph(tmp_path / "model.onnx", sha256=digest)})
    refused(ErrorCode.SECURITY, "external data", registry.get, "net")


def test_a_file_that_has_gone_since(write: Write) -> None:
    file = write("model.onnx", models.relu())
    registry = Registry({"net": file, "list": [file]})
    file.unlink()
    refused(ErrorCode.NOT_FOUND, "no such file", registry.get, "net")
    refused(ErrorCode.RUNTIME_ERROR, "can't be read", registry.get, "list")


def test_a_target_may_fall_back(caplog: pytest.LogCaptureFixture) -> None:
    graphs = {"net": NamedGraph(models.relu(), target="tpu")}
    refused(ErrorCode.UNSUPPORTED_OPERATION, "no execution provider for tpu", Registry(graphs).get, "net")
    assert Registry(graphs, rules=wasi_nn.LoadRules(target_fallback="cpu")).get("net").device == "cpu"
    assert "cpu is used instead" in caplog.text


def test_a_registry_of_ones_own() -> None:
    class Anything:
        def get(self, name: str) -> wasi_nn.Graph:
            return wasi_nn.load(models.identity(dims=(len(name),)))

    with wasi_nn.Session(Anything()) as session:
        graph = session.handles.get(session.load_by_name("seven"), wasi_nn.Graph)
    assert graph.inputs[0].dims == (5,)
