"""The file of named graphs: its keys, the errors for mistakes in it, and `reload` while guests run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx_models as models
import pytest
from checks import refused
from core_guest import SUCCESS, CoreGuest

import wasi_nn
from wasi_nn import ErrorCode, LoadRules, NamedGraph, NNError, Registry
from wasi_nn.loading import graphs_file

Write = Callable[[str, bytes], Path]

VALUES = {"x": models.f32([-1, 1, -2, 2])}


def test_all_that_can_be_said_of_a_graph(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = write("models/net.onnx", models.relu())
    file = write(
        "graphs.toml",
        f"""
        [graphs.short]
        path = "models/net.onnx"

        [graphs."a name: with spaces"]
        path = ["models/net.onnx"]
        encoding = "onnx"
        target = "cpu"
        runtime = "openvino"
        sha256 = "{hashlib.sha256(model.read_bytes()).hexdigest().upper()}"
        convert-types = true
        options = {{ threads = 1, hint = "throughput" }}
        """.encode(),
    )
    monkeypatch.chdir("/")
    registry = Registry(file)
    assert list(registry) == ["short", "a name: with spaces"]
    for name, runtime in (("short", "onnxruntime"), ("a name: with spaces", "openvino")):
        graph = registry.get(name)
        assert graph.runtime == runtime
        assert graph.compute(VALUES)["y"].tolist() == [0, 1, 0, 2]
    assert registry.named("short").source == tmp_path / "models" / "net.onnx"
    assert not registry.named("short").share_variables


def test_a_graph_that_shares_variables_must_have_some(write: Write) -> None:
    path = write("net.onnx", models.relu())
    file = write("graphs.toml", b"[graphs.net]\npath = 'net.onnx'\nshare-variables = true")
    on_command_line = graphs_file.with_setting(NamedGraph(path), "share-variables", "true")
    for graphs in (file, {"net": NamedGraph(path, share_variables=True)}, {"net": on_command_line}):
        registry = Registry(graphs)
        assert registry.named("net").share_variables
        match = r"graph 'net' can't share variables: .*has no variables"
        refused(ErrorCode.UNSUPPORTED_OPERATION, match, registry.get, "net")
    write("graphs.toml", b"[graphs.net]\npath = 'net.onnx'\nshare-variables = 1")
    refused(ErrorCode.INVALID_ARGUMENT, "share-variables can't be 1", Registry, file)
    refused(ErrorCode.INVALID_ARGUMENT, "share_variables", Registry, {"net": NamedGraph(path, share_variables=1)})  # type: ignore[arg-type]


def test_a_digest_is_taken_alike_in_a_file_on_the_command_line_and_in_python(write: Write) -> None:
    model = models.relu()
    path, digest = write("net.onnx", model), f" {hashlib.sha256(model).hexdigest().upper()}\n"
    file = write("graphs.toml", f"[graphs.net]\npath = 'net.onnx'\nsha256 = {json.dumps(digest)}".encode())
    on_command_line = graphs_file.with_setting(NamedGraph(path), "sha256", digest)
    for graphs in (file, {"net": NamedGraph(path, sha256=digest)}, {"net": on_command_line}):
        assert Registry(graphs).get("net").runtime == "onnxruntime"


def test_hosts_and_sessions_take_the_file_itself(write: Write) -> None:
    write("net.onnx", models.relu())
    file = write("graphs.toml", b'graphs.net.path = "net.onnx"')
    with wasi_nn.Session(str(file)) as session:
        assert CoreGuest(session).load_by_name("net") == SUCCESS
    assert wasi_nn.Host(file).registry.get("net").encoding.value == "onnx"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"graphs = 1", "graphs can't be 1"),
        (b"", "the key 'graphs' is missing"),
        (b"[graph.net]\npath = 'net.onnx'", "unknown key 'graph'; there are graphs, guests; did you mean graphs"),
        (b"[graphs]\n[graph]", "unknown key 'graph'; there are graphs"),
        (b"[graphs]\nnet = 'net.onnx'", "graph 'net': it must be a table"),
        (b"[graphs.net]", "graph 'net': the key 'path' is missing"),
        (b"[graphs.net]\nfile = 'net.onnx'", "graph 'net': unknown key 'file'; there are path, encoding, target, "),
        (b"[graphs.net]\npath = 1", "graph 'net': path can't be 1"),
        (b"[graphs.net]\npath = []", r"path can't be \[\]"),
        (b"[graphs.net]\npath = ['net.onnx', 2]", "path can't be"),
        (b"[graphs.net]\npath = 'net.onnx'\npaht = 1", "unknown key 'paht'; there are path, encoding, target"),
        (b"[graphs.net]\npath = 'net.onnx'\nencoding = 'onyx'", "graph 'net': no encoding is named 'onyx'"),
        (b"[graphs.net]\npath = 'net.onnx'\ntarget = 'npu'", "graph 'net': no target is named 'npu'"),
        (b"[graphs.net]\npath = 'net.onnx'\nencoding = 'onnx'\nruntime = 'torch'", "no runtime for onnx is named"),
        (b"[graphs.net]\npath = 'net.onnx'\nsha256 = 'abc'", "sha256 can't be 'abc'"),
        (b"[graphs.net]\npath = 'net.onnx'\nconvert-types = 1", "convert-types can't be 1"),
        (b"[graphs.net]\npath = 'net.onnx'\noptions = []", "options can't be"),
        (b"[graphs.'']\npath = 'net.onnx'", "name can't be empty"),
        (b"[graphs.net]\npath = ''", "path can't be ''"),
        (b"[graphs.net\npath = 1", "can't be read: .*line 1"),
        (b"\xff", "can't be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Write, content: bytes, match: str) -> None:
    write("net.onnx", models.relu())
    refused(ErrorCode.INVALID_ARGUMENT, match, Registry, write("graphs.toml", content))


def test_files_that_are_not_there(write: Write, tmp_path: Path) -> None:
    refused(ErrorCode.NOT_FOUND, "no file of graphs at", Registry, tmp_path / "nowhere.toml")
    refused(ErrorCode.INVALID_ARGUMENT, "is a directory, not a file of graphs", Registry, tmp_path)
    match = "net.onnx is an ONNX model, not a file of graphs: give the model a name .*, --graph NAME=PATH"
    refused(ErrorCode.INVALID_ARGUMENT, match, Registry, write("net.onnx", models.relu()))
    match = "guest.wasm is a WebAssembly module, .*, not a file of graphs"
    refused(ErrorCode.INVALID_ARGUMENT, match, Registry, write("guest.wasm", b"\0asm\1\0\0\0"))
    file = write("graphs.toml", b"[graphs.net]\npath = 'nowhere.onnx'")
    refused(ErrorCode.NOT_FOUND, "graph 'net': no such file or directory: .*nowhere.onnx", Registry, file)


def graphs(*names: str) -> bytes:
    return "".join(f"[graphs.{name}]\npath = '{name}.onnx'\n" for name in names).encode()


def test_reload_takes_what_changed_and_leaves_the_rest_loaded(write: Write) -> None:
    for name in ("kept", "changed", "gone", "new"):
        write(f"{name}.onnx", models.relu())
    file = write("graphs.toml", graphs("kept", "changed", "gone"))
    registry = Registry(file)
    registry.add("added", models.relu())
    before = {name: registry.get(name) for name in registry}
    assert registry.reload() == []
    assert all(registry.get(name) is graph for name, graph in before.items())

    changed = write("changed.onnx", models.identity())
    os.utime(changed, ns=(1, 1))
    file.write_bytes(graphs("kept", "changed", "new"))
    assert registry.reload() == ["gone", "changed", "new"]
    assert set(registry) == {"kept", "added", "changed", "new"}
    assert registry.get("kept") is before["kept"]
    assert registry.get("added") is before["added"]
    assert registry.get("changed").compute(VALUES)["y"].tolist() == VALUES["x"].tolist()
    assert before["changed"].compute(VALUES)["y"].tolist() == [0, 1, 0, 2], "guests keep the graphs that they have"
    refused(ErrorCode.NOT_FOUND, "no graph is named 'gone'", registry.get, "gone")


def test_reload_takes_a_change_of_options(write: Write) -> None:
    write("net.onnx", models.relu())
    file = write("graphs.toml", graphs("net"))
    registry = Registry(file)
    graph = registry.get("net")
    file.write_bytes(graphs("net") + b"options = { threads = 1 }\n")
    assert registry.reload() == ["net"]
    assert registry.get("net") is not graph


@pytest.mark.parametrize("content", [b"[graphs.net", graphs("net", "nowhere"), graphs("net", "added")])
def test_a_reload_that_fails_changes_nothing(write: Write, content: bytes) -> None:
    write("net.onnx", models.relu())
    write("added.onnx", models.relu())
    write("old.onnx", models.relu())
    file = write("graphs.toml", graphs("net", "old"))
    registry = Registry(file)
    registry.add("added", models.relu())
    before = {name: registry.get(name) for name in registry}
    file.write_bytes(content)
    with pytest.raises(NNError):
        registry.reload()
    assert {name: registry.get(name) for name in registry} == before


def test_without_a_file_there_is_nothing_to_reload() -> None:
    assert Registry({"net": models.relu()}, rules=LoadRules()).reload() == []
