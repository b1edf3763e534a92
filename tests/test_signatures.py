"""A graph's names are its signature's, on every runtime, and tensors' own names are still taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import need
from driven_component import Driven

import wasi_nn
from wasi_nn import ErrorCode, LoadRules, NNError, Registry, Session, cli

need("ai_edge_litert", "'wasi-nn[tflite]'")
need("openvino", "'wasi-nn[openvino]'")
need("tensorflow", "'wasi-nn[tensorflow]'")

import tensorflow as tf  # noqa: E402
import tensorflow_models  # noqa: E402
import tflite_models  # noqa: E402

RUNTIMES = ["ai_edge_litert", "openvino"]
FEEDS: dict[str, Any] = {
    "x": np.arange(8, dtype=np.float32).reshape(2, 4),
    "add": np.array([[1, 2], [3, 4]], np.float32),
}
RESULTS: dict[str, Any] = {"p": [[2, 7], [12, 17]], "q": [[1, 3.5], [6, 8.5]]}


class Module(tf.Module):  # type: ignore[misc]
    """`infer` has two inputs and two outputs of one type, so that no name can be right by chance."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None, 2], tf.float32)])  # type: ignore[untyped-decorator]
    def infer(self, x: Any, add: Any) -> dict[str, Any]:
        total = tf.reduce_sum(tf.reshape(x, [-1, 2, 2]), 2) + add
        return {"p": total, "q": total / 2}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])  # type: ignore[untyped-decorator]
    def double(self, z: Any) -> dict[str, Any]:
        return {"r": z * 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A SavedModel for each set of signatures, and `NAME.tflite` beside it."""
    module, folder = Module(), tmp_path_factory.mktemp("signatures")
    sets = {
        "one": {"infer": module.infer},
        "two": {"infer": module.infer, "zz": module.double},
        "usual": {"serving_default": module.infer, "aa": module.double},
    }
    for name, signatures in sets.items():
        tf.saved_model.save(module, str(folder / name), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / name), signature_keys=list(signatures))
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return {path.name: path for path in folder.iterdir()}


def names(graph: wasi_nn.Graph) -> list[str]:
    return sorted(info.name for info in (*graph.inputs, *graph.outputs))


def own_names(graph: wasi_nn.Graph) -> dict[str, str]:
    """The tensors' own names, by the signature's."""
    return {info.name: info.aliases[0] for info in (*graph.inputs, *graph.outputs)}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["one.tflite", "two.tflite"])
def test_tensors_have_the_names_of_the_signature_and_take_their_own(
    models: dict[str, Path], name: str, runtime: str
) -> None:
    graph = wasi_nn.load(models[name], runtime=runtime)
    assert names(graph) == ["add", "p", "q", "x"]
    outputs = graph.compute(FEEDS)
    np.testing.assert_allclose([outputs["p"], outputs["q"]], [RESULTS["p"], RESULTS["q"]])
    own = own_names(graph)
    assert len({*own.values()} - {*own}) == 4
    context = graph.init_execution_context()
    for key, array in FEEDS.items():
        context.set_input(own[key], array)
    context.compute()
    for key, expected in RESULTS.items():
        np.testing.assert_allclose(context.get_output(own[key]), expected)
    refused(ErrorCode.INVALID_ARGUMENT, "no input is named 'r'; the graph's inputs: '", context.set_input, "r", 0)


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_guest_of_an_isolated_graph_may_use_both_names(models: dict[str, Path], runtime: str) -> None:
    rules = LoadRules(isolate=True, runtimes={"tensorflowlite": runtime})
    with Registry({"net": models["one.tflite"]}, rules=rules) as registry:
        own = own_names(registry.get("net"))
        for version in ("0.2.0-rc-2024-08-19", "0.2.0-rc-2024-10-28"):
            guest = Driven(version, Session(registry))
            context = guest.init_execution_context(guest.load_by_name("net"))
            outputs = guest.infer(context, {"x": FEEDS["x"], own["add"]: FEEDS["add"]}, ["p", own["q"]])
            np.testing.assert_allclose(next(iter(outputs.values())), RESULTS["p"])
            assert len(outputs) == 2


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_signature_is_run_where_the_runtime_can(models: dict[str, Path], runtime: str) -> None:
    path, feeds = models["two.tflite"], {"z": FEEDS["add"]}
    graph = wasi_nn.load(path, runtime=runtime)
    assert (graph.metadata["signatures"], graph.metadata["signature"]) == ("infer, zz", "infer")
    if runtime == "openvino":
        match = "'zz' isn't of that graph.*--runtime tensorflowlite=ai_edge_litert"
        options = {"signature": "zz"}
        refused(ErrorCode.UNSUPPORTED_OPERATION, match, wasi_nn.load, path, runtime=runtime, options=options)
    else:
        graph = wasi_nn.load(path, runtime=runtime, options={"signature": "zz"})
        assert graph.compute(feeds)["r"].tolist() == [[2, 4], [6, 8]]


def test_openvino_never_runs_another_signature_than_litert_would(models: dict[str, Path]) -> None:
    path = models["usual.tflite"]
    assert names(wasi_nn.load(path, runtime="ai_edge_litert")) == ["add", "p", "q", "x"]
    with pytest.raises(NNError, match="'serving_default' isn't of that graph") as raised:
        wasi_nn.load(path, runtime="openvino")
    [main] = re.findall(r"--graph-option NAME:signature=(\w+)", str(raised.value))
    graph = wasi_nn.load(path, runtime="openvino", options={"signature": main})
    assert names(graph) == ["r", "z"]
    assert graph.compute({"z": FEEDS["add"]})["r"].tolist() == [[2, 4], [6, 8]]


def test_the_error_says_how_to_choose_a_signature_and_each_way_works(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NNError, match="this model has infer, zz") as raised:
        wasi_nn.load(models["two"], runtime="openvino")
    message = str(raised.value)
    [in_file] = re.findall(r"(options\.\S+ = \S+) in graphs\.toml", message)
    file = tmp_path / "graphs.toml"
    file.write_text(f'[graphs.net]\npath = "{models["two"]}"\nruntime = "tensorflow"\n{in_file}\n')
    assert names(Registry(file).get("net")) == ["add", "p", "q", "x"]
    assert "options={'signature': 'infer'}, " in message
    assert names(wasi_nn.load(models["two"], options={"signature": "infer"})) == ["add", "p", "q", "x"]
    [in_command] = re.findall(r"--graph-option (\S+),", message)
    assert cli.main(["inspect", "--option", in_command.removeprefix("NAME:"), str(models["two"])]) == 0
    text = capsys.readouterr().out
    assert "infer, zz" in text
    assert "--option signature=SIGNATURE" in text


def test_openvino_runs_no_graph_that_is_made_of_several_signatures(models: dict[str, Path]) -> None:
    match = (
        "'serving_default' of a SavedModel or its only one, and this model has infer, zz: .*--runtime tensorflow=tensor"
    )
    for source in (models["two"], tensorflow_models.zipped(models["two"])):
        with pytest.raises(NNError, match=match) as raised:
            wasi_nn.load(source, runtime="openvino")
        assert raised.value.code is ErrorCode.UNSUPPORTED_OPERATION
    assert str(raised.value).count("--graph-option NAME:signature=infer") == 1
    for name in ("one", "usual"):
        assert names(wasi_nn.load(models[name], runtime="openvino")) == ["add", "p", "q", "x"]


@pytest.mark.parametrize("runtime", ["tensorflow", "openvino"])
def test_a_saved_models_tensors_have_the_names_of_its_signature(models: dict[str, Path], runtime: str) -> None:
    graph = wasi_nn.load(models["usual"], runtime=runtime)
    assert names(graph) == ["add", "p", "q", "x"]
    np.testing.assert_allclose(graph.compute(FEEDS)["p"], RESULTS["p"])


def element(name: str) -> Any:
    return tflite_models.tensor(name, tflite_models.ELEMENTS[wasi_nn.TensorType.F32], (1,))


def sums(tensors: tuple[str, ...], signatures: Any) -> bytes:
    """The third tensor is the first one without negative numbers."""
    operators = [(tflite_models.RELU, [0], [2])]
    return tflite_models.build([element(name) for name in tensors], operators, [0, 1], [2], signatures)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_name_of_the_signature_comes_before_a_tensors_own(runtime: str) -> None:
    model = sums(("b", "a", "c"), {"main": ({"a": 0, "b": 1}, {"out": 2})})
    graph = wasi_nn.load(model, runtime=runtime)
    context = graph.init_execution_context()
    for name, value in (("a", 5), ("b", -5)):
        context.set_input(name, np.array([value], np.float32))
    context.compute()
    assert context.get_output("c").tolist() == [5]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_without_signatures_keeps_its_tensors_names(runtime: str) -> None:
    graph = wasi_nn.load(sums(("x", "y", "z"), None), runtime=runtime)
    assert (names(graph), graph.signature, "signature" in graph.metadata) == (["x", "y", "z"], "", False)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("of_the_model", "chosen"),
    [
        (["only"], "only"),
        (["infer", "serving_default", "predict"], "serving_default"),
        (["a", "predict", "infer"], "infer"),
        (["predict", "a"], "predict"),
        (["train", "other", "zz"], "other"),
    ],
)
def test_the_usual_one_of_several_signatures_is_run(of_the_model: list[str], chosen: str, runtime: str) -> None:
    signatures = {name: ({f"a of {name}": 0, f"b of {name}": 1}, {"c": 2}) for name in of_the_model}
    graph = wasi_nn.load(sums(("x", "y", "z"), signatures), runtime=runtime)
    assert (graph.signature, names(graph)) == (chosen, [f"a of {chosen}", f"b of {chosen}", "c"])
    assert sorted(graph.signatures) == (sorted(of_the_model) if runtime == "ai_edge_litert" else [chosen])
    graph = wasi_nn.load(sums(("x", "y", "z"), signatures), runtime=runtime, options={"signature": of_the_model[-1]})
    assert graph.signature == of_the_model[-1]
