"""Runs of guests in the background: waiting for them, stopping and abandoning them, their stacks, and closing hosts."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command_guests import COMPUTES, EMPTY, LOOPS

from wasi_nn import (
    ErrorCode,
    Graph,
    GuestError,
    GuestStopped,
    GuestTrap,
    Host,
    NNError,
    Run,
    RunResult,
    TensorInfo,
    WasiNNError,
)

if TYPE_CHECKING:
    from wasi_nn.types import Array

TRAPS = b'(module (func (export "_start") unreachable))'
RECURSES = b'(module (func $f (call $f)) (func (export "_start") (call $f)))'
# A guest that writes "said" and then sleeps for a minute.
SLEEPS = b"""(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 400) "said")
    (func (export "_start")
      (i32.store (i32.const 300) (i32.const 400)) (i32.store (i32.const 304) (i32.const 4))
      (drop (call $write (i32.const 1) (i32.const 300) (i32.const 1) (i32.const 320)))
      (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 60000000000))
      (drop (call $poll (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 100)))))"""


class Slow(Graph):
    """A graph whose computes last until they are interrupted or `may_go` is set."""

    def __init__(self, *, stoppable: bool) -> None:
        super().__init__([], [TensorInfo("y", np.dtype(np.float32), (1,))])
        self.computes, self.may_go = threading.Event(), threading.Event()
        self._stoppable = stoppable

    def runner(self) -> Callable[[Sequence[Array], Sequence[Array] | None], Sequence[Array]]:
        return _SlowRunner(self) if self._stoppable else self.compute_slowly

    def compute_slowly(self, *_: object) -> Sequence[Array]:
        self.computes.set()
        self.may_go.wait(60)
        return [np.zeros(1, np.float32)]


class _SlowRunner:
    def __init__(self, graph: Slow) -> None:
        self._graph = graph

    def __call__(self, *_: object) -> Sequence[Array]:
        return self._graph.compute_slowly()

    def interrupt(self) -> None:
        self._graph.may_go.set()


def start(host: Host, guest: bytes) -> Run:
    return host.start(guest, capture_output=True)


def test_a_run_gives_its_result_as_often_as_it_is_asked() -> None:
    host = Host(cache=False)
    run = host.start(EMPTY)
    assert run.wait() == run.wait(60) == RunResult(0)
    assert run.has_ended
    traps = host.start(TRAPS)
    for _ in range(2):
        with pytest.raises(GuestTrap, match="unreachable"):
            traps.wait()
    with pytest.raises(GuestError, match="is empty"):
        host.start(b"").wait()


def test_what_is_still_running_after_the_timeout_goes_on() -> None:
    host = Host(cache=False)
    run = host.start(LOOPS)
    with pytest.raises(TimeoutError, match=r"still running after 0.01 s"):
        run.wait(0.01)
    assert not run.has_ended
    run.stop()
    with pytest.raises(GuestStopped):
        run.wait()


@pytest.mark.parametrize("timeout", ["x", float("nan"), True, b"1", [1]])
def test_a_timeout_must_be_a_number(timeout: Any) -> None:
    run = Host(cache=False).start(EMPTY)
    with pytest.raises(NNError, match="timeout must be a number of seconds, or None") as raised:
        run.wait(timeout)
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    assert run.wait(float("inf")) == RunResult(0)


def test_a_guest_that_is_stopped_for_no_reason_is_stopped_too() -> None:
    run = Host(cache=False).start(LOOPS)
    run.stop("")
    with pytest.raises(GuestStopped, match="the guest was stopped: its run was stopped"):
        run.wait()


_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"args": "photo.ppm"}, r"args must be a list, not one text: write \['photo.ppm'\]"),
    ({"streams": (1, 2), "capture_output": True}, "capture_output and streams can't be given together"),
    ({"streams": (1,)}, r"streams must be two descriptors.*, not \(1,\)"),
    ({"streams": ("out", "err")}, "streams must be two descriptors"),
]


@pytest.mark.parametrize(("arguments", "message"), _ARGUMENTS)
def test_arguments_that_cant_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(WasiNNError, match=message):
        Host(cache=False).run(EMPTY, **arguments)


def test_a_guest_in_its_own_code_is_stopped_for_all_who_wait() -> None:
    host = Host(cache=False)
    run = host.start(LOOPS)
    ends: list[BaseException] = []

    def wait() -> None:
        try:
            run.wait(60)
        except BaseException as end:
            ends.append(end)

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    run.stop("the client left")
    run.stop("too late")
    for thread in waiting:
        thread.join()
    assert [(type(end), str(end)) for end in ends] == [(GuestStopped, "the guest was stopped: the client left")] * 3
    assert host.run(EMPTY).exit_code == 0


def test_a_run_that_has_ended_is_not_stopped() -> None:
    run = Host(cache=False).start(EMPTY)
    assert run.wait() == RunResult(0)
    run.stop()
    assert run.wait() == RunResult(0)


@pytest.mark.parametrize("stoppable", [True, False], ids=["stoppable", "not stoppable"])
def test_a_guest_that_computes_is_stopped_or_given_up(stoppable: bool) -> None:
    graph = Slow(stoppable=stoppable)
    host = Host({"slow": graph}, cache=False)
    run = host.start(COMPUTES)
    assert graph.computes.wait(60)
    run.stop()
    with pytest.raises(GuestStopped):
        run.wait(60)
    assert run.has_ended is stoppable
    graph.may_go.set()
    run.wait_for_end()
    assert host.run(EMPTY).exit_code == 0


def test_a_guest_that_is_asleep_is_given_up_with_what_it_wrote() -> None:
    host = Host(cache=False)
    run = start(host, SLEEPS)
    deadline = time.monotonic() + 60
    while run.output()[0] != b"said" and time.monotonic() < deadline:
        time.sleep(0.01)
    run.stop("enough")
    with pytest.raises(
        GuestStopped,
        match=r"enough; it can't be stopped while it sleeps.*: it goes on in the background.*one of the 64",
    ) as stopped:
        run.wait(30)
    assert stopped.value.stdout == b"said"


def test_a_host_that_is_closed_stops_what_it_runs_and_runs_nothing_more() -> None:
    graph = Slow(stoppable=True)
    with Host({"slow": graph}, cache=False) as host:
        runs = [host.start(LOOPS), host.start(COMPUTES), start(host, SLEEPS)]
        assert graph.computes.wait(60)
    for run in runs:
        with pytest.raises(GuestStopped, match="its host was closed"):
            run.wait(0)
    for call in (lambda: host.run(EMPTY), lambda: host.start(EMPTY), lambda: host.compile(EMPTY)):
        with pytest.raises(GuestError, match="this host is closed"):
            call()
    host.close()


def test_a_host_is_closed_by_another_thread_while_one_waits() -> None:
    host = Host(cache=False)
    threading.Timer(0.2, host.close).start()
    with pytest.raises(GuestStopped, match="its host was closed"):
        host.run(LOOPS)


def test_guests_that_are_given_up_are_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_nn.guests.runs._MOST_ABANDONED", 2)
    graph = Slow(stoppable=False)
    host = Host({"slow": graph}, cache=False)
    runs = []
    for _ in range(2):
        graph.computes.clear()
        runs.append(host.start(COMPUTES))
        assert graph.computes.wait(60)
        runs[-1].stop()
        with pytest.raises(GuestStopped):
            runs[-1].wait()
    with pytest.raises(
        GuestError, match=r"2 guests that can't be stopped go on in the background .*: it runs no more until one ends"
    ):
        host.run(EMPTY)
    graph.may_go.set()
    deadline = time.monotonic() + 60
    while not all(run.has_ended for run in runs) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(run.has_ended for run in runs)
    assert host.run(EMPTY).exit_code == 0


def test_a_cancelled_task_stops_its_guest() -> None:
    host = Host(cache=False)

    async def infer(runs: list[Run]) -> RunResult:
        run = host.start(LOOPS)
        runs.append(run)
        try:
            return await asyncio.to_thread(run.wait)
        finally:
            run.stop("the client left")

    async def cancel() -> Run:
        runs: list[Run] = []
        task = asyncio.create_task(infer(runs))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return runs[0]

    with pytest.raises(GuestStopped, match="the client left"):
        asyncio.run(cancel()).wait()


# Stacks

_RECURSES_THERE = """
import sys, threading, wasi_nn
threading.stack_size(int(sys.argv[1]))

def run(limits):
    for _ in range(2):
        try:
            host.run(RECURSES, limits=limits)
        except wasi_nn.GuestTrap as trap:
            print(trap.reason)

host = wasi_nn.Host(cache=False)
RECURSES = sys.argv[2].encode()
for limits in (wasi_nn.Limits(), wasi_nn.Limits(run_time=None)):
    thread = threading.Thread(target=run, args=[limits])
    thread.start()
    thread.join()
assert threading.stack_size() == int(sys.argv[1])
"""


@pytest.mark.parametrize(("threads", "process"), [(256 * 1024, None), (0, 512 * 1024)])
def test_a_guest_that_calls_itself_without_end_traps_however_small_stacks_are(
    threads: int, process: int | None
) -> None:
    def shrink() -> None:
        if process is not None:
            resource.setrlimit(resource.RLIMIT_STACK, (process, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    command = [sys.executable, "-c", _RECURSES_THERE, str(threads), RECURSES.decode()]
    result = subprocess.run(command, preexec_fn=shrink, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "call stack exhausted\n" * 4, "")


# Resources that the engine needs for the first guest

_OUT_OF_FILES = """
import os, resource, sys, wasi_nn
host = wasi_nn.Host(cache=False)
WRITES = sys.argv[1].encode()
most = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, most[1]))
try:
    host.run(WRITES)
except wasi_nn.GuestError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_NOFILE, most)
print(host.run(WRITES).exit_code)
"""
_OUT_OF_THREADS = '''
import errno, sys, pyseccomp, wasi_nn
host = wasi_nn.Host(cache=False)
WRITES = sys.argv[1].encode()
READS = b"""(module (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\\\10\\\\00\\\\00\\\\00\\\\08\\\\00\\\\00\\\\00")
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
print(host.run(WRITES if "warm" in sys.argv else b'(module (func (export "_start")))').exit_code)  # has a thread now
rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for name in ("clone", "clone3", "fork", "vfork"):
    rules.add_rule(pyseccomp.ERRNO(errno.EAGAIN), name)
rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # for all threads
rules.load()
for guest, more in ((WRITES, {}), (sys.argv[2], {}), (READS, {"stdin": sys.stdin}), (READS, {"dirs": {"/": "."}})):
    try:
        host.run(guest, **more)
    except wasi_nn.GuestError as error:
        print(str(error).split(" (")[0])
'''
WRITES = SLEEPS.replace(b"60000000000", b"1").decode()


def test_a_process_that_is_out_of_files_gets_an_error_for_its_first_guest_that_uses_wasi() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _OUT_OF_FILES, WRITES], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.stdout.startswith("WASI can't be started: this process is out of file descriptors")
    assert (result.returncode, result.stdout.splitlines()[1:]) == (0, ["said0"])


def test_a_process_that_is_out_of_threads_gets_errors(tmp_path: os.PathLike[str]) -> None:
    from slow_modules import LARGE

    guest = os.path.join(tmp_path, "large.wasm")
    with open(guest, "wb") as file:
        file.write(LARGE)
    command = [sys.executable, "-c", _OUT_OF_THREADS, WRITES, guest]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "0"
    assert "can't start" in result.stdout.splitlines()[1]
    assert "no process can be started for the compiler" in result.stdout.splitlines()[2]
    result = subprocess.run([*command, "warm"], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if "more thread" in line] == [
        "this process can't start 1 more thread"
    ] * 2


NN = '(import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))'


CALLS = '(func (export "_start") (drop (call $load (i32.const -2) (i32.const 9) (i32.const 0))))'


@pytest.mark.parametrize(
    "rest", [f'(memory (export "memory") 1) {CALLS}', CALLS], ids=["a trap in a call", "no memory"]
)
def test_nothing_is_kept_of_a_host_whose_guest_failed(rest: str) -> None:
    def failed() -> weakref.ref[Host]:
        with Host(cache=False) as host, pytest.raises(GuestError):
            host.run(f"(module {NN} {rest})".encode(), capture_output=True)
        return weakref.ref(host)

    gone = failed()
    gc.collect()
    assert gone() is None
