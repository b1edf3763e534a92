"""Guests that are linked once for many runs.

To define the functions that a guest imports takes longer than a short run. So a compiled guest that runs often gets a
linker of its own, whose host functions pass each call on to the functions of the run: of the thread that calls, since a
run stays on its thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class FunctionsOfRuns:
    """Host functions that are those of the run on the calling thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def function(self, name: str) -> Callable[..., Any]:
        """The host function of a name, which calls the run's function of this name."""
        local = self._local

        def call(*arguments: Any) -> Any:
            return local.functions[name](*arguments)

        return call

    @contextmanager
    def those_of(self, functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
        """During the block, which runs a guest on this thread, calls go to these functions."""
        before = getattr(self._local, "functions", None)
        self._local.functions = functions
        try:
            yield
        finally:
            self._local.functions = before


class MadeWhenCalled(dict[str, Callable[..., Any]]):
    """Functions by name, each of which is made when it is first looked up: a short run calls some of many."""

    def __init__(self, make: Callable[[str], Callable[..., Any]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Callable[..., Any]:
        function = self[name] = self._make(name)
        return function
