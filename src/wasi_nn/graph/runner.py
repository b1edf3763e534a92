"""Runners: what a backend supplies to have a graph run, and what goes with every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

Runner = Callable[["Sequence[Array]", "Sequence[Array] | None"], "Sequence[Array]"]
"""Runs a graph: `runner(inputs, reuse)` gives its outputs.

`inputs` has one array for each of `Graph.inputs`, C-contiguous, of the declared dtype and of dims that fit (`ABSENT`
for an optional one that isn't set); the same array object comes again while its dims stay, so a runner may bind it.
`reuse` are arrays that may be written over and returned: what an earlier call returned, or such arrays in memory of the
caller's; empty if there are none. Or it is None: then the runner keeps hold of neither inputs nor outputs. One thread
at a time calls a runner. An exception that isn't an `NNError` becomes one with `runtime-error`.

A runner whose runtime has memory of its own for its inputs may have a method `input_buffer(index, dims)`: the array to
write that input into, or None. It is among `inputs` in the next call then.

One whose outputs can be had piece by piece has a method `steps(inputs)`: an iterator of outputs. The first output of
each step is the piece, the others are what is told of the sequence so far. A generator may return what the runner would
have for the same inputs. The inputs stay as they are while it is gone through, and it is closed or dropped where a
sequence is ended early.

One that can tell of an input as soon as it is set that it won't do has a method `check_input(index, data)`, which
raises an `NNError` then. One that can show a text as it is written has an attribute `show`, which is None or set to
what takes the bytes.

One whose runtime can be stopped has a method `interrupt()`. It is called from another thread while the runner is being
called: that call then ends soon, by raising, and the next one runs as usual.

One that knows of an output before it runs may have a method `output_before_compute(index, inputs)`: that output, or
None. An input that isn't set is None in `inputs`.
"""

ABSENT: Array = np.empty(0, np.uint8)
"""What a runner gets for an optional input that isn't set."""


class NamedOutputs(list["Array"]):
    """The outputs of a graph whose model doesn't say which it has: arrays, with a name for each in `infos`."""

    def __init__(self, named: Iterable[tuple[str, Array]]) -> None:
        pairs = list(named)
        super().__init__(array for _, array in pairs)
        self.infos = tuple(TensorInfo(name, array.dtype, array.shape) for name, array in pairs)


class EndedEarly(list["Array"]):
    """Outputs that end where the context is full: a runner returns them so, and all else about them is as usual."""


def takes(array: Array, dtype: DType | None) -> bool:
    """Whether a runtime can write elements of a type into an array's memory."""
    return array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable


def run(runner: Runner, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
    """Call a runner; whatever the runtime raises becomes an `NNError`."""
    try:
        return runner(inputs, reuse)
    except NNError:
        raise
    except Exception as error:
        raise failure(error) from error


def failure(error: Exception) -> NNError:
    """What an exception of a runtime's is to a caller."""
    return NNError(ErrorCode.RUNTIME_ERROR, f"the runtime failed: {one_line(error)}")
