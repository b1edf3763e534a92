"""Isolated graphs: their outputs, the confinement of their workers, and the replacement of workers that fail."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from checks import on_threads, once_started
from confined_backend import ConfinedBackend, ListeningBackend
from isolated_programs import X, ended, outcome_of, program, value, wait_for_end_of, worker_of

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, LoadRules, NNError
from wasi_nn.isolation import Isolation, isolated_graph, shortage

ISOLATED = LoadRules(isolate=True)
MIB = 2**20


pytestmark = pytest.mark.usefixtures("isolation")


class TestGraphs:
    def test_it_computes_what_the_runtime_does(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        plain = wasi_nn.load(onnx_models.relu())
        assert (graph.inputs, graph.outputs, graph.metadata) == (plain.inputs, plain.outputs, plain.metadata)
        assert (graph.encoding, graph.runtime, graph.device) == (plain.encoding, plain.runtime, plain.device)
        assert graph.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]

    def test_it_runs_in_another_process(self) -> None:
        assert worker_of(wasi_nn.load(onnx_models.relu(), rules=ISOLATED)) != os.getpid()

    def test_inputs_stay_set_and_outputs_stay_until_the_next_compute(self) -> None:
        context = wasi_nn.load(onnx_models.add_and_mul(), rules=ISOLATED).init_execution_context()
        context.set_input(0, X)
        context.set_input(1, X)
        for _ in range(3):
            context.compute()
            first = context.get_output(0)
        context.set_input(1, -X)
        assert context.get_output(0).tolist() == first.tolist()
        context.compute()
        assert context.get_output(0).tolist() == [-1, -4, -9, -16]

    def test_a_run_on_other_inputs_leaves_those_that_are_set(self) -> None:
        context = wasi_nn.load(onnx_models.relu(), rules=ISOLATED).init_execution_context()
        context.set_input(0, X)
        for _ in range(2):
            ((_, other),) = context.compute_named([("x", -X)])
            context.compute()
            assert (other.tolist(), context.get_output(0).tolist()) == ([1, 0, 3, 0], [0, 2, 0, 4])

    def test_arrays_that_it_gives_are_the_callers(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        first = graph.compute({"x": X})["y"]
        graph.compute({"x": -X})
        assert first.tolist() == [0, 2, 0, 4]

    @pytest.mark.parametrize("sizes", [(1, 5000, 3), (70000, 0, 70000)])
    def test_dims_may_change_from_run_to_run(self, sizes: tuple[int, ...]) -> None:
        context = wasi_nn.load(onnx_models.relu(("n",)), rules=ISOLATED).init_execution_context()
        for size in sizes:
            context.set_input(0, -np.arange(size, dtype=np.float32))
            context.compute()
            assert context.get_output(0).tolist() == [0] * size

    def test_outputs_of_unknown_dims_are_as_large_as_they_come(self) -> None:
        graph = wasi_nn.load(onnx_models.nonzero(), rules=ISOLATED)
        name = graph.outputs[0].name
        assert [graph.compute({"x": np.ones(n, np.float32)})[name].size for n in (1, 100_000, 2)] == [1, 100_000, 2]

    def test_strings_go_in_and_out(self) -> None:
        graph = wasi_nn.load(onnx_models.strings(), rules=ISOLATED)
        plain = wasi_nn.load(onnx_models.strings())
        feeds = {info.name: np.array(["a", "ü", ""], object) for info in graph.inputs}
        expected = {name: array.tolist() for name, array in plain.compute(feeds).items()}
        assert {name: array.tolist() for name, array in graph.compute(feeds).items()} == expected

    def test_the_runtimes_errors_are_told(self) -> None:
        messages = []
        for rules in (ISOLATED, None):
            with pytest.raises(NNError, match="the runtime failed") as raised:
                wasi_nn.load(onnx_models.failing(), rules=rules).compute({"x": X[:3]})
            messages.append((raised.value.code, str(raised.value)))
        assert messages[0] == messages[1]

    def test_what_cant_be_loaded_is_told_as_without_isolation(self) -> None:
        broken = onnx_models.relu()[:-20]
        messages = []
        for rules in (ISOLATED, LoadRules(isolate=False)):
            with pytest.raises(NNError) as raised:
                wasi_nn.load(broken, "onnx", rules=rules)
            messages.append((raised.value.code, str(raised.value)))
        assert messages[0] == messages[1]

    def test_conversions_are_the_same(self) -> None:
        rules = LoadRules(isolate=True, convert_types=True)
        graph = wasi_nn.load(onnx_models.strings(), rules=rules)
        assert all(info.type is not None for info in graph.inputs)

    def test_contexts_compute_side_by_side(self) -> None:
        graph = program("""
            import threading
            both = threading.Barrier(2, timeout=30)
            def run(x):
                both.wait()
                return x + 1
        """)
        results: list[Any] = []
        on_threads(lambda _: results.append(value(graph)), 2)
        assert results == [[0, 3, -2, 5]] * 2

    def test_other_targets_are_refused_and_may_fall_back(self) -> None:
        with pytest.raises(wasi_nn.TargetUnavailable, match="isolated graphs run on the cpu only"):
            wasi_nn.load(onnx_models.relu(), target="gpu", rules=ISOLATED)
        rules = LoadRules(isolate=True, target_fallback="cpu")
        assert wasi_nn.load(onnx_models.relu(), target="gpu", rules=rules).device == "cpu"

    def test_a_model_with_data_in_other_files_is_loaded_by_path(self, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx_models.with_external_data(tmp_path))
        graph = wasi_nn.load(path, rules=ISOLATED, options={"external_data": ["weights.bin"]})
        feeds = {"x": np.zeros(16, np.float32)}
        assert graph.compute(feeds)["y"].tolist() == wasi_nn.load(path).compute(feeds)["y"].tolist()

    @pytest.mark.parametrize("number", [0, -1, -0.5, "x", None, True, float("inf"), float("nan"), 2**63])
    def test_settings_must_be_positive(self, number: Any) -> None:
        for name in ("memory", "threads", "load_time", "grace"):
            with pytest.raises(NNError, match=rf"Isolation\.{name} must be a positive (whole )?number") as raised:
                Isolation(**{name: number})
            assert raised.value.code is ErrorCode.INVALID_ARGUMENT

    def test_the_largest_settings(self) -> None:
        settings = Isolation(memory=2**62, threads=2**31, load_time=9e8, grace=9e8)
        graph = wasi_nn.load(onnx_models.relu(), rules=LoadRules(isolate=settings))
        assert graph.compute({"0": X})["y"].tolist() == [0, 2, 0, 4]


class TestConfinement:
    @pytest.mark.parametrize(
        "path", ["/etc/passwd", __file__, "/", "/root", "/proc/1/environ", f"/proc/{os.getppid()}/environ", "/var/log"]
    )
    def test_no_other_file_can_be_read(self, path: str) -> None:
        assert outcome_of(f"os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}).read()") == "EACCES"

    def test_the_hosts_memory_and_environment_cant_be_read(self) -> None:
        for name in ("mem", "environ", "maps"):
            assert outcome_of(f"open('/proc/{os.getpid()}/{name}', 'rb').read(1)") == "EACCES"

    @pytest.mark.parametrize(
        "path", ["/tmp/wasi-nn-was-here", f"{Path(__file__).parent}/was-here", "/dev/mem", __file__]
    )
    def test_no_file_can_be_written(self, path: str) -> None:
        assert outcome_of(f"open({path!r}, 'r+' if os.path.exists({path!r}) else 'x')") == "EACCES"

    def test_only_the_model_that_it_was_given_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "other.py").write_text("secret")
        model = tmp_path / "model.py"
        model.write_text(
            "def run(x):\n"
            "    try:\n"
            "        return open(__import__('os').path.join(options['folder'], 'other.py')).read().encode()\n"
            "    except OSError as error:\n"
            "        return str(error.errno).encode()\n"
        )
        options = {"folder": str(tmp_path)}
        graph = isolated_graph.load(ConfinedBackend(), model, Isolation(), ExecutionTarget.CPU, options)
        assert graph.compute({"x": X})["y"].item() == b"13"

    def test_it_has_a_scratch_folder_of_its_own(self) -> None:
        graph = program("""
            import os, tempfile
            def run(x):
                with tempfile.NamedTemporaryFile() as file:
                    file.write(b"x" * 1000)
                    return file.name.encode()
        """)
        name = graph.compute({"x": X})["y"].item().decode()
        assert not os.path.exists(os.path.dirname(name)) or name not in os.listdir(os.path.dirname(name))

    @pytest.mark.parametrize("kind", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
    def test_it_has_no_sockets(self, kind: str) -> None:
        assert outcome_of(f"socket.socket(socket.{kind}, socket.SOCK_DGRAM)") == "EPERM"

    def test_one_that_may_listen_reaches_nothing_all_the_same(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            connect = f"socket.create_connection(('127.0.0.1', {port}), 1)"
            assert outcome_of(connect, backend=ListeningBackend) == "EPERM"
            send = f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', {port}))"
            assert outcome_of(send, backend=ListeningBackend) == "ENETUNREACH"
            # The host's own port is free in the worker's network.
            assert outcome_of(f"socket.create_server(('127.0.0.1', {port}))", backend=ListeningBackend) == "done"

    @pytest.mark.parametrize(
        "statement",
        [
            "os.fork()",
            "subprocess.run(['true'])",
            "os.execv('/bin/true', ['true'])",
            "os.posix_spawn('/bin/true', ['true'], {})",
            "os.kill(os.getppid(), 0)",
            "os.kill(os.getpid(), signal.SIGTERM)",
            "os.setpriority(os.PRIO_PROCESS, 0, -5)",
            "os.memfd_create('x')",
            "call(libc.unshare(0x10000000))",
            "call(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))",
            "call(libc.ptrace(16, os.getppid(), 0, 0))",
            "call(libc.shmget(0, 4096, 0o1600))",
            "call(libc.prctl(38, 0, 0, 0, 0))",
            "call(libc.prctl(4, 1, 0, 0, 0))",
            "call(libc.syscall(425, 8, 0))",  # io_uring_setup
            "call(libc.syscall(321, 0, 0, 0))",  # bpf
            "call(libc.syscall(298, 0, 0, 0, 0, 0))",  # perf_event_open
            "call(libc.syscall(250, 0, 0, 0, 0, 0))",  # keyctl
            "call(libc.syscall(310, os.getppid(), 0, 0, 0, 0, 0))",  # process_vm_readv
            "call(libc.syscall(434, os.getppid(), 0))",  # pidfd_open
            "call(libc.syscall(323, 0))",  # userfaultfd
        ],
    )
    def test_no_system_call_does_more_than_computing_takes(self, statement: str) -> None:
        assert outcome_of(statement) in ("EPERM", "ENOSYS")

    def test_limits_cant_be_raised_again(self) -> None:
        raised = "resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)"
        text = f"""
            import resource
            def run(x):
                try:
                    {raised}
                except (OSError, ValueError):
                    pass
                return resource.getrlimit(resource.RLIMIT_DATA)
        """
        assert value(program(text, settings=Isolation(memory=512 * MIB))) == [512 * MIB] * 2

    def test_memory_that_is_shared_counts_too(self) -> None:
        assert outcome_of("mmap.mmap(-1, 2**20)") == "EPERM"

    def test_the_environment_holds_no_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        graph = program("import os\ndef run(x): return str(sorted(os.environ)).encode()")
        names = graph.compute({"x": X})["y"].item().decode()
        assert "AWS_SECRET_ACCESS_KEY" not in names
        assert "OMP_NUM_THREADS" in names

    def test_the_garbage_collector_runs_and_leaves_the_imported_modules_alone(self) -> None:
        text = "import gc\ndef run(x): return [gc.isenabled(), gc.get_freeze_count() > 1000]"
        assert value(program(text)) == [True, True]

    def test_it_inherits_no_file(self, tmp_path: Path) -> None:
        with open(tmp_path / "open", "w") as file:
            os.set_inheritable(file.fileno(), True)
            graph = program("""
                import os
                def run(x):
                    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
                    return str([os.readlink(link) for link in links if os.path.lexists(link)]).encode()
            """)
            assert str(tmp_path) not in graph.compute({"x": X})["y"].item().decode()

    def test_where_the_platform_has_less_it_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from wasi_nn.isolation.worker import sandbox

        monkeypatch.setattr(sandbox, "unavailable", lambda: "isolation needs Landlock, and the kernel has none")
        with pytest.raises(NNError, match="graphs can't be isolated here: isolation needs Landlock") as raised:
            LoadRules(isolate=True)
        assert raised.value.code is ErrorCode.UNSUPPORTED_OPERATION


class TestFaults:
    def test_a_worker_that_is_killed_is_replaced(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        context = graph.init_execution_context()
        context.set_input(0, X)
        first = worker_of(graph)
        os.kill(first, signal.SIGKILL)
        assert _until_it_works(context.compute) in (0, 1)
        assert context.get_output(0).tolist() == [0, 2, 0, 4]
        assert worker_of(graph) != first

    @pytest.mark.parametrize("memory", [MIB, 5 * MIB, 16 * MIB])
    def test_one_with_too_little_memory_to_start_names_the_limit(self, memory: int) -> None:
        with pytest.raises(NNError, match=rf"{memory} bytes of memory \(Isolation.memory, --worker-memory\)"):
            wasi_nn.load(onnx_models.relu(), rules=LoadRules(isolate=Isolation(memory=memory)))

    @pytest.mark.parametrize(
        ("runtime", "module", "model"),
        [
            ("onnxruntime", "onnx_models", lambda models: models.relu()),
            ("openvino", "onnx_models", lambda models: models.relu()),
            ("ai_edge_litert", "tflite_models", lambda models: models.relu()),
            ("tensorflow", "tensorflow_models", lambda models: models.relu()),
            ("torch", "pytorch_models", lambda models: models.script(models.nn.ReLU())),
            ("xllamacpp", "ggml_models", lambda models: models.tiny()),
        ],
    )
    def test_a_runtime_that_cant_start_names_the_limit_and_not_its_library(
        self, runtime: str, module: str, model: Callable[[Any], bytes]
    ) -> None:
        pytest.importorskip(runtime)
        content = model(pytest.importorskip(module))
        rules = LoadRules(isolate=Isolation(memory=32 * MIB))
        limit = rf"{32 * MIB} bytes of memory \(Isolation\.memory, --worker-memory\)"
        message = rf"can't start {runtime} \(.*\): {limit} are too few$"
        with pytest.raises(NNError, match=message) as raised:
            wasi_nn.load(content, runtime=runtime, rules=rules)
        assert raised.value.code is ErrorCode.RUNTIME_ERROR
        assert "OpenBLAS" not in str(raised.value)

    @pytest.mark.parametrize("left", [20 * MIB, 200 * MIB])
    def test_the_memory_in_use_tells_which_limit_was_reached(self, left: int) -> None:
        """A thread that gets no memory for its stack has the same error, "temporarily unavailable", as a thread over
        limit on processes."""
        text = f"""
            from wasi_nn.isolation.shortage import Used
            block = bytearray({400 * MIB} - Used.by_this_process().memory - {left})
            raise RuntimeError("Resource temporarily unavailable")
        """
        with pytest.raises(NNError, match="Resource temporarily unavailable") as raised:
            program(text, settings=Isolation(memory=400 * MIB))
        assert "Isolation.threads" not in str(raised.value)
        assert ("Isolation.memory" in str(raised.value)) is (left < 64 * MIB)

    @pytest.mark.skipif(0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096, reason="the system allows few files")
    def test_files_leave_room_for_the_contexts_of_two_guests(self) -> None:
        """Each may have 256. The files of a worker have no setting, which an error could name."""
        with wasi_nn.load(onnx_models.relu(), rules=ISOLATED) as graph:
            contexts = [graph.init_execution_context() for _ in range(400)]
            for context in contexts:
                context.compute_named({"x": X})

    def test_an_allocation_that_failed_is_a_fact(self) -> None:
        text = """
            try:
                bytearray(2**40)
            except MemoryError as error:
                raise RuntimeError("strange words") from error
        """
        with pytest.raises(NNError, match=r"strange words.* bytes of memory \(Isolation\.memory, --worker-memory\)$"):
            program(text)

    @pytest.mark.parametrize(
        ("settings", "limits"),
        [
            (Isolation(memory=100 * MIB), ["memory"]),
            (Isolation(threads=3), ["threads"]),
            (Isolation(memory=100 * MIB, threads=3), ["memory", "threads"]),
            (Isolation(), []),
        ],
    )
    def test_a_crash_before_the_model_is_read_is_for_want_of_what_is_low(
        self, settings: Isolation, limits: list[str]
    ) -> None:
        message = shortage.at_start("torch", "it was ended by SIGABRT", settings)
        assert bool(message) is bool(limits)
        for name in ("memory", "threads"):
            assert (f"(Isolation.{name}, --worker-{name})" in message) is (name in limits)
        assert ("may be too few" in message) is (len(limits) > 1)

    @pytest.mark.parametrize("said", [None, [], [1, 2], ["1", 2, True], [1, True, False], {}, [1, 2, 3], "used"])
    def test_what_a_worker_has_in_use_isnt_believed_if_it_cant_be(self, said: object) -> None:
        assert shortage.Used.of(said) is None

    @pytest.mark.parametrize(
        ("text", "limit"),
        [
            ("pthread_create failed, error code: 12 error msg: Cannot allocate memory", "Isolation.memory"),
            ("libtensorflow_framework.so.2: failed to map segment from shared object", "Isolation.memory"),
            ("std::bad_alloc", "Isolation.memory"),
            ("pthread_create failed, error code: 11: Resource temporarily unavailable", "Isolation.threads"),
            ("can't start new thread", "Isolation.threads"),
            ("the worker is out of memory (Isolation.memory)", ""),
            ("no such operator", ""),
        ],
    )
    def test_what_a_runtime_says_for_want_of_memory_or_threads(self, text: str, limit: str) -> None:
        added = shortage.after_error(text, Isolation(memory=7, threads=8))
        assert limit in added
        assert bool(added) is bool(limit)

    def test_one_that_is_killed_in_a_compute_is_an_error(self) -> None:
        graph = program("import time\ndef run(x): time.sleep(600)")
        process = worker_of(graph)
        threading.Timer(0.3, os.kill, (process, signal.SIGKILL)).start()
        with pytest.raises(NNError, match="the isolated worker is gone: it was ended by SIGKILL") as raised:
            value(graph)
        assert raised.value.code is ErrorCode.RUNTIME_ERROR
        assert ended(process)

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ("ctypes.string_at(0)", "SIGSEGV"),
            ("os.abort()", "SIGABRT"),
            ("os._exit(3)", "it exited with code 3"),
        ],
    )
    def test_a_crash_is_told_and_the_next_use_works(self, how: str, message: str) -> None:
        graph = program(f"""
            import ctypes, os
            def run(x):
                if x[0] < 0:
                    {how}
                return x
        """)
        for _ in range(2):
            with pytest.raises(NNError, match=message):
                value(graph)
            assert graph.compute({"x": -X})["y"].tolist() == (-X).tolist()

    def test_the_last_line_before_a_crash_is_without_colours(self) -> None:
        graph = program("import os\ndef run(x): print('\\x1b[0;93mlow on \\x1b[mluck', flush=True); os.abort()")
        with pytest.raises(NNError, match=r"SIGABRT.*; its last line: low on luck"):
            value(graph)

    def test_a_crash_while_loading_is_an_error(self) -> None:
        with pytest.raises(NNError, match="SIGSEGV"):
            program("import ctypes; ctypes.string_at(0)")

    def test_a_model_that_takes_for_ever_to_load_is_given_up(self) -> None:
        with pytest.raises(NNError, match="longer than 3 s to load the model") as raised:
            once_started(lambda: program("while True: pass", settings=Isolation(load_time=3)))
        assert raised.value.code is ErrorCode.TIMEOUT

    def test_memory_beyond_the_cap_is_an_error(self) -> None:
        graph = program(
            "import numpy as np\ndef run(x): return np.ones(int(x[3]) * 2**26, np.float32)[:1]",
            settings=Isolation(memory=512 * MIB),
        )
        with pytest.raises(NNError, match="out of memory"):
            value(graph)
        assert graph.compute({"x": np.zeros(4, np.float32)})["y"].tolist() == []

    def test_a_runtime_that_asks_for_too_much_is_an_error(self) -> None:
        rules = LoadRules(isolate=Isolation(memory=512 * MIB))
        graph = wasi_nn.load(onnx_models.constant_of_shape(2**40), rules=rules)
        with pytest.raises(NNError) as raised:
            graph.compute({"x": X[:1]})
        assert raised.value.code is ErrorCode.RUNTIME_ERROR

    def test_outputs_larger_than_the_cap_are_refused(self) -> None:
        graph = program(
            "import numpy as np\ndef run(x): return np.broadcast_to(x[:1], (2**32,))",
            settings=Isolation(memory=512 * MIB),
        )
        with pytest.raises(NNError, match=r"out of memory|at most") as raised:
            value(graph)
        assert raised.value.code in (ErrorCode.RUNTIME_ERROR, ErrorCode.TOO_LARGE)

    @pytest.mark.parametrize("native", [True, False])
    def test_a_compute_that_is_interrupted_ends(self, native: bool) -> None:
        stuck = "import time; time.sleep(600)" if native else "while True: pass"
        graph = program(f"def run(x):\n    if x[0] < 0:\n        {stuck}\n    return x")
        runner: Any = graph.runner()
        threading.Timer(0.3, runner.interrupt).start()
        with pytest.raises(NNError, match="past the deadline"):
            runner([X], None)
        assert runner([-X], None)[0].tolist() == (-X).tolist()

    def test_an_interrupt_that_comes_late_changes_nothing(self) -> None:
        graph = program("def run(x): return x")
        runner: Any = graph.runner()
        runner([X], None)
        process = worker_of(graph)
        runner.interrupt()
        assert runner([X], None)[0].tolist() == X.tolist()
        assert worker_of(graph) == process

    def test_a_model_that_was_replaced_by_another_kind_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx_models.relu())
        graph = wasi_nn.load(path, rules=ISOLATED)
        path.write_bytes(onnx_models.add_and_mul())
        process = worker_of(graph)
        os.kill(process, signal.SIGKILL)
        wait_for_end_of(process)
        with pytest.raises(NNError, match="other inputs or outputs than when it was first loaded"):
            worker_of(graph)

    @pytest.mark.parametrize(
        "lie",
        [
            "{'outputs': [['float32', [2**40], 0]]}",
            "{'outputs': [['float32', [4], -64]]}",
            "{'outputs': [['float32', [4], 2**62]]}",
            "{'outputs': [['float32', [-4], 0]]}",
            "{'outputs': [['O', [4], 0]]}",
            "{'outputs': [['object', [2**40], []]]}",
            "{'outputs': [['object', [2], ['a', {}]]]}",
            "{'outputs': []}",
            "{'outputs': 7}",
            "{'same': True}",
            "{'room': 2**60}",
            "{'room': -1}",
            "{'error': {'kind': 'SystemExit', 'code': 'timeout', 'text': ''}}",
            "{'error': 1}",
            "{}",
        ],
    )
    def test_a_worker_that_lies_is_not_believed(self, lie: str) -> None:
        graph = program(f"""
            from wasi_nn.isolation.wire.outputs import OutputWriter
            OutputWriter.told = lambda self, outputs: {lie}
            def run(x):
                return x
        """)
        with pytest.raises(NNError) as raised:
            value(graph)
        assert raised.value.code in (ErrorCode.RUNTIME_ERROR, ErrorCode.TOO_LARGE)
        assert str(raised.value).isprintable()

    @pytest.mark.parametrize(
        "sent", ["b'\\xff' * 4096", "b'\\x02' + bytes(11) + b'[]'", "b'\\x04' + bytes(11) + b'{{{{'"]
    )
    def test_one_that_sends_no_messages_is_not_believed(self, sent: str) -> None:
        graph = program(f"""
            def run(x):
                from wasi_nn.isolation.wire import channel
                channel.Channel.send_encoded = lambda self, *_: self.socket.send({sent})
        """)
        with pytest.raises(NNError, match="it sent an invalid message"):
            value(graph)

    @pytest.mark.parametrize(
        "instead",
        [
            "time.sleep(600)",
            "[(time.sleep(0.2), self._channel.socket.send(b'1')) for _ in range(3000)]",
            "[(time.sleep(0.2), self._channel.send({'show': True}, b'again')) for _ in range(3000)]",
            "[(time.sleep(0.2), self._channel.socket.send(part.to_bytes(1))) for part in bytes((9, 0, 0, 0) * 750)]",
        ],
        ids=["silence", "a letter now and then", "texts without end", "a message that takes for ever"],
    )
    def test_one_that_never_answers_is_given_up(self, instead: str) -> None:
        text = f"""
            import time
            from wasi_nn.isolation.worker.runner_server import RunnerServer
            def made(self):
                {instead}
            RunnerServer._made = made
            def run(x):
                return x
            """
        graph = once_started(lambda: program(text, settings=Isolation(load_time=2)))
        began = time.monotonic()
        with pytest.raises(NNError) as raised:
            graph.init_execution_context()
        assert raised.value.code in (ErrorCode.TIMEOUT, ErrorCode.RUNTIME_ERROR)
        assert time.monotonic() - began < 30

    def test_one_that_doesnt_read_what_it_is_told_blocks_nobody(self) -> None:
        graph = program("""
            import time
            from wasi_nn.isolation.worker import main as worker
            def answer(self, message, data, files):
                time.sleep(600)
            def run(x):
                worker._Worker._answer = answer
                return x
        """)
        assert value(graph) == X.tolist()
        worker = graph.worker

        def configure() -> None:
            with pytest.raises(NNError, match="is gone"):
                graph.configured(memoryview(b"x"))

        asks = threading.Thread(target=configure)
        asks.start()
        time.sleep(0.2)
        for _ in range(20_000):
            worker.tell({"do": "forget", "graph": 12345})
        os.kill(worker.process.pid, signal.SIGKILL)
        asks.join(30)
        assert not asks.is_alive()

    def test_one_that_makes_shared_memory_shorter_is_refused(self) -> None:
        graph = program("""
            import os
            def run(x):
                for number in os.listdir("/proc/self/fd"):
                    try:
                        os.ftruncate(int(number), 0)
                    except OSError:
                        pass
                return x
        """)
        for _ in range(2):
            assert value(graph) == X.tolist()


class TestLifetime:
    def test_nothing_stays_when_a_graph_is_dropped(self) -> None:
        gc.collect()
        files = set(os.listdir("/proc/self/fd"))
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        context = graph.init_execution_context()
        context.set_input(0, X)
        context.compute()
        process = worker_of(graph)
        del graph
        gc.collect()
        context.compute()  # the context keeps its graph alive
        del context
        gc.collect()
        assert ended(process)
        assert len(os.listdir("/proc/self/fd")) <= len(files)

    def test_a_runner_in_the_worker_ends_with_its_context(self) -> None:
        graph = program("import threading\ndef run(x): return threading.active_count()")
        counts = []
        for _ in range(20):
            context = graph.init_execution_context()
            context.set_input(0, X)
            context.compute()
            counts.append(int(context.get_output(0)))
            del context
        assert max(counts) < 6

    def test_configurations_are_forgotten_with_their_graphs(self) -> None:
        graph: Any = program("""
            def configured(self, config):
                return Program(f"def run(x): return {bytes(config).decode()}", {})
            import gc
            from confined_backend import Program
            Program.configured = configured
            def run(x):
                gc.collect()
                return sum(type(it) is Program for it in gc.get_objects())
        """)
        for number in range(10):
            assert value(graph.configured(memoryview(str(number).encode()))) == number
        assert value(graph) == 1
        assert len(graph.worker.graphs) == 1

    def test_no_worker_outlives_a_host_that_is_killed(self) -> None:
        at_what = ("return x", "import time; time.sleep(600)", "while True: pass")
        script = f"""
            import threading, time
            import numpy as np
            from isolated_programs import program, worker_of
            for text in {at_what!r}:
                graph = program("def run(x):\\n    " + text)
                print(worker_of(graph), flush=True)
                threading.Thread(target=graph.compute, args=({{"x": np.zeros(4, np.float32)}},)).start()
            time.sleep(600)
        """
        with _python(script) as host:
            assert host.stdout is not None
            workers = [int(host.stdout.readline()) for _ in at_what]
            time.sleep(0.3)
            host.kill()
        for text, worker in zip(at_what, workers, strict=True):
            assert ended(worker), text

    def test_a_script_without_a_main_guard_may_isolate(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(onnx_models.relu())
        script = f"""
            import wasi_nn, numpy as np
            graph = wasi_nn.load({str(tmp_path / "model.onnx")!r}, rules=wasi_nn.LoadRules(isolate=True))
            print(graph.compute({{"x": np.array([-1, 2, -3, 4], np.float32)}})["y"].tolist())
        """
        with _python(script) as host:
            out, _ = host.communicate(timeout=60)
        assert (out, host.returncode) == ("[0.0, 2.0, 0.0, 4.0]\n", 0)

    def test_ctrl_c_ends_the_host_and_its_workers(self) -> None:
        script = """
            import numpy as np
            from isolated_programs import program, worker_of
            graph = program("import time\\ndef run(x): time.sleep(600)")
            print(worker_of(graph), flush=True)
            try:
                graph.compute({"x": np.zeros(4, np.float32)})
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        """
        with _python(script, start_new_session=True) as host:
            assert host.stdout is not None
            worker = int(host.stdout.readline())
            time.sleep(0.3)
            os.killpg(host.pid, signal.SIGINT)
            out, _ = host.communicate(timeout=30)
        assert (out, host.returncode) == ("interrupted\n", 0)
        assert ended(worker)

    def test_a_fork_of_the_host_leaves_its_workers_alone(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        process = worker_of(graph)
        child = os.fork()
        if child == 0:
            del graph
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        assert worker_of(graph) == process
        assert graph.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]


def _until_it_works(do: Callable[[], object], times: int = 3) -> int:
    """Repeat a call until it succeeds; returns how often it failed."""
    for failures in range(times):
        try:
            do()
            return failures
        except NNError:
            continue
    return times


def _python(script: str, **options: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        **options,
    )
