"""What many tests check in the same way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from wasi_nn import ErrorCode, Graph, NNError


def refused(code: ErrorCode, match: str, call: Any, *arguments: Any, **keywords: Any) -> None:
    """The call fails with this code, and a line fit to be shown that matches."""
    with pytest.raises(NNError, match=match) as caught:
        call(*arguments, **keywords)
    assert caught.value.code is code
    assert str(caught.value).isprintable()


def on_threads(work: Callable[[int], object], count: int) -> None:
    """Do the work on as many threads at once, each with its number; whatever one raises is raised here."""
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(work, range(count)))


def gives_each_thread_its_own(graph: Graph, elements: int, times: int) -> None:
    """A graph of relu, run on four threads at once, gives each the number that it feeds."""
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
