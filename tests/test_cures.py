"""The advice in errors of the model backends: each test follows it, and the call then succeeds."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from conftest import need

need("ai_edge_litert", "'wasi-nn[tflite]'")
need("openvino", "'wasi-nn[openvino]'")
need("tensorflow", "'wasi-nn[tensorflow]'")

import tensorflow as tf  # noqa: E402
import tensorflow_models  # noqa: E402
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import LoadRules, NamedGraph, NNError, Registry, cli  # noqa: E402

X = np.array([1, -2, 3, -4], np.float32)


def message_of(call: Callable[..., object], *arguments: Any, **keywords: Any) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(NNError) as raised:
        call(*arguments, **keywords)
    return str(raised.value)


class Counting(tf.Module):  # type: ignore[misc]
    """y is the sum of all x."""

    def __init__(self) -> None:
        super().__init__()
        self.total = tf.Variable(tf.zeros([4]))

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32)])  # type: ignore[untyped-decorator]
    def add(self, x: Any) -> dict[str, Any]:
        return {"y": self.total.assign_add(x)}


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that changes a variable."""
    folder, module = tmp_path_factory.mktemp("counting") / "model", Counting()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.add})
    return folder


def onnx_with_data_beside_it(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(onnx_models.with_external_data(folder))
    return path


def tflite_with_variables(folder: Path) -> Path:
    module, path = Counting(), folder / "model.tflite"
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.add.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    path.write_bytes(converter.convert())
    return path


def graph_def_that_reads_a_file(folder: Path) -> Path:
    with tf.Graph().as_default() as graph:
        tf.io.read_file(tf.constant("file"), name="y")
    path = folder / "model.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize("make", [onnx_with_data_beside_it, tflite_with_variables, graph_def_that_reads_a_file])
def test_a_model_that_is_refused_from_bytes_is_loaded_by_its_path(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    by_digest = Registry({"net": NamedGraph(path, sha256=digest)})
    for message in (message_of(wasi_nn.load, path.read_bytes()), message_of(by_digest.get, "net")):
        assert "load it by its path, without a sha256" in message
    assert wasi_nn.load(path).outputs


def test_a_saved_model_without_its_variables_is_given_whole(counting: Path) -> None:
    message = message_of(wasi_nn.load, (counting / "saved_model.pb").read_bytes(), runtime="tensorflow")
    assert "the path of its folder, or a zip or tar file of all of it" in message
    for source in (counting, tensorflow_models.zipped(counting)):
        assert wasi_nn.load(source, runtime="tensorflow").compute({"x": X})["y"].tolist() == X.tolist()


def test_a_model_that_openvino_refuses_is_run_by_the_runtime_that_it_names(counting: Path) -> None:
    message = message_of(wasi_nn.load, counting, runtime="openvino")
    [encoding, runtime] = re.findall(r"--runtime (\w+)=(\w+)", message)[0]
    rules = LoadRules(runtimes={encoding: runtime})
    assert wasi_nn.load(counting, rules=rules).compute({"x": X})["y"].tolist() == X.tolist()
    [runtime] = re.findall(r"runtime='(\w+)', --runtime", message)
    assert wasi_nn.load(counting, runtime=runtime).runtime == "tensorflow"


def test_a_saved_models_graph_is_chosen_by_its_tags_as_the_error_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tensorflow_models.of_function(tmp_path / "model", lambda x: {"y": -x})
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs.add().CopyFrom(model.meta_graphs[0])
    for place, tags in enumerate((["gpu", "b"], ["train"])):
        model.meta_graphs[place].meta_info_def.tags[:] = tags
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    message = message_of(wasi_nn.load, folder, runtime="tensorflow")
    [in_python] = re.findall(r"options=(\{.*\}), --graph-option", message)
    assert wasi_nn.load(folder, runtime="tensorflow", options=ast.literal_eval(in_python)).outputs
    [in_file] = re.findall(r"(options\.\w+ = \S.*) in graphs\.toml", message)
    file = tmp_path / "graphs.toml"
    file.write_text(f'[graphs.net]\npath = "model"\nruntime = "tensorflow"\n{in_file}\n')
    assert Registry(file).get("net").outputs
    [in_command] = re.findall(r"--graph-option 'NAME:([^']*)'", message)
    arguments = ["inspect", "--runtime", "tensorflow=tensorflow", "--option", in_command, str(folder)]
    assert cli.main(arguments) == 0
    assert "runtime   tensorflow" in capsys.readouterr().out


def test_an_isolated_models_further_files_are_listed_as_the_error_says(tmp_path: Path, isolation: None) -> None:
    path, rules = onnx_with_data_beside_it(tmp_path), LoadRules(isolate=True)
    for runtime in ("onnxruntime", "openvino"):
        message = message_of(wasi_nn.load, path, runtime=runtime, rules=rules)
        [in_python] = re.findall(r"options=(\{.*\}), --graph-option", message)
        assert wasi_nn.load(path, runtime=runtime, rules=rules, options=ast.literal_eval(in_python)).outputs
