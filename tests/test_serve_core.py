"""The core of the server: turns, times, graphs that fail or hang, models that come and go."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import serving
from conftest import need
from isolated_programs import kill_worker_of, wait_for_end_of
from serving import HungGraph, RunningServer
from training_guests import isolated
from variables_backend import X

import wasi_nn
from wasi_nn.serving.computing import jobs, served_graph
from wasi_nn.serving.computing.compute_queue import ComputeQueue, Turns
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.request import InferenceRequest
from wasi_nn.serving.service import InferenceService
from wasi_nn.serving.settings import ServingLimits

ONE = np.ones(1, np.float32)
FOREVER = 10**9  # turns of `onnx_models.loop`


def request(model: str, array: Any = ONE, *, seconds: float = 60.0) -> InferenceRequest:
    return InferenceRequest(model, "", [("x", array)], (), time.monotonic() + seconds)


def run(work: Callable[[InferenceService], Any], graphs: Any, **limits: Any) -> Any:
    """The result of a coroutine that uses a service."""

    async def main() -> Any:
        registry = graphs if isinstance(graphs, wasi_nn.Registry) else wasi_nn.Registry(graphs)
        service = InferenceService(registry, ServingLimits(**limits))
        try:
            return await work(service)
        finally:
            service.models.close()

    return asyncio.run(main())


def test_turns_are_given_in_the_order_of_asking() -> None:
    async def main() -> list[int]:
        queue, order = Turns(ComputeQueue(1, 10)), []
        await queue.turn(inf_soon())

        async def take(number: int) -> None:
            await queue.turn(inf_soon())
            order.append(number)
            queue.give_back()

        tasks = [asyncio.create_task(take(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (queue.running, queue.waiting) == (1, 5)
        tasks[1].cancel()
        queue.give_back()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (queue.running, queue.waiting) == (0, 0)
        return order

    assert asyncio.run(main()) == [0, 2, 3, 4]


def inf_soon() -> float:
    return asyncio.get_running_loop().time() + 60


def test_a_full_queue_refuses_and_a_late_turn_is_an_error() -> None:
    async def main() -> None:
        queue = Turns(ComputeQueue(1, 1))
        await queue.turn(inf_soon())
        late = asyncio.create_task(queue.turn(0.0))
        await asyncio.sleep(0)
        with pytest.raises(ServingError) as raised:
            await queue.turn(inf_soon())
        assert (raised.value.reason, raised.value.retry_after) == (Reason.OVERLOADED, 1)
        with pytest.raises(ServingError) as raised:
            await late
        assert raised.value.reason is Reason.LATE
        assert queue.waiting == 0
        queue.give_back()
        await queue.turn(inf_soon())

    asyncio.run(main())


def test_turns_go_to_the_line_that_has_the_fewest_and_then_to_the_one_that_has_waited_longest() -> None:
    async def main() -> list[str]:
        queue, order = ComputeQueue(2, 100), []
        lines = {name: Turns(queue) for name in ("busy", "second", "third")}
        for _ in range(2):
            await lines["busy"].turn(inf_soon())

        async def take(name: str) -> None:
            await lines[name].turn(inf_soon())
            order.append(name)

        names = ["busy"] * 4 + ["second", "third", "third", "second"]
        tasks = [asyncio.create_task(take(name)) for name in names]
        await asyncio.sleep(0)
        for name in ("busy", "busy", "second", "third", "busy", "second", "third", "busy"):
            assert lines[name].running
            lines[name].give_back()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        for line in lines.values():
            while line.running:
                line.give_back()
        assert (queue.running, queue.waiting) == (0, 0)
        return order

    # The two turns that are busy's go to the others first, and then round.
    assert asyncio.run(main()) == ["second", "third", "busy", "second", "third", "busy", "busy", "busy"]


def test_a_full_line_leaves_place_for_others_until_all_is_full() -> None:
    async def main() -> None:
        queue = ComputeQueue(1, 3, 2)
        lines = [Turns(queue) for _ in range(3)]
        await lines[0].turn(inf_soon())
        tasks = [asyncio.create_task(lines[place].turn(inf_soon())) for place in (0, 0, 1)]
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match=r"2 requests wait already for this model .*--max-queue") as raised:
            await lines[0].turn(inf_soon())
        assert (raised.value.reason, raised.value.retry_after) == (Reason.OVERLOADED, 1)
        with pytest.raises(ServingError, match=r"3 requests wait already \(.*--max-total-queue") as raised:
            await lines[2].turn(inf_soon())
        assert (raised.value.reason, raised.value.retry_after) == (Reason.OVERLOADED, 1)
        for place in (0, 1, 0):
            lines[place].give_back()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_slow_model_whose_queue_is_full_starves_no_other() -> None:
    hung = HungGraph()

    async def main(service: InferenceService) -> None:
        await service.models.load_all()
        slow = [asyncio.create_task(service.infer(request("hung"))) for _ in range(4)]
        while not hung.began.acquire(blocking=False):
            await asyncio.sleep(0)
        with pytest.raises(ServingError, match="3 requests wait already for this model"):
            await service.infer(request("hung"))
        quick = asyncio.create_task(service.infer(request("net")))
        await asyncio.sleep(0)
        done: list[asyncio.Task[Any]] = []
        for task in (*slow, quick):
            task.add_done_callback(done.append)
        hung.may_end.set()
        await asyncio.gather(*slow, quick)
        assert done.index(quick) == 1  # it had the first turn that came

    graphs = {"hung": hung, "net": onnx_models.identity(dims=(1,))}
    run(main, graphs, computes=1, queue=3)


def test_a_turn_that_comes_with_the_cancellation_isnt_lost() -> None:
    async def main() -> None:
        queue = Turns(ComputeQueue(1, 10))
        await queue.turn(inf_soon())
        waiting = asyncio.create_task(queue.turn(inf_soon()))
        await asyncio.sleep(0)
        queue.give_back()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await queue.turn(inf_soon())

    asyncio.run(main())


def test_a_turn_that_comes_just_after_the_cancellation_isnt_lost() -> None:
    async def main(others: int) -> None:
        queue = Turns(ComputeQueue(1, 10))
        await queue.turn(inf_soon())
        cancelled, *waiting = [asyncio.create_task(queue.turn(inf_soon())) for _ in range(1 + others)]
        await asyncio.sleep(0)
        cancelled.cancel()
        queue.give_back()  # before the task of the cancelled one goes on
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        for each in waiting:
            await each
            queue.give_back()
        await queue.turn(inf_soon())
        assert (queue.running, queue.waiting) == (1, 0)

    for others in (0, 2):
        asyncio.run(main(others))


@pytest.mark.parametrize(("end", "max_batch"), [("_ended", None), ("_ended", 8), ("_abandon", None)])
def test_a_cancellation_just_after_the_end_gives_no_turn_back_twice(
    end: str, max_batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the task of the request goes on."""
    tasks: list[asyncio.Task[Any]] = []
    real, is_cancelled = getattr(jobs.Job, end), asyncio.Event()

    def cancelled_after(job: Any, *arguments: Any) -> None:
        real(job, *arguments)
        tasks[-1].cancel()
        is_cancelled.set()

    async def main(service: InferenceService) -> None:
        served = await service.models.served(service.models.find("net"), inf_soon())
        tasks.append(asyncio.create_task(service.infer(request("net", array, seconds=seconds))))
        await asyncio.wait(tasks)
        await is_cancelled.wait()
        await asyncio.sleep(0.1)
        assert served.abandoned == (end == "_abandon")
        assert service.queue.running == 0
        hung.may_end.set()
        while served.abandoned:
            await asyncio.sleep(0.01)
        assert (service.queue.running, service.queue.waiting) == (0, 0)

    hung = HungGraph()
    graph: Any = wasi_nn.NamedGraph(onnx_models.relu(("n", 4)), max_batch=max_batch)
    array: Any = np.zeros((1, 4), np.float32)
    seconds = 60.0
    if end == "_abandon":
        graph, array, seconds = hung, ONE, 0.1
    monkeypatch.setattr(jobs, "_GRACE", 0.02)
    monkeypatch.setattr(jobs.Job, end, cancelled_after)
    run(main, {"net": graph})


def test_the_outputs_of_a_request() -> None:
    async def main(service: InferenceService) -> Any:
        return await service.infer(request("net", np.array([-1, 2, -3, 4], np.float32)))

    result = run(main, {"net": onnx_models.relu()})
    ((name, array),) = result.outputs
    assert (name, array.tolist(), result.version) == ("y", [0, 2, 0, 4], "1")


def test_contexts_are_used_again_but_for_graphs_that_keep_state(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counting(served_graph.GuardedContext):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(served_graph, "GuardedContext", Counting)
    graph = wasi_nn.load(onnx_models.identity(dims=(1,)))

    async def main(service: InferenceService) -> None:
        for _ in range(5):
            await service.infer(request("net"))

    run(main, {"net": graph})
    assert len(made) == 1
    graph.keeps_state = True
    run(main, {"net": graph})
    assert len(made) == 6


def test_a_compute_that_is_too_long_is_interrupted_and_others_go_on() -> None:
    async def main(service: InferenceService) -> Any:
        long = request("loop", np.array([FOREVER]), seconds=0.2)
        with pytest.raises(ServingError) as raised:
            await service.infer(long)
        assert raised.value.reason is Reason.LATE
        await service.infer(request("loop", np.array([1])))
        return service.queue.running

    assert run(main, {"loop": onnx_models.loop()}, computes=1) == 0


def test_a_cancelled_request_ends_its_compute() -> None:
    async def main(service: InferenceService) -> None:
        await service.models.load_all()
        task = asyncio.create_task(service.infer(request("loop", np.array([FOREVER]), seconds=3600)))
        while not service.queue.running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.infer(request("loop", np.array([1])))  # the only turn is free again

    run(main, {"loop": onnx_models.loop()}, computes=1, request_time=3600.0)


def test_a_compute_that_hangs_costs_its_own_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_GRACE", 0.01)
    hung = HungGraph()

    async def main(service: InferenceService) -> None:
        for _ in range(4):
            task = asyncio.create_task(service.infer(request("hung")))
            while not hung.began.acquire(blocking=False):
                await asyncio.sleep(0)
            task.cancel()
            await service.infer(request("net"))  # which has the only turn once the compute is given up
        served = service.models.find("hung").served
        assert served is not None
        assert served.abandoned == 4
        with pytest.raises(ServingError, match="4 computes of this graph don't end") as raised:
            await service.infer(request("hung"))
        assert raised.value.reason is Reason.UNAVAILABLE
        hung.may_end.set()
        while served.abandoned:
            await asyncio.sleep(0)
        await service.infer(request("hung"))

    run(main, {"hung": hung, "net": onnx_models.identity(dims=(1,))}, computes=1)


def test_a_request_whose_compute_hangs_is_answered_in_time() -> None:
    hung = HungGraph()

    async def main(service: InferenceService) -> None:
        with pytest.raises(ServingError) as raised:
            await service.infer(request("hung", seconds=0.1))
        assert raised.value.reason is Reason.LATE
        hung.may_end.set()

    run(main, {"hung": hung})


def test_a_failing_compute_costs_its_own_request_only() -> None:
    async def main(service: InferenceService) -> None:
        three, four = np.ones(3, np.float32), np.ones(4, np.float32)
        for _ in range(3):
            with pytest.raises(ServingError) as raised:
                await service.infer(request("failing", three))
            assert raised.value.reason is Reason.FAILED
            await service.infer(request("failing", four))

    run(main, {"failing": onnx_models.failing()}, computes=1)


def test_a_model_that_cant_be_loaded_is_unavailable_and_others_are_ready() -> None:
    async def main(service: InferenceService) -> None:
        await service.models.load_all()
        assert not service.is_ready
        assert [(model.name, model.state.value) for model in service.models.all()] == [
            ("bad", "UNAVAILABLE"),
            ("net", "READY"),
        ]
        for _ in range(2):  # the second time, no load is tried
            with pytest.raises(ServingError, match="model 'bad' isn't ready: ") as raised:
                await service.infer(request("bad"))
            assert (raised.value.reason, raised.value.retry_after) == (Reason.UNAVAILABLE, 10)
        await service.infer(request("net"))

    run(main, {"bad": b"no model", "net": onnx_models.identity(dims=(1,))})


def test_requests_share_one_load_and_wait_for_it_no_longer_than_their_time() -> None:
    class Slow(wasi_nn.Registry):
        may_end = threading.Event()
        loads = 0

        def get(self, name: str) -> wasi_nn.Graph:
            self.loads += 1
            self.may_end.wait()
            return super().get(name)

    registry = Slow({"net": onnx_models.identity(dims=(1,))})

    async def main(service: InferenceService) -> None:
        with pytest.raises(ServingError, match="wasn't loaded within the request's time"):
            await service.infer(request("net", seconds=0.01))
        assert service.models.find("net").state.value == "LOADING"
        requests = [asyncio.create_task(service.infer(request("net"))) for _ in range(3)]
        await asyncio.sleep(0)
        registry.may_end.set()
        await asyncio.gather(*requests)

    run(main, registry)
    assert registry.loads == 1


def test_a_graph_is_closed_once_no_request_uses_it() -> None:
    async def main(service: InferenceService) -> None:
        await service.models.load_all()
        model = service.models.find("net")
        first = model.served
        assert first is not None
        with first.in_use():
            await service.models.unload("net")
            first.graph.require_usable()
        with pytest.raises(wasi_nn.NNError, match="closed"):
            first.graph.require_usable()
        with pytest.raises(ServingError, match="unloaded"):
            await service.infer(request("net"))
        await service.models.load("net")
        assert model.served is not None
        assert model.served.graph is not first.graph
        await service.infer(request("net"))

    run(main, {"net": onnx_models.identity(dims=(1,))})


def test_a_graph_that_was_given_stays_open() -> None:
    graph = wasi_nn.load(onnx_models.identity(dims=(1,)))

    async def main(service: InferenceService) -> None:
        await service.infer(request("net"))
        await service.models.unload("net")

    run(main, {"net": graph})
    graph.require_usable()


def test_a_changed_file_is_served_after_a_reload(tmp_path: Path) -> None:
    path = serving.write_graphs(tmp_path, {"a": onnx_models.relu(), "b": onnx_models.relu()})
    array = np.array([-1, 2, -3, 4], np.float32)

    async def main(service: InferenceService) -> None:
        async def outputs(name: str) -> Any:
            return (await service.infer(request(name, array))).outputs[0][1].tolist()

        await service.models.load_all()
        kept = service.models.find("b").served
        assert await outputs("a") == [0, 2, 0, 4]
        serving.write_graphs(tmp_path, {"a": onnx_models.negated(), "b": onnx_models.relu(), "c": onnx_models.relu()})
        (tmp_path / "b.onnx").touch()
        assert sorted(await service.models.reload()) == ["a", "b", "c"]
        assert await outputs("a") == [1, -2, 3, -4]
        assert service.models.find("b").served is not kept
        serving.write_graphs(tmp_path, {"b": b"no model any more", "c": onnx_models.relu()})
        await service.models.reload()
        assert not service.models.has("a")
        assert await outputs("b") == [0, 2, 0, 4]  # by the former graph
        assert service.models.find("b").reason
        path.write_text("[graphs")
        with pytest.raises(wasi_nn.NNError):
            await service.models.reload()
        assert await outputs("c") == [0, 2, 0, 4]

    run(main, wasi_nn.Registry(path))


def test_no_request_is_dropped_while_graphs_are_reloaded(tmp_path: Path) -> None:
    path = serving.write_graphs(tmp_path, {"net": onnx_models.relu()})
    array = np.array([-1, 2, -3, 4], np.float32)

    async def main(service: InferenceService) -> int:
        done, is_over = 0, False

        async def client() -> None:
            nonlocal done
            while not is_over:
                result = await service.infer(request("net", array))
                assert result.outputs[0][1].tolist() in ([0, 2, 0, 4], [1, -2, 3, -4])
                done += 1

        clients = [asyncio.create_task(client()) for _ in range(4)]
        for turn in range(10):
            before = done
            model = onnx_models.negated() if turn % 2 else onnx_models.relu()
            serving.write_graphs(tmp_path, {"net": model})
            await service.models.reload()
            while done < before + 8:
                await asyncio.sleep(0)
                assert not any(each.done() for each in clients)
        is_over = True
        await asyncio.gather(*clients)
        return done

    assert run(main, wasi_nn.Registry(path), computes=2) >= 80


def test_a_client_that_goes_gives_its_turn_back() -> None:
    graphs = {"loop": onnx_models.loop(), "net": onnx_models.identity(dims=(1,))}
    long = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [FOREVER]}]}
    limits = ServingLimits(computes=1, request_time=3600)
    with RunningServer(graphs, limits=limits) as server:
        clients = []
        for _ in range(3):  # one computes, two wait
            client = server.connection()
            client.request("POST", "/v2/models/loop/infer", json.dumps(long))
            clients.append(client)
        while b"\nwasi_nn_queue_requests 2.0\n" not in server.ask("GET", "/metrics")[1]:
            pass
        for client in clients:
            client.close()
        one = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
        assert server.ask("POST", "/v2/models/net/infer", one)[0] == 200
        metrics = server.ask("GET", "/metrics")[1]
        assert b'model="loop",outcome="cancelled",protocol="http"} 3.0' in metrics


def test_settings_are_checked() -> None:
    assert ServingLimits().computes >= 1
    for name in ("computes", "request_time", "body_bytes"):
        for value in (0, -1, "1", inf):
            with pytest.raises(wasi_nn.NNError, match=f"ServingLimits.{name}"):
                ServingLimits(**dict[str, Any]({name: value}))


def test_shared_variables_that_are_lost_with_a_worker_begin_anew(isolation: None) -> None:
    graph = isolated()
    registry = wasi_nn.Registry({"m": wasi_nn.NamedGraph(graph, share_variables=True)})

    async def main(service: InferenceService) -> None:
        async def outputs() -> Any:
            return (await service.infer(request("m", X))).outputs[0][1].tolist()

        assert await outputs() == X.tolist()
        wait_for_end_of(kill_worker_of(graph))
        assert await outputs() == X.tolist()

    run(main, registry)


class Varying(wasi_nn.Graph):
    """A graph that doesn't declare its outputs: it gives its input as `a` and as `b`."""

    encoding, runtime, outputs_vary = wasi_nn.GraphEncoding.PYTORCH, "stand-in", True

    def __init__(self) -> None:
        super().__init__([wasi_nn.TensorInfo("x", np.dtype(np.float32), (1,))], [])

    def runner(self) -> Any:
        return lambda inputs, reuse: wasi_nn.Outputs.named([("a", inputs[0].copy()), ("b", 2 * inputs[0])])


def test_outputs_that_a_model_doesnt_declare() -> None:
    async def main(service: InferenceService) -> None:
        async def names(*wanted: str) -> list[str]:
            one = InferenceRequest("v", "", [("x", ONE)], wanted, time.monotonic() + 60)
            return [name for name, _ in (await service.infer(one)).outputs]

        assert await names() == ["a", "b"]
        assert await names("b") == ["b"]
        with pytest.raises(ServingError, match="no output is named 'c'; this compute gave 'a', 'b'") as raised:
            await names("c")
        assert raised.value.reason is Reason.INVALID

    run(main, {"v": Varying()})


def test_a_prompt_is_one_string_of_bytes(tmp_path: Path) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_models

    (tmp_path / "model.gguf").write_bytes(ggml_models.tiny())
    prompt = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["Once upon a time"]}
    named = wasi_nn.NamedGraph(tmp_path / "model.gguf", options={"n-predict": 4})
    with RunningServer({"writer": named}) as server:
        wanted = {"inputs": [prompt], "outputs": [{"name": "text"}]}
        status, answer, _ = server.ask("POST", "/v2/models/writer/infer", wanted)
        assert status == 200, answer
        assert [(output["name"], output["datatype"]) for output in answer["outputs"]] == [("text", "UINT8")]
        assert (
            server.ask("POST", "/v2/models/writer/infer", {"inputs": [prompt | {"shape": [0], "data": []}]})[0] == 400
        )
