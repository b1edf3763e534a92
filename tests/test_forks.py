"""Forks of a process that has used graphs: in the child, old graphs raise an error and new ones work; the parent goes
on."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from checks import refused
from command_guests import EMPTY
from conftest import REPOSITORY, need

import wasi_nn
from wasi_nn import ErrorCode, Graph, GuestError, GuestTrap, Host, NamedGraph, Registry, Session
from wasi_nn.loading import registry as registries
from wasi_nn.loading.load import load

INFER = REPOSITORY / "guests" / "component" / "infer.wasm"
ELSEWHERE = "was made in another process, which this one was forked from: make one in each process"
X = np.array([-1, 2, -3, 4], np.float32)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)  # which is tested here

SECONDS = 60  # until a child counts as hanging


def in_a_fork(work: Callable[[], object]) -> None:
    """Do the work in a fork; fail if the work fails or doesn't end."""
    gc.collect()  # garbage of other tests, whose runtimes would have to be destroyed in the fork
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the fork hangs")


def onnx(_: Path | None = None) -> NamedGraph:
    return NamedGraph(onnx_models.relu(), runtime="onnxruntime", options={"threads": 2})


def openvino(_: Path) -> NamedGraph:
    return NamedGraph(onnx_models.relu(), runtime="openvino", options={"threads": 2})


def torch(folder: Path) -> NamedGraph:
    import pytorch_models
    from torch import nn

    (folder / "model.pt").write_bytes(pytorch_models.script(nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))))
    return NamedGraph(folder / "model.pt")


def tensorflow(folder: Path) -> NamedGraph:
    import tensorflow_models

    return NamedGraph(tensorflow_models.with_a_variable(folder))


def tflite(_: Path) -> NamedGraph:
    import tflite_models

    return NamedGraph(tflite_models.relu(), runtime="ai_edge_litert", options={"threads": 2})


def ggml(_: Path) -> NamedGraph:
    import ggml_models

    return NamedGraph(ggml_models.tiny(), options={"n-predict": 4})


def loaded(named: NamedGraph) -> wasi_nn.Graph:
    return Registry({"it": named}).get("it")


TENSORS: dict[str, Any] = {
    "xllamacpp": np.frombuffer(b"hello", np.uint8),
    "torch": np.ones((1, 3, 128, 128), np.float32),
}


class Used:
    """A graph that has computed, and a context on it."""

    def __init__(self, model: NamedGraph) -> None:
        self.model = model
        self.graph = loaded(model)
        self.tensor = TENSORS.get(self.graph.runtime, X)
        self.context = self.graph.init_execution_context()
        self.context.set_input(0, self.tensor)
        self.context.compute()
        self.before = self.context.get_output(0)

    def goes_on(self) -> None:
        """Check that the context computes the same outputs again."""
        self.context.set_input(0, self.tensor)
        self.context.compute()
        np.testing.assert_array_equal(self.context.get_output(0), self.before)


@pytest.fixture(params=[onnx, openvino, torch, tensorflow, tflite, ggml], ids=lambda load: load.__name__)
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Used:
    runtimes = {"onnx": "onnxruntime", "tflite": "ai_edge_litert", "ggml": "xllamacpp"}
    need(runtimes.get(request.param.__name__, request.param.__name__), "'wasi-nn[all]'")
    return Used(request.param(tmp_path))


def test_a_graph_and_its_contexts_cannot_be_used_in_a_fork(used: Used) -> None:
    def work() -> None:
        context, name = used.context, used.graph.inputs[0].name
        for call in (context.compute, lambda: context.compute_named([(name, used.tensor)]), context.compute_single):
            refused(ErrorCode.RUNTIME_ERROR, f"this execution context {ELSEWHERE}", call)
        refused(ErrorCode.RUNTIME_ERROR, f"this graph {ELSEWHERE}", used.graph.compute, {name: used.tensor})
        refused(ErrorCode.RUNTIME_ERROR, f"this graph {ELSEWHERE}", used.graph.init_execution_context)

    in_a_fork(work)
    used.goes_on()


def test_a_graph_may_be_dropped_in_a_fork(used: Used) -> None:
    def work() -> None:
        used.__dict__.clear()
        gc.collect()

    in_a_fork(work)
    used.goes_on()


def test_a_new_graph_works_in_a_fork_or_is_refused_in_time(used: Used) -> None:
    def work() -> None:
        if used.graph.runtime not in ("onnxruntime", "ai_edge_litert"):
            refused(ErrorCode.RUNTIME_ERROR, "in the process that this one was forked from", loaded, used.model)
        else:
            graph = loaded(used.model)
            outputs = graph.compute({graph.inputs[0].name: used.tensor})
            np.testing.assert_array_equal(outputs[graph.outputs[0].name], used.before)

    in_a_fork(work)
    used.goes_on()


def test_a_text_half_read_ends_with_the_process(tmp_path: Path) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    used = Used(ggml(tmp_path))
    used.context.compute_single()

    def work() -> None:
        for call in (used.context.compute_single, used.context.fini_single, used.context.compute):
            refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, call)
        refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, used.context.set_input, 0, used.tensor)
        refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, used.graph.configured, memoryview(b'{"temp": 1}'))
        used.__dict__.clear()
        gc.collect()

    in_a_fork(work)
    used.goes_on()


def test_a_host_cannot_be_used_in_a_fork_but_a_new_one_can() -> None:
    # In a process without other runtimes: their threads would be missing in the fork.
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    script = "import test_forks; test_forks.a_host_in_a_fork()"
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, check=True, timeout=120)


def a_host_in_a_fork() -> None:
    host = Host({"relu": loaded(onnx())}, cache=False)
    compiled = host.compile(EMPTY)
    host.run(compiled)

    def work() -> None:
        for call in (lambda: host.run(EMPTY), lambda: host.run(compiled), lambda: host.compile(EMPTY)):
            with pytest.raises(GuestError, match=f"this host {ELSEWHERE}"):
                call()
        new = Host({"relu": onnx()}, cache=False)
        assert new.run(EMPTY).exit_code == 0
        with pytest.raises(GuestTrap, match="unreachable"):
            new.run(b'(module (func (export "_start") unreachable))')
        result = new.run(INFER, ["--graph", "relu", "x=FP32:4:-1,2,-3,4"], capture_output=True)
        assert result.stdout == b"y: FP32 [4]: 0, 2, 0, 4\n"

    in_a_fork(work)
    assert host.run(compiled).exit_code == 0
    assert host.run(b'(module (func $f) (func (export "_start") (call $f)))').exit_code == 0


def test_a_session_tells_its_guest_that_its_graphs_are_another_processs() -> None:
    session = Session({"relu": loaded(onnx())})
    graph = session.load_by_name("relu")
    context = session.init_execution_context(graph)

    def work() -> None:
        refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, session.init_execution_context, graph)
        refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, session.context(context).compute)
        session.close()

    in_a_fork(work)
    session.close()


def test_a_registry_loads_its_graphs_anew_in_a_fork() -> None:
    registry = Registry({"net": onnx(), "loaded": loaded(onnx())})
    graph = registry.get("net")

    def work() -> None:
        assert registry.get("net") is not graph
        assert registry.get("net").compute({"x": X})["y"].tolist() == [0, 2, 0, 4]
        refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, registry.get("loaded").compute, {"x": X})

    in_a_fork(work)
    assert registry.get("net") is graph


def test_a_lock_that_another_thread_holds_does_not_hold_a_fork_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held, give_back = threading.Event(), threading.Event()

    def slow_load(*arguments: Any, **keywords: Any) -> Graph:
        if threading.current_thread() is loading:
            held.set()
            give_back.wait()
        return load(*arguments, **keywords)

    monkeypatch.setattr(registries, "load", slow_load)
    registry = Registry({"net": onnx_models.relu()})
    loading = threading.Thread(target=registry.get, args=["net"])
    loading.start()
    held.wait()
    try:
        in_a_fork(lambda: registry.get("net").compute({"x": X}))
    finally:
        give_back.set()
        loading.join()


def _infer_in_a_worker(numbers: list[int]) -> Any:
    try:
        return HOST["host"].run(EMPTY)
    except GuestError as error:
        assert ELSEWHERE in str(error)
    graph = wasi_nn.load(onnx_models.relu(), options={"threads": 1})
    return graph.compute({"x": np.array(numbers, np.float32)})["y"].tolist()


HOST: dict[str, Host] = {}


def test_workers_of_multiprocessing_that_are_forked_after_use() -> None:
    HOST["host"] = Host({"relu": loaded(onnx())}, cache=False)
    HOST["host"].run(EMPTY)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map_async(_infer_in_a_worker, [[n, -n, n, -n] for n in range(1, 9)]).get(SECONDS)
    assert results == [[n, 0, n, 0] for n in range(1, 9)]
    assert HOST.pop("host").run(EMPTY).exit_code == 0


def test_a_fork_of_a_fork() -> None:
    graph = loaded(onnx())

    def work() -> None:
        child = loaded(onnx())
        in_a_fork(lambda: refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, child.compute, {"x": X}))
        in_a_fork(lambda: refused(ErrorCode.RUNTIME_ERROR, ELSEWHERE, graph.compute, {"x": X}))
        assert child.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]

    in_a_fork(work)
    assert graph.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]
