"""Registries of named graphs: graphs are found by name alone, loaded once, checked, and replaced while in use."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from checks import on_threads, refused

import wasi_nn
from wasi_nn import ErrorCode, NamedGraph, NNError, Registry

Write = Callable[[str, bytes], Path]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sources of all models that are loaded during the test."""
    sources: list[Any] = []
    load = wasi_nn.load

    def counted(source: Any, *arguments: Any, **keywords: Any) -> Any:
        sources.append(source)
        time.sleep(0.05)
        return load(source, *arguments, **keywords)

    monkeypatch.setattr("wasi_nn.loading.registry.load", counted)
    return sources


def test_a_registry_closes_what_it_loaded() -> None:
    loaded_before = wasi_nn.load(models.relu())
    with Registry({"given": loaded_before, "loaded": models.relu(), "later": models.relu()}) as registry:
        loaded = registry.get("loaded")
        assert registry.get("given") is loaded_before
    with pytest.raises(NNError, match="the graph is closed"):
        loaded.init_execution_context()
    with pytest.raises(NNError, match="the registry is closed"):
        registry.get("later")
    assert loaded_before.compute({"x": models.f32([-1, 1, -2, 2])})["y"].tolist() == [0, 1, 0, 2]


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
        graph = session.graph(session.load_by_name("seven"))
    assert graph.inputs[0].dims == (5,)


# Mistakes in a graphs file when it is reloaded


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def no_toml(file: Path) -> None:
    file.write_text("graphs = [[[")


def no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0")


def no_model(file: Path) -> None:
    file.write_text(file.read_text() + '\n[graphs.more]\npath = "nowhere.onnx"')


def twice_the_same(file: Path) -> None:
    file.write_text(file.read_text() + '\n[graphs.net]\npath = "model.onnx"')


def an_unknown_key(file: Path) -> None:
    file.write_text(file.read_text() + '\nencodnig = "onnx"')


def nested_without_end(file: Path) -> None:
    file.write_text("graphs = " + "[" * 100_000)


def huge(file: Path) -> None:
    os.truncate(file, 2**36)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def gone(file: Path) -> None:
    file.unlink()


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def the_model_a_pipe(file: Path) -> None:
    (file.parent / "model.onnx").unlink()
    os.mkfifo(file.parent / "model.onnx")
    file.write_text(file.read_text() + "\nencoding = 1")


WRONG = [
    *(cut_off, no_toml, no_text, no_model, twice_the_same, an_unknown_key, nested_without_end, huge, empty, gone),
    *(a_pipe, a_folder, a_link_to_itself, the_model_a_pipe),
]


@pytest.fixture
def file_of_graphs(write: Write) -> Path:
    write("model.onnx", models.relu())
    return write("graphs.toml", b'[graphs.net]\npath = "model.onnx"\noptions = { threads = 1 }\n')


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_a_file_with_something_wrong_changes_nothing_while_guests_run(
    file_of_graphs: Path, spoil: Callable[[Path], None]
) -> None:
    registry = Registry(file_of_graphs)
    registry.add("another", models.add_and_mul())
    graph = registry.get("net")
    ended = threading.Event()
    computed: list[float] = []

    def guest() -> None:
        while not ended.is_set():
            computed.append(registry.get("net").compute({"x": models.f32([1, -1, 2, -2])})["y"].sum())

    with ThreadPoolExecutor(2) as guests:
        running = [guests.submit(guest) for _ in range(2)]
        try:
            spoil(file_of_graphs)
            for _ in range(3):
                with pytest.raises(NNError, match=r"graphs\.toml|'more'"):
                    registry.reload()
        finally:
            ended.set()
        [run.result() for run in running]
    assert registry.get("net") is graph
    assert list(registry) == ["net", "another"]
    assert set(computed) == {3}


def test_a_file_that_is_right_again_is_taken(file_of_graphs: Path) -> None:
    registry = Registry(file_of_graphs)
    graph = registry.get("net")
    sound = file_of_graphs.read_bytes()
    no_toml(file_of_graphs)
    refused(ErrorCode.INVALID_ARGUMENT, "can't be read", registry.reload)
    file_of_graphs.write_bytes(sound + b'[graphs.other]\npath = "model.onnx"\n')
    assert registry.reload() == ["other"]
    assert registry.get("net") is graph


def test_a_pipe_with_a_writer_is_read_as_a_file_of_graphs(write: Write, tmp_path: Path) -> None:
    model = write("model.onnx", models.relu())
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as writer:
        written = writer.submit((tmp_path / "pipe").write_text, f'graphs.net = {{ path = "{model}" }}')
        # `open` for writing waits for a reader; a reader that doesn't wait finds nothing until there is a writer.
        with open(os.open(tmp_path / "pipe", os.O_RDONLY)) as kept_open:
            assert list(Registry(f"/proc/self/fd/{kept_open.fileno()}")) == ["net"]
        written.result()


def test_what_is_no_regular_file_is_no_model(write: Write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = tmp_path / "pipe"
    for source in (pipe, [pipe], NamedGraph(pipe, sha256="0" * 64), "/dev/zero"):
        refused(ErrorCode.RUNTIME_ERROR, "no regular file", Registry({"net": source}).get, "net")


def test_a_model_that_is_replaced_while_it_is_loaded_is_either_the_old_or_the_new(write: Write, tmp_path: Path) -> None:
    file, registry_file = write("model.onnx", models.relu()), write("graphs.toml", b'graphs.net.path = "model.onnx"')
    registry = Registry(registry_file)
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            for model in (models.relu(), models.add_and_mul()):
                write("new.onnx", model).replace(file)

    with ThreadPoolExecutor(1) as operator:
        replacing = operator.submit(replace)
        try:
            names = set()
            for _ in range(50):
                registry.reload()
                names.add(tuple(info.name for info in registry.get("net").inputs))
        finally:
            ended.set()
        replacing.result()
    assert names <= {("x",), ("a", "b")}
