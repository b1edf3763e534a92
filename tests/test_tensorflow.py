"""The TensorFlow backend: SavedModels and frozen graphs, element types, and what untrusted models may not contain."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import models as real_models
import numpy as np
import onnx_models
import pytest
from checks import on_threads, refused
from conftest import need
from core_guest import SUCCESS, UNSUPPORTED_OPERATION, CoreGuest

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, NNError, TargetUnavailable, TensorType
from wasi_nn.backends.tensorflow import model as model_formats, operations, parts

need("tensorflow", "'wasi-nn[tensorflow]'")

import tensorflow_models as models  # noqa: E402
from tensorflow_models import tf, v1  # noqa: E402

from wasi_nn.backends import choose_device  # noqa: E402
from wasi_nn.backends.tensorflow.backend import as_devices  # noqa: E402
from wasi_nn.backends.tensorflow.operator_counts import tensorflow_operators  # noqa: E402
from wasi_nn.loading.model_operators import operators_of  # noqa: E402

X = onnx_models.f32([1, -1, 2, -2])
SECRET = "what only the host may read"


def load(source: Any, **options: Any) -> wasi_nn.Graph:
    return wasi_nn.load(source, "tensorflow", runtime="tensorflow", options=options)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return str(path)


# Formats


def test_a_frozen_graph_from_bytes_from_a_file_and_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(models.relu())
    for source in (models.relu(), tmp_path / "model.pb", tmp_path):
        graph = load(source)
        assert (graph.encoding.value, graph.runtime, graph.device) == ("tensorflow", "tensorflow", "cpu")
        assert [str(info) for info in (*graph.inputs, *graph.outputs)] == ["x: f32[4]", "y: f32[4]"]
        assert graph.compute({"x": X})["y"].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("form", ["folder", "file", "zip", "zip of a folder", "tar", "tar.gz", "tar of a folder"])
def test_a_saved_model_by_path_and_as_an_archive(form: str, tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    sources: dict[str, Callable[[], Path | bytes]] = {
        "folder": lambda: folder,
        "file": lambda: folder / "saved_model.pb",
        "zip": lambda: models.zipped(folder),
        "zip of a folder": lambda: models.zipped(folder, "affine/"),
        "tar": lambda: models.tarred(folder, "w"),
        "tar.gz": lambda: models.tarred(folder),
        "tar of a folder": lambda: models.tarred(folder, "w:gz", "affine"),
    }
    graph = load(sources[form]())
    assert [str(info) for info in graph.inputs] == ["x: f32[?, 4]"]
    assert [str(info) for info in graph.outputs] == ["rows: i32[]", "y: f32[?, 4]"], "in alphabetical order"
    outputs = graph.compute({"x": np.ones((2, 4), np.float32)})
    assert outputs["y"].tolist() == [[1.5, 2.5, 3.5, 4.5]] * 2
    assert outputs["rows"].tolist() == 2


def test_an_archive_is_unpacked_for_the_loading_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.zipped(models.affine(tmp_path / "affine"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert load(model).compute({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[1.5, 2.5, 3.5, 4.5]]
    assert not list((tmp_path / "temporary").iterdir())
    (tmp_path / "model.zip").write_bytes(model)
    assert load(tmp_path / "model.zip").inputs[0].name == "x"


def test_variables_that_arent_there(tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    refused(ErrorCode.RUNTIME_ERROR, "variables are missing", load, (folder / "saved_model.pb").read_bytes())
    constant = models.of_function(tmp_path / "constant", lambda x: {"y": x + 1})
    assert load((constant / "saved_model.pb").read_bytes()).compute({"x": X})["y"].tolist() == [2, 0, 3, -1]
    unfrozen = models.frozen(lambda: tf.identity(v1.get_variable("weights", [4]).read_value(), name="y"))
    refused(ErrorCode.RUNTIME_ERROR, "isn't frozen: its variable 'weights'", load, unfrozen)


def test_operations_are_counted_without_tensorflow(tmp_path: Path) -> None:
    frozen = tensorflow_operators(memoryview(models.relu()))
    assert frozen is not None
    assert frozen["Relu"] == 1
    assert frozen == Counter(node.op for node in v1.GraphDef.FromString(models.relu()).node)
    folder = models.affine(tmp_path)
    saved = operators_of(folder / model_formats.SAVED_MODEL)
    assert saved is not None
    assert "MatMul" in saved.counts or "Mul" in saved.counts  # it is in a function
    assert tensorflow_operators(memoryview(b"no model")) is None


def test_formats_are_told_from_each_other_and_from_others(tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    graph, saved, archive = models.relu(), (folder / "saved_model.pb").read_bytes(), models.zipped(folder)
    recognisers = (model_formats.is_graph_def, model_formats.is_saved_model, model_formats.is_saved_model_archive)
    for place, model in enumerate((graph, saved, archive)):
        assert [tell(memoryview(model)) for tell in recognisers] == [place == which for which in range(3)]
    others = [b"", b"\0" * 64, b"PK\3\4", b"\x1f\x8b\x08", b"\n\6\n\1x\x12\1y", os.urandom(200), SECRET.encode()]
    others += [onnx_models.relu(), (folder / "fingerprint.pb").read_bytes(), graph[:40], saved[:1000], archive[:400]]
    others += [tf.train.Example().SerializeToString(), models.zipped(folder, "too/deep/")]
    others.append(tf.train.Example(features={"feature": {"x": {}, "y": {}}}).SerializeToString())
    for other in others:
        assert not model_formats.is_tensorflow(memoryview(other)), other[:40]


def test_a_tar_file_may_have_its_weights_first(tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    for entry in (folder / "variables").iterdir():
        (tmp_path / "weights" / "variables").mkdir(parents=True, exist_ok=True)
        (tmp_path / "weights" / "variables" / entry.name).write_bytes(os.urandom(5 << 20))
    weights = models.tarred(tmp_path / "weights")
    assert model_formats.is_saved_model_archive(memoryview(weights))
    refused(ErrorCode.RUNTIME_ERROR, "the archive has no saved_model.pb", load, weights)


@pytest.mark.parametrize("model", [b"", b"no model", models.relu()[:50], models.relu()[:-8] + b"\xff" * 8])
def test_what_is_no_model(model: bytes) -> None:
    refused(ErrorCode.RUNTIME_ERROR, "can't load the model|is empty|cut short", load, model)


def test_builders_too_many() -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "one builder", load, [models.relu()] * 2)


# Signatures, tags, and the tensors of a graph


def test_one_of_several_signatures_is_chosen(tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    graph = load(folder, signature="number")
    assert [str(info) for info in (*graph.inputs, *graph.outputs)] == [
        "x: string[?]",
        "loud: string[?]",
        "numbers: i64[?]",
    ]
    outputs = graph.compute({"x": ["two", "three"]})
    assert (outputs["numbers"].tolist(), outputs["loud"].tolist()) == ([2, -1], [b"TWO", b"THREE"])
    assert graph.metadata["signatures"] == "number, serving_default"
    refused(ErrorCode.INVALID_ARGUMENT, "no signature 'x'; it has number, serving_default", load, folder, signature="x")
    module = models.affine_module()
    only = models.saved(tmp_path / "only", module, {"one": module.affine})
    assert load(only).inputs[0].name == "x"
    two = models.saved(tmp_path / "two", module, {"one": module.affine, "other": module.number})
    assert (load(two).signature, load(two).signatures) == ("one", ("one", "other"))
    none = models.saved(tmp_path / "none", module, {})
    refused(ErrorCode.RUNTIME_ERROR, "has no signatures", load, none)


def test_a_graph_by_its_tags(tmp_path: Path) -> None:
    folder = models.of_function(tmp_path / "model", lambda x: {"y": -x})
    models.changed(folder, lambda meta: meta.meta_info_def.tags.append("gpu"))
    for options in ({}, {"tags": ["gpu", "serve"]}):
        assert load(folder, **options).compute({"x": X})["y"].tolist() == [-1, 1, -2, 2]
    refused(
        ErrorCode.INVALID_ARGUMENT,
        "no graph tagged train; its graphs are tagged: gpu, serve",
        load,
        folder,
        tags=["train"],
    )


def test_the_inputs_and_outputs_of_a_frozen_graph() -> None:
    def build() -> None:
        x = v1.placeholder(tf.float32, [4], "x")
        z = v1.placeholder_with_default([1.0] * 4, [4], "bias")
        first, _ = tf.split(tf.nn.relu(x, name="middle") + z, 2, name="halves")
        tf.reduce_sum(first, name="sum")
        tf.split(x, 2, name="parts")
        tf.no_op("nothing")
        tf.constant(1.0, name="unused")

    model = models.frozen(build)
    graph = load(model)
    assert [str(info) for info in graph.inputs] == ["x: f32[4]", "bias: f32[4]"]
    assert [(info.name, info.optional) for info in graph.inputs] == [("x", False), ("bias", True)]
    assert [info.name for info in graph.outputs] == ["sum", "parts", "parts:1"]
    assert graph.compute({"x": X})["sum"] == 3
    assert graph.compute({"x": X, "bias": np.zeros(4, np.float32)})["sum"] == 1
    chosen = load(model, inputs=["middle"], outputs=["halves:1", "halves", "middle"])
    assert [info.name for info in chosen.outputs] == ["halves:1", "halves", "middle"]
    outputs = chosen.compute({"middle": X})
    assert [array.tolist() for array in outputs.values()] == [[3, -1], [2, 0], X.tolist()]
    refused(ErrorCode.INVALID_ARGUMENT, "no tensor 'nowhere'", load, model, outputs=["nowhere"])


def test_defaults_of_a_signature_are_taken_for_what_isnt_set(tmp_path: Path) -> None:
    def default(meta: Any) -> None:
        meta.signature_def["serving_default"].defaults["x"].CopyFrom(tf.make_tensor_proto([5.0] * 4))

    graph = load(models.changed(models.of_function(tmp_path / "model", lambda x: {"y": -x}), default))
    assert graph.compute({})["y"].tolist() == [-5] * 4
    assert graph.compute({"x": X})["y"].tolist() == [-1, 1, -2, 2]


def test_an_input_may_be_an_output_and_an_output_two(tmp_path: Path) -> None:
    def build() -> tuple[models.Tensors, models.Tensors]:
        x = v1.placeholder(tf.float32, [4], "x")
        doubled = x + x
        return {"x": x}, {"same": x, "one": doubled, "other": doubled}

    graph = load(models.saved_by_v1(tmp_path / "model", build))
    outputs = graph.compute({"x": X})
    for name, expected in (("same", X), ("one", 2 * X), ("other", 2 * X)):
        assert outputs[name].tolist() == expected.tolist()
    assert not np.shares_memory(outputs["one"], outputs["other"])


def test_sparse_tensors_and_handles_are_refused(tmp_path: Path) -> None:
    def sparse(meta: Any) -> None:
        meta.signature_def["serving_default"].inputs["x"].coo_sparse.values_tensor_name = "x:0"

    folder = models.changed(models.of_function(tmp_path / "model", lambda x: {"y": x}), sparse)
    refused(ErrorCode.UNSUPPORTED_OPERATION, "sparse or ragged", load, folder)
    handles = models.frozen(
        lambda: tf.raw_ops.EmptyTensorList(element_shape=[2], max_num_elements=1, element_dtype=tf.float32, name="list")
    )
    refused(ErrorCode.RUNTIME_ERROR, "no outputs", load, handles)
    refused(ErrorCode.UNSUPPORTED_OPERATION, "'list' is variant", load, handles, outputs=["list"])


# Running


OTHERS = ["int8", "int16", "uint16", "uint32", "uint64", "bool", "complex64"]


@pytest.mark.parametrize("kind", [*TensorType, *OTHERS])
def test_every_type_in_and_out_and_dims_that_change(kind: Any) -> None:
    graph = load(models.identity(kind))
    assert graph.inputs[0].dims == ("?",)
    dtype = graph.inputs[0].dtype
    assert dtype is not None
    assert graph.inputs[0].type is graph.outputs[0].type is (kind if isinstance(kind, TensorType) else None)
    context = graph.init_execution_context()
    kept = []
    for count in (4, 4, 2, 5, 0, 5):
        values = np.arange(count).astype(dtype)
        context.set_input(0, values)
        context.compute()
        context.set_input(0, np.zeros(count, dtype))
        assert context.get_output(0).tolist() == values.tolist()
        kept.append((graph.compute({"x": values})["y"], values))
    assert all(output.dtype == dtype and output.tolist() == values.tolist() for output, values in kept)


def test_strings_as_text_and_as_bytes_and_what_is_none() -> None:
    graph = load(models.frozen(lambda: tf.strings.join([v1.placeholder(tf.string, None, "x"), "!"], name="y")))
    assert str(graph.inputs[0]) == "x: string[...]"
    for given in (["a", "b\0c"], np.array(["a", b"b\0c"], object)):
        assert graph.compute({"x": given})["y"].tolist() == [b"a!", b"b\0c!"]
    assert graph.compute({"x": np.array("é")})["y"].tolist() == "é!".encode()
    for other in (None, 1, 1.5, ["nested"], "\ud800"):
        array = np.empty(1, object)
        array[0] = other
        code = ErrorCode.RUNTIME_ERROR if other == "\ud800" else ErrorCode.INVALID_ARGUMENT
        refused(code, "UTF-8|'x' must be an array of string.*, or texts in lists", graph.compute, {"x": array})


@pytest.mark.parametrize(("dims", "shown"), [((), ()), ((1,), (1,)), ((2, 3), (2, 3)), ((None, 3), ("?", 3))])
def test_dims_of_every_kind(dims: models.Dims, shown: tuple[Any, ...]) -> None:
    graph = load(models.relu(dims))
    assert graph.inputs[0].dims == graph.outputs[0].dims == shown
    values = np.ones([2 if dim is None else dim for dim in dims or ()], np.float32)
    assert graph.compute({"x": values})["y"].tolist() == values.tolist()


def test_nothing_given_out_is_the_models_own_or_the_inputs_memory() -> None:
    weights = np.arange(64, dtype=np.float32)
    graph = load(
        models.frozen(
            lambda: (
                tf.identity(v1.placeholder(tf.float32, [64], "x"), name="y"),
                tf.identity(tf.constant(weights), name="weights"),
            )
        )
    )
    array = models.aligned(weights)
    outputs = graph.compute({"x": array})
    outputs["y"][:], outputs["weights"][:] = -1, -1
    assert array.tolist() == weights.tolist()
    context = graph.init_execution_context()
    for _ in range(3):
        context.set_input(0, weights)
        context.compute()
        assert context.get_output("weights").tolist() == context.get_output("y").tolist() == weights.tolist()
    array.flags.writeable = False
    assert graph.compute({"x": array})["y"].tolist() == weights.tolist()


def test_state_doesnt_hang_on_an_inputs_memory(tmp_path: Path) -> None:
    module = tf.Module()
    module.last = tf.Variable(tf.zeros([16]))

    def swap(x: Any) -> models.Tensors:
        before = tf.identity(module.last)
        module.last.assign(x)
        return {"before": before}

    module.swap = models.function(swap, (16,))
    model = models.zipped(models.saved(tmp_path / "memory", module, {"serving_default": module.swap}))
    graph = load(model)
    assert "by each context for itself" in graph.metadata["state"]
    array = models.aligned(np.ones(16, np.float32))
    context = graph.init_execution_context()
    context.compute_named([("x", array)])
    array[:] = 7
    ((_, before),) = context.compute_named([("x", array)])
    assert before.tolist() == [1] * 16
    assert load(model).compute({"x": array})["before"].tolist() == [0] * 16, "another graph has its own"
    assert "state" not in load(models.relu()).metadata


def test_errors_of_the_runtime_are_short_and_leave_the_graph_usable() -> None:
    graph = load(models.frozen(lambda: tf.gather(v1.placeholder(tf.float32, [None], "x"), [3], name="y")))
    with pytest.raises(NNError, match=r"indices\[0\] = 3 is not in \[0, 1\)") as caught:
        graph.compute({"x": np.ones(1, np.float32)})
    assert caught.value.code is ErrorCode.RUNTIME_ERROR
    assert len(str(caught.value)) < 300
    assert graph.compute({"x": X})["y"].tolist() == [-2]


def test_results_are_the_runtimes_bit_for_bit_and_in_full_precision(tmp_path: Path) -> None:
    places = np.random.default_rng(4)
    weights = places.standard_normal((64, 3, 7, 7), np.float32).transpose(2, 3, 1, 0)
    image = places.standard_normal((1, 64, 64, 3), np.float32)
    folder = models.of_function(
        tmp_path / "model", lambda x: {"y": tf.nn.relu(tf.nn.conv2d(x, weights, 2, "SAME"))}, image.shape
    )
    direct = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant(image))["y"].numpy()
    assert load(folder).compute({"x": image})["y"].tobytes() == direct.tobytes()
    exact = tf.nn.relu(tf.nn.conv2d(image.astype(np.float64), weights.astype(np.float64), 2, "SAME")).numpy()
    np.testing.assert_allclose(direct, exact, atol=1e-4)  # bf16 would be off by 0.1


def test_real_weights_give_the_same_answers_as_onnx_runtime(tmp_path: Path) -> None:
    folder = real_models.basic_pitch_saved_model()
    tone = np.sin(2 * np.pi * 440 * np.arange(43844) / 22050)
    noise = np.random.default_rng(1).uniform(-1, 1, 43844)
    expected = wasi_nn.load(real_models.basic_pitch()[0])
    for source in (folder, models.zipped(folder), models.tarred(folder)):
        graph = load(source)
        assert [info.name for info in graph.outputs] == ["contour", "note", "onset"]
        # The network takes the logarithm of the silence around a single tone, so an error of 1e-7 in its input becomes
        # an error of 5e-4 in its output, in any runtime.
        for sound, tolerance in ((noise, 1e-4), (tone, 5e-3)):
            audio = sound.astype(np.float32).reshape(1, -1, 1)
            outputs = graph.compute({graph.inputs[0].name: audio})
            others = expected.compute({expected.inputs[0].name: audio})
            for one, other in zip(*(sorted(it.values(), key=_size_and_sum) for it in (outputs, others)), strict=True):
                np.testing.assert_allclose(one, other, atol=tolerance)
        assert outputs["note"].max() > 0.5, "the note is found"


def _size_and_sum(array: Any) -> tuple[int, float]:
    return array.size, array.sum()


def test_keras_exports(tmp_path: Path) -> None:
    layers = tf.keras.layers
    network = tf.keras.Sequential([layers.Input((5, 4)), layers.LSTM(3), layers.BatchNormalization(), layers.Dense(2)])
    network.export(str(tmp_path / "network"), verbose=False)
    x = np.random.default_rng(3).standard_normal((2, 5, 4), np.float32)
    for source in (tmp_path / "network", models.zipped(tmp_path / "network")):
        graph = load(source)
        [output] = graph.compute({graph.inputs[0].name: x}).values()
        np.testing.assert_allclose(output, network(x).numpy(), atol=1e-6)


def test_one_graph_on_several_threads(tmp_path: Path) -> None:
    graph = load(models.affine(tmp_path / "affine"))
    wrong: list[int] = []

    def work(number: int) -> None:
        context = graph.init_execution_context()
        for _ in range(200):
            context.set_input(0, np.full((1, 4), number, np.float32))
            context.compute()
            if context.get_output("y").tolist() != [[number * k + 0.5 for k in (1, 2, 3, 4)]]:
                wrong.append(number)

    on_threads(work, 4)
    assert not wrong


def test_a_guest_brings_its_model_where_it_may(tmp_path: Path) -> None:
    model = models.zipped(models.of_function(tmp_path / "model", lambda x: {"y": tf.nn.relu(x)}))
    for source in (models.relu(), model):
        with wasi_nn.Session(allow_load=["tensorflow"]) as session:
            guest = CoreGuest(session)
            assert guest.load(source, encoding=2) == SUCCESS
            guest.check_relu(guest.u32())
    with wasi_nn.Session() as session:
        guest = CoreGuest(session)
        assert guest.load(models.relu(), encoding=2) == UNSUPPORTED_OPERATION
        builders = [memoryview(models.relu())]
        encoding = wasi_nn.GraphEncoding.TENSORFLOW
        refused(ErrorCode.SECURITY, "by name only", session.load, builders, encoding, ExecutionTarget.CPU)


# Options and targets


@pytest.mark.parametrize(
    "options",
    [{"thread": 1}, {"threads": -1}, {"threads": True}, {"signature": "x"}, {"inputs": "x"}, {"outputs": []}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "option", load, models.relu(), **options)


@pytest.mark.parametrize("options", [{"inputs": ["x"]}, {"tags": "serve"}, {"tags": [1]}, {"signature": ""}])
def test_options_that_make_no_sense_for_a_saved_model(options: dict[str, Any], tmp_path: Path) -> None:
    folder = models.of_function(tmp_path / "model", lambda x: {"y": x})
    refused(ErrorCode.INVALID_ARGUMENT, "option", load, folder, **options)


def test_threads_are_each_graphs_own() -> None:
    def product() -> None:
        x = v1.placeholder(tf.float32, [None, None], "x")
        tf.matmul(x, x, name="y")

    script = f"""
import os, wasi_nn
def grown(threads):
    before = len(os.listdir("/proc/self/task"))
    graph = wasi_nn.load({models.frozen(product)!r}, "tensorflow", options={{"threads": threads}})
    graph.compute({{"x": [[wasi_nn.TensorType.F32.dtype.type(1)]]}})
    return len(os.listdir("/proc/self/task")) - before
grown(1)
print(grown(1), grown(5) - grown(2))
"""
    assert in_a_process_of_its_own(script).split() == ["1", "3"]


def test_the_device_for_each_target() -> None:
    both = as_devices(["CPU", "GPU", "GPU"])
    assert choose_device(both, ExecutionTarget.CPU, "tensorflow").label == "cpu"
    assert choose_device(both, ExecutionTarget.GPU, "tensorflow").label == "gpu:0"
    for target, available in ((ExecutionTarget.GPU, ["CPU"]), (ExecutionTarget.TPU, ["CPU", "TPU"])):
        with pytest.raises(TargetUnavailable, match=f"no device for {target.value} here"):
            choose_device(as_devices(available), target, "tensorflow")


def test_what_isnt_there_is_refused_unless_a_fallback_is_allowed() -> None:
    if "GPU" in {device.device_type for device in tf.config.list_physical_devices()}:
        pytest.skip("there is a GPU")
    for target in ("gpu", "tpu"):
        refused(ErrorCode.UNSUPPORTED_OPERATION, f"no device for {target}", wasi_nn.load, models.relu(), target=target)
        rules = wasi_nn.LoadRules(target_fallback="cpu")
        assert wasi_nn.load(models.relu(), "tensorflow", target, rules=rules).device == "cpu"


def test_a_device_that_the_model_was_made_on_is_of_no_matter() -> None:
    def build() -> None:
        with tf.device("/job:trainer/replica:0/task:3/device:GPU:5"):
            tf.negative(v1.placeholder(tf.float32, [4], "x"), name="y")

    assert load(models.frozen(build)).compute({"x": X})["y"].tolist() == [-1, 1, -2, 2]


def in_a_process_of_its_own(script: str, **environment: str) -> str:
    """The output of a Python script in a new process, from both streams."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=kept | environment, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_tensorflow_prints_nothing_and_leaves_the_environment_alone() -> None:
    failing = models.frozen(lambda: tf.gather(v1.placeholder(tf.float32, [None], "x"), [3], name="y"))
    script = f"""
import gc, os, sys, wasi_nn
before = dict(os.environ)
graph = wasi_nn.load({failing!r}, "tensorflow", runtime="tensorflow")
try:
    graph.compute({{"x": [wasi_nn.TensorType.F32.dtype.type(1)]}})
except wasi_nn.NNError as error:
    print(error.code.value)
print(dict(os.environ) == before, gc.isenabled(), "keras" in sys.modules)
"""
    keras = 'print(sys.modules["tensorflow"].keras.layers.Dense.__name__)\n'
    expected = ["runtime-error", "True", "True", "False", "Dense"]  # Keras is imported by those alone who use it
    assert in_a_process_of_its_own(script + keras).split() == expected
    assert "This TensorFlow binary" in in_a_process_of_its_own(script, TF_CPP_MIN_LOG_LEVEL="0"), "if the user wants it"


def test_the_parts_that_a_worker_imports_are_those_of_the_package_which_can_follow() -> None:
    script = """
import sys
from types import SimpleNamespace
from wasi_nn.backends.tensorflow.backend import import_tensorflow

def same(parts, package):
    for name, part in vars(parts).items():
        of_package = getattr(package, name)
        names = [(it.__module__, it.__qualname__) for it in (part, of_package) if callable(it)]
        yield from same(part, of_package) if isinstance(part, SimpleNamespace) else [len(set(names)) == 1]

parts = import_tensorflow(only_parts=True)
package = sys.modules["tensorflow"]
print("tensorflow._api.v2" in sys.modules, [device.device_type for device in parts.config.list_physical_devices()])
import tensorflow as tf
from tensorflow import keras
print(tf is package, int(tf.add(1, 2)), keras.layers.Dense.__name__, hasattr(tf, "__none__"), all(same(parts, tf)))
"""
    assert in_a_process_of_its_own(script).splitlines()[:2] == ["False ['CPU']", "True 3 Dense False True"]


def test_a_tensorflow_with_its_parts_elsewhere_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere() -> None:
        raise ImportError("no module named 'tensorflow.python.client.session'")

    ran: list[ModuleType] = []
    package = ModuleType("tensorflow")
    package.__spec__ = SimpleNamespace(loader=SimpleNamespace(exec_module=ran.append))  # type: ignore[assignment]
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(parts, "find_spec", lambda name: package.__spec__)
    monkeypatch.setattr(parts, "module_from_spec", lambda spec: package)
    monkeypatch.setattr(parts, "_parts", elsewhere)
    assert parts.import_parts() is package
    assert ran == [package]
    assert sys.modules["tensorflow"] is package


# Models from bytes may not leave the graph


@pytest.mark.parametrize("hostile", models.HOSTILE, ids=lambda build: build.__name__)
def test_a_model_from_bytes_may_not_leave_its_graph(
    hostile: Callable[[Path, str], Path], tmp_path: Path, secret: str
) -> None:
    model = models.zipped(hostile(tmp_path / "model", secret))
    before = set(tmp_path.iterdir())
    refused(ErrorCode.SECURITY, f"operation '.*({models.HOSTILE[hostile]}).*'.*by its path", load, model)
    assert Path(secret).read_text() == SECRET
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "build", [models.reads_a_file, models.has_a_table_from_a_file], ids=lambda build: build.__name__
)
def test_by_path_it_is_the_operators_model(build: Callable[[Path, str], Path], tmp_path: Path, secret: str) -> None:
    graph = load(build(tmp_path / "model", secret))
    tensor = X if graph.inputs[0].type is TensorType.F32 else np.array(SECRET)
    assert graph.compute({graph.inputs[0].name: tensor})["y"].tolist() in (SECRET.encode(), 0)


def test_a_file_beside_the_operators_model_is_found_wherever_the_model_is(tmp_path: Path, secret: str) -> None:
    models.has_a_table_from_a_file(tmp_path / "model", secret).rename(tmp_path / "moved")
    os.remove(secret)
    graph = load(tmp_path / "moved")
    assert graph.compute({graph.inputs[0].name: np.array(SECRET)})["y"] == 0


def test_a_graph_is_looked_through_before_tensorflow_reads_it(tmp_path: Path) -> None:
    shape = tmp_path / "shape"
    shape.write_bytes(np.array([2, 2], np.int32).tobytes())

    def build() -> None:
        read = tf.io.decode_raw(tf.io.read_file(str(shape)), tf.int32)
        tf.reshape(v1.placeholder(tf.float32, [None], "x"), read, name="y")

    model = models.frozen(build)
    (tmp_path / "model.pb").write_bytes(model)
    assert load(tmp_path / "model.pb").outputs[0].dims == (2, 2), "TensorFlow reads the file as it reads the graph"
    refused(ErrorCode.SECURITY, "operation 'ReadFile' \\(node 'ReadFile'\\)", load, model)


def test_functions_are_looked_through_however_they_are_called(secret: str) -> None:
    plain = models.call("reader")
    models.add_reader(plain, "reader", secret)
    by_name = v1.GraphDef()
    by_name.node.add(name="call", op="reader")
    models.add_reader(by_name, "reader", secret)
    handed_over = models.call("outer")
    handed_over.node[0].attr["f"].func.attr["g"].func.name = "reader"
    outer = handed_over.library.function.add()
    outer.signature.name = "outer"
    outer.signature.output_arg.add(name="out", type=tf.string.as_datatype_enum)
    outer.signature.attr.add(name="g", type="func")
    inner = outer.node_def.add(name="inner", op="PartitionedCall")
    inner.attr["Tout"].list.type.append(tf.string.as_datatype_enum)
    inner.attr["f"].placeholder = "g"
    outer.ret["out"] = "inner:output:0"
    models.add_reader(handed_over, "reader", secret)
    replaced = models.constant("innocent", "x")
    replaced.node.add(name="y", op="Identity", input=["innocent"]).attr["T"].type = tf.string.as_datatype_enum
    models.add_reader(replaced, "reader", secret).attr["api_implements"].s = b"lstm"
    for graph in (plain, by_name, handed_over, replaced):
        refused(ErrorCode.SECURITY, "operation 'ReadFile'", load, graph.SerializeToString())


def test_a_name_of_an_operation_doesnt_hide_one(secret: str) -> None:
    graph = models.call("ReadFile")
    graph.node.add(name="read", op="ReadFile", input=["path"])
    graph.node.extend(models.constant("path", secret).node)
    refused(ErrorCode.SECURITY, "operation 'ReadFile'", load, graph.SerializeToString())
    named = models.constant("path", secret)
    named.node.add(name="y", op="ReadFile", input=["path"])
    named.library.function.add().signature.name = "ReadFile"
    refused(ErrorCode.RUNTIME_ERROR, "an op with the same name already exists", load, named.SerializeToString())


def test_functions_that_call_each_other_end() -> None:
    graph = models.call("one")
    for name, other in (("one", "other"), ("other", "one")):
        it = graph.library.function.add()
        it.signature.name = name
        it.signature.output_arg.add(name="out", type=tf.string.as_datatype_enum)
        it.node_def.extend(models.call(other).node)
        it.ret["out"] = "call:output:0"
    assert set(operations.reach(graph, ["call"]).operations) == {"PartitionedCall"}


def test_a_graph_too_large_to_be_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_STEPS", 3)
    refused(
        ErrorCode.TOO_LARGE,
        "more than 3 steps",
        load,
        models.frozen(lambda: tf.nn.relu(tf.nn.relu(tf.nn.relu(v1.placeholder(tf.float32, [4], "x"))))),
    )


def test_the_operations_that_are_allowed_are_tensorflows_and_stay_in_the_graph() -> None:
    from tensorflow.python.framework import op_def_registry

    there = {name: op_def_registry.get(name) for name in operations.ALLOWED}
    assert not [name for name, known in there.items() if known is None]
    reaching = (
        "File",
        "Reader",
        "Dataset",
        "Iterator",
        "PyFunc",
        "Save",
        "Restore",
        "Print",
        "Debug",
        "Rpc",
        "TPU",
        "Send",
        "Recv",
        "Collective",
        "Queue",
        "Xla",
        "Sql",
        "Abort",
        "Summary",
        "Snapshot",
        "Vocab",
        "Proto",
    )
    harmless = {
        "HistogramSummary",
        "MergeSummary",
        "ScalarSummary",
        "TensorSummary",
        "TensorSummaryV2",
        "ShardedFilename",
    }
    assert {name for name in operations.ALLOWED if any(word in name for word in reaching)} == harmless
    paths = [
        name
        for name, known in there.items()
        if known is not None and any("file" in it.name.lower() for it in (*known.attr, *known.input_arg))
    ]
    assert not paths


# Archives and damage


@pytest.mark.parametrize("name", ["../saved_model.pb", "/tmp/saved_model.pb", "a/../../saved_model.pb"])
def test_archives_may_not_lead_out_of_their_folder(name: str, tmp_path: Path) -> None:
    folder = models.of_function(tmp_path / "model", lambda x: {"y": x})
    content = (folder / "saved_model.pb").read_bytes()
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("saved_model.pb", content)
        archive.writestr(name, b"escaped")
    refused(ErrorCode.SECURITY, "lies outside of it", load, (tmp_path / "model.zip").read_bytes())


def test_archives_may_have_no_links_and_may_not_be_bombs(tmp_path: Path) -> None:
    folder = models.of_function(tmp_path / "model", lambda x: {"y": x})
    (folder / "variables" / "link").symlink_to("/etc/hostname")
    refused(ErrorCode.SECURITY, "is no plain file", load, models.tarred(folder))
    (folder / "variables" / "link").unlink()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_BZIP2, compresslevel=9) as archive:
        archive.writestr("saved_model.pb", (folder / "saved_model.pb").read_bytes())
        archive.writestr("variables/variables.index", bytes(64 << 20))
    refused(ErrorCode.SECURITY, "unpacks to more than", load, (tmp_path / "bomb.zip").read_bytes())


def test_an_archive_of_several_models(tmp_path: Path) -> None:
    for name in ("one", "two"):
        models.of_function(tmp_path / "both" / name, lambda x: {"y": x})
    refused(
        ErrorCode.INVALID_ARGUMENT, "one/saved_model.pb, two/saved_model.pb", load, models.zipped(tmp_path / "both")
    )


def test_weights_that_are_damaged_or_cut_short(tmp_path: Path) -> None:
    folder = models.affine(tmp_path / "affine")
    for name in ("variables.index", "variables.data-00000-of-00001"):
        file = folder / "variables" / name
        whole = file.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2], bytes(len(whole)), whole[:-1] + b"\xff"):
            file.write_bytes(damaged)
            with pytest.raises(NNError) as caught:
                load(models.zipped(folder))
            assert caught.value.code is ErrorCode.RUNTIME_ERROR
        file.write_bytes(whole)
    assert load(models.zipped(folder)).inputs[0].name == "x"


def test_models_that_are_damaged_anywhere_harm_nobody(tmp_path: Path) -> None:
    script = f"""
import sys; sys.path[:0] = {sys.path!r}
import test_tensorflow
test_tensorflow.load_damaged(__import__("pathlib").Path({str(tmp_path)!r}))
"""
    assert "refused" in in_a_process_of_its_own(script)  # a failed check in TensorFlow would end the process


def load_damaged(folder: Path) -> None:
    """Load models with some bytes changed. Raises every error but `NNError`."""
    saved, places = models.affine(folder / "affine"), random.Random(5)
    whole, refusals = (saved / "saved_model.pb").read_bytes(), 0
    for model, count in ((models.relu(), 100), (whole, 100)):
        for _ in range(count):
            damaged = bytearray(model)
            for _ in range(places.randint(1, 3)):
                damaged[places.randrange(len(model))] = places.randrange(256)
            (saved / "saved_model.pb").write_bytes(damaged)
            try:
                graph = load(models.zipped(saved) if model is whole else bytes(damaged))
                graph.compute(
                    {info.name: np.ones((1, 4)[-len(info.dims or ()) :], info.dtype) for info in graph.inputs}
                )
            except NNError:
                refusals += 1
    print(refusals, "refused")


def test_functions_of_many_arguments_that_are_looked_at_again_and_again() -> None:
    graph = v1.GraphDef()
    function = graph.library.function.add()
    function.signature.name = "f"
    for place in range(2000):
        function.signature.input_arg.add(name=f"a{place}")
    for place in range(1000):  # each with the checkpoint's path in another argument
        graph.node.add(name="f", op="f", input=["x"] * place + ["path"])
    refused(ErrorCode.TOO_LARGE, "too large to be checked", operations.reach, graph, ["f"], "path")
