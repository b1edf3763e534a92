"""Batches: requests that are joined, computed at once and split, and none of which harms the others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import isolated_programs
import numpy as np
import onnx_models
import pytest
from isolated_programs import kill_worker_of
from serving import RunningServer

import wasi_nn
from wasi_nn.serving.computing import batches, jobs
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.request import InferenceRequest
from wasi_nn.serving.service import InferenceService
from wasi_nn.serving.settings import ServingLimits

F32 = np.dtype(np.float32)
ROWS = onnx_models.relu(("n", 2))


class Recorded(wasi_nn.Graph):
    """A graph with y = 2 x, of any rows, that records the rows of each compute. A compute fails if there is a 13 in it,
    and waits while `may_go` isn't set."""

    encoding, runtime = wasi_nn.GraphEncoding.ONNX, "stand-in"

    def __init__(self, dims: tuple[int | str, ...] = ("n", "m")) -> None:
        super().__init__([wasi_nn.TensorInfo("x", F32, dims)], [wasi_nn.TensorInfo("y", F32, dims)])
        self.sizes: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def runner(self) -> Any:
        def run(inputs: Sequence[Any], reuse: Any) -> Any:
            may_go = self.may_go  # a test may have the next compute wait for another one
            self.sizes.append(len(inputs[0]))
            may_go.wait()
            if (inputs[0] == 13).any():
                raise RuntimeError("13 is no number")
            return [2 * inputs[0]]

        return run


def batched(source: Any, most: int = 8, delay: float = 0.0, **more: Any) -> wasi_nn.NamedGraph:
    return wasi_nn.NamedGraph(source, max_batch=most, max_delay=delay, **more)


def rows(*values: float, width: int = 2) -> Any:
    return np.repeat(np.array(values, np.float32)[:, None], width, 1)


def request(array: Any, model: str = "net", *, seconds: float = 60.0, outputs: Sequence[str] = ()) -> InferenceRequest:
    return InferenceRequest(model, "", [("x", array)], outputs, time.monotonic() + seconds)


def run(work: Callable[[InferenceService], Any], graphs: Any, **limits: Any) -> Any:
    """The result of a coroutine that uses a service with one turn, or as `limits` say."""

    async def main() -> Any:
        registry = graphs if isinstance(graphs, wasi_nn.Registry) else wasi_nn.Registry(graphs)
        service = InferenceService(registry, ServingLimits(**({"computes": 1} | limits)))
        await service.models.load_all()
        try:
            return await work(service)
        finally:
            service.models.close()

    return asyncio.run(main())


async def turns() -> None:
    """Let the event loop have some turns."""
    for _ in range(5):
        await asyncio.sleep(0)


async def piled_up(service: InferenceService, graph: Recorded, *requests: InferenceRequest) -> list[asyncio.Task[Any]]:
    """Tasks of these requests, which wait, since a further one has the only turn. `may_go` lets all of them go on."""
    graph.may_go.clear()
    first = asyncio.create_task(service.infer(request(rows(0), requests[0].model)))
    while not graph.sizes:
        await asyncio.sleep(0)
    tasks = [asyncio.create_task(service.infer(each)) for each in requests]
    await turns()
    assert service.queue.waiting == len(requests)
    return [first, *tasks]


def order_of(tasks: Sequence[asyncio.Task[Any]]) -> list[int]:
    """A list to which each task adds its place when it ends."""
    done: list[int] = []
    for place, task in enumerate(tasks):
        task.add_done_callback(partial(lambda place, _: done.append(place), place))
    return done


def value(result: Any) -> list[float]:
    """The first column of the only output."""
    ((_, array),) = result.outputs
    return [float(row[0]) for row in array]


def reason(outcome: Any) -> Reason:
    """The reason of a task's error."""
    assert isinstance(outcome, ServingError), outcome
    return outcome.reason


def test_requests_that_wait_are_computed_at_once_and_count_their_rows() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> Any:
        tasks = await piled_up(service, graph, *(request(rows(*values)) for values in ([1, 2], [3], [4, 5, 6], [7])))
        graph.may_go.set()
        results = await asyncio.gather(*tasks)
        assert [value(each) for each in results] == [[0], [2, 4], [6], [8, 10, 12], [14]]
        statistics = service.models.find("net").statistics
        assert (statistics.executions, statistics.inferences, statistics.successes.count) == (2, 8, 5)
        assert {size: times.runs.count for size, times in statistics.batches.items()} == {1: 1, 7: 1}

    run(main, {"net": batched(graph)})
    assert graph.sizes == [1, 7]


def test_a_batch_has_no_more_rows_than_it_may_and_the_order_stays() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        requests = [request(rows(*[place] * count)) for place, count in enumerate((2, 1, 2, 9, 1, 0, 3))]
        tasks = await piled_up(service, graph, *requests)
        graph.may_go.set()
        results = await asyncio.gather(*tasks)
        assert [len(value(each)) for each in results] == [1, 2, 1, 2, 9, 1, 0, 3]

    run(main, {"net": batched(graph, 4)})
    assert graph.sizes == [1, 3, 2, 9, 4]


def test_requests_of_other_dims_are_other_batches_and_the_oldest_is_first() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        requests = [request(rows(place, width=2 + place % 2)) for place in range(6)]
        tasks = await piled_up(service, graph, *requests)
        graph.may_go.set()
        done = order_of(tasks)
        results = await asyncio.gather(*tasks)
        assert [value(each) for each in results[1:]] == [[2.0 * place] for place in range(6)]
        assert done == [0, 1, 3, 5, 2, 4, 6]

    run(main, {"net": batched(graph)})
    assert graph.sizes == [1, 3, 3]


def test_a_kind_with_many_requests_keeps_no_other_waiting() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        many = [request(rows(1)) for _ in range(8)]
        tasks = await piled_up(service, graph, *many[:4], request(rows(2, width=3)), *many[4:])
        done = order_of(tasks)
        graph.may_go.set()
        await asyncio.gather(*tasks)
        assert done.index(5) == 5  # after the first batch of four, and before the second

    run(main, {"net": batched(graph, 4)})
    assert graph.sizes == [1, 4, 1, 4]


def test_a_request_waits_for_others_as_long_as_it_may() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        first = asyncio.create_task(service.infer(request(rows(1))))
        await turns()
        assert service.queue.waiting == 1
        assert value(await service.infer(request(rows(2, 3, 4)))) == [4, 6, 8]  # the batch is full
        assert value(await first) == [2]

    run(main, {"net": batched(graph, 4, 60.0)}, computes=4)
    assert graph.sizes == [4]

    async def alone(service: InferenceService) -> None:
        began = time.monotonic()
        assert value(await service.infer(request(rows(1)))) == [2]
        assert time.monotonic() - began >= 0.05

    run(alone, {"net": batched(graph, 4, 0.05)})


def test_a_request_that_a_full_batch_leaves_behind_has_waited_already() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        first = asyncio.create_task(service.infer(request(rows(0, 0))))
        graph.may_go.clear()
        while not graph.sizes:
            await asyncio.sleep(0)
        tasks = [asyncio.create_task(service.infer(request(rows(1)))) for _ in range(3)]
        await asyncio.sleep(0.1)
        served = service.models.find("net").served
        assert served is not None
        computes: Any = served.computes
        may_go, graph.may_go = graph.may_go, threading.Event()
        may_go.set()
        while len(graph.sizes) < 2:
            await asyncio.sleep(0)
        assert [(len(group.members), group.is_due) for group in computes._groups.values()] == [(1, True)]
        graph.may_go.set()
        await asyncio.gather(first, *tasks)

    run(main, {"net": batched(graph, 2, 0.05)})
    assert graph.sizes == [2, 2, 1]


def test_beside_a_batch_that_computes_only_a_full_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_PATIENCE", 60.0)
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        graph.may_go.clear()
        tasks = [asyncio.create_task(service.infer(request(rows(place)))) for place in range(3)]
        while not graph.sizes:
            await asyncio.sleep(0)
        await turns()
        assert (service.queue.running, service.queue.waiting) == (1, 2)
        tasks += [asyncio.create_task(service.infer(request(rows(place, place + 1)))) for place in range(3, 7, 2)]
        await turns()
        assert (service.queue.running, service.queue.waiting) == (2, 1)
        while len(graph.sizes) < 2:
            await asyncio.sleep(0)
        graph.may_go.set()
        results = await asyncio.gather(*tasks)
        assert [value(each) for each in results] == [[0], [2], [4], [6, 8], [10, 12]]

    run(main, {"net": batched(graph, 4)}, computes=4)
    assert graph.sizes == [1, 4, 2]


def test_a_batch_that_takes_longer_than_usual_keeps_no_other_waiting() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        assert value(await service.infer(request(rows(1)))) == [2]
        stuck = graph.may_go = threading.Event()
        tasks = [asyncio.create_task(service.infer(request(rows(2))))]
        while len(graph.sizes) < 2:
            await asyncio.sleep(0)
        graph.may_go = threading.Event()
        graph.may_go.set()
        assert [value(await service.infer(request(rows(place)))) for place in (3, 4)] == [[6], [8]]
        stuck.set()
        assert value(await tasks[0]) == [4]

    run(main, {"net": batched(graph)}, computes=2)
    assert graph.sizes == [1, 1, 1, 1]


def test_a_request_that_is_cancelled_or_late_while_it_waits_is_left_out() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        tasks = await piled_up(service, graph, *(request(rows(place)) for place in (1, 2, 4)))
        tasks[2].cancel()
        with pytest.raises(ServingError, match="before its turn came") as raised:
            await service.infer(request(rows(3), seconds=0.01))
        assert raised.value.reason is Reason.LATE
        assert service.queue.waiting == 2
        graph.may_go.set()
        assert value(await tasks[1]) == [2]
        assert value(await tasks[3]) == [8]
        assert service.queue.waiting == 0

    run(main, {"net": batched(graph)})
    assert graph.sizes == [1, 2]


def test_members_that_go_while_the_batch_computes_hurt_no_others() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        tasks = await piled_up(service, graph, *(request(rows(place)) for place in range(4)))
        served = service.models.find("net").served
        assert served is not None
        computes: Any = served.computes
        ((_, group),) = computes._groups.items()
        late = group.members[2]
        graph.sizes.clear()
        tasks[0].cancel()
        first_may_go, graph.may_go = graph.may_go, threading.Event()
        first_may_go.set()
        while not graph.sizes:  # the batch computes
            await asyncio.sleep(0)
        tasks[2].cancel()
        outcomes = asyncio.gather(*tasks, return_exceptions=True)
        computes._expire(late)  # as its alarm does
        with pytest.raises(ServingError, match="didn't end within the request's time"):
            await tasks[3]
        graph.may_go.set()
        results = await outcomes
        assert [value(results[place]) for place in (1, 4)] == [[0], [6]]
        assert isinstance(results[2], asyncio.CancelledError)

    run(main, {"net": batched(graph)})
    assert graph.sizes == [4]


def test_a_batch_is_given_up_once_all_of_its_members_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_GRACE", 0.01)
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        graph.may_go.clear()
        task = asyncio.create_task(service.infer(request(rows(1))))
        while not graph.sizes:
            await asyncio.sleep(0)
        others = [asyncio.create_task(service.infer(request(rows(2)))) for _ in range(2)]
        await turns()
        task.cancel()
        while len(graph.sizes) < 2:  # the others have the turn now
            await asyncio.sleep(0.001)
        others[0].cancel()
        await turns()
        served = service.models.find("net").served
        assert served is not None
        assert served.abandoned == 1
        others[1].cancel()
        while served.abandoned < 2:
            await asyncio.sleep(0.001)
        graph.may_go.set()
        while served.abandoned:
            await asyncio.sleep(0.001)
        assert value(await service.infer(request(rows(3)))) == [6]

    run(main, {"net": batched(graph)})


def test_only_the_member_whose_data_is_the_cause_fails() -> None:
    graph = Recorded()

    async def main(service: InferenceService) -> None:
        values = [1.0, 13.0, nan, 3.0]
        tasks = await piled_up(service, graph, *(request(rows(each)) for each in values))
        graph.may_go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [value(results[place]) for place in (0, 1, 4)] == [[0], [2], [6]]
        assert np.isnan(value(results[3])).all()
        assert reason(results[2]) is Reason.FAILED
        assert "13 is no number" in str(results[2])
        assert value(await service.infer(request(rows(5)))) == [10]

    run(main, {"net": batched(graph)})
    assert graph.sizes == [1, 4, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("delay", [0.0, 0.002])
def test_whatever_some_requests_do_the_others_get_their_own_rows(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of any sizes and kinds, some of which fail, are cancelled or have too little time."""
    monkeypatch.setattr(jobs, "_GRACE", 60.0)  # no compute is given up, however slow the machine is
    graph, random = Recorded(), np.random.default_rng(5)
    outcomes: Counter[str] = Counter()

    async def client(service: InferenceService, number: int) -> None:
        array = np.full((random.integers(0, 7), random.integers(1, 4)), number + 100, np.float32)
        fate = random.choice(["none", "none", "fails", "cancelled", "late"])
        if fate == "fails" and array.size:
            array[-1, -1] = 13
        await asyncio.sleep(random.random() / 20)
        seconds = random.random() / 200 if fate == "late" else 60.0
        task = asyncio.create_task(service.infer(request(array, seconds=seconds)))
        if fate == "cancelled":
            await asyncio.sleep(random.random() / 200)
            task.cancel()
        outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, ServingError):
            assert outcome.reason is {"fails": Reason.FAILED, "late": Reason.LATE}.get(str(fate)), (fate, outcome)
        elif isinstance(outcome, asyncio.CancelledError):
            assert fate == "cancelled"
        else:
            assert fate != "fails" or not array.size
            assert np.array_equal(outcome.outputs[0][1], 2 * array)
        outcomes[type(outcome).__name__] += 1

    async def main(service: InferenceService) -> None:
        await asyncio.gather(*(client(service, number) for number in range(250)))
        while service.queue.running:  # a batch whose requests are all gone
            await asyncio.sleep(0.001)
        model = service.models.find("net")
        assert model.served is not None
        computes: Any = model.served.computes
        assert (service.queue.waiting, computes._groups, model.served.abandoned) == (0, {}, 0)
        assert model.statistics.successes.count == outcomes["InferenceResult"]
        assert model.statistics.successes.count + model.statistics.failures.count == 250
        assert value(await service.infer(request(rows(1)))) == [2]

    run(main, {"net": batched(graph, 5, delay)}, computes=3, queue=250, total_queue=250)
    assert len(outcomes) == 3
    assert max(graph.sizes) <= 6


def test_a_request_that_doesnt_fit_is_refused_before_it_joins() -> None:
    graph = Recorded(("n", 2))

    async def main(service: InferenceService) -> None:
        tasks = await piled_up(service, graph, request(rows(1)))
        for array in (rows(1, width=3), np.float32(1), rows(1).astype(np.float64)):
            with pytest.raises(ServingError) as raised:
                await service.infer(request(array))
            assert raised.value.reason is Reason.INVALID
        with pytest.raises(ServingError, match="no output is named 'z'"):
            await service.infer(request(rows(1), outputs=["z"]))
        assert service.queue.waiting == 1
        graph.may_go.set()
        await asyncio.gather(*tasks)

    run(main, {"net": batched(graph)})


def test_inputs_have_the_same_rows_and_each_request_gets_the_outputs_that_it_wants() -> None:
    async def main(service: InferenceService) -> None:
        async def infer(a: int, b: int, *outputs: str) -> Any:
            inputs = [("b", np.full(b, 3, np.float32)), ("a", np.arange(a, dtype=np.float32))]
            return (await service.infer(InferenceRequest("two", "", inputs, outputs, time.monotonic() + 60))).outputs

        with pytest.raises(ServingError, match="input 'a' has 2 rows, and input 'b' 1") as raised:
            await infer(2, 1)
        assert raised.value.reason is Reason.INVALID
        results = await asyncio.gather(infer(2, 2, "sum"), infer(1, 1), infer(3, 3, "product", "sum"))
        found = [[(name, array.tolist()) for name, array in outputs] for outputs in results]
        assert found == [
            [("sum", [3, 4])],
            [("product", [0]), ("sum", [3])],
            [("product", [0, 3, 6]), ("sum", [3, 4, 5])],
        ]

    run(main, {"two": batched(onnx_models.add_and_mul(), delay=0.001)})


def test_strings_are_joined() -> None:
    async def main(service: InferenceService) -> None:
        parts = [[b"a", b""], ["schön".encode()], [b"x"] * 2000]
        requests = [request(np.array(part, object)) for part in parts]
        results = await asyncio.gather(*map(service.infer, requests))
        for part, result in zip(parts, results, strict=True):
            assert [str(text).encode() if isinstance(text, str) else text for text in result.outputs[0][1]] == part

    run(main, {"net": batched(onnx_models.strings(), 4000, 0.001)})


def test_a_graph_that_mixes_rows_is_found_out() -> None:
    async def main(service: InferenceService) -> None:
        for _ in range(2):
            with pytest.raises(ServingError, match=r"output 'y' of a batch of 3 rows has the dims \[1, 2\]") as raised:
                await service.infer(request(rows(1, 0, 2)))
            assert raised.value.reason is Reason.FAILED

    graph = Recorded()
    graph.runner = lambda: lambda inputs, reuse: [inputs[0].sum(0, keepdims=True)]  # type: ignore[method-assign]
    run(main, {"net": batched(graph)})


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (onnx_models.relu((4,)), "input 'x' has the dims [4], whose first one doesn't vary"),
        (onnx_models.relu((1, "n")), "input 'x' has the dims [1, n], whose first one doesn't vary"),
        (onnx_models.relu(()), "input 'x' has no dims"),
        (onnx_models.nonzero(), "output 'y' has the dims [1, found], whose first one doesn't vary"),
    ],
)
def test_a_graph_that_cant_compute_in_batches_isnt_loaded(model: bytes, why: str) -> None:
    async def main(service: InferenceService) -> str:
        assert not service.is_ready
        return service.models.find("net").reason

    assert run(main, {"net": batched(model)}) == f"the graph can't compute in batches (max-batch): {why}"


def test_a_graph_that_keeps_state_cant_compute_in_batches() -> None:
    graph = Recorded()
    graph.keeps_state = True

    async def main(service: InferenceService) -> str:
        return service.models.find("net").reason

    assert "it keeps state from one compute to the next" in run(main, {"net": batched(graph)})


def test_dims_that_the_model_doesnt_tell_are_the_operators_word() -> None:
    graph = Recorded()
    graph.inputs = (wasi_nn.TensorInfo("x", F32, None),)

    async def main(service: InferenceService) -> None:
        results = await asyncio.gather(*(service.infer(request(rows(place))) for place in range(3)))
        assert [value(each) for each in results] == [[0], [2], [4]]
        with pytest.raises(ServingError, match="input 'x' has no dims"):
            await service.infer(request(np.float32(1)))

    run(main, {"net": batched(graph, 3, 60.0)})
    assert graph.sizes == [3]


def test_the_settings_of_batches(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(ROWS)
    file = tmp_path / "graphs.toml"
    for line, message in (
        ("max-batch = 0", "max-batch can't be 0: it takes a number of rows, from 1 on"),
        ("max-batch = true", "max-batch can't be True"),
        ("max-batch = 2\nmax-delay = -1", "max-delay can't be -1: it takes a number of seconds up to 60"),
        ("max-batch = 2\nmax-delay = nan", "max-delay can't be nan"),
        ("max-delay = 1", "max-delay is for graphs with a max-batch"),
    ):
        file.write_text(f"[graphs.net]\npath = 'net.onnx'\n{line}\n")
        with pytest.raises(wasi_nn.NNError, match=message):
            wasi_nn.Registry(file)
    file.write_text("[graphs.net]\npath = 'net.onnx'\nmax-batch = 4\nmax-delay = 0.5\n")
    named = wasi_nn.Registry(file).named("net")
    assert (named.max_batch, named.max_delay) == (4, 0.5)
    for wrong in ({"max_batch": 1.5}, {"max_batch": 1, "max_delay": "1"}):
        with pytest.raises(wasi_nn.NNError, match="can't be"):
            wasi_nn.Registry({"net": wasi_nn.NamedGraph(ROWS, **dict[str, Any](wrong))})


def test_a_reload_takes_other_settings_and_keeps_the_graph_if_they_dont_fit(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(ROWS)
    (tmp_path / "four.onnx").write_bytes(onnx_models.relu())
    file = tmp_path / "graphs.toml"
    file.write_text("[graphs.net]\npath = 'net.onnx'\n")

    async def main(service: InferenceService) -> None:
        async def most_rows() -> int | None:
            assert value(await service.infer(request(rows(1)))) == [1]
            batching = (await service.served("net"))[1].batching
            return None if batching is None else batching.max_rows

        assert await most_rows() is None
        for lines, most in (("path = 'net.onnx'\nmax-batch = 4", 4), ("path = 'four.onnx'\nmax-batch = 8", 4)):
            file.write_text(f"[graphs.net]\n{lines}\n")
            await service.models.reload()
            assert await most_rows() == most
        assert "can't compute in batches" in service.models.find("net").reason

    run(main, wasi_nn.Registry(file))


def test_batches_of_an_isolated_graph_outlive_their_worker(isolation: None) -> None:
    registry = wasi_nn.Registry({"net": batched(ROWS, 8, 0.01)}, rules=wasi_nn.LoadRules(isolate=True))

    async def main(service: InferenceService) -> None:
        async def some() -> None:
            results = await asyncio.gather(*(service.infer(request(rows(place - 2))) for place in range(5)))
            assert [value(each) for each in results] == [[max(place - 2, 0)] for place in range(5)]

        await some()
        kill_worker_of(registry.get("net"))
        await some()

    run(main, registry)


def test_a_request_that_crashes_the_worker_costs_the_others_of_its_batch_nothing(isolation: None) -> None:
    graph = isolated_programs.program("""
        import os
        def run(x):
            if (x == 13).any():
                os.abort()
            return 2 * x
    """)

    async def main(service: InferenceService) -> None:
        values = [1, 13, 3, 4]
        requests = [request(np.array([each], np.float32)) for each in values]
        results: list[Any] = await asyncio.gather(*map(service.infer, requests), return_exceptions=True)
        assert [results[place].outputs[0][1].tolist() for place in (0, 2, 3)] == [[2], [6], [8]]
        assert reason(results[1]) is Reason.FAILED
        assert "SIGABRT" in str(results[1])

    run(main, {"net": batched(graph, 4, 60.0)})


def test_answers_are_those_without_batches_over_both_protocols() -> None:
    random = np.random.default_rng(7)
    arrays = [random.standard_normal((1 + place % 3, 2)).astype(np.float32) for place in range(12)]
    with RunningServer({"net": batched(ROWS, 8, 0.002), "bare": ROWS}, grpc_port=0) as server:
        answers: dict[str, list[Any]] = {"net": [None] * 12, "bare": [None] * 12}

        def ask(model: str, place: int) -> None:
            array = arrays[place]
            tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
            answers[model][place] = server.ask("POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})[1]["outputs"]

        threads = [threading.Thread(target=ask, args=(model, place)) for model in answers for place in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers["net"] == answers["bare"]
        metrics = server.ask("GET", "/metrics")[1].decode()
    assert f'wasi_nn_batch_rows_sum{{model="net"}} {sum(map(len, arrays))}.0' in metrics
    assert 'wasi_nn_batch_requests_sum{model="net"} 12.0' in metrics
    assert 'wasi_nn_batch_requests_count{model="bare"}' not in metrics
