"""A model learns digits by its signature `train` and tells them by `infer`, on TensorFlow and LiteRT.

The calls are a guest's, on a session, and those of `Graph.variables()`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import on_threads, refused
from conftest import need

import wasi_nn
from wasi_nn import ErrorCode, Graph, LoadRules, NNError, Session
from wasi_nn.process import forks

need("ai_edge_litert", "'wasi-nn[tflite]'")
need("tensorflow", "'wasi-nn[tensorflow]'")
need("sklearn", "scikit-learn")

import digits  # noqa: E402
import tensorflow_models  # noqa: E402
from safetensors.numpy import load as load_state, save as save_state  # noqa: E402

RULES = LoadRules(runtimes={"tensorflow": "tensorflow", "tensorflowlite": "ai_edge_litert"})
KINDS = ("tflite", "folder", "zip")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("digits")
    made = {kind: folder / f"digits.{kind}" for kind in KINDS}
    digits.saved(made["folder"])
    made["tflite"].write_bytes(digits.tflite(made["folder"]))
    made["zip"].write_bytes(tensorflow_models.zipped(made["folder"]))
    return made


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, models: dict[str, Path]) -> Path:
    return models[request.param]


@pytest.fixture
def session(model: Path) -> Session:
    return Session({"digits": model}, rules=RULES)


class Learner:
    """A guest's contexts for training and for inference, on the variables that they share."""

    def __init__(self, session: Session, graph: int | None = None) -> None:
        self.session = session
        self.graph = session.load_by_name("digits") if graph is None else graph
        self._train, self._infer = (
            session.init_execution_context(session.use_signature(self.graph, name)) for name in ("train", "infer")
        )

    def train(self, steps: int = digits.STEPS) -> float:
        """The loss of the last step."""
        for _ in range(steps):
            [(_, loss)] = self.session.compute_named(self._train, [*digits.for_training().items()])
        return float(loss)

    def accuracy(self) -> float:
        return accuracy(self.session, self._infer)


def accuracy(session: Session, context: int) -> float:
    [(name, probabilities)] = session.compute_named(context, [*digits.for_inference().items()])
    assert name == "probabilities"
    return digits.accuracy(probabilities)


def steps(state: bytes) -> int:
    return int(load_state(state)["steps"])


def test_a_guest_trains_and_infers_on_the_same_variables(session: Session) -> None:
    learner = Learner(session)
    assert learner.accuracy() < 0.2
    assert learner.train() < 0.5
    assert learner.accuracy() > 0.9


def test_a_graph_is_opened_with_infer_and_says_what_else_there_is(session: Session) -> None:
    graph = session.load_by_name("digits")
    description = session.describe(graph)
    assert (description.signature, description.signatures) == ("infer", ("infer", "train"))
    described = session.describe(session.use_signature(graph, "train"))
    assert sorted(info.name for info in described.inputs) == ["x", "y"]
    assert (described.signature, described.signatures) == ("train", ("infer", "train"))
    refused(ErrorCode.NOT_FOUND, "no signature is named 'predict'", session.use_signature, graph, "predict")


def test_contexts_share_variables_from_the_first_call_of_the_extension_on(session: Session) -> None:
    graph = session.load_by_name("digits")
    before = session.init_execution_context(graph)
    learner = Learner(session, graph)
    learner.train()
    after = session.init_execution_context(graph)
    assert accuracy(session, before) < 0.2
    assert accuracy(session, after) == learner.accuracy() > 0.9
    assert accuracy(session, session.init_execution_context(session.load_by_name("digits"))) < 0.2, "another handle"


def test_a_context_may_set_its_inputs_one_by_one(session: Session) -> None:
    graph = session.use_signature(session.load_by_name("digits"), "train")
    one, other = (session.init_execution_context(graph) for _ in range(2))
    names = [info.name for info in session.graph(graph).inputs]
    losses = []
    for context in (one, other) * 10:
        for index, name in enumerate(names):
            session.set_input(context, index, digits.for_training()[name])
        session.compute(context)
        losses.append(float(session.get_output(context, "loss")))
    assert sorted(losses, reverse=True) == losses


def test_what_one_session_learned_another_goes_on_with(model: Path) -> None:
    registry = wasi_nn.Registry({"digits": model}, rules=RULES)
    with Session(registry) as session:
        learner = Learner(session)
        learner.train(40)
        reached, state = learner.accuracy(), session.state_get(learner.graph)
    assert {name: (str(it.dtype), it.shape) for name, it in load_state(state).items()} == digits.VARIABLES
    with Session(registry) as session:
        learner = Learner(session)
        assert learner.accuracy() < 0.2
        session.state_set(learner.graph, state)
        assert learner.accuracy() == reached
        learner.train(40)
        assert learner.accuracy() > 0.9
        assert (steps(state), steps(session.state_get(learner.graph))) == (40, 80)


def test_a_state_goes_from_one_runtime_to_the_other(models: dict[str, Path]) -> None:
    learners = [Learner(Session({"digits": models[kind]}, rules=RULES)) for kind in ("tflite", "folder")]
    for trained, other in (learners, learners[::-1]):
        trained.train(20)
        other.session.state_set(other.graph, trained.session.state_get(trained.graph))
        assert other.accuracy() == pytest.approx(trained.accuracy(), abs=0.01)
        assert steps(other.session.state_get(other.graph)) == steps(trained.session.state_get(trained.graph))


def test_sessions_of_one_graph_dont_see_each_others_training(model: Path) -> None:
    registry = wasi_nn.Registry({"digits": model}, rules=RULES)
    one, other = (Learner(Session(registry)) for _ in range(2))
    assert registry.get("digits").signature == "infer"
    one.train()
    assert (one.accuracy() > 0.9, other.accuracy() < 0.2) == (True, True)
    other.train(10)
    assert [steps(it.session.state_get(it.graph)) for it in (one, other)] == [digits.STEPS, 10]
    late = Learner(Session(registry))
    assert (late.accuracy() < 0.2, steps(late.session.state_get(late.graph))) == (True, 0)


@pytest.mark.usefixtures("isolation")
def test_an_isolated_model_learns_too(model: Path) -> None:
    rules = LoadRules(runtimes=RULES.runtimes, isolate=True)
    with wasi_nn.Registry({"digits": model}, rules=rules) as registry:
        one, other = (Learner(Session(registry)) for _ in range(2))
        one.train()
        assert (one.accuracy() > 0.9, other.accuracy() < 0.2) == (True, True)
        state = one.session.state_get(one.graph)
        assert {name: (str(it.dtype), it.shape) for name, it in load_state(state).items()} == digits.VARIABLES
        other.session.state_set(other.graph, state)
        assert other.accuracy() == one.accuracy()


def test_what_one_guest_learns_others_get_if_the_operator_shares_it(model: Path) -> None:
    registry = wasi_nn.Registry({"digits": wasi_nn.NamedGraph(model, share_variables=True)}, rules=RULES)
    with Session(registry) as session:
        context = session.init_execution_context(session.load_by_name("digits"))
        assert accuracy(session, context) < 0.2
        Learner(Session(registry)).train()
        assert accuracy(session, context) > 0.9


def test_a_state_that_doesnt_fit_changes_nothing(session: Session) -> None:
    learner = Learner(session)
    learner.train(3)
    before = session.state_get(learner.graph)
    for values, message in (
        ({"bias": np.zeros(10, np.float32), "weight": np.zeros(1, np.float32)}, "no variable is named 'weight'"),
        ({"bias": np.zeros(10, np.float32), "steps": np.zeros((), np.int32)}, r"variable 'steps' is i64\[\], got i32"),
        ({"bias": np.ones(11, np.float32)}, r"variable 'bias' is f32\[10\], got f32\[11\]"),
    ):
        refused(ErrorCode.INVALID_ARGUMENT, message, session.state_set, learner.graph, save_state(values))
    assert session.state_get(learner.graph) == before


def test_the_bytes_of_variables_count(model: Path) -> None:
    limits = wasi_nn.Limits(model_bytes=1 << 20)
    with Session({"digits": model}, rules=RULES, limits=limits) as session:
        graph = session.load_by_name("digits")
        session.state_get(graph)
        assert session.used("model_bytes") >= 64 * 10 * 4 + 10 * 4 + 8
        session.unload(graph)
        assert session.used("model_bytes") == 0
    with Session({"digits": model}, rules=RULES, limits=wasi_nn.Limits(model_bytes=1000)) as session:
        refused(ErrorCode.TOO_LARGE, "model", session.use_signature, session.load_by_name("digits"), "train")


# By `Graph.variables()`


@pytest.fixture(params=["infer", "train"])
def graph(request: pytest.FixtureRequest, model: Path) -> Graph:
    return wasi_nn.load(model, rules=RULES, options={"signature": request.param})


def trained(train: Graph, times: int) -> None:
    context = train.init_execution_context()
    for _ in range(times):
        context.compute_named(digits.for_training())


def test_a_set_of_variables_begins_with_the_models_values(graph: Graph) -> None:
    one = graph.variables()
    trained(one.graph("train"), 5)
    other = graph.variables()
    assert [int(it.get()["steps"]) for it in (one, other)] == [5, 0]
    assert other.get()["weights"].any() == False  # noqa: E712  a numpy bool
    assert one.graph("train").variables().get()["steps"] == 0
    assert one.nbytes >= 64 * 10 * 4 + 10 * 4 + 8


def test_the_graph_itself_keeps_the_models_values(graph: Graph) -> None:
    trained(graph.variables().graph("train"), 5)
    if graph.signature == "train":
        losses = [float(graph.compute(digits.for_training())["loss"]) for _ in range(2)]
        assert losses == [pytest.approx(np.log(10), rel=1e-4)] * 2
        context = graph.init_execution_context()
        of_context = [float(context.compute_named(digits.for_training())[0][1]) for _ in range(2)]
        assert of_context[0] == losses[0] > of_context[1]
    else:
        assert digits.accuracy(graph.compute(digits.for_inference())["probabilities"]) < 0.2


def test_values_are_copies_in_and_out(graph: Graph) -> None:
    variables = graph.variables()
    infer = variables.graph("infer")

    def first() -> list[float]:
        probabilities = infer.compute(digits.for_inference())["probabilities"]
        return [round(float(number), 3) for number in probabilities[0]]

    variables.get()["bias"][:] = 7
    assert first() == [0.1] * 10
    bias = tensorflow_models.aligned(np.zeros(10, np.float32))
    bias[3] = 100
    variables.set({"bias": bias})
    bias[3] = 0
    assert first() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert variables.get()["bias"][3] == 100
    assert variables.get()["weights"].shape == (64, 10)
    variables.set({})


def test_values_that_dont_fit_change_nothing(graph: Graph) -> None:
    variables = graph.variables()
    for values, message in (
        ({"bias": np.ones(10, np.float32), "weight": np.zeros(1)}, "no variable is named 'weight'"),
        ({"bias": np.ones(10)}, r"variable 'bias' is f32\[10\], got f64\[10\]"),
        ({"bias": [1.0] * 10}, r"variable 'bias' is f32\[10\], got f64\[10\]"),
        (b"a state", "values must be a mapping of names to arrays, such as Variables.get gives, not b'a state'"),
    ):
        refused(ErrorCode.INVALID_ARGUMENT, message, variables.set, values)
    assert not variables.get()["bias"].any()


def test_a_set_has_no_graph_of_another_signature(graph: Graph) -> None:
    variables = graph.variables()
    for name in ("predict", ""):
        message = f"no signature is named '{name}'; the graph's signatures: 'infer', 'train'"
        refused(ErrorCode.NOT_FOUND, message, variables.graph, name)


def test_threads_take_turns_on_a_set(graph: Graph) -> None:
    variables = graph.variables()

    def work(number: int) -> None:
        trained(variables.graph("train"), 20)
        state = variables.get()
        assert state["steps"] >= 20
        variables.graph("infer").compute(digits.for_inference())
        graph.variables().set(state)

    on_threads(work, 4)
    assert variables.get()["steps"] == 80


def test_a_set_is_of_the_process_that_made_it(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = graph.variables()
    context = variables.graph("infer").init_execution_context()
    monkeypatch.setattr(forks, "count", forks.count + 1)
    for call in (variables.get, lambda: variables.set({}), lambda: context.compute_named(digits.for_inference())):
        refused(ErrorCode.RUNTIME_ERROR, "was made in another process", call)


def test_a_set_outlives_its_graph(model: Path) -> None:
    calls: list[Callable[[], Any]] = []
    graph = wasi_nn.load(model, rules=RULES)
    variables = graph.variables()
    calls += [variables.get, lambda: variables.graph("infer").compute(digits.for_inference())]
    graph.close()
    del graph
    for call in calls:
        assert call()


def test_other_models_have_neither_signatures_nor_variables() -> None:
    import tflite_models

    for model in (tflite_models.relu(), tflite_models.identity(wasi_nn.TensorType.F32), tensorflow_models.relu()):
        graph = wasi_nn.load(model, rules=RULES)
        with pytest.raises(NNError, match="has no variables and no other signatures") as raised:
            graph.variables()
        assert raised.value.code is ErrorCode.UNSUPPORTED_OPERATION
