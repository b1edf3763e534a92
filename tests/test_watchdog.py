"""The watchdog's alarms ring at their time and only then; alarms and counts are released without waiting for a lock."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from math import inf

import numpy as np
import onnx_models
import pytest
from checks import held_by_another_thread

import wasi_nn
from wasi_nn import ErrorCode, HostLimits, Limits, NNError
from wasi_nn.limits.usage import Usage
from wasi_nn.process import watchdog
from wasi_nn.process.watchdog import Alarm


def later(seconds: float) -> float:
    return time.monotonic() + seconds


class TestAlarm:
    def test_it_rings_when_its_time_has_come(self) -> None:
        rang = threading.Event()
        alarm = Alarm()
        alarm.set(later(0.05), rang.set)
        assert rang.wait(30)
        assert alarm.clear()
        assert alarm.due == inf

    def test_it_rings_again_until_it_is_cleared(self) -> None:
        alarm = Alarm()
        thrice = threading.Semaphore(0)
        alarm.set(later(0), thrice.release)
        assert all(thrice.acquire(timeout=30) for _ in range(3))
        assert alarm.clear()

    def test_one_that_is_cleared_doesnt_ring(self) -> None:
        cleared, other = Alarm(), Alarm()
        rang: list[int] = []
        heard = threading.Event()
        cleared.set(later(0.05), lambda: rang.append(1))
        assert not cleared.clear()
        other.set(later(0.1), heard.set)
        assert heard.wait(30)
        other.clear()
        assert rang == []

    def test_one_that_is_hastened_rings_at_once(self) -> None:
        rang = threading.Event()
        alarm = Alarm()
        alarm.set(later(1000), rang.set)
        alarm.hasten()
        assert rang.wait(30)
        alarm.clear()

    def test_an_idle_one_outlives_many_that_are_discarded(self) -> None:
        rang = threading.Event()
        idle = Alarm()
        idle.set(later(0.5), None)
        idle.clear()
        for _ in range(3000):
            other = Alarm()
            other.set(later(1000), None)
            other.discard()
        idle.set(later(0.6), rang.set)
        assert rang.wait(30)
        idle.clear()

    def test_a_far_one_keeps_no_other_from_ringing(self) -> None:
        far, near = Alarm(), Alarm()
        rang = threading.Event()
        far.set(later(1e15), None)
        near.set(later(0.05), rang.set)
        assert rang.wait(30)
        near.discard()
        far.discard()

    def test_one_whose_ring_fails_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        failing, other = Alarm(), Alarm()
        rang = threading.Event()
        failing.set(later(0), lambda: 1 / 0)
        other.set(later(0.05), rang.set)
        assert rang.wait(30)
        assert failing.clear()
        other.clear()
        assert "the function of a deadline failed" in caplog.text

    def test_it_never_rings_for_what_is_over(self) -> None:
        alarm = Alarm()
        late: list[int] = []
        current = [0]

        def ring(number: int) -> None:
            if current[0] != number:
                late.append(number)

        for number in range(1, 500):
            current[0] = number
            alarm.set(later(0.0002 * (number % 3)), lambda number=number: ring(number))  # type: ignore[misc]
            end = later(0.0002)
            while time.monotonic() < end:
                pass
            alarm.clear()
            current[0] = 0
        assert late == []


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_given_back_while_garbage_is_collected_blocks_nobody() -> None:
    usage = Usage(Limits(tensor_bytes=10, graphs=None), Usage(HostLimits()))

    def work() -> None:
        threshold = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(300):
                usage.take("graphs")
                weakref.finalize(Cycle(), usage.give_back, "graphs")
                with pytest.raises(NNError, match="tensor_bytes"):
                    usage.take("tensor_bytes", 100)
                gc.collect(0)
        finally:
            gc.set_threshold(*threshold)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_no_deadline_is_kept_of_sessions_that_nobody_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_watchdog", watchdog._Watchdog())  # without the alarms of other tests

    def alarms() -> int:
        gc.collect()
        return sum(type(one) is Alarm for one in gc.get_objects())

    graph = wasi_nn.load(onnx_models.relu())

    def leave_one_open() -> None:
        session = wasi_nn.Session({"relu": graph})
        context = session.context(session.init_execution_context(session.load_by_name("relu")))
        context.set_input(0, np.ones(4, np.float32))
        context.compute()

    for _ in range(2500):  # the watchdog drops old entries in batches
        leave_one_open()
    before = alarms()
    for _ in range(2500):
        leave_one_open()
    assert alarms() < before + 1500


def test_a_usage_that_is_closed_takes_nothing_from_its_host() -> None:
    totals = Usage(HostLimits())
    usage = Usage(Limits(), totals)
    usage.close()
    usage.take("graphs")
    assert totals.used("graphs") == 0


@pytest.mark.parametrize(
    "wrong", [{"fuel": 2**64}, {"guest_memory": 1e9}, {"graphs": "3"}, {"run_time": float("inf")}, {"handles": True}]
)
def test_limits_that_nothing_can_keep_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NNError, match=f"Limits.{next(iter(wrong))} must be a positive"):
        Limits(**wrong)  # type: ignore[arg-type]


def test_a_run_may_have_centuries() -> None:
    guest = b'(module (memory (export "memory") 1) (func (export "_start")))'
    assert wasi_nn.Host(limits=Limits(run_time=1e12, compute_time=1e12), cache=False).run(guest).exit_code == 0


def test_an_allowed_name_that_isnt_there_tells_of_no_other() -> None:
    with wasi_nn.Session({"secret": onnx_models.relu()}, allow_names=["public-*"]) as session:
        with pytest.raises(NNError) as raised:
            session.load_by_name("public-1")
        assert raised.value.code is ErrorCode.NOT_FOUND
        assert "secret" not in str(raised.value)


def test_openvino_on_one_thread_is_stopped() -> None:
    model = onnx_models.matrix_power(400, 1800)
    graph = wasi_nn.load(model, "onnx", runtime="openvino", options={"threads": 1})
    with wasi_nn.Session({"g": graph}, limits=Limits(compute_time=0.5)) as session:
        context = session.context(session.init_execution_context(session.load_by_name("g")))
        context.set_input(0, np.eye(1800, dtype=np.float32))
        began = time.monotonic()
        with pytest.raises(NNError, match="compute_time"):
            context.compute()
        assert time.monotonic() - began < 15  # the compute takes some 30 s on one thread


def test_an_alarm_is_abandoned_by_whoever_has_the_lock() -> None:
    alarm = Alarm()
    alarm.set(time.monotonic() + 3600, None)
    with held_by_another_thread(watchdog._watchdog._changed):
        alarm.abandon()
    other = Alarm()
    other.set(time.monotonic() + 1, None)
    assert alarm.next_look == inf, "the watchdog has forgotten it"
    other.discard()


def test_two_usages_are_given_back_to_by_each_other() -> None:
    """One guest's garbage may be collected on another guest's thread, while both wait for each other's lock."""
    host = Usage(HostLimits())
    one, other = Usage(Limits(), host), Usage(Limits(), host)
    for usage in (one, other):
        usage.take("graphs")
    with held_by_another_thread(other._lock, host._lock), one._lock:
        other.give_back("graphs")
        one.give_back("graphs")
    assert [usage.used("graphs") for usage in (one, other, host)] == [0, 0, 0]
