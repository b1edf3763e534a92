"""Spare workers: one stands by, takes the place of a worker that has ended, and never lives longer than its graphs."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from isolated_programs import X, ended, kill_worker_of, program, value, wait_for_end_of, worker_of

import wasi_nn
from wasi_nn import ErrorCode, Graph, LoadRules, NNError
from wasi_nn.isolation import Isolation, isolated_graph, spares

SPARE = Isolation(spare=True)
RULES = LoadRules(isolate=SPARE)
SAYS_ITS_INPUT = "def run(x): return x"


pytestmark = pytest.mark.usefixtures("isolation")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start spares at once."""
    monkeypatch.setattr(spares, "_START_AFTER", 0)


def spare_of(graph: Graph) -> int:
    """The process id of the spare, which may still be starting."""
    assert isinstance(graph, isolated_graph.IsolatedGraph)
    deadline = time.monotonic() + 100
    while (spare := graph.spare_process) is None:
        assert time.monotonic() < deadline, "there is no spare"
        time.sleep(0.01)
    return spare


def end_worker(graph: Graph) -> None:
    wait_for_end_of(kill_worker_of(graph))


def started(monkeypatch: pytest.MonkeyPatch) -> list[spares.WorkerKind]:
    """The kinds of the workers that are started from now on."""
    kinds = []
    new_worker = spares.WorkerKind.new_worker

    def count(kind: spares.WorkerKind) -> Any:
        kinds.append(kind)
        return new_worker(kind)

    monkeypatch.setattr(spares.WorkerKind, "new_worker", count)
    return kinds


def test_there_is_no_spare_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = started(monkeypatch)
    graph = program(SAYS_ITS_INPUT)
    end_worker(graph)
    assert value(graph) == X.tolist()
    assert graph.spare_process is None
    assert len(kinds) == 2


def test_the_spare_takes_the_place_of_a_worker_that_has_ended() -> None:
    graph = wasi_nn.load(onnx_models.relu(), rules=RULES)
    context = graph.init_execution_context()
    context.set_input(0, X)
    workers = [worker_of(graph)]
    for _ in range(3):
        spare = spare_of(graph)
        assert spare not in workers
        end_worker(graph)
        context.compute()
        assert context.get_output(0).tolist() == [0, 2, 0, 4]
        assert worker_of(graph) == spare
        workers.append(spare)


def test_the_spare_takes_the_place_of_a_worker_that_crashed_in_a_compute() -> None:
    graph = program("""
        import os
        def run(x):
            if x[0] == 666:
                os.abort()
            return x
    """, settings=SPARE)  # fmt: skip
    spare = spare_of(graph)
    with pytest.raises(NNError, match="is gone: it was ended by SIGABRT"):
        graph.compute({"x": np.full(4, 666, np.float32)})
    assert value(graph) == X.tolist()
    assert worker_of(graph) == spare


def test_a_worker_that_was_a_spare_has_the_limits_and_rights_of_any_other(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    graph = program(f"""
        import resource
        def run(x):
            try:
                open({str(secret)!r})
            except PermissionError:
                return [resource.getrlimit(resource.RLIMIT_DATA)[0], resource.getrlimit(resource.RLIMIT_NPROC)[0], 1]
            return [0, 0, 0]
    """, settings=Isolation(spare=True, memory=512 * 2**20, threads=64))  # fmt: skip
    as_new = value(graph)
    spare = spare_of(graph)
    end_worker(graph)
    assert value(graph) == as_new
    assert as_new[0] == 512 * 2**20
    assert as_new[2] == 1
    assert worker_of(graph) == spare


def test_a_spare_that_has_ended_is_no_loss() -> None:
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    spare = spare_of(graph)
    os.kill(spare, signal.SIGKILL)
    wait_for_end_of(spare)
    assert graph.spare_process is None
    end_worker(graph)
    assert value(graph) == X.tolist()
    assert worker_of(graph) != spare
    assert spare_of(graph) != spare


def test_a_spare_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "_ANSWERS_WITHIN", 0.1)
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    spare = spare_of(graph)
    os.kill(spare, signal.SIGSTOP)
    end_worker(graph)
    assert value(graph) == X.tolist()
    assert worker_of(graph) != spare
    assert ended(spare)


def test_a_model_whose_file_was_replaced_gets_a_new_worker(tmp_path: Path) -> None:
    path, other = tmp_path / "net.onnx", tmp_path / "new.onnx"
    path.write_bytes(onnx_models.relu())
    graph = wasi_nn.load(path, rules=RULES)
    spare = spare_of(graph)
    other.write_bytes(onnx_models.relu())
    os.replace(other, path)
    end_worker(graph)
    assert graph.compute({"0": X})["y"].tolist() == [0, 2, 0, 4]
    assert worker_of(graph) != spare
    assert spare_of(graph) != spare
    assert ended(spare)


def _close(graph: Graph) -> None:
    graph.close()


def _drop(graph: Graph) -> None:
    del graph
    gc.collect()


@pytest.mark.parametrize("end", [_close, _drop])
@pytest.mark.parametrize("ready", [True, False])
def test_the_spare_ends_with_its_graph(
    end: Callable[[Graph], None], ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = []
    new_worker = spares.WorkerKind.new_worker

    def note(kind: spares.WorkerKind) -> Any:
        worker = new_worker(kind)
        processes.append(worker.process.pid)
        return worker

    monkeypatch.setattr(spares.WorkerKind, "new_worker", note)
    graphs = [program(SAYS_ITS_INPUT, settings=SPARE)]
    if ready:
        spare_of(graphs[0])
    end(graphs.pop())
    join_starting()
    assert len(processes) in ((2,) if ready else (1, 2))
    assert all(map(ended, processes))


def test_a_spare_is_not_started_for_a_graph_that_is_gone_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "_START_AFTER", 1e9)
    kinds = started(monkeypatch)
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    assert graph.spare_process is None
    graph.close()
    join_starting()
    assert len(kinds) == 1


def join_starting() -> None:
    for thread in threading.enumerate():
        if thread.name == "wasi-nn spare worker":
            thread.join()


def test_models_of_one_kind_share_a_spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wasi_nn.load(onnx_models.relu(), rules=RULES)
    spare = spare_of(first)
    other_limits = LoadRules(isolate=Isolation(spare=True, memory=2**30))
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_models.relu())
    others = [wasi_nn.load(onnx_models.relu(), rules=other_limits), wasi_nn.load(path, rules=RULES)]
    assert spare not in map(worker_of, others)
    assert len({spare, *map(spare_of, others)}) == 3
    kinds = started(monkeypatch)
    second = wasi_nn.load(onnx_models.add_and_mul(), rules=RULES)
    assert worker_of(second) == spare
    shared = spare_of(second)
    assert spare_of(first) == shared
    first.close()
    assert spare_of(second) == shared
    second.close()
    assert ended(shared)
    assert len(kinds) == 1


def test_a_model_that_ends_its_workers_again_and_again_gets_no_spares_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spares, "_IN_SECONDS", 1e9)
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    for _ in range(spares._MOST_STARTED):
        spare = spare_of(graph)
        end_worker(graph)
        assert value(graph) == X.tolist()
        assert worker_of(graph) == spare
    kinds = started(monkeypatch)
    for _ in range(3):
        end_worker(graph)
        assert value(graph) == X.tolist()
        assert graph.spare_process is None
    assert len(kinds) == 3
    monkeypatch.setattr(spares, "_IN_SECONDS", 0)
    value(graph)
    graph.init_execution_context()
    spare_of(graph)


def test_a_model_that_cannot_be_loaded_leaves_no_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = started(monkeypatch)
    with pytest.raises(NNError):
        wasi_nn.load(b"no model", "onnx", rules=RULES)
    assert len(kinds) == 1


def test_without_a_spare_the_graph_works_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new_worker = spares.WorkerKind.new_worker
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    spare = spare_of(graph)

    def fails(kind: spares.WorkerKind) -> Any:
        raise NNError(ErrorCode.RUNTIME_ERROR, "no process can be started")

    monkeypatch.setattr(spares.WorkerKind, "new_worker", fails)
    end_worker(graph)
    with caplog.at_level(logging.WARNING, "wasi_nn"):
        assert value(graph) == X.tolist()
        assert worker_of(graph) == spare
        deadline = time.monotonic() + 100
        while not caplog.messages:
            assert time.monotonic() < deadline, "no spare has been tried"
            time.sleep(0.01)
    assert set(caplog.messages) == {"no spare worker for numpy: no process can be started"}
    monkeypatch.setattr(spares.WorkerKind, "new_worker", new_worker)
    end_worker(graph)
    assert value(graph) == X.tolist()


def test_a_fork_has_no_spare_and_leaves_its_parents_alone() -> None:
    graph = program(SAYS_ITS_INPUT, settings=SPARE)
    spare = spare_of(graph)
    child = os.fork()
    if not child:
        code = 1
        try:
            other = program(SAYS_ITS_INPUT, settings=SPARE)
            if value(other) == X.tolist() and spare_of(other) != spare:
                other.close()
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    end_worker(graph)
    assert value(graph) == X.tolist()
    assert worker_of(graph) == spare


def test_a_guests_model_counts_as_two_workers_with_a_spare() -> None:
    model = [memoryview(onnx_models.relu())]
    with wasi_nn.Session(rules=RULES, limits=wasi_nn.Limits(workers=3)) as session:
        session.load(model, wasi_nn.GraphEncoding.ONNX, wasi_nn.ExecutionTarget.CPU)
        with pytest.raises(NNError, match="isolated workers") as raised:
            session.load(model, wasi_nn.GraphEncoding.ONNX, wasi_nn.ExecutionTarget.CPU)
        assert raised.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_the_setting_is_true_or_false(wrong: Any) -> None:
    with pytest.raises(NNError, match=r"Isolation\.spare must be True or False"):
        Isolation(spare=wrong)
