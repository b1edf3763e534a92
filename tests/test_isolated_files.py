"""Files of isolated models that are loaded by path: a model reads its own files, and no other files in its folder."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import numpy as np
import onnx_models
import pytest

import wasi_nn
from wasi_nn import ErrorCode, Graph, LoadRules, NNError

X = np.arange(16, dtype=np.float32)
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----".ljust(64)


pytestmark = pytest.mark.usefixtures("isolation")


def model_in(folder: Path, location: str) -> Path:
    """A model `model.onnx` whose weights are in the file `location`, a path as the model contains it."""
    path = folder / "model.onnx"
    path.write_bytes(onnx_models.with_external_data(folder, location))
    (folder / "weights.bin").rename(folder / location)
    return path


def load(path: Path, runtime: str, **options: object) -> Graph:
    return wasi_nn.load(path, "onnx", runtime=runtime, rules=LoadRules(isolate=True), options=options)


both = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@both
@pytest.mark.parametrize("name", ["model.onnx.data", "model.onnx_data", "model.onnx_data_1", "model.data", "model.bin"])
def test_files_that_are_named_after_the_model_are_its_own(name: str, runtime: str, tmp_path: Path) -> None:
    graph = load(model_in(tmp_path, name), runtime)
    assert graph.runtime == runtime
    assert graph.compute({"x": X})["y"].tolist() == list(range(1000, 1032, 2))


@both
@pytest.mark.parametrize(
    "name", ["id_rsa", "weights.bin", "other.onnx.data", "model.txt", "sub/model.onnx.data", "./model.onnx.data"]
)
def test_other_files_are_not(name: str, runtime: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = model_in(tmp_path, name)
    (tmp_path / name).write_bytes(KEY)
    with pytest.raises(
        NNError, match=r"isn't named after the model, as model\.onnx\.data would be: .*'external_data'"
    ) as raised:
        load(path, runtime)
    assert raised.value.code is ErrorCode.SECURITY


def test_files_outside_of_the_folder_are_not(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "id_rsa").write_bytes(KEY)
    for location in ("../id_rsa", str(tmp_path / "id_rsa"), "../inside/model.onnx.data", "/proc/self/environ"):
        (inside / "model.onnx").write_bytes(onnx_models.with_external_data(tmp_path, location))
        for options in ({}, {"external_data": ["*"]}):
            with pytest.raises(NNError) as raised:
                load(inside / "model.onnx", "onnxruntime", **options).compute({"x": X})
            assert raised.value.code in (ErrorCode.SECURITY, ErrorCode.RUNTIME_ERROR)
            assert "OPENSSH" not in str(raised.value)


@both
def test_those_that_the_operator_lists_are(runtime: str, tmp_path: Path) -> None:
    path = model_in(tmp_path, "weights.bin")
    for listed in (["weights.bin"], ["w*.bin"], ["other", "*"]):
        assert load(path, runtime, external_data=listed).compute({"x": X})
    with pytest.raises(NNError, match="isn't named after the model"):
        load(path, runtime, external_data=["weights"])
    for wrong in ("weights.bin", [3], [""]):
        with pytest.raises(
            NNError, match=r"option 'external_data' of .* can't be .*: it takes a list of texts"
        ) as raised:
            load(path, runtime, external_data=wrong)
        assert raised.value.code is ErrorCode.INVALID_ARGUMENT


@both
def test_the_error_has_the_option_to_copy(runtime: str, tmp_path: Path) -> None:
    path = model_in(tmp_path, "weights.bin")
    file = tmp_path / "graphs.toml"
    graph = f"[graphs.net]\npath = 'model.onnx'\nencoding = 'onnx'\nruntime = '{runtime}'\n"
    file.write_text(graph)
    registry = wasi_nn.Registry(file, rules=LoadRules(isolate=True))
    with pytest.raises(NNError) as raised:
        registry.get("net")
    (found,) = re.findall(r"\(options=(.*), --graph-option 'NAME:(.*)', (.*) in graphs\.toml\)", str(raised.value))
    for_python, for_command, for_file = found
    assert for_command == for_file.removeprefix("options.").replace(" = ", "=")
    file.write_text(f"{graph}{for_file}\n")
    registry.reload()
    assert registry.get("net").compute({"x": X})
    assert load(path, runtime, **ast.literal_eval(for_python)).compute({"x": X})


@both
def test_a_listed_file_that_isnt_there(runtime: str, tmp_path: Path) -> None:
    path = model_in(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(NNError, match=r"weights\.bin") as raised:
        load(path, runtime, external_data=["weights.bin"])
    assert raised.value.code is ErrorCode.RUNTIME_ERROR


def test_what_lies_elsewhere_cant_be_listed(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for location in ("../id_rsa", str(tmp_path / "id_rsa")):
        (tmp_path / "id_rsa").write_bytes(KEY)
        (inside / "model.onnx").write_bytes(onnx_models.with_external_data(tmp_path, location))
        (tmp_path / "id_rsa").write_bytes(KEY)
        with pytest.raises(NNError, match="which isn't in the model's folder: move the file there"):
            load(inside / "model.onnx", "onnxruntime", external_data=["*", location])


def test_a_link_to_elsewhere_is_not_the_models(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = model_in(folder, "model.onnx.data")
    (tmp_path / "id_rsa").write_bytes(KEY)
    (folder / "model.onnx.data").unlink()
    (folder / "model.onnx.data").symlink_to(tmp_path / "id_rsa")
    with pytest.raises(NNError, match="isn't named after the model"):
        load(path, "onnxruntime")


def test_links_into_a_cache_are_the_models(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    path = model_in(snapshot, "model.onnx.data")
    for number, file in enumerate(sorted(snapshot.iterdir())):
        shutil.move(file, blobs / str(number))
        file.symlink_to(blobs / str(number))
    assert load(path, "onnxruntime").compute({"x": X})


def test_a_worker_can_open_no_neighbour(tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_bytes(KEY)
    for name in ("model.onnx", "model.xml", "saved_model.pb", "model.gguf", "model-00001-of-00002.gguf"):
        file = tmp_path / name
        file.write_bytes(b"no model")
    for name in ("variables", "assets"):
        (tmp_path / name).mkdir()
    from wasi_nn.backends import built_in

    for backend in built_in():
        for name in backend.model_files:
            file = tmp_path / name
            if not file.exists():
                file.write_bytes(b"no model")
            for listed in backend.own_files_of(file, {}):
                assert tmp_path / "id_rsa" not in (listed, *listed.glob("*")), (backend.runtime, name)
