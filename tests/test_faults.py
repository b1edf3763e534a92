"""Hosts under stress: guests that release nothing, several hosts and threads at once, and signals."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from checks import on_threads, refused
from conftest import REPOSITORY, need
from footprint import Footprint

import wasi_nn
from wasi_nn import Dialect, ErrorCode, GuestTrap, Host, NNError, Registry

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

from untidy_guests import UNTIDY, graphs, returns  # noqa: E402

INFER = REPOSITORY / "guests" / "component" / "infer.wasm"
TRAPS = b'(module (func (export "_start") unreachable))'

Write = Callable[[str, bytes], Path]


# Guests that release nothing


@pytest.mark.parametrize("untidy", UNTIDY, ids=lambda untidy: untidy.__name__)
def test_nothing_is_left_of_a_guest_however_it_ends(untidy: Callable[[Host], None], tmp_path: Path) -> None:
    host = Host(graphs(), cache=tmp_path)
    for _ in range(10):
        untidy(host)
    _await_ended_texts()
    before = Footprint.now()
    for _ in range(40):
        untidy(host)
    _await_ended_texts()
    after = Footprint.now()
    # An earlier test's worker may end meanwhile: there may be less of anything, and 40 guests may add nothing.
    counted = ("descriptors", "stores", "sessions", "contexts", "graphs", "host_functions")
    added = {name: getattr(after, name) - getattr(before, name) for name in counted}
    assert {name: more for name, more in added.items() if more > 0} == {}
    # Idle threads end by themselves after a while.
    assert after.threads <= before.threads
    assert after.native_threads <= before.native_threads
    assert after.objects < before.objects + 2000
    assert after.memory < before.memory + 32 * 2**20


def _await_ended_texts() -> None:
    """Wait for the texts that were ended in the middle: each stops at its next token."""
    for thread in threading.enumerate():
        if thread.name == "wasi-nn ggml":
            thread.join(60)


# Several hosts, and several threads


def infer(host: Host, values: list[int]) -> str:
    """The output of a component that runs the graph `net` on these values."""
    text = ",".join(map(str, values))
    return host.run(INFER, ["--graph", "net", f"x=FP32:{len(values)}:{text}"], capture_output=True).stdout.decode()


def test_hosts_with_registries_dialects_and_caches_of_their_own_do_not_mix(tmp_path: Path) -> None:
    net = {"relu": onnx_models.relu(["n"]), "identity": onnx_models.identity(dims=["n"])}
    spec = Host({"net": net["relu"]}, cache=tmp_path / "one", dialect="spec")
    wasmedge = Host({"net": net["identity"]}, cache=tmp_path / "two", dialect=Dialect.WASMEDGE)
    without = Host(cache=False)

    def work(number: int) -> None:
        for _ in range(5):
            assert infer(spec, [number, -1]) == f"y: FP32 [2]: {number}, 0\n"
            assert infer(wasmedge, [number, -1]) == f"y: FP32 [2]: {number}, -1\n"
            assert infer(without, [number]) == ""

    on_threads(work, 4)
    assert len(list((tmp_path / "one").iterdir())) == len(list((tmp_path / "two").iterdir())) == 1
    with pytest.raises(wasi_nn.GuestError, match="compute_single"):
        spec.run(_asks_for_pieces())
    assert wasmedge.run(_asks_for_pieces()).exit_code == 0


def _asks_for_pieces() -> bytes:
    return b"""(module
      (import "wasi_ephemeral_nn" "compute_single" (func $single (param i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (drop (call $single (i32.const 1)))))"""


def test_hosts_share_a_registry_and_a_cache(tmp_path: Path) -> None:
    registry = Registry({"net": onnx_models.relu(["n"])})
    hosts = [Host(registry, cache=tmp_path) for _ in range(2)]
    graph = registry.get("net")
    on_threads(lambda n: [infer(host, [n, -1]) for host in hosts], 4)
    assert registry.get("net") is graph
    hosts.pop()
    assert infer(hosts[0], [7, -7]) == "y: FP32 [2]: 7, 0\n"


def test_one_host_and_graph_on_eight_threads_with_guests_of_all_kinds(tmp_path: Path, write: Write) -> None:
    host = Host({"net": onnx_models.relu(["n"]), **graphs()}, cache=tmp_path / "cache")
    component, module = host.compile(INFER), host.compile(TRAPS)
    done: list[int] = []

    def one(chance: random.Random, number: int) -> None:
        kind = chance.randrange(5)
        if kind == 0:
            values = [chance.randrange(-1000, 1000) for _ in range(4)]
            expected = ", ".join(str(max(value, 0)) for value in values)
            text = ",".join(map(str, values))
            result = host.run(component, ["--graph", "net", f"x=FP32:4:{text}"], capture_output=True)
            assert result.stdout.decode() == f"y: FP32 [4]: {expected}\n"
        elif kind == 1:
            with pytest.raises(GuestTrap, match="unreachable"):
                host.run(module)
        elif kind == 2:
            result = host.run(component, ["--graph", f"nope{number}"], capture_output=True)
            assert f"no graph is named 'nope{number}'" in result.stderr.decode()
        elif kind == 3:
            returns(host)
        else:
            with host.session() as session:
                context = session.context(session.init_execution_context(session.load_by_name("net")))
                context.set_input(0, np.full(3, number, np.float32))
                context.compute()
                assert context.get_output(0).tolist() == [number] * 3
                refused(ErrorCode.NOT_FOUND, f"'other{number}'", session.load_by_name, f"other{number}")

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(25):
            one(chance, number)
        done.append(number)

    on_threads(work, 8)
    assert sorted(done) == list(range(8))


def test_an_exception_of_a_registry_reaches_the_guest_that_asked() -> None:
    class Refuses:
        def get(self, name: str) -> wasi_nn.Graph:
            raise NNError(ErrorCode.NOT_FOUND, f"{name} was asked for")

    host = Host(Refuses(), cache=False)
    guest = host.compile(INFER)

    def work(number: int) -> None:
        for time_of in range(20):
            name = f"graph {number}.{time_of}"
            with host.session() as session:
                refused(ErrorCode.NOT_FOUND, f"^{name} was asked for$", session.load_by_name, name)
            ended = host.run(guest, ["--graph", name], capture_output=True)
            assert ended.exit_code == 1
            assert f"{name} was asked for" in ended.stderr.decode()

    on_threads(work, 4)


# Signals

_RUNS_GUESTS = """
import sys, time, numpy, wasi_nn

class Slow(wasi_nn.Graph):
    def runner(self):
        return lambda inputs, reuse: time.sleep(600)

info = wasi_nn.TensorInfo("x", numpy.dtype("float32"), (1,))
host = wasi_nn.Host({"slow": Slow([info], [info])}, cache=False)
loops = host.compile(b'(module (func (export "_start") (loop $again (br $again))))')
infers = host.compile(sys.argv[2])
print("runs", flush=True)
try:
    if sys.argv[1] == "loops":
        host.run(loops)
    else:
        host.run(infers, ["--graph", "slow", "x=FP32:1:1"])
except BaseException as error:
    print(type(error).__name__, flush=True)
    assert host.run(b'(module (func (export "_start")))').exit_code == 0
    print("runs again", flush=True)
"""


def signalled(number: int, guest: str, before: str = "") -> tuple[int, str]:
    """Send a signal to a process while it runs a guest; returns the process's exit code and output."""
    command = [sys.executable, "-c", before + _RUNS_GUESTS, guest, str(INFER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        time.sleep(0.5)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize("guest", ["loops", "computes"])
def test_an_interrupt_stops_a_guest_and_a_later_one_runs(guest: str) -> None:
    assert signalled(signal.SIGINT, guest) == (0, "KeyboardInterrupt\nruns again\n")


@pytest.mark.parametrize("guest", ["loops", "computes"])
def test_a_termination_ends_the_process_in_the_middle_of_a_guest(guest: str) -> None:
    assert signalled(signal.SIGTERM, guest) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("guest", ["loops", "computes"])
def test_a_handler_of_the_embedders_may_raise_in_the_middle_of_a_guest(guest: str) -> None:
    handler = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))"
    assert signalled(signal.SIGTERM, guest, handler) == (0, "SystemExit\nruns again\n")
