"""The pool of threads for calls: threads are used again, a call can be abandoned, and idle threads end."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
import weakref

import pytest

from wasi_nn.process import threads
from wasi_nn.process.threads import Call


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "pool", threads.Pool())


def test_a_call_gives_what_it_gives_and_raises_what_it_raises() -> None:
    call = Call(lambda: 7)
    assert call.wait(30)
    assert call.has_ended
    assert call.result() == 7

    def fails() -> None:
        raise KeyError("x")

    failing = Call(fails)
    assert failing.wait(30)
    with pytest.raises(KeyError):
        failing.result()


def test_a_thread_is_used_again() -> None:
    names = set()
    for _ in range(20):
        call = Call(threading.current_thread)
        assert call.wait(30)
        names.add(call.result().name)
    assert len(names) == 1
    assert threading.current_thread().name not in names


def test_each_call_that_is_under_way_has_a_thread() -> None:
    all_there = threading.Barrier(24, timeout=30)
    calls = [Call(all_there.wait) for _ in range(24)]
    assert all(call.wait(30) for call in calls)
    assert sorted(call.result() for call in calls) == list(range(24))
    assert len(threads.pool.idle) <= threads.MOST_IDLE


def test_it_has_the_callers_context() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    for value in ("one", "other"):
        name.set(value)
        call = Call(name.get)
        assert call.wait(30)
        assert call.result() == value


def test_one_that_takes_its_time_is_not_waited_for() -> None:
    go = threading.Event()
    call = Call(lambda: go.wait(30))
    assert not call.wait(0.05)
    assert not call.has_ended
    other = Call(lambda: "another thread")
    assert other.wait(30)
    go.set()
    assert call.wait(30)


def test_nothing_is_kept_of_a_call() -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)

    def keeps(kept: Thing = thing) -> Thing:
        return kept

    call = Call(keeps)
    assert call.wait(30)
    call.result()
    del thing, keeps, call
    deadline = time.monotonic() + 30
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.05)
    call = Call(threading.current_thread)
    assert call.wait(30)
    thread = call.result()
    thread.join(30)
    assert not thread.is_alive()
    again = Call(threading.current_thread)
    assert again.wait(30)
    assert again.result() is not thread


def test_one_that_is_about_to_end_takes_a_call_all_the_same() -> None:
    call = Call(threading.current_thread)
    assert call.wait(30)
    thread = call.result()
    assert isinstance(thread, threads.PoolThread)
    assert threads.pool.idle == [thread]
    next_one = Call(threading.current_thread)  # takes the idle thread
    assert not threads.pool.leave(thread) or next_one.wait(30)
    assert next_one.wait(30)
    assert next_one.result() is thread
