"""Limits of guests: memory, time, computes, counts, bytes and policy. Each has its error, and the host works again
afterwards."""

from __future__ import annotations

import gc
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import tflite_models
import wasmtime
from driven_component import TYPES, Driven, GuestFailed
from onnx import helper
from openvino_models import openvino_relu

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, GuestError, GuestTrap, Host, HostLimits, Limits, NNError
from wasi_nn.graph.runner import RunFunction
from wasi_nn.guests import linking
from wasi_nn.process import threads

X = np.array([-1, 2, -3, 4], np.float32)
F32 = np.dtype(np.float32)
NEWEST = "0.2.0-rc-2024-10-28"
FOR_EVER = "(loop $l (br $l))"


def guest(body: str, pages: int = 1) -> bytes:
    """A command in WebAssembly text."""
    poll = '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
    return f'(module {poll} (memory (export "memory") {pages}) (func (export "_start") {body}))'.encode()


def nn_guest(body: str) -> bytes:
    """A command that makes a context on the graph `g`, with its handle at address 12; `body` may call `$compute`."""
    return f"""(module
      (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
      (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
      (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "g")
      (func $must (param i32) (if (local.get 0) (then (unreachable))))
      (func (export "_start")
        (call $must (call $load (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $must (call $init (i32.load (i32.const 8)) (i32.const 12)))
        {body}))""".encode()


SLEEPS = """
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 20000000000))
    (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))
"""


def set_input(session: wasi_nn.Session, graph: int) -> int:
    context = session.init_execution_context(graph)
    session.context(context).write_input(0, F32, (4,), memoryview(X.tobytes()))
    return context


def load(session: wasi_nn.Session, model: bytes | None = None) -> int:
    builders = [memoryview(model or onnx_models.relu())]
    return session.load(builders, GraphEncoding.ONNX, ExecutionTarget.CPU)


class Slow(wasi_nn.Graph):
    """A graph whose computes take some seconds, and can be interrupted or not."""

    encoding = GraphEncoding.ONNX

    def __init__(self, seconds: float, *, stoppable: bool) -> None:
        super().__init__([], [wasi_nn.TensorInfo("y", F32, (1,))])
        self.seconds, self.stoppable = seconds, stoppable
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def runner(self) -> RunFunction:
        return (_StoppableRunner if self.stoppable else _Runner)(self)


class _Runner:
    def __init__(self, graph: Slow) -> None:
        self.graph = graph
        self.stopped = threading.Event()

    def __call__(self, inputs: Any, reuse: Any) -> Any:
        with self.graph.lock:
            self.graph.at_once += 1
            self.graph.most_at_once = max(self.graph.most_at_once, self.graph.at_once)
        try:
            if self.stopped.wait(self.graph.seconds):
                self.stopped.clear()
                raise RuntimeError("stopped")
        finally:
            with self.graph.lock:
                self.graph.at_once -= 1
        return [np.ones(1, np.float32)]


class _StoppableRunner(_Runner):
    def interrupt(self) -> None:
        self.stopped.set()


class TestLimits:
    @pytest.mark.parametrize("kind", [Limits, HostLimits])
    @pytest.mark.parametrize("value", [0, -1, True, "x", 1.5, float("inf"), float("nan"), 2**63])
    def test_they_must_be_positive(self, kind: Any, value: Any) -> None:
        with pytest.raises(NNError, match="graphs must be a positive whole number"):
            kind(graphs=value)

    @pytest.mark.parametrize("value", [0, -0.5, True, "x", float("inf"), float("nan"), 2**63])
    def test_times_must_be_positive(self, value: Any) -> None:
        with pytest.raises(NNError, match=r"load_time must be a positive number.*, or None for no limit"):
            Limits(load_time=value)


SHARED = r"which its memories share equally \(Limits\.guest_memory"


class TestMemory:
    def test_a_guest_that_needs_more_from_the_start_is_refused(self) -> None:
        with pytest.raises(GuestError, match=rf"the limit is 1048576 bytes, 16 pages, {SHARED}, --max-guest-memory\)"):
            Host(limits=Limits(guest_memory=2**20)).run(guest("", pages=17))

    def test_less_than_a_page_is_too_little_for_a_guest_with_directories(self, tmp_path: Path) -> None:
        opens = (
            '(module (import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) '
            '(result i32))) (memory (export "memory") 1) (func (export "_start")))'
        )
        with pytest.raises(GuestError, match=f"the limit is 1024 bytes, 0 pages, {SHARED}"):
            Host(limits=Limits(guest_memory=1024)).run(opens.encode(), dirs={"/": tmp_path})

    def test_a_guest_that_grows_beyond_it_gets_no_more(self) -> None:
        grows = "(if (i32.ne (memory.grow (i32.const {})) (i32.const {})) (then (unreachable)))"
        host = Host(limits=Limits(guest_memory=2**20))
        host.run(guest(grows.format(16, -1) + grows.format(15, 1)))

    @pytest.mark.parametrize("memories", [1, 2, 4])
    def test_several_memories_have_equal_shares_of_it(self, memories: int) -> None:
        grows = "(memory.grow $last (i32.const {}))"
        body = f"""
            (if (i32.ne {grows.format(16 // memories)} (i32.const -1)) (then (unreachable)))
            (if (i32.ne {grows.format(16 // memories - 1)} (i32.const 1)) (then (unreachable)))"""
        several = "(memory 1)" * (memories - 1)
        module = f'(module {several} (memory $last (export "memory") 1) (func (export "_start") {body}))'.encode()
        Host(limits=Limits(guest_memory=2**20)).run(module)

    def test_a_components_memories_share_it_too(self) -> None:
        def component(*instances: str) -> bytes:
            grows = "(if (i32.ne (memory.grow (i32.const 7)) (i32.const {0})) (then (unreachable)))".format
            return f"""(component
              (core module $half (memory 1)
                (func (export "run") (result i32) {grows(1)} {grows(-1)} (i32.const 0)))
              (core module $other (memory 9))
              {" ".join(instances)}
              (core instance $main (instantiate $half))
              (func $run (result (result)) (canon lift (core func $main "run")))
              (instance $command (export "run" (func $run)))
              (export "wasi:cli/run@0.2.0" (instance $command)))""".encode()

        host = Host(limits=Limits(guest_memory=2**20))
        assert host.run(component()).exit_code == 0
        assert host.run(component("(core instance (instantiate $half))")).exit_code == 0
        with pytest.raises(
            GuestError, match=f"9 pages exceeds memory limits: the limit is 1048576 bytes, 16 pages, {SHARED}"
        ):
            host.run(component("(core instance (instantiate $other))"))
        with pytest.raises(GuestError, match=r"under a limit \(Limits\.guest_memory"):
            host.run(component("(core instance (instantiate $half))", "(core instance (instantiate $half))"))
        unlimited = Limits(guest_memory=None)
        with pytest.raises(GuestError, match="unreachable"):  # the guest traps since its memory grows again
            host.run(component("(core instance (instantiate $half))" * 9), limits=unlimited)

    @pytest.mark.parametrize("elements", [2**18, 2**18 + 1])
    def test_a_table_has_so_many_elements(self, elements: int) -> None:
        module = f'(module (memory (export "memory") 1) (table {elements} funcref) (func (export "_start")))'.encode()
        if elements <= 2**18:
            assert Host().run(module).exit_code == 0
        else:
            with pytest.raises(GuestError, match="exceeds table limits"):
                Host().run(module)

    @pytest.mark.parametrize("count", [1, 2, 8, 9])
    def test_there_may_be_some_memories_but_not_any_number(self, count: int) -> None:
        module = f'(module {"(memory 1)" * (count - 1)} (memory (export "memory") 1) (func (export "_start")))'.encode()
        if count <= 8:
            assert Host().run(module).exit_code == 0
        else:
            with pytest.raises(GuestError, match=r"memory count too high.*: a module may have 8 memories"):
                Host().run(module)

    def test_it_holds_for_each_run_by_itself(self) -> None:
        host = Host(limits=Limits(guest_memory=2**20))
        host.run(guest("", pages=17), limits=Limits(guest_memory=2**21))
        with pytest.raises(GuestError, match="guest_memory"):
            host.run(guest("", pages=17))


class TestTime:
    def test_a_guest_that_never_ends_is_trapped(self) -> None:
        with pytest.raises(
            GuestTrap, match=r"more than 0.2 s of processor time \(Limits.guest_time, --max-guest-time\)"
        ):
            Host().run(guest(FOR_EVER), limits=Limits(guest_time=0.2))

    def test_a_run_that_never_ends_is_trapped(self) -> None:
        with pytest.raises(GuestTrap, match=r"longer than 0.2 s \(Limits.run_time, --max-run-time\)"):
            Host().run(guest(FOR_EVER), limits=Limits(run_time=0.2))

    def test_a_start_function_that_never_ends_is_trapped(self) -> None:
        module = f'(module (memory (export "memory") 1) (func $s {FOR_EVER}) (start $s) (func (export "_start")))'
        with pytest.raises(GuestTrap, match="guest_time"):
            Host().run(module.encode(), limits=Limits(guest_time=0.2))

    def test_a_guest_that_is_asleep_is_left_behind(self) -> None:
        host = Host()
        began = time.monotonic()
        with pytest.raises(GuestTrap, match=r"longer than 0.2 s \(Limits.run_time.*goes on in the background"):
            host.run(guest(SLEEPS), limits=Limits(run_time=0.2))
        assert time.monotonic() - began < 15  # it wakes after 20
        assert host.run(guest("")).exit_code == 0

    def test_what_it_wrote_before_it_fell_asleep_is_kept(self) -> None:
        module = guest(SLEEPS).replace(
            b"(module ",
            b"""(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))""",
        )
        writes = b"""(i32.store (i32.const 300) (i32.const 400)) (i32.store (i32.const 304) (i32.const 4))
            (drop (call $write (i32.const 1) (i32.const 300) (i32.const 1) (i32.const 320)))"""
        module = module.replace(
            b'(func (export "_start")', b'(data (i32.const 400) "said") (func (export "_start")' + writes
        )
        with pytest.raises(GuestTrap, match="goes on in the background") as raised:
            Host().run(module, limits=Limits(run_time=0.3), capture_output=True)
        assert (raised.value.stdout, raised.value.stderr) == (b"said", b"")

    def test_without_a_thread_for_it_a_guest_isnt_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_more(_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", no_more)
        monkeypatch.setattr(threads, "pool", threads.Pool())
        with pytest.raises(GuestError, match="no thread can be started for the guest: can't start new thread"):
            Host(cache=False).run(guest(""))

    def test_one_that_is_stopped_before_it_begins_traps_when_it_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        host = Host()
        module = guest("(loop $again (br $again))")
        link, linked = linking.link_module, threading.Event()
        ended: list[BaseException] = []

        def slow_link(*arguments: Any) -> Any:
            linked.wait(10)
            start = link(*arguments)

            def begin() -> int:
                try:
                    return start()
                except BaseException as error:
                    ended.append(error)
                    raise

            return begin

        def interrupted(*_: object) -> bool:
            linked.set() if interruptions else interruptions.append(1)
            if linked.is_set():
                return wait(*_)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        interruptions: list[int] = []
        wait = threads.Call.wait
        monkeypatch.setattr("wasi_nn.guests.running.link_module", slow_link)
        monkeypatch.setattr(threads.Call, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.run(module)
        assert ["interrupted by KeyboardInterrupt" in str(error) for error in ended] == [True]

    def test_a_short_limit_disturbs_no_other_guest(self) -> None:
        host = Host()
        results: list[object] = []

        def run(limits: Limits, body: str) -> None:
            try:
                results.append(host.run(guest(body), limits=limits).exit_code)
            except GuestTrap as trap:
                results.append(trap.reason)

        counts = "(local $n i64) (loop $l (local.set $n (i64.add (local.get $n) (i64.const 1)))"
        counts += "(br_if $l (i64.lt_u (local.get $n) (i64.const 300000000))))"
        threads = [threading.Thread(target=run, args=(Limits(), counts))]
        threads += [threading.Thread(target=run, args=(Limits(guest_time=0.05), FOR_EVER)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results.count(0) == 1
        assert sum("guest_time" in str(result) for result in results) == 3

    def test_a_limit_of_ages_is_one(self) -> None:
        host = Host({"g": Slow(0, stoppable=True)}, limits=Limits(compute_time=1e12, run_time=1e12, guest_time=1e15))
        assert host.run(nn_guest("(call $must (call $compute (i32.load (i32.const 12))))")).exit_code == 0
        with pytest.raises(GuestTrap, match="guest_time"):
            host.run(guest(FOR_EVER), limits=Limits(guest_time=0.2))

    def test_time_in_computes_isnt_the_guests_own(self) -> None:
        busy = Slow(0, stoppable=False)

        def compute(inputs: Any, reuse: Any) -> Any:
            end = time.thread_time() + 0.5
            while time.thread_time() < end:
                pass
            return [np.ones(1, np.float32)]

        busy.runner = lambda: compute  # type: ignore[method-assign]
        host = Host({"g": busy}, limits=Limits(guest_time=0.3))
        host.run(nn_guest("(call $must (call $compute (i32.load (i32.const 12))))"))
        with pytest.raises(GuestTrap, match="guest_time"):
            host.run(nn_guest(f"(call $must (call $compute (i32.load (i32.const 12)))) {FOR_EVER}"))

    def test_fuel_runs_out(self) -> None:
        host = Host(limits=Limits(fuel=1000))
        assert host.run(guest("")).exit_code == 0
        with pytest.raises(GuestTrap, match=r"fuel consumed.*the limit is 1000 \(Limits.fuel, --max-fuel\)"):
            host.run(guest(FOR_EVER))

    def test_fuel_needs_a_host_that_counts_it(self) -> None:
        with pytest.raises(GuestError, match="counts no fuel"):
            Host().run(guest(""), limits=Limits(fuel=1000))

    def test_a_component_is_trapped_too(self) -> None:
        component = Path(__file__).parent.parent / "guests" / "component" / "infer.wasm"
        with pytest.raises(GuestTrap, match="fuel"):
            Host(limits=Limits(fuel=10)).run(component)


class TestComputes:
    @pytest.mark.parametrize("stoppable", [True, False])
    def test_one_that_takes_too_long_is_a_timeout(self, stoppable: bool) -> None:
        graph = Slow(30 if stoppable else 0.5, stoppable=stoppable)
        with wasi_nn.Session({"g": graph}, limits=Limits(compute_time=0.2)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            with pytest.raises(
                NNError, match=r"longer than 0.2 s \(Limits.compute_time, --max-compute-time\)"
            ) as raised:
                context.compute()
            assert raised.value.code is ErrorCode.TIMEOUT
            with pytest.raises(NNError, match="no compute has succeeded"):
                context.get_output(0)
            graph.seconds = 0
            context.compute()
            assert context.get_output(0).tolist() == [1]

    def test_a_core_guest_gets_a_runtime_error_and_goes_on(self) -> None:
        late = "(if (i32.ne (call $compute (i32.load (i32.const 12))) (i32.const 5)) (then (unreachable)))"
        host = Host({"g": Slow(30, stoppable=True)}, limits=Limits(compute_time=0.2))
        assert host.run(nn_guest(late + late)).exit_code == 0

    def test_one_is_stopped_when_the_run_has_to_end(self) -> None:
        host = Host({"g": Slow(30, stoppable=True)}, limits=Limits(run_time=0.3))
        with pytest.raises(GuestTrap, match="run_time"):
            host.run(nn_guest("(loop $l (drop (call $compute (i32.load (i32.const 12)))) (br $l))"))

    def test_no_more_are_under_way_at_once(self) -> None:
        graph = Slow(0.1, stoppable=True)
        host = Host({"g": graph}, totals=HostLimits(computes=2))
        threads = [
            threading.Thread(
                target=host.run, args=(nn_guest("(call $must (call $compute (i32.load (i32.const 12))))"),)
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert graph.most_at_once == 2

    def test_one_that_gets_no_turn_is_a_timeout(self) -> None:
        graph = Slow(30, stoppable=True)
        host = Host({"g": graph}, totals=HostLimits(computes=1))
        first, second = (host.session(limits=Limits(compute_time=limit)) for limit in (2, 0.2))
        contexts = [s.context(s.init_execution_context(s.load_by_name("g"))) for s in (first, second)]
        outcomes: list[str] = []

        def compute() -> None:
            try:
                contexts[0].compute()
            except NNError as error:
                outcomes.append(error.code.value)

        thread = threading.Thread(target=compute)
        thread.start()
        while not graph.at_once:
            time.sleep(0.01)
        with pytest.raises(
            NNError, match=r"the compute couldn't begin in time: at most 1 may .*HostLimits.computes, --max-computes"
        ):
            contexts[1].compute()
        thread.join()
        assert outcomes == ["timeout"]

    @pytest.mark.parametrize("isolate", [False, True])
    def test_onnx_runtime_is_stopped(self, isolate: bool) -> None:
        graph = wasi_nn.load(onnx_models.loop(), rules=wasi_nn.LoadRules(isolate=isolate))
        self.check_stopped(graph, np.array([2**40], np.int64), np.array([3], np.int64), compute_time=1)

    @pytest.mark.parametrize("isolate", [False, True])
    def test_openvino_is_stopped_where_it_can_go_on(self, isolate: bool) -> None:
        rules = wasi_nn.LoadRules(isolate=isolate)
        graph = wasi_nn.load(onnx_models.matrix_power(400, 1600), "onnx", runtime="openvino", rules=rules)
        with wasi_nn.Session({"g": graph}, limits=Limits(compute_time=1)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            context.set_input(0, np.eye(1600, dtype=np.float32))
            for _ in range(2):
                with pytest.raises(NNError, match="compute_time"):
                    context.compute()

    def test_openvino_isnt_stopped_where_it_would_go_on_with_wrong_dims(self) -> None:
        runner = wasi_nn.load(onnx_models.relu(("n",)), "onnx", runtime="openvino").runner()
        assert isinstance(runner, wasi_nn.Runner)
        assert "interrupt" not in runner.features

    def test_a_worker_whose_runtime_cant_be_stopped_is_replaced(self) -> None:
        graph = wasi_nn.load(endless_tflite(), rules=wasi_nn.LoadRules(isolate=True))
        self.check_stopped(graph, np.array([2**30], np.int32), np.array([3], np.int32))

    @staticmethod
    def check_stopped(graph: wasi_nn.Graph, slow: Any, fast: Any, compute_time: float = 3) -> None:
        """A compute on `slow`, of some minutes, is stopped in time; the context then computes on `fast`."""
        with wasi_nn.Session({"g": graph}, limits=Limits(compute_time=compute_time)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            for _ in range(2):
                context.set_input(0, slow)
                began = time.monotonic()
                with pytest.raises(NNError, match="compute_time") as raised:
                    context.compute()
                assert raised.value.code is ErrorCode.TIMEOUT
                assert time.monotonic() - began < 60
                context.set_input(0, fast)
                context.compute()
                assert context.get_output(0).size == 1

    def test_llama_is_stopped(self) -> None:
        import ggml_models

        context = wasi_nn.load(ggml_models.tiny(), "ggml").init_execution_context()
        context.set_input(0, np.frombuffer(b"ab", np.uint8))
        options = {"n-predict": 200, "ctx-size": 256, "ignore-eos": True, "temp": 0}
        context.set_input(1, np.frombuffer(json.dumps(options).encode(), np.uint8))
        context.compute_single()
        context.interrupt()
        with pytest.raises(NNError, match="the completion was interrupted"):
            all_pieces(context)
        context.compute()
        assert len(context.output_bytes(0)) > 100


def all_pieces(context: wasi_nn.ExecutionContext) -> None:
    """Make all pieces of a sequence."""
    while True:
        context.compute_single()


def endless_tflite() -> bytes:
    """y = x counted down to 0, one by one."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1], tf.int32, name="x")])  # type: ignore[untyped-decorator]
    def count(x: Any) -> Any:
        return tf.while_loop(lambda n: tf.reduce_all(n > 0), lambda n: [n - 1], [x])[0]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([count.get_concrete_function()], count)
    return bytes(converter.convert())


class TestCounts:
    def test_graphs(self) -> None:
        with wasi_nn.Session(limits=Limits(graphs=2)) as session:
            first, _ = load(session), load(session)
            with pytest.raises(NNError, match=r"3 graphs .*Limits.graphs, --max-graphs") as raised:
                load(session)
            assert raised.value.code is ErrorCode.TOO_LARGE
            session.unload(first)
            load(session)

    def test_contexts(self) -> None:
        with wasi_nn.Session(limits=Limits(contexts=2)) as session:
            graph = load(session)
            contexts = [session.init_execution_context(graph) for _ in range(2)]
            with pytest.raises(NNError, match=r"3 execution contexts .*--max-contexts"):
                session.init_execution_context(graph)
            session.finalize_execution_context(contexts[0])
            session.init_execution_context(graph)

    def test_model_bytes_count_while_the_model_is_alive(self) -> None:
        model = onnx_models.relu()
        with wasi_nn.Session(limits=Limits(model_bytes=len(model) * 3 // 2)) as session:
            graph = load(session, model)
            context = session.init_execution_context(graph)
            session.unload(graph)
            with pytest.raises(NNError, match=r"bytes of models .*--max-model-bytes"):
                load(session, model)
            session.finalize_execution_context(context)
            gc.collect()
            load(session, model)

    def test_models_that_are_refused_dont_count(self) -> None:
        with wasi_nn.Session(limits=Limits(model_bytes=1000)) as session:
            for _ in range(20):
                with pytest.raises(NNError):
                    load(session, b"x" * 100)
            load(session)

    def test_tensor_bytes_of_inputs(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(("n",)))
        with wasi_nn.Session({"g": graph}, limits=Limits(tensor_bytes=1000)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            for size in (100, 10, 200):
                context.write_input(0, F32, (size,), memoryview(bytes(4 * size)))
            with pytest.raises(NNError, match=r"1004 bytes of tensors .*--max-tensor-bytes"):
                context.write_input(0, F32, (251,), memoryview(bytes(1004)))

    def test_tensor_bytes_of_outputs(self) -> None:
        graph = wasi_nn.load(onnx_models.constant_of_shape(1000))
        with wasi_nn.Session({"g": graph}, limits=Limits(tensor_bytes=1000)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            context.set_input(0, X[:1])
            with pytest.raises(NNError, match="4004 bytes of tensors"):
                context.compute()
            with pytest.raises(NNError, match="no compute has succeeded"):
                context.get_output(0)

    def test_tensor_bytes_of_outputs_that_are_known_before(self) -> None:
        graph = Slow(0, stoppable=False)
        with wasi_nn.Session({"g": graph}, limits=Limits(tensor_bytes=3)) as session:
            context = session.context(session.init_execution_context(session.load_by_name("g")))
            for compute in (context.compute, lambda: context.compute_named([])):
                with pytest.raises(NNError, match="4 bytes of tensors"):
                    compute()
        assert graph.most_at_once == 0

    def test_a_context_that_is_dropped_gives_its_bytes_back(self) -> None:
        with wasi_nn.Session(limits=Limits(tensor_bytes=40)) as session:
            graph = load(session)
            for _ in range(5):
                context = set_input(session, graph)
                session.context(context).compute()
                session.finalize_execution_context(context)
            assert session.used("tensor_bytes") == 0

    def test_totals_are_over_all_guests(self) -> None:
        host = Host(totals=HostLimits(graphs=2, model_bytes=10_000))
        one, other = host.session(), host.session()
        load(one), load(other)
        with pytest.raises(NNError, match=r"2 that all guests together may have \(HostLimits.graphs\)"):
            load(one)
        other.close()
        load(one)
        one.close()
        gc.collect()
        with host.session() as session:
            load(session), load(session)

    @pytest.mark.parametrize("name", ["graphs", "contexts", "tensor_bytes"])
    def test_a_recorded_session_has_the_same(self, name: str, tmp_path: Any) -> None:
        host = Host(limits=Limits(**{name: 1}))
        with host.session(trace=tmp_path / "t.json") as session:
            graph = load(session)
            if name == "graphs":
                with pytest.raises(NNError, match=name):
                    load(session)
                return
            if name == "contexts":
                session.init_execution_context(graph)
            with pytest.raises(NNError, match=name):
                set_input(session, graph)


class TestPolicy:
    def test_a_name_that_isnt_allowed_is_as_one_that_isnt_there(self) -> None:
        graphs = {"public-1": onnx_models.relu(), "secret": onnx_models.relu()}
        with wasi_nn.Session(graphs, allow_names=["public-*"]) as session:
            session.load_by_name("public-1")
            messages = []
            for name in ("secret", "absent"):
                with pytest.raises(NNError) as raised:
                    session.load_by_name(name)
                assert raised.value.code is ErrorCode.NOT_FOUND
                messages.append(str(raised.value).replace(name, "x"))
            assert messages[0] == messages[1]
            assert "secret" not in messages[1]

    @pytest.mark.parametrize("name", ["allow_load", "allow_targets", "allow_names"])
    def test_one_text_is_no_collection(self, name: str) -> None:
        with pytest.raises(NNError, match=rf"{name} must be a collection, not one text: write \['cpu'\]"):
            wasi_nn.Session(**{name: "cpu"})  # type: ignore[arg-type]

    def test_targets(self) -> None:
        with wasi_nn.Session(allow_targets=["gpu"]) as session:
            with pytest.raises(NNError, match=r"may not use the target cpu; it may use: gpu") as raised:
                load(session)
            assert raised.value.code is ErrorCode.SECURITY

    def test_names_for_one_run(self) -> None:
        host = Host({"g": onnx_models.relu()})
        host.run(nn_guest(""))
        with pytest.raises(GuestTrap, match="unreachable"):
            host.run(nn_guest(""), allow_names=[])
        host.run(nn_guest(""), allow_names=["g"])

    def test_openvino_bytes_are_isolated_unless_that_is_forbidden(self) -> None:
        ir = openvino_relu()
        with wasi_nn.Session() as session:
            graph = session.load([memoryview(part) for part in ir], GraphEncoding.OPENVINO, ExecutionTarget.CPU)
            assert "Isolated" in type(session.graph(graph)).__name__
        with wasi_nn.Session(rules=wasi_nn.LoadRules(isolate=False)) as session:
            with pytest.raises(NNError, match="by name only") as raised:
                session.load([memoryview(part) for part in ir], GraphEncoding.OPENVINO, ExecutionTarget.CPU)
            assert raised.value.code is ErrorCode.SECURITY

    @pytest.mark.parametrize("encoding", ["pytorch", "tensorflow", "ggml"])
    def test_riskier_formats_are_for_names_also_when_isolated(self, encoding: str) -> None:
        with wasi_nn.Session(rules=wasi_nn.LoadRules(isolate=True)) as session:
            with pytest.raises(NNError, match="by name only"):
                session.load([memoryview(b"x" * 99)], GraphEncoding(encoding), ExecutionTarget.CPU)

    def test_onnx_and_tensorflow_lite_bytes_are_loaded_by_default(self) -> None:
        models = {GraphEncoding.ONNX: onnx_models.relu(), GraphEncoding.TENSORFLOWLITE: tflite_models.relu()}
        for encoding, model in models.items():
            for chosen in (encoding, GraphEncoding.AUTODETECT):
                with wasi_nn.Session() as session:
                    assert session.load([memoryview(model)], chosen, ExecutionTarget.CPU)
                with wasi_nn.Session(allow_load=False) as session, pytest.raises(NNError) as raised:
                    session.load([memoryview(model)], chosen, ExecutionTarget.CPU)
                assert raised.value.code is ErrorCode.SECURITY

    def test_a_host_may_isolate_everything(self) -> None:
        host = Host({"g": onnx_models.relu()}, isolate=True)
        assert "Isolated" in type(host.registry.get("g")).__name__
        assert host.run(nn_guest("")).exit_code == 0


class TestComponents:
    def test_tensor_bytes_are_a_trap_where_the_guest_can_get_no_error(self) -> None:
        guest = Driven(NEWEST, wasi_nn.Session(limits=Limits(tensor_bytes=1000)))
        for _ in range(3):
            guest("drop-tensor", guest.raw_tensor([100], TYPES.index("uint8"), bytes(100)))
        with pytest.raises(wasmtime.WasmtimeError, match=r"bytes of tensors .*--max-tensor-bytes"):
            guest.raw_tensor([2000], TYPES.index("uint8"), bytes(2000))

    def test_handles_are_a_trap_too(self) -> None:
        guest = Driven(NEWEST, wasi_nn.Session(limits=Limits(handles=10)))
        for _ in range(10):
            guest.raw_tensor([], TYPES.index("uint8"), b"x")
        with pytest.raises(wasmtime.WasmtimeError, match=r"11 handles .*--max-handles"):
            guest.raw_tensor([], TYPES.index("uint8"), b"x")

    def test_a_compute_that_takes_too_long_is_a_timeout(self) -> None:
        graph = Slow(30, stoppable=True)
        guest = Driven(NEWEST, wasi_nn.Session({"g": graph}, limits=Limits(compute_time=0.2)))
        context = guest.init_execution_context(guest.load_by_name("g"))
        with pytest.raises(GuestFailed, match="compute_time") as raised:
            guest.compute_named(context, [])
        assert raised.value.code == "timeout"
        graph.seconds = 0
        assert len(guest.compute_named(context, [])) == 1

    def test_outputs_that_are_too_many_bytes_are_too_large(self) -> None:
        graph = wasi_nn.load(onnx_models.constant_of_shape(1000))
        session = wasi_nn.Session({"g": graph}, limits=Limits(tensor_bytes=1000))
        guest = Driven(NEWEST, session)
        context = guest.init_execution_context(guest.load_by_name("g"))
        for _ in range(3):
            with pytest.raises(GuestFailed) as raised:
                guest.infer(context, {"x": X[:1]}, ["y"])
            assert raised.value.code == "too-large"

    def test_a_model_that_is_too_large_isnt_copied_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        guest = Driven(NEWEST, wasi_nn.Session(limits=Limits(model_bytes=100)))
        loads: list[object] = []
        monkeypatch.setattr(wasi_nn.Session, "load", lambda *arguments: loads.append(arguments))
        with pytest.raises(GuestFailed, match=r"101 bytes of models .*--max-model-bytes"):
            guest.load([bytes(50), bytes(51)])
        assert (loads, guest.session.used("tensor_bytes"), guest.session.used("handles")) == ([], 0, 0)

    def test_inputs_count_while_they_are_computed(self) -> None:
        counted: list[int] = []

        class Counts(Slow):
            def runner(self) -> RunFunction:
                def run(inputs: Any, reuse: Any) -> Any:
                    counted.append(session.used("tensor_bytes"))
                    return [np.ones(1, np.float32)]

                return run

        graph = Counts(0, stoppable=False)
        graph.inputs = (wasi_nn.TensorInfo("x", F32, (4,)),)
        session = wasi_nn.Session({"g": graph})
        guest = Driven(NEWEST, session)
        context = guest.init_execution_context(guest.load_by_name("g"))
        for _ in range(2):
            guest.infer(context, {"x": X}, ["y"])
        assert counted == [20, 20]  # bytes of the elements and of the dims
        assert session.used("tensor_bytes") == 0
        with pytest.raises(GuestFailed, match="'nothing'"):
            guest.compute_named(context, [("nothing", guest.tensor(X))])
        assert session.used("tensor_bytes") == 0

    def test_outputs_of_which_not_all_can_be_had_dont_count(self) -> None:
        nodes = [helper.make_node(kind, ["x"], [kind]) for kind in ("Relu", "Neg", "Abs")]
        model = onnx_models.build(nodes, {"x": (1, ("n",))}, {node.op_type: (1, ("n",)) for node in nodes})
        session = wasi_nn.Session({"g": model}, limits=Limits(tensor_bytes=50))
        guest = Driven(NEWEST, session)
        context = guest.init_execution_context(guest.load_by_name("g"))
        for _ in range(3):
            with pytest.raises(GuestFailed, match="60 bytes of tensors") as raised:
                guest.infer(context, {"x": X}, [])
            assert raised.value.code == "too-large"
            assert session.used("tensor_bytes") == 0
