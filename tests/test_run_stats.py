"""The facts about a run: its times, memory, nn calls and their errors, of guests that end, trap and are stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core_guest
import onnx_models
import pytest
import wasmtime
from command_guests import COMPUTES, EMPTY, LOOKS_UP_NET, LOOPS, command, component_command

import wasi_nn
from wasi_nn import GuestStopped, GuestTrap, Host, Limits, RunResult, RunStats, Session
from wasi_nn.abi.core import spec
from wasi_nn.cli import main
from wasi_nn.limits.compute_guard import ComputeGuard

PAGE = 65536
FAILS = "(drop (call $lookup (i32.const 8) (i32.const 1) (i32.const 0)))"  # no graph has a name of one zero byte
GROWS = "(drop (memory.grow (i32.const 5)))"


@pytest.fixture
def host() -> Host:
    return Host({"net": onnx_models.relu()}, cache=False)


def stats_of_trap(host: Host, text: str, **arguments: Any) -> RunStats:
    with pytest.raises(GuestTrap) as raised:
        host.run(command(text).encode(), **arguments)
    assert raised.value.stats is not None
    return raised.value.stats


def test_a_result_stays_short_and_equal_to_one_without_facts(host: Host) -> None:
    result = host.run(EMPTY)
    assert repr(result) == "RunResult(exit_code=0, stdout=b'', stderr=b'')"
    assert result == RunResult(0)
    assert RunResult(3, b"out", b"err").stats == RunStats()


@pytest.mark.usefixtures("either_call")
def test_calls_errors_and_memory_are_counted(host: Host) -> None:
    stats = host.run(command(GROWS + FAILS + LOOKS_UP_NET).encode()).stats
    assert (stats.nn_calls, stats.nn_failures, len(stats.nn_errors)) == (2, 1, 1)
    assert stats.nn_errors[0].startswith("load_by_name failed: no graph is named '\\x00'")
    assert stats.nn_errors[0].endswith("[not-found, errno 8]")
    assert stats.guest_memory == 6 * PAGE


def test_times_are_parts_of_each_other(host: Host) -> None:
    stats = host.run(command(LOOKS_UP_NET).encode()).stats
    assert stats.compile_time > 0
    assert 0 < stats.load_time < stats.run_time
    assert stats.compute_time == 0


def test_computes_have_their_time() -> None:
    guard = ComputeGuard(Limits())
    with Session({"net": onnx_models.relu()}, guard=guard) as session:
        guest = core_guest.CoreGuest(session, core_guest.wat())
        context = guest.context("net")
        assert session.calls == 2
        assert guard.compute_seconds == 0
        assert guard.load_seconds > 0
        session.set_input(context, 0, [1, 2, 3, 4])
        session.compute(context)
        assert guard.compute_seconds > 0


def test_errors_of_a_guest_that_makes_many_are_bounded(host: Host) -> None:
    body = f"(local $n i32) (loop $l {FAILS} (local.set $n (i32.add (local.get $n) (i32.const 1)))"
    body += "(br_if $l (i32.lt_u (local.get $n) (i32.const 5000))))"
    stats = host.run(command(body).encode()).stats
    assert (stats.nn_calls, stats.nn_failures, len(stats.nn_errors)) == (5000, 5000, 100)


def test_a_name_of_any_length_makes_no_long_error(host: Host) -> None:
    body = "(drop (call $lookup (i32.const 0) (i32.const 65000) (i32.const 65300)))"
    (error,) = host.run(command(body).encode()).stats.nn_errors
    assert len(error) < 5000


def test_a_trap_and_a_limit_have_the_same_facts(host: Host) -> None:
    stats = stats_of_trap(host, GROWS + FAILS + "unreachable")
    assert (stats.nn_calls, stats.nn_failures, stats.guest_memory) == (1, 1, 6 * PAGE)
    assert stats.run_time > 0
    late = stats_of_trap(host, FAILS + "(loop $again (br $again))", limits=Limits(guest_time=0.2))
    assert (late.nn_calls, late.nn_failures, late.guest_memory) == (1, 1, PAGE)


def test_a_guest_that_was_stopped_has_the_same_facts(host: Host) -> None:
    run = host.start(LOOPS)
    run.stop("enough")
    with pytest.raises(GuestStopped) as raised:
        run.wait()
    assert isinstance(raised.value.stats, RunStats)
    assert raised.value.stats.nn_calls == 0


def test_a_guest_that_was_abandoned_has_the_facts_until_then() -> None:
    woken = threading.Event()

    class Slow(wasi_nn.Graph):
        runtime = "test"

        def runner(self) -> Any:
            return lambda inputs, reuse: woken.wait() and []

    try:
        with pytest.raises(GuestTrap, match="goes on in the background") as raised:
            Host({"slow": Slow([], [])}, cache=False).run(COMPUTES, limits=Limits(run_time=0.2))
        stats = raised.value.stats
        assert stats is not None
        assert (stats.nn_calls, stats.guest_memory) == (3, None)
        assert stats.run_time > 0
    finally:
        woken.set()


def test_the_cache_is_told_from_compiling(tmp_path: Path) -> None:
    host = Host(cache=tmp_path)
    first, second = host.run(EMPTY).stats, host.run(EMPTY).stats
    third = host.run(host.compile(EMPTY)).stats
    assert (first.from_cache, second.from_cache, third.from_cache) == (False, True, False)
    assert first.compile_time > 0
    assert second.compile_time > 0
    assert third.compile_time == 0


def test_memory_that_cant_be_seen_is_none(host: Host) -> None:
    hidden = b'(module (memory 3) (func (export "_start")))'
    assert host.run(hidden).stats.guest_memory is None
    assert host.run(EMPTY).stats.guest_memory == 0
    twice = b'(module (memory (export "a") (export "b") 3) (func (export "_start")))'
    assert host.run(twice).stats.guest_memory == 3 * PAGE
    twice_beside_a_hidden_one = twice.replace(b"(func", b"(memory 5) (func")
    assert host.run(twice_beside_a_hidden_one).stats.guest_memory is None
    component = component_command('(func (export "run") (result i32) (i32.const 0))')
    assert host.run(component).stats.guest_memory is None


def test_a_guest_that_traps_at_its_instantiation_has_facts(host: Host) -> None:
    starts = b'(module (func $f unreachable) (start $f) (func (export "_start")))'
    with pytest.raises(GuestTrap) as raised:
        host.run(starts)
    assert raised.value.stats is not None
    assert raised.value.stats.guest_memory is None


def test_a_call_without_a_memory_counts() -> None:
    session = wasi_nn.Session()
    store = wasmtime.Store()
    linker = wasmtime.Linker(store.engine)
    wasi_nn.add_to_linker(linker, session)
    text = f'(module (import "{spec.MODULE}" "compute" (func $c (param i32) (result i32)))'
    module = wasmtime.Module(store.engine, text + '(func (export "f") (drop (call $c (i32.const 1)))))')
    linker.instantiate(store, module).exports(store)["f"](store)  # type: ignore[operator]
    assert (session.calls, session.failures.count) == (1, 1)


def test_the_command_prints_them_aligned(
    write: Callable[[str, bytes], Path], capfd: pytest.CaptureFixture[str], cache_home: Path
) -> None:
    guest = write("guest.wat", command(GROWS + LOOKS_UP_NET).encode())
    model = write("net.onnx", onnx_models.relu())
    for how in ("compiling", "from cache"):
        assert main(["run", "--stats", "--graph", f"net={model}", str(guest)]) == 0
        lines = capfd.readouterr().err.splitlines()
        assert lines[0] == "wasi-nn: the run in numbers"
        assert lines[1].startswith(f"  {how} ")
        assert len({len(line) for line in lines[1:]}) == 1
        assert max(map(len, lines)) <= 80
        assert "  guest memory       0.4 MiB" in lines
        assert "  nn calls                 1" in lines
    write("trap.wat", command("unreachable").encode())
    assert main(["run", "--stats", str(guest.with_name("trap.wat"))]) == 134
    assert "  nn calls                 0" in capfd.readouterr().err
    assert main(["run", "--graph", f"net={model}", str(guest)]) == 0
    assert capfd.readouterr().err == ""
