"""The replacement of a worker that has ended: inputs, contexts and sequences go on in the new worker."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from checks import in_time
from confined_backend import ConfinedBackend, SteppingBackend
from isolated_programs import X, kill_worker_of, program, wait_for_end_of, worker_of

import wasi_nn
from wasi_nn import EndOfSequence, ErrorCode, ExecutionContext, ExecutionTarget, Graph, LoadRules, NNError
from wasi_nn.isolation import Isolation, isolated_graph

ISOLATED = LoadRules(isolate=True)


pytestmark = pytest.mark.usefixtures("isolation")


def end_worker(graph: Graph) -> None:
    wait_for_end_of(kill_worker_of(graph))


def computed(context: ExecutionContext, x: Any) -> list[float]:
    context.set_input(0, np.asarray(x, np.float32))
    context.compute()
    return context.get_output(0).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("dims", [(4,), ("n",)])
def test_every_compute_after_a_replacement_is_right(dims: tuple[int | str, ...]) -> None:
    graph = wasi_nn.load(onnx_models.relu(dims), rules=ISOLATED)
    context = graph.init_execution_context()
    assert computed(context, X) == [0, 2, 0, 4]
    for _ in range(3):
        end_worker(graph)
        new = None
        for number in range(6):
            assert computed(context, X * number) == [0, 2 * number, 0, 4 * number]
            new = new or worker_of(graph)
            assert worker_of(graph) == new
            if dims == ("n",):
                assert computed(context, np.full(number, 3)) == [3] * number


def test_inputs_that_are_set_stay_set() -> None:
    graph = wasi_nn.load(onnx_models.add_and_mul(), rules=ISOLATED)
    context = graph.init_execution_context()
    for index in range(2):
        context.set_input(index, X)
    for _ in range(3):
        end_worker(graph)
        for _ in range(3):
            context.compute()
            assert context.get_output(0).tolist() == (X * X).tolist()


def test_all_contexts_go_on() -> None:
    graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
    contexts = [graph.init_execution_context() for _ in range(4)]
    for number, context in enumerate(contexts):
        assert computed(context, X * number) == [0, 2 * number, 0, 4 * number]
    for _ in range(2):
        end_worker(graph)
        workers = set()
        for _ in range(3):
            for number, context in enumerate(contexts):
                assert context.compute_named([("x", -X)])[0][1].tolist() == [1, 0, 3, 0]
                context.compute()
                assert context.get_output(0).tolist() == [0, 2 * number, 0, 4 * number]
                workers.add(worker_of(graph))
        assert len(workers) == 1


def test_a_worker_that_ends_in_a_compute_costs_that_one_alone() -> None:
    graph = program("""
        import os, signal
        def run(x):
            if x[0] == 666:
                os.abort()
            return x
    """)
    mine, other = graph.init_execution_context(), graph.init_execution_context()
    for _ in range(3):
        assert computed(other, X) == X.tolist()
        with pytest.raises(NNError, match="is gone: it was ended by SIGABRT"):
            computed(mine, [666])
        for _ in range(4):
            assert computed(other, X) == X.tolist()
            assert computed(mine, X * 2) == (X * 2).tolist()


def test_a_sequence_ends_with_its_worker_and_the_next_one_is_whole() -> None:
    graph = isolated_graph.load(SteppingBackend(), [memoryview(b"")], Isolation(), ExecutionTarget.CPU, {})
    context = graph.init_execution_context()
    context.set_input(0, X)
    for _ in range(3):
        context.compute_single()
        end_worker(graph)
        with pytest.raises(NNError, match="is gone"):
            context.compute_single()
        for piece in ([-1, 2], [2, -3]):
            context.compute_single()
            assert np.frombuffer(context.single_output_bytes(0), np.float32).tolist() == piece
        with pytest.raises(EndOfSequence):
            context.compute_single()
        context.fini_single()
        context.compute()
        assert context.get_output(0).tolist() == [-3, 4]


def test_what_could_not_be_sent_is_sent_with_the_next_call() -> None:
    graph = wasi_nn.load(onnx_models.strings(), rules=ISOLATED)
    context = graph.init_execution_context()
    for _ in range(2):
        for text in ("one", "two"):
            context.set_input(0, np.array([text], object))
            context.compute()
            assert context.get_output(0).tolist() == [text]
        context.set_input(0, np.array(["x" * 2**26], object))
        with pytest.raises(NNError):
            context.compute()


def test_four_threads_go_on_while_workers_are_killed() -> None:
    graph = wasi_nn.load(onnx_models.relu(("n",)), rules=ISOLATED)
    wrong: list[Any] = []
    right = [0] * 4

    def run(number: int) -> None:
        context = graph.init_execution_context()
        while right[number] < 200 and not wrong:
            x = np.full(right[number] % 50, number, np.float32)
            try:
                context.set_input(0, x)
                context.compute()
                output = context.get_output(0).tolist()
            except NNError as error:
                if "is gone" not in str(error):
                    wrong.append(error)
                continue
            if output != x.tolist():
                wrong.append(output)
            right[number] += 1

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        threads[0].join(0.2)
        kill_worker_of(graph)
    for thread in threads:
        thread.join()
    assert (wrong, right) == ([], [200] * 4)


def test_the_output_of_a_closed_worker_is_read_from_no_descriptor_of_that_number() -> None:
    graph: Any = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
    worker = graph.worker
    words = worker._words
    worker.close()
    reader, writer = os.pipe()
    os.write(writer, b"somebody else's")
    os.dup2(reader, words)
    try:
        assert "is gone" in str(worker.died())
        assert os.read(words, 100) == b"somebody else's"
    finally:
        for file in {reader, writer, words}:
            os.close(file)


def test_a_graph_that_is_closed_has_no_worker() -> None:
    with wasi_nn.load(onnx_models.relu(), rules=ISOLATED) as graph:
        context = graph.init_execution_context()
        assert computed(context, X) == [0, 2, 0, 4]
        process = worker_of(graph)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    for _ in range(2):
        with pytest.raises(NNError, match=r"the graph (is|was) closed"):
            computed(context, X)
    with pytest.raises(NNError, match="the graph is closed"):
        graph.init_execution_context()


@pytest.mark.parametrize("is_waiting", [False, True], ids=["loading itself", "while another context loads"])
def test_a_compute_that_finds_its_worker_gone_waits_no_longer_than_it_may(tmp_path: Path, is_waiting: bool) -> None:
    model = tmp_path / "model.py"
    text = f"""
import time
while open({str(model)!r}).read().endswith("slow"):
    time.sleep(0.05)
def run(x):
    return 2 * x
# """
    model.write_text(f"{text}fast")
    graph = isolated_graph.load(ConfinedBackend(), model, Isolation(), ExecutionTarget.CPU, {})
    with wasi_nn.Session({"m": graph}, limits=wasi_nn.Limits(compute_time=1)) as session:
        context = session.init_execution_context(session.load_by_name("m"))
        other = graph.init_execution_context()
        for each in (other, session.context(context)):
            each.set_input(0, X)
            each.compute()
        model.write_text(f"{text}slow")
        end_worker(graph)
        loading = threading.Thread(target=_fails, args=(other,))
        if is_waiting:
            loading.start()
        for _ in range(2):
            with pytest.raises(NNError) as raised:
                session.compute(context)
        assert raised.value.code is ErrorCode.TIMEOUT
        assert "Limits.compute_time" in str(raised.value)
        model.write_text(f"{text}fast")
        if is_waiting:
            loading.join()
        in_time(lambda: session.compute(context))
        assert session.get_output(context, 0).tolist() == (2 * X).tolist()


def _fails(context: wasi_nn.ExecutionContext) -> None:
    with suppress(NNError):  # the other compute may end the worker, or the load may succeed
        context.compute()
