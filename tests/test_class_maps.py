"""Classifiers whose probabilities are a sequence of maps from labels: with `convert_types`, a tensor of f32."""

from __future__ import annotations

import json
from collections.abc import Sequence
from struct import unpack
from typing import Any

import numpy as np
import onnx
import onnx_models as models
import pytest
from checks import refused
from conftest import need
from core_guest import F32, SUCCESS, UNSUPPORTED_OPERATION, CoreGuest
from driven_component import Driven, GuestFailed
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn import ErrorCode, Graph, Limits, LoadRules, NamedGraph, NNError, Registry, Session, TensorInfo
from wasi_nn.graph.conversion import converted
from wasi_nn.graph.runner import RunFunction

OPTION = "--convert-types"
COMPONENTS = ["0.2.0-rc-2024-06-25", "0.2.0-rc-2024-08-19", "0.2.0-rc-2024-10-28"]
KINDS: dict[str, Any] = {"numbers": [30, -10, 20], "texts": ["setosa", "virginica", "versicolor"]}


@pytest.fixture(params=[False, True])
def isolate(request: pytest.FixtureRequest) -> bool:
    """Whether graphs are isolated."""
    if request.param:
        request.getfixturevalue("isolation")
    return bool(request.param)


def classifier(labels: Sequence[int] | Sequence[str]) -> tuple[bytes, Any, Any]:
    """A model of the iris flowers that scikit-learn trains, as its ONNX exporters write it, and its answers: the model,
    features f32 [150, 4], and probabilities [150, 3] in the ascending order of the labels."""
    need("sklearn", "scikit-learn")
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, classes = load_iris(return_X_y=True)
    trained = LogisticRegression(max_iter=1000).fit(features, np.array(labels)[classes])
    ascending = trained.classes_.tolist()
    texts = isinstance(labels[0], str)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["features"],
            ["label", "x"],
            domain="ai.onnx.ml",
            coefficients=trained.coef_.ravel().tolist(),
            intercepts=trained.intercept_.tolist(),
            multi_class=1,
            post_transform="SOFTMAX",
            **{"classlabels_strings" if texts else "classlabels_ints": ascending},
        ),
        models.zip_map(ascending),
    ]
    label = TensorProto.STRING if texts else TensorProto.INT64
    model = models.build(
        nodes, {"features": (1, ["n", 4])}, {"label": (label, ["n"]), "p": models.maps_info(ascending)}
    )
    return model, features.astype(np.float32), trained.predict_proba(features)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifiers_probabilities_are_a_tensor(kind: str, isolate: bool) -> None:
    model, features, probabilities = classifier(KINDS[kind])
    with wasi_nn.load(model, rules=LoadRules(convert_types=True, isolate=isolate)) as graph:
        assert str(graph.outputs[1]) == "p: f32[?, 3]"
        assert json.loads(graph.metadata["keys of p"]) == sorted(KINDS[kind])
        context = graph.init_execution_context()
        for part in (features, features[:1], features[:0], features):
            context.set_input(0, part)
            context.compute()
            assert context.get_output("p").dtype == np.float32
            np.testing.assert_allclose(context.get_output("p"), probabilities[: len(part)], atol=1e-5)
        np.testing.assert_allclose(graph.compute({"features": features})["p"], probabilities, atol=1e-5)


def test_a_core_guest_is_given_the_tensor_or_the_option(isolate: bool) -> None:
    model = models.labelled(["b", "a"])
    for convert in (False, True):
        with Session({"net": model}, rules=LoadRules(convert_types=convert, isolate=isolate)) as session:
            guest = CoreGuest(session)
            context = guest.context("net")
            assert guest.set_input(context, 0, [2, 2], F32, models.f32([[1, 2], [3, 4]]).tobytes()) == SUCCESS
            outcome = guest.call("compute", context)
            if convert:
                assert outcome == SUCCESS
                assert unpack("<4f", guest.get_output(context)) == (2, 1, 4, 3)
            elif not isolate:
                assert guest.call("get_output", context, 0, 4096, 64, 0) == UNSUPPORTED_OPERATION


@pytest.mark.parametrize("version", COMPONENTS)
def test_a_component_is_given_the_tensor_or_the_option(version: str, isolate: bool) -> None:
    model, feeds = models.labelled([7, -7]), {"x": models.f32([[1, 2], [3, 4], [5, 6]])}
    with Session({"net": model}, rules=LoadRules(convert_types=True, isolate=isolate)) as session:
        guest = Driven(version, session)
        context = guest.init_execution_context(guest.load_by_name("net"))
        assert guest.infer(context, feeds, ["p"])["p"].tolist() == [[2, 1], [4, 3], [6, 5]]
    with Session({"net": model}, rules=LoadRules(isolate=isolate)) as session:
        guest = Driven(version, session)
        context = guest.init_execution_context(guest.load_by_name("net"))
        with pytest.raises(GuestFailed, match=rf"'p' is seq\(map\(int64,tensor\(float\)\)\).*{OPTION}") as raised:
            guest.infer(context, feeds, ["p"])
        assert raised.value.code == "unsupported-operation"


def test_the_tensor_counts_against_the_guests_limit() -> None:
    session = Session(
        {"net": models.labelled(list(range(100)))},
        rules=LoadRules(convert_types=True),
        limits=Limits(tensor_bytes=60_000),
    )
    graph = session.context(session.init_execution_context(session.load_by_name("net")))
    graph.set_input(0, np.zeros((50, 100), np.float32))
    graph.compute()
    assert session.used("tensor_bytes") == 2 * 50 * 100 * 4
    graph.set_input(0, np.zeros((100, 100), np.float32))
    refused(ErrorCode.TOO_LARGE, "--max-tensor-bytes", graph.compute)


def test_keys_of_maps_that_a_function_of_the_model_makes_are_known_after_a_compute_only() -> None:
    model = onnx.ModelProto.FromString(models.labelled(["b", "a"]))
    opsets = list(model.opset_import)
    model.functions.append(helper.make_function("here", "Label", ["x"], ["p"], [models.zip_map(["b", "a"])], opsets))
    model.opset_import.append(helper.make_opsetid("here", 1))
    model.graph.node[0].CopyFrom(helper.make_node("Label", ["x"], ["p"], domain="here"))
    graph = wasi_nn.load(model.SerializeToString(), rules=LoadRules(convert_types=True))
    assert (str(graph.outputs[0]), "keys of p" in graph.metadata) == ("p: f32[?, ?]", False)
    assert graph.compute({"x": models.f32([[1, 2]])})["p"].tolist() == [[2, 1]]
    assert graph.compute({"x": np.zeros((0, 2), np.float32)})["p"].shape == (0, 0)


def test_labels_that_are_there_twice_are_one_key() -> None:
    graph = wasi_nn.load(models.labelled([3, 1, 3]), rules=LoadRules(convert_types=True))
    assert (graph.metadata["keys of p"], graph.outputs[0].dims) == ("[1, 3]", ("?", 2))


class Maps(Graph):
    """A graph whose output is a sequence of these maps."""

    def __init__(self, maps: list[dict[Any, Any]], native: str = "seq(map(int64,tensor(float)))") -> None:
        super().__init__([], [TensorInfo("p", np.dtype(object), None, native)])
        self._maps = maps

    def runner(self) -> RunFunction:
        holder: Any = np.empty(1, object)
        holder[0] = self._maps
        return lambda inputs, reuse: [holder]


def test_maps_with_different_keys_are_refused_without_the_option() -> None:
    for maps in ([{1: 0.5}, {2: 0.5}], [{1: 0.5}, {1: 0.5, 2: 0.5}], [{1: 0.5, 2: 0.5}, {1: 0.5}]):
        with pytest.raises(NNError, match="'p' has maps with different keys") as raised:
            converted(Maps(maps)).compute({})
        assert (raised.value.code, OPTION in str(raised.value)) == (ErrorCode.UNSUPPORTED_OPERATION, False)


def test_maps_of_very_many_keys_are_refused_before_they_are_made() -> None:
    maps = [dict.fromkeys(range(2**18), 0.5)] * 65
    refused(ErrorCode.TOO_LARGE, "65 maps of 262144 keys", converted(Maps(maps)).compute, {})


OTHERS = {
    "maps of other values": Maps([{1: 0.5}], "seq(map(int64,tensor(double)))"),
    "maps of other keys": Maps([{1: 0.5}], "seq(map(int32,tensor(float)))"),
    "maps to strings": Maps([{1: "a"}], "seq(map(int64,tensor(string)))"),
    "one map": Maps([{1: 0.5}], "map(int64,tensor(float))"),
    "strings in a sequence": Maps([{}], "seq(tensor(string))"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("convert", [False, True])
def test_what_no_option_converts_is_refused_without_one(name: str, convert: bool) -> None:
    context = (converted(OTHERS[name]) if convert else OTHERS[name]).init_execution_context()
    context.compute()
    with pytest.raises(NNError, match="the host has no conversion for them") as raised:
        context.output_bytes(0)
    assert (raised.value.code, OPTION in str(raised.value)) == (ErrorCode.UNSUPPORTED_OPERATION, False)


@pytest.mark.parametrize("convert", [False, True])
def test_a_sequence_of_tensors_is_refused_without_the_option(isolate: bool, convert: bool) -> None:
    context = wasi_nn.load(
        models.sequence(), rules=LoadRules(convert_types=convert, isolate=isolate)
    ).init_execution_context()
    context.set_input(0, models.f32([1, 2]))

    def output() -> None:
        context.compute()
        context.output_bytes(0)

    with pytest.raises(NNError, match=r"'s' is seq\(tensor\(float\)\); .*no conversion") as raised:
        output()
    assert OPTION not in str(raised.value)


def test_the_option_works_for_a_graph_that_was_loaded_before() -> None:
    graph = wasi_nn.load(models.labelled([1, 2]))
    on, off = NamedGraph(graph, convert_types=True), NamedGraph(graph, convert_types=False)
    rules = LoadRules(convert_types=True)
    with Registry({"on": on, "off": off, "default": graph}, rules=rules) as registry:
        assert registry.get("on").outputs[0].type is registry.get("default").outputs[0].type is wasi_nn.TensorType.F32
        assert registry.get("off") is graph
        feeds = {"x": models.f32([[3, 4]])}
        assert registry.get("on").compute(feeds)["p"].tolist() == [[3, 4]]
    graph.compute(feeds)  # who gave the graph still has it
