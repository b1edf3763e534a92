"""Models of real runtimes that learn in workers, and in traces: as in the host's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import need
from isolated_programs import kill_worker_of, wait_for_end_of

need("ai_edge_litert", "'wasi-nn[tflite]'")
need("tensorflow", "'wasi-nn[tensorflow]'")
need("torch", "'wasi-nn[pytorch]'")
need("sklearn", "scikit-learn")

import digits  # noqa: E402
import pytorch_models  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import ErrorCode, Graph, LoadRules, NamedGraph, Registry, Session  # noqa: E402
from wasi_nn.session import state_files  # noqa: E402
from wasi_nn.tracing import RecordingSession, replay  # noqa: E402

pytestmark = pytest.mark.usefixtures("isolation")

RULES = LoadRules(isolate=True, runtimes={"tensorflow": "tensorflow", "tensorflowlite": "ai_edge_litert"})


def _saved(folder: Path) -> Path:
    return digits.saved(folder / "digits")


def _tflite(folder: Path) -> Path:
    file = folder / "digits.tflite"
    file.write_bytes(digits.tflite(_saved(folder)))
    return file


def _script(folder: Path) -> Path:
    file = folder / "digits.pt"
    file.write_bytes(pytorch_models.script(pytorch_models.Digits()))
    return file


MODELS: dict[str, Callable[[Path], Path]] = {"tensorflow": _saved, "tflite": _tflite, "torch": _script}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MODELS[request.param](tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def graph(model: Path) -> Graph:
    return wasi_nn.load(model, rules=RULES)


class Learner:
    """A guest that trains the model and reads its variables."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.graph = session.load_by_name("digits")
        self._train, self._infer = (
            session.init_execution_context(session.use_signature(self.graph, name)) for name in ("train", "infer")
        )

    def train(self, steps: int) -> list[float]:
        inputs = [*digits.for_training().items()]
        losses = []
        for _ in range(steps):
            losses += [float(loss) for _, loss in self.session.compute_named(self._train, inputs)]
        return losses

    def outputs(self) -> Any:
        return self.session.compute_named(self._infer, [*digits.for_inference().items()])[0][1]


def test_a_model_learns_in_a_worker_as_it_does_in_this_process(model: Path, graph: Graph) -> None:
    here = wasi_nn.load(model, rules=LoadRules(runtimes=RULES.runtimes))
    learners = [Learner(Session({"digits": each})) for each in (graph, here)]
    losses = [learner.train(5) for learner in learners]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
    states = [state_files.values_in(memoryview(it.session.state_get(it.graph))) for it in learners]
    assert states[0].keys() == states[1].keys() != set()
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-3, atol=1e-5)
    other = Learner(Session({"digits": graph}))
    assert not np.allclose(other.outputs(), learners[0].outputs()), "another session has a set of its own"
    other.session.state_set(other.graph, learners[0].session.state_get(learners[0].graph))
    np.testing.assert_allclose(other.outputs(), learners[0].outputs(), rtol=1e-5)


def test_what_was_learnt_is_lost_with_the_worker_unless_it_was_saved(model: Path) -> None:
    graph = wasi_nn.load(model, rules=RULES)
    learner = Learner(Session({"digits": graph}))
    learner.train(3)
    outputs, state = learner.outputs(), learner.session.state_get(learner.graph)
    wait_for_end_of(kill_worker_of(graph))
    refused(ErrorCode.RUNTIME_ERROR, "the variables are lost with it", learner.session.state_get, learner.graph)
    again = Learner(learner.session)
    again.session.state_set(again.graph, state)
    np.testing.assert_allclose(again.outputs(), outputs, rtol=1e-5)


def test_guests_share_what_one_of_them_trains(graph: Graph) -> None:
    registry = Registry({"digits": NamedGraph(graph, share_variables=True)})
    teacher, pupil = Learner(Session(registry)), Learner(Session(registry))
    before = pupil.outputs()
    teacher.train(3)
    assert not np.allclose(pupil.outputs(), before)
    np.testing.assert_allclose(pupil.outputs(), teacher.outputs(), rtol=1e-5)


def test_a_trace_of_training_is_replayed(model: Path, graph: Graph, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    with RecordingSession(trace, {"digits": graph}, data=True) as session:
        learner = Learner(session)
        session.describe(learner.graph)
        learner.train(3)
        state = session.state_get(learner.graph)
        session.state_set(learner.graph, state)
        learner.outputs()
    for graphs in ({"digits": graph}, {"digits": model}):
        replayed = replay(trace, graphs, rules=LoadRules(runtimes=RULES.runtimes))
        assert replayed.differences == ()
        assert replayed.outputs >= 5
