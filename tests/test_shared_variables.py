"""Named graphs whose variables all guests share: `share_variables`."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
from checks import on_threads, refused
from isolated_programs import kill_worker_of, wait_for_end_of
from training_guests import Guest, isolated, state_of
from variables_backend import PLAIN_BYTES, TARGET, X, trained

from wasi_nn import ErrorCode, Graph, Limits, LoadRules, NamedGraph, NNError, Registry, Session


def shared(graph: Graph) -> Registry:
    return Registry({"m": NamedGraph(graph, share_variables=True)})


@pytest.fixture(params=[trained, isolated], ids=["in-process", "isolated"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param is isolated:
        request.getfixturevalue("isolation")
    return shared(request.param())


def test_one_guest_trains_for_all_also_for_those_without_extensions(registry: Registry) -> None:
    teacher, pupil = Guest(registry), Guest(registry)
    context = pupil.session.init_execution_context(pupil.graph)
    assert pupil.inferred(context) == X.tolist()
    train = teacher.context("train")
    for _ in range(20):
        teacher.train(train)
    assert pupil.inferred(context) == pytest.approx(TARGET, abs=0.1)
    assert pupil.state() == teacher.state()
    pupil.session.state_set(pupil.graph, state_of(weight=[0] * 4, bias=[7] * 4))
    assert teacher.inferred(teacher.context()) == [7] * 4
    late = Guest(registry)
    assert late.inferred(late.session.init_execution_context(late.graph)) == [7] * 4


def test_by_default_each_guest_has_a_set_of_its_own() -> None:
    registry = Registry({"m": trained()})
    teacher, pupil = Guest(registry), Guest(registry)
    teacher.train(teacher.context("train"))
    assert (teacher.state()["steps"], pupil.state()["steps"]) == (1, 0)


def test_the_set_counts_for_no_guest_and_nothing_of_a_guest_stays_with_it(registry: Registry) -> None:
    def sessions() -> int:
        gc.collect()
        return sum(isinstance(one, Session) for one in gc.get_objects())

    Guest(registry).state()
    before = sessions()
    for _ in range(5):
        guest = Guest(registry)
        guest.train(guest.context("train"))
        assert guest.session.used("model_bytes") == 0
        guest.session.close()
    del guest
    assert sessions() <= before
    assert Guest(registry).state()["steps"] == 5


def test_graphs_whose_tensors_are_converted_share_too() -> None:
    named = {"m": NamedGraph(trained("", "spell"), share_variables=True)}
    registry = Registry(named, rules=LoadRules(convert_types=True))
    teacher, pupil = Guest(registry), Guest(registry)
    context = pupil.session.init_execution_context(pupil.graph)
    teacher.train(teacher.context("train"))
    pupil.session.set_input(context, 0, np.frombuffer(b"a", np.uint8).reshape(1, 1))
    pupil.session.compute(context)
    assert pupil.session.get_output(context, 0).tobytes() == b"a1"


def test_guests_on_many_threads_change_and_compute_at_once(registry: Registry) -> None:
    def work(number: int) -> None:
        guest = Guest(registry)
        context = guest.session.init_execution_context(guest.graph)
        state = state_of(weight=[0] * 4, bias=[number] * 4)
        for _ in range(30):
            guest.session.state_set(guest.graph, state)
            got = guest.inferred(context)
            assert got in [[other] * 4 for other in range(4)], "half of one guest's state and half of another's"
            guest.session.state_get(guest.graph)

    on_threads(work, 4)


@pytest.mark.usefixtures("isolation")
def test_a_set_that_is_lost_is_replaced_for_those_who_name_the_graph_again() -> None:
    graph = isolated()
    registry = shared(graph)
    old = Guest(registry)
    context = old.session.init_execution_context(old.graph)
    train = old.context("train")
    old.train(train)
    assert old.inferred(context) != X.tolist()
    wait_for_end_of(kill_worker_of(graph))
    lost = "the variables are lost with it: load the graph again"
    calls: list[tuple[Callable[..., object], int]] = [
        (old.session.compute, context),
        (old.session.compute, train),
        (old.session.state_get, old.graph),
        (old.session.init_execution_context, old.graph),
    ]
    for _ in range(2):
        for call, handle in calls:
            refused(ErrorCode.RUNTIME_ERROR, lost, call, handle)
    new, another = Guest(registry), Guest(registry)
    new.train(new.context("train"))
    assert another.state()["steps"] == 1
    refused(ErrorCode.RUNTIME_ERROR, lost, old.session.state_get, old.graph)


def test_a_state_above_a_guests_limit_isnt_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise AssertionError("the variables were copied")

    monkeypatch.setattr("variables_backend.TrainedVariables.get", fails)
    for convert in (False, True):
        registry = Registry({"m": NamedGraph(trained("", "spell"), share_variables=True, convert_types=convert)})
        guest = Guest(registry, limits=Limits(tensor_bytes=PLAIN_BYTES - 1))
        refused(ErrorCode.TOO_LARGE, "bytes of tensors", guest.session.state_get, guest.graph)


def test_a_closed_registry_has_closed_what_it_shared() -> None:
    registry = shared(trained())
    guest = Guest(registry)
    context = guest.session.init_execution_context(guest.graph)
    registry.close()
    with pytest.raises(NNError, match="the graph is closed"):
        guest.session.init_execution_context(guest.graph)
    assert guest.inferred(context) == X.tolist(), "contexts that exist go on"


def test_a_runtime_that_fails_to_make_a_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("no memory\nis left")

    registry = shared(trained())
    monkeypatch.setattr("variables_backend.TrainedVariables.__init__", fails)
    with pytest.raises(
        NNError, match="graph 'm' can't share variables: the runtime failed: no memory is left"
    ) as raised:
        registry.get("m")
    assert raised.value.code is ErrorCode.RUNTIME_ERROR
