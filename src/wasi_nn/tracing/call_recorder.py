"""`CallRecorder`: times the calls of a session, and describes their arguments, results and errors.

A description has only what JSON has. `Trace` writes the descriptions to a file, and `CallLog` shows them as lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.graph.byte_strings import encoded
from wasi_nn.graph.fitting import byte_view
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.tracing.tensor_summary import summary
from wasi_nn.types import Dims, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

Result = TypeVar("Result")
Described = Mapping[str, Any]

CATEGORY, REFUSED = "wasi-nn", "wasi-nn refused"
"""Calls that reach the session, and calls that an ABI refuses before."""
PHASE, FAILURE = "wasi-nn run", "wasi-nn failure"
"""Parts of a guest's run, and marks on calls that failed."""
RUN, OWN_TIME = "run", "guest"
"""The names of two parts: the whole run, and the time of the guest's own code between two calls."""
GUEST_ROW, GRAPHS_ROW = 0, 1
"""The row of the guest's run, and that of calls on graphs; calls on an execution context have the row of its handle."""
STRINGS = "string"
"""The type of a tensor of strings, whose content is in the encoding of `wasi_nn.graph.byte_strings`."""

_CONTENTLESS = (np.object_, np.str_, np.bytes_)  # element types without bytes to record
_type_name = cache(dtype_name)  # numpy takes microseconds to make the name of a type


def as_nn_error(error: Exception) -> NNError:
    """The error that a guest gets for an exception: `runtime-error` for any exception that isn't an `NNError`."""
    if isinstance(error, NNError):
        return error
    return NNError(ErrorCode.RUNTIME_ERROR, f"internal error of the host, {type(error).__name__}: {one_line(error)}")


def kind_of(error: NNError) -> str | None:
    """The class name of an error, such as `EndOfSequence`; None for `NNError` itself."""
    return None if type(error) is NNError else type(error).__name__


class CallRecorder(ABC):
    """Times calls and describes them. A subclass has `write`, which gets each call at its end."""

    def __init__(self) -> None:
        self._last_error: Callable[[], NNError | None] = lambda: None

    @abstractmethod
    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        """Take a call that has ended. `arguments` has also its `result` or `error`; the times are nanoseconds of
        `perf_counter_ns`."""

    def name_row(self, row: int, name: str) -> None:
        """Name a row of the timeline, for a subclass that has one."""
        return

    def for_run(self, title: str) -> CallRecorder:
        """The recorder for a run with a title, for a subclass that tells runs apart."""
        return self

    def phase(self, name: str, began: int, ended: int, about: Described) -> None:
        """Take a part of the guest's run that has ended, such as compiling it, for a subclass that shows it."""
        return

    def guest_goes_on(self) -> None:
        """Note that the guest's own code runs from now on, but for its calls."""
        return

    def guest_ended(self) -> None:
        """Note that the guest's own code has ended."""
        return

    def close(self) -> None:
        """End the record, for a subclass that holds something."""
        return

    def call(
        self,
        name: str,
        row: int,
        arguments: Described,
        function: Callable[[], Result],
        result: Callable[[Result], Described] | None = None,
    ) -> Result:
        """Call a function; write its time and its result or error. `result` describes the returned value."""
        began = perf_counter_ns()
        try:
            value = function()
        except Exception as error:
            self.failed(name, row, arguments, error, began)
            raise
        ended = perf_counter_ns()
        described = arguments if result is None else {**arguments, "result": result(value)}
        self.write(name, row, described, began, ended, CATEGORY)
        return value

    def failed(self, name: str, row: int, arguments: Described, error: Exception, began: int | None = None) -> None:
        """Write a call that failed."""
        ended = perf_counter_ns()
        nn_error = as_nn_error(error)
        # A weak reference, because an error keeps the frames of its traceback alive, and these keep a guest's memory.
        self._last_error = ref(nn_error)
        described = {"code": nn_error.code.value, "message": nn_error.message}
        kind = kind_of(nn_error)
        if kind is not None:
            described["kind"] = kind
        self.write(name, row, {**arguments, "error": described}, ended if began is None else began, ended, CATEGORY)

    def refused(self, name: str, arguments: Described, error: Exception) -> None:
        """Write a call that an ABI rejected, unless its error was written last: then the session's call had failed."""
        if error is self._last_error():
            return
        code = error.code.value if isinstance(error, NNError) else ErrorCode.INVALID_ARGUMENT.value
        now = perf_counter_ns()
        described = {**arguments, "error": {"code": code, "message": printable(str(error))}}
        self.write(name, GRAPHS_ROW, described, now, now, REFUSED)

    def tensor(self, dtype: DType, dims: Dims, content: memoryview | None) -> dict[str, Any]:
        """The description of a tensor. `content` is None if the elements have no bytes."""
        described: dict[str, Any] = {"type": _type_name(dtype), "dims": list(dims)}
        if content is None:
            return described
        described |= self.content(content)
        return described | summary(dtype, content, described.get("data", {}).get("sha256"))

    def array(self, array: Array) -> dict[str, Any]:
        """The description of an array."""
        if array.dtype == object and holds_texts(array):
            with suppress(NNError):  # more strings than have an encoding
                return {"type": STRINGS, "dims": list(array.shape)} | self.content(encoded(array).data)
        contentless = issubclass(array.dtype.type, _CONTENTLESS)
        return self.tensor(array.dtype, array.shape, None if contentless else byte_view(array))

    def content(self, content: memoryview) -> dict[str, Any]:
        """The description of some bytes: their number, and what a subclass adds."""
        return {"bytes": content.nbytes}
