"""Runners: the interface by which a backend runs a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims, DType

RunFunction = Callable[["Sequence[Array]", "Sequence[Array] | None"], "Sequence[Array]"]
"""A plain function that runs a graph: what `Runner.__call__` is."""


class Runner(ABC):
    """Runs one graph, for one execution context; one thread at a time calls it. `__call__` is all that a runner needs.

    A runner raises `NNError` for what its caller did wrong; any other exception becomes a `runtime-error`.
    """

    text_sink: Callable[[bytes], None] | None = None
    """Receives generated text (UTF-8, in pieces) while it streams, if the graph's options ask for that."""

    @abstractmethod
    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        """The outputs for these inputs: one array for each of `Graph.outputs`, in a list or in `Outputs`.

        `inputs` has one array for each of `Graph.inputs`: C-contiguous, of the declared dtype and of dims that fit;
        `ABSENT` for an optional one that isn't set. The same array object comes again while its dims stay, so that a
        runner may bind it to the runtime.

        `reuse` are arrays that may be written into and returned: those of an earlier call, or such arrays in memory of
        the caller's; empty if there are none. None means that the runner must keep neither inputs nor outputs. If all
        outputs are in these arrays, return `reuse` itself: views of them then stay, and need not be made anew.
        """

    def input_buffer(self, index: int, dims: Dims) -> Array | None:
        """Optional: the runtime's own memory for an input of these dims, for the caller to write into. That array is
        then among the `inputs` of the next call. None: the caller makes an array."""
        return None

    def check_input(self, index: int, data: memoryview) -> None:  # noqa: B027  optional
        """Optional: raise `NNError` for the bytes of an input that won't do, as soon as they are set."""

    def expect_deadlines(self) -> None:  # noqa: B027  optional
        """Optional: called before anything else if each call that computes is interrupted at a deadline."""

    def know_deadline(self, deadline: Callable[[], float]) -> None:  # noqa: B027  optional
        """Optional: called before anything else, with a function for the calls that compute: it gives the time of
        `time.monotonic` by which the present one must end, or infinity. Such a call is interrupted then in any case."""

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        """Optional: an output that is known before the graph runs. An input that isn't set is None. None: it isn't
        known."""
        return None

    def steps(self, inputs: Sequence[Array]) -> Iterator[Sequence[Array]]:
        """Optional: the outputs piece by piece. Output 0 of each step is the piece, the others are of the sequence so
        far. The inputs stay as they are meanwhile. A generator may return the outputs as `__call__` gives them; it is
        closed where a sequence is ended early."""
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "this graph gives its outputs all at once, not piece by piece")

    def interrupt(self) -> None:  # noqa: B027  optional
        """Optional: have the call that is under way raise soon; the next one runs as usual. Called from another
        thread."""

    @property
    def features(self) -> frozenset[str]:
        """The names of the optional methods that this runner has: those that its class overrides."""
        return frozenset(name for name in OPTIONAL if getattr(type(self), name) is not getattr(Runner, name))


OPTIONAL = (
    "input_buffer",
    "check_input",
    "expect_deadlines",
    "know_deadline",
    "output_before_compute",
    "steps",
    "interrupt",
)
"""The optional methods of a runner."""


class _FunctionRunner(Runner):
    """A runner made of a function, or of an object with `__call__` and some of the optional methods."""

    def __init__(self, function: RunFunction) -> None:
        self._function = function
        self._features = frozenset(name for name in OPTIONAL if hasattr(function, name))
        for name in self._features:
            setattr(self, name, getattr(function, name))

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        return self._function(inputs, reuse)

    @property
    def features(self) -> frozenset[str]:
        return self._features

    @property
    def text_sink(self) -> Callable[[bytes], None] | None:
        sink: Callable[[bytes], None] | None = getattr(self._function, "text_sink", None)
        return sink

    @text_sink.setter
    def text_sink(self, sink: Callable[[bytes], None] | None) -> None:
        if hasattr(self._function, "text_sink"):
            self._function.text_sink = sink


def as_runner(made: Runner | RunFunction) -> Runner:
    """What `Graph.runner` gives, as a `Runner`."""
    return made if isinstance(made, Runner) else _FunctionRunner(made)


ABSENT: Array = np.empty(0, np.uint8)
"""The array that stands for an optional input that isn't set."""


def can_write_into(array: Array, dtype: DType | None) -> bool:
    """Whether a runtime can write elements of a type into an array: it is of that type, contiguous and writable."""
    return array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable


def reused(outputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
    """The outputs; `reuse` itself if they are its very arrays."""
    if reuse and len(outputs) == len(reuse) and all(map(is_, outputs, reuse)):
        return reuse
    return outputs


def run(runner: Runner, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
    """Call a runner; an exception of the runtime becomes an `NNError`."""
    try:
        return runner(inputs, reuse)
    except NNError:
        raise
    except Exception as error:
        raise failure(error) from error


def failure(error: Exception) -> NNError:
    """The `NNError` for an exception of a runtime."""
    return NNError(ErrorCode.RUNTIME_ERROR, f"the runtime failed: {one_line(error)}")
