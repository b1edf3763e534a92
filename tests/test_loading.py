"""Loading models for guests: few constants are computed, the time is limited, and abandoned loads count as used."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from confined_backend import ConfinedBackend
from onnx import TensorProto, helper
from onnx_models import build, relu

import wasi_nn
from wasi_nn import (
    ErrorCode,
    ExecutionTarget,
    Graph,
    GraphEncoding,
    HostLimits,
    Isolation,
    Limits,
    NNError,
    Session,
    backends,
    isolation,
)
from wasi_nn.graph.runner import RunFunction
from wasi_nn.isolation import spares
from wasi_nn.isolation.worker_process import Worker
from wasi_nn.limits import timed_load
from wasi_nn.limits.compute_guard import ComputeGuard
from wasi_nn.limits.stopping import turn
from wasi_nn.limits.usage import Usage
from wasi_nn.loading.rules import LoadRules

if TYPE_CHECKING:
    pass

F32, I64 = TensorProto.FLOAT, TensorProto.INT64
node, tensor = helper.make_node, helper.make_tensor


def products(count: int, size: int) -> bytes:
    """y = x times the sum of a matrix that is multiplied by itself again and again."""
    nodes = [node("ConstantOfShape", ["shape"], ["m0"], value=tensor("v", F32, [1], [1 / size]))]
    nodes += [node("MatMul", [f"m{place}"] * 2, [f"m{place + 1}"]) for place in range(count)]
    nodes += [node("ReduceSum", [f"m{count}"], ["sum"]), node("Mul", ["x", "sum"], ["y"])]
    return build(nodes, {"x": (F32, [4])}, {"y": (F32, None)}, [tensor("shape", I64, [2], [size, size])])


def processor_time(model: bytes) -> float:
    """The processor time, in seconds, that this process's threads take to load a guest's model."""
    with Session() as session:
        began = time.process_time()
        session.load([memoryview(model)], GraphEncoding.ONNX, ExecutionTarget.CPU)
        return time.process_time() - began


def test_what_a_models_bytes_make_of_nothing_isnt_worked_out_while_it_is_loaded() -> None:
    """Otherwise a model could keep the processor busy before it is run: 100 of these products take minutes."""
    processor_time(relu())  # the first load takes the runtime longer
    assert processor_time(products(100, 3000)) < 5


def test_a_model_computes_the_same_whatever_is_worked_out_before() -> None:
    for options in ({}, {"optimization": "all"}, {"optimization": "none"}):
        graph = wasi_nn.load(products(3, 4), GraphEncoding.ONNX, options=options)
        assert graph.compute({"x": np.full(4, 2, np.float32)})["y"] == pytest.approx(np.full((1, 4), 8))


class SlowBackend(wasi_nn.Backend):
    """A backend whose loads wait until `may_end` is set."""

    encoding = GraphEncoding.AUTODETECT
    runtime = "slow"
    extra = "slow"
    model_files = ()
    withstands_hostile_bytes = True
    extension_encoding = 77

    def __init__(self) -> None:
        self.begun, self.may_end, self.ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)
        self.seen: list[bytes] = []

    def sniff(self, _: memoryview) -> bool:
        return False

    def load(self, builders: Sequence[memoryview], *_: object) -> Graph:
        self.begun.release()
        self.may_end.wait()
        self.seen.append(bytes(builders[0]))
        graph = Nothing([], [])
        self.loaded = weakref.ref(graph)
        self.ended.release()
        return graph

    def load_path(self, *_: object) -> Graph:
        raise NotImplementedError

    def devices(self) -> Mapping[ExecutionTarget, str]:
        return {ExecutionTarget.CPU: "cpu"}


class Nothing(Graph):
    """A graph without inputs and outputs."""

    encoding = GraphEncoding.AUTODETECT

    def runner(self) -> RunFunction:
        return lambda inputs, reuse: []


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowBackend]:
    """A backend whose loads last until the test lets them end."""
    backend = SlowBackend()
    monkeypatch.setattr(backends, "added", lambda: (backend,))
    yield backend
    backend.may_end.set()
    until(lambda: not timed_load.abandoned_loads())


def until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def load_slowly(session: Session, model: bytes = b"model") -> int:
    """Load a model with the slow backend."""
    return session.load_extension([memoryview(bytearray(model))], 77, "slow", ExecutionTarget.CPU)


SOON = Limits(load_time=0.05)


class TestTime:
    def test_a_load_beyond_its_time_is_an_error(self, slow: SlowBackend) -> None:
        with Session(limits=SOON) as session, pytest.raises(NNError) as raised:
            load_slowly(session)
        assert raised.value.code is ErrorCode.TIMEOUT
        assert raised.value.message == ("loading the model took longer than 0.05 s (Limits.load_time, --max-load-time)")

    def test_one_within_its_time_isnt(self, slow: SlowBackend) -> None:
        slow.may_end.set()
        with Session() as session:
            assert session.holds_graph(load_slowly(session))

    def test_by_name_too(self) -> None:
        may_end, names = threading.Event(), []

        class Graphs:
            def get(self, name: str) -> Graph:
                names.append(name)
                may_end.wait()
                return Nothing([], [])

        with Session(Graphs(), limits=SOON) as session:
            with pytest.raises(NNError, match=r"Limits.load_time, --max-load-time"):
                session.load_by_name("g")
            may_end.set()
            until(lambda: not timed_load.abandoned_loads())
            assert session.holds_graph(session.load_by_name("g"))
        assert names == ["g", "g"]

    def test_the_runs_own_end_bounds_it(self, slow: SlowBackend) -> None:
        guard = ComputeGuard(Limits())
        guard.run_until = time.monotonic() + 0.05
        with Session(guard=guard) as session:
            with pytest.raises(NNError, match=r"the run took longer than 3600 s \(Limits.run_time"):
                load_slowly(session)

    def test_a_run_that_is_stopped_ends_it(self, slow: SlowBackend) -> None:
        guard = ComputeGuard(Limits())
        with Session(guard=guard) as session:

            def stop() -> None:
                slow.begun.acquire()
                guard.stop()

            stopper = threading.Thread(target=stop)
            stopper.start()
            with pytest.raises(NNError, match="the run was stopped"):
                load_slowly(session)
            stopper.join()

    def test_one_that_goes_on_reads_nothing_of_the_guests(self, slow: SlowBackend) -> None:
        memory = bytearray(b"model")
        with Session(limits=SOON) as session, pytest.raises(NNError):
            session.load_extension([memoryview(memory)], 77, "slow", ExecutionTarget.CPU)
        memory[:] = b"other"
        slow.may_end.set()
        slow.ended.acquire()
        assert slow.seen == [b"model"]

    def test_those_who_wait_for_a_named_model_leave_when_their_time_is_over(self, slow: SlowBackend) -> None:
        """Otherwise each of them would leave a waiting thread behind."""
        lock = threading.Lock()
        with lock, closing(Session(limits=SOON)) as session:

            def get(_: str) -> Graph:
                with turn(lock):
                    return Nothing([], [])

            session.registry.get = get  # type: ignore[method-assign, assignment]
            with pytest.raises(NNError, match=r"Limits.load_time"):
                session.load_by_name("g")
            until(lambda: not timed_load.abandoned_loads())


class TestWhatGoesOn:
    def test_it_counts_until_it_ends_even_beyond_its_guest(self, slow: SlowBackend) -> None:
        totals = Usage(HostLimits())
        session = Session(limits=SOON, totals=totals)
        for _ in range(3):
            with pytest.raises(NNError, match="load_time"):
                load_slowly(session, b"12345")
        assert (totals.used("graphs"), totals.used("model_bytes")) == (3, 15)
        session.close()
        assert (totals.used("graphs"), totals.used("model_bytes")) == (3, 15)
        slow.may_end.set()
        until(lambda: totals.used("graphs") == totals.used("model_bytes") == 0)

    def test_a_guest_can_have_no_more_of_them_than_graphs(self, slow: SlowBackend) -> None:
        with Session(limits=Limits(load_time=0.05, graphs=2)) as session:
            for expected in ("load_time", "load_time", r"Limits.graphs, --max-graphs"):
                with pytest.raises(NNError, match=expected):
                    load_slowly(session)

    def test_all_guests_together_can_have_few(self, slow: SlowBackend) -> None:
        with Session(limits=Limits(load_time=0.01)) as session:
            for _ in range(timed_load.MOST_ABANDONED):
                with pytest.raises(NNError, match="load_time"):
                    load_slowly(session)
            with pytest.raises(
                NNError,
                match=r"16 loads of models .* go on after their time.*: no model is loaded until one of them ends",
            ):
                load_slowly(session)
            slow.may_end.set()
            until(lambda: not timed_load.abandoned_loads())
            assert session.holds_graph(load_slowly(session))

    def test_what_comes_of_it_is_dropped(self, slow: SlowBackend) -> None:
        with Session(limits=SOON) as session, pytest.raises(NNError):
            load_slowly(session)
        slow.may_end.set()
        until(lambda: not timed_load.abandoned_loads())
        until(lambda: gc.collect() >= 0 and slow.loaded() is None)


@pytest.mark.skipif(bool(isolation.unavailable()), reason="graphs can't be isolated here")
def test_a_worker_that_is_too_slow_to_load_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest's limit ends the load here, although the worker's own limit is later."""
    workers: list[Worker] = []

    class Watched(Worker):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            workers.append(self)

    monkeypatch.setattr(spares, "Worker", Watched)
    monkeypatch.setattr(backends, "of_extension", lambda _: ConfinedBackend())
    rules = LoadRules(isolate=Isolation(load_time=600))
    slow_model = b"import time; time.sleep(600)"
    with Session(rules=rules, limits=Limits(load_time=3), allow_load=["autodetect"]) as session:
        with pytest.raises(NNError, match=r"Limits.load_time, --max-load-time") as raised:
            session.load_extension([memoryview(slow_model)], 78, "confined", ExecutionTarget.CPU)
    assert raised.value.code is ErrorCode.TIMEOUT
    until(lambda: not timed_load.abandoned_loads())
    assert [worker.process.wait() for worker in workers] == [-9]
