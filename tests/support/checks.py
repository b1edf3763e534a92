"""Checks that several test files share: refusals with an error code, work on several threads, and damaged models."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

from wasi_nn import ErrorCode, Graph, NNError

Result = TypeVar("Result")


def refused(code: ErrorCode, match: str, call: Any, *arguments: Any, **keywords: Any) -> None:
    """Check that the call raises `NNError` with this code and a printable message that matches."""
    with pytest.raises(NNError, match=match) as caught:
        call(*arguments, **keywords)
    assert caught.value.code is code
    assert str(caught.value).isprintable()


def in_time(call: Callable[[], Result]) -> Result:
    """The result of a call, repeated while it takes too long: on a busy machine, a new worker needs time to start."""
    until = time.monotonic() + 60
    while True:
        try:
            return call()
        except NNError as error:
            if error.code is not ErrorCode.TIMEOUT or time.monotonic() > until:
                raise


def once_started(call: Callable[[], Result]) -> Result:
    """The result of a call that starts a worker with a short `Isolation.load_time`, after workers that took longer than
    that to start: on a busy machine they do."""
    until = time.monotonic() + 60
    while True:
        try:
            return call()
        except NNError as error:
            if not re.search("to (be confined|start [^ ]+) ", str(error)) or time.monotonic() > until:
                raise


def on_threads(work: Callable[[int], object], count: int) -> None:
    """Call `work` with 0, 1, ... on `count` threads at once. Raises the error of any thread."""
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(work, range(count)))


@contextmanager
def held_by_another_thread(*locks: AbstractContextManager[Any]) -> Iterator[None]:
    """During the block, another thread holds the locks."""
    held, may_release = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            may_release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    try:
        yield
        assert holder.is_alive(), "the block waited for a lock"
    finally:
        may_release.set()
        holder.join()


def survives_damage(model: bytes, first: int, load_and_compute: Callable[[bytes], object]) -> None:
    """Check that a damaged model raises no error but `NNError`: 300 times, change up to three bytes from `first` on."""
    places, refusals = random.Random(5), 0
    for _ in range(300):
        damaged = bytearray(model)
        for _ in range(places.randint(1, 3)):
            damaged[places.randrange(first, len(model))] = places.randrange(256)
        try:
            load_and_compute(bytes(damaged))
        except NNError:
            refusals += 1
    assert 0 < refusals < 300, "some damage is noticed, and some is harmless"


def gives_each_thread_its_own(graph: Graph, elements: int, times: int) -> None:
    """Check that four threads, which run a graph of relu at once, each get outputs of their own inputs."""
    wrong: list[int] = []

    def work(number: int) -> None:
        context = graph.init_execution_context()
        for _ in range(times):
            context.set_input(0, np.full(elements, number, np.float32))
            context.compute()
            if context.get_output(0).tolist() != [number] * elements:
                wrong.append(number)

    on_threads(work, 4)
    assert not wrong


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until the condition holds, for at most twenty seconds."""
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)
