"""Workers count against a guest's limit as long as they live, and a process without free descriptors gets an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx_models
import pytest

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, Limits, LoadRules, NNError
from wasi_nn.isolation import isolated_graph

ISOLATED = LoadRules(isolate=True)
MODEL = onnx_models.relu()


pytestmark = pytest.mark.usefixtures("isolation")


def load(session: wasi_nn.Session, model: bytes = MODEL) -> int:
    return session.load([memoryview(model)], GraphEncoding.ONNX, ExecutionTarget.CPU)


def graph_of(session: wasi_nn.Session, handle: int) -> isolated_graph.IsolatedGraph:
    graph = session.graph(handle)
    assert isinstance(graph, isolated_graph.IsolatedGraph)
    return graph


def too_many(session: wasi_nn.Session, text: str) -> None:
    with pytest.raises(NNError, match=text) as raised:
        load(session)
    assert raised.value.code is ErrorCode.TOO_LARGE


def test_a_worker_counts_as_long_as_a_context_needs_it() -> None:
    with wasi_nn.Session(rules=ISOLATED, limits=Limits(workers=1)) as session:
        graph = load(session)
        context = session.init_execution_context(graph)
        session.unload(graph)
        too_many(session, "the 1 that a guest may have")
        session.finalize_execution_context(context)
        load(session)


def test_a_worker_that_is_replaced_counts_once() -> None:
    with wasi_nn.Session(rules=ISOLATED, limits=Limits(workers=1)) as session:
        graph = graph_of(session, load(session))
        process = graph.worker_process
        os.kill(process, signal.SIGKILL)
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        assert graph.worker_process != process
        assert session.used("workers") == 1


_OUT_OF_FILES = """
    import gc, os, resource, sys
    from pathlib import Path
    import numpy as np
    import wasi_nn

    model = Path(sys.argv[1]).read_bytes()
    rules = wasi_nn.LoadRules(isolate=True)

    def is_open(file):
        try:
            return os.fstat(file) is not None
        except OSError:
            return False

    def opened():
        return set(filter(is_open, range(256)))

    def outcome(make):
        before = opened()
        try:
            make()
        except wasi_nn.NNError as error:
            said = f"{error.code.value}: {error}"
        else:
            said = "done"
        gc.collect()
        assert opened() == before, said
        return said

    graph = wasi_nn.load(model, rules=rules)
    graph.compute({"x": np.ones(4, np.float32)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    free = sorted(set(range(256)) - opened(), reverse=sys.argv[2] == "highest")
    held = [os.open("/dev/null", os.O_RDONLY) for _ in free]
    said = []
    for file in free[:60]:  # one file more is left each time
        said.append((outcome(lambda: wasi_nn.load(model, rules=rules)), outcome(graph.init_execution_context)))
        os.close(file)
        if said[-1] == ("done", "done"):
            break
    for outcomes in zip(*said):
        print(outcomes[0].split(":")[0], outcomes[-1])
"""


@pytest.mark.parametrize("first", ["lowest", "highest"])
def test_without_files_for_a_worker_there_is_an_error_and_nothing_is_left_open(tmp_path: Path, first: str) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL)
    command = [sys.executable, "-c", textwrap.dedent(_OUT_OF_FILES), str(model), first]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["runtime-error done"] * 2


def test_a_worker_that_cant_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = wasi_nn.load(MODEL, rules=ISOLATED)
    assert isinstance(graph, isolated_graph.IsolatedGraph)
    process = graph.worker_process
    context = graph.init_execution_context()
    context.set_input("x", np.ones(4, np.float32))
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        for make in (context.compute, lambda: graph.worker_process):
            with pytest.raises(NNError, match=r"no process can be started for an isolated graph: .*nowhere") as raised:
                make()
            assert raised.value.code is ErrorCode.RUNTIME_ERROR
    context.compute()


_MANY_CONTEXTS = """
    import os, resource, sys
    from pathlib import Path
    import numpy as np
    import wasi_nn

    model = Path(sys.argv[1]).read_bytes()
    with wasi_nn.Session(rules=wasi_nn.LoadRules(isolate=True)) as session:
        graph = session.load([memoryview(model)], wasi_nn.GraphEncoding.ONNX, wasi_nn.ExecutionTarget.CPU)
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            while True:
                context = session.context(session.init_execution_context(graph))
                context.set_input("x", np.ones(4, np.float32))
                context.compute()
        except wasi_nn.NNError as error:
            print(error.code.value)
        left = [os.open("/dev/null", os.O_RDONLY) for _ in range(18)]
"""


def test_files_of_isolated_contexts_leave_some_for_the_host(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL)
    command = [sys.executable, "-c", textwrap.dedent(_MANY_CONTEXTS), str(model)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("runtime-error\n", "", 0)
