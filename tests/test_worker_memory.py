"""Memory shared with a worker: it is emptied and used again, bounded, and closed with its worker."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from typing import Any

import ggml_models
import numpy as np
import onnx_models
import pytest
from checks import held_by_another_thread
from isolated_programs import X, program, value

import wasi_nn
from wasi_nn import ErrorCode, ExecutionContext, LoadRules, NNError
from wasi_nn.isolation import Isolation
from wasi_nn.isolation.shared_memory import SharedMemory, WorkerMemory

ISOLATED = LoadRules(isolate=True)
MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="graphs can be isolated on Linux only")


def test_memory_that_cant_be_had_closes_no_file_of_others() -> None:
    with pytest.raises(NNError, match="bytes of memory can't be shared") as raised:
        SharedMemory(2**62)
    assert raised.value.code is ErrorCode.RUNTIME_ERROR
    files = os.pipe()  # get the lowest free numbers
    del raised
    gc.collect()
    for file in files:
        os.close(file)  # raises if it is closed already


def test_what_is_done_with_is_given_again_and_is_empty() -> None:
    memory = WorkerMemory()
    first = memory.take(5000)
    first.bytes[:5] = b"spoke"
    view = first.bytes[:5]
    file = first.file
    del first
    assert memory.take(5000).file != file, "while there is a view of it"
    assert bytes(view) == b"spoke"
    del view
    again = memory.take(5001)
    assert (again.file, bytes(again.bytes[:5])) == (file, bytes(5))


def test_a_worker_never_has_more_than_it_may() -> None:
    memory = WorkerMemory(10 * MIB)
    held = [memory.take(MIB) for _ in range(10)]
    with pytest.raises(
        NNError, match=r"11534336 bytes.* may have 10485760 \(Isolation.memory, --worker-memory\)"
    ) as raised:
        memory.take(MIB)
    assert raised.value.code is ErrorCode.TOO_LARGE
    held.clear()
    with pytest.raises(NNError):
        memory.take(2 * MIB)  # the worker may still have the ten others
    assert len([memory.take(MIB) for _ in range(10)]) == 10


def test_a_tensor_that_grows_leaves_little_behind() -> None:
    """A hostile worker may keep all memory that it was ever given."""
    memory = WorkerMemory()
    files = {}
    size = 4096
    while size < 2**30:
        taken = memory.take(size)
        files[taken.file] = taken.size
        del taken
        size += max(size // 50, 1)
    assert sum(files.values()) <= 4 * size


def test_nothing_is_kept_for_a_worker_that_is_gone() -> None:
    memory = WorkerMemory()
    early, late = memory.take(1), memory.take(1)
    files = early.file, late.file
    del early
    memory.close()
    del late
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


def test_a_fork_empties_nothing() -> None:
    script = """
    import os
    from wasi_nn.isolation.shared_memory import WorkerMemory
    memory = WorkerMemory()
    shared = memory.take(4096)
    shared.bytes[:] = b"x" * 4096
    child = os.fork()
    if not child:
        del shared
        os._exit(0)
    os.waitpid(child, 0)
    assert bytes(shared.bytes) == b"x" * 4096
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], check=True, timeout=60)


@pytest.mark.usefixtures("isolation")
class TestContexts:
    def context(self, graph: wasi_nn.Graph, size: int, number: float) -> ExecutionContext:
        context = graph.init_execution_context()
        context.set_input(0, np.full(size, number, np.float32))
        context.compute()
        assert context.get_output(0).tolist() == [number] * size
        return context

    def test_many_take_no_more_than_one_does(self) -> None:
        graph: Any = wasi_nn.load(onnx_models.relu(("n",)), rules=ISOLATED)
        worker = graph.worker
        sizes = []
        for number in range(20):
            self.context(graph, 100_000, number)
            gc.collect()
            sizes.append((worker.inputs.size, worker.outputs.size))
        assert len(set(sizes)) == 1

    def test_outputs_that_are_held_stay_when_the_context_is_gone(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(("n",)), rules=ISOLATED)
        held = [self.context(graph, 5000, number).output_bytes(0) for number in range(3)]
        gc.collect()
        self.context(graph, 5000, 99)
        for number, view in enumerate(held):
            assert np.frombuffer(view, np.float32).tolist() == [number] * 5000


ASKS = """
import os
from wasi_nn.isolation.worker import runner_server as serving
rooms = []
def greedy(self):
    for size in {sizes}:
        room = self._room(size)
        room[:] = b"x" * len(room)
        rooms.append(room)
    return {{"outputs": [["float32", [1], 0]]}}
serving.RunnerServer._done = lambda self, message, data, files: greedy(self)
def run(x):
    return x
"""


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("sizes", ["range(4096, 2**31, 4096)", "[2**20] * 1000", "[2**22 + it for it in range(10**6)]"])
def test_a_worker_that_asks_for_room_again_and_again_is_ended(sizes: str) -> None:
    graph: Any = program(ASKS.format(sizes=sizes), settings=Isolation(memory=512 * MIB))
    for _ in range(3):
        worker = graph.worker
        with pytest.raises(NNError) as raised:
            value(graph)
        assert raised.value.code in (ErrorCode.TOO_LARGE, ErrorCode.RUNTIME_ERROR)
        assert worker.outputs.size <= 512 * MIB
        assert worker.process.wait(60) != 0


@pytest.mark.usefixtures("isolation")
def test_rooms_of_contexts_that_are_gone_count_too() -> None:
    graph: Any = program(
        """
        kept = []
        from wasi_nn.isolation.worker import runner_server as serving
        room = serving.RunnerServer._room
        serving.RunnerServer._room = lambda self, size: kept.append(room(self, size)) or kept[-1]
        def run(x):
            return x
        """
    )
    worker = graph.worker
    for _ in range(30):
        context = graph.init_execution_context()
        context.set_input(0, np.ones(MIB, np.float32))
        context.compute()
        del context
        gc.collect()
    assert worker.outputs.size <= 8 * MIB
    assert value(graph) == X.tolist()


def test_memory_is_dropped_by_whoever_has_the_lock() -> None:
    memory = WorkerMemory()
    shared = memory.take(1)
    file = shared.file
    with memory._lock:  # the garbage collector may run on a thread that holds the lock
        del shared
        gc.collect()
    assert memory.take(1).file == file


@pytest.mark.usefixtures("isolation")
def test_a_graph_is_dropped_while_others_load() -> None:
    pytest.importorskip("xllamacpp")
    graph: Any = wasi_nn.load(ggml_models.tiny(), rules=ISOLATED)
    config = b'{"n-predict": 1}'
    configured = graph.configured(memoryview(config))
    assert config in graph.worker.graphs
    with held_by_another_thread(graph._model._lock):
        del configured
        gc.collect()
    assert config not in graph.worker.graphs, "the worker forgets it with the next use"
