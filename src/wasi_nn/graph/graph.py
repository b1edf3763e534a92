"""Graphs and execution contexts: what every backend would otherwise repeat.

A backend supplies a `Graph` that describes its inputs and outputs and makes runners (`wasi_nn.graph.runner`). All else
is here, once: finding a tensor by index or name, checking what is fed, keeping inputs between computes, owning the
buffers, and refusing to hand out outputs that no compute has made. This room knows neither WebAssembly nor any ML
runtime.

Copies: `ExecutionContext.write_input` copies a caller's bytes once, into a buffer that the context owns and uses again;
the runtime reads that buffer in place. `ExecutionContext.output_bytes` is a view of what the runtime wrote, for the
caller to copy once.

A graph may also give its outputs piece by piece, as a language model does: `ExecutionContext.compute_single` makes the
next piece of a *sequence*, which begins with the inputs that are set and ends where the graph ends it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wasi_nn.errors import ContextFull, EndOfSequence, ErrorCode, NNError
from wasi_nn.graph.fitting import as_declared, byte_view, checked, find, fitting_dims, no_such_tensors, require_rank
from wasi_nn.graph.runner import ABSENT, EndedEarly, NamedOutputs, RunFunction, Runner, as_runner, failure, run
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process import forks
from wasi_nn.types import Dims, GraphEncoding, TensorType, dims_text, dtype_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import HeldBytes
    from wasi_nn.types import Array, DType

Result = TypeVar("Result")

_BYTE = np.dtype(np.uint8)


class Graph(ABC):
    """A loaded model, ready to be run from any number of threads.

    `inputs` and `outputs` are in the model's own order, which is the order of the core ABI's indexes. `device` says
    where it really runs (`cpu`, `cuda:0` ...), whatever was asked for. `metadata` is what the model says of itself.
    Where `outputs_vary`, the model doesn't say which outputs it has: `outputs` is empty, and runners give
    `NamedOutputs`.
    """

    encoding: GraphEncoding
    runtime: str = ""
    """The name of the ML runtime that runs it: that of its backend."""
    device: str = "cpu"
    outputs_vary: bool = False

    def __init__(
        self,
        inputs: Iterable[TensorInfo],
        outputs: Iterable[TensorInfo],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        for info in (*self.inputs, *self.outputs):
            require_rank(info)
        self.metadata = dict(metadata or {})
        self._forks = forks.count
        forks.keep(self)

    def require_made_here(self) -> None:
        """Raise `NNError` with `runtime-error` in a fork of the process that loaded the graph."""
        if self._forks != forks.count:
            raise forks.made_elsewhere("graph")

    @property
    def known_output_bytes(self) -> int:
        """The bytes that its outputs have at least: those of them whose type and dims are fixed."""
        return sum(
            prod(map(int, info.dims or ())) * info.dtype.itemsize
            for info in self.outputs
            if info.has_fixed_dims and info.dtype is not None and not info.dtype.hasobject
        )

    def configured(self, config: memoryview) -> Graph:
        """The same model, run as a guest's configuration has it; this graph itself if the configuration is empty.

        Raises `NNError`: `unsupported-operation` where graphs of this encoding take none, `invalid-encoding` for one
        that can't be read, `invalid-argument` for a value in it that doesn't fit.
        """
        if len(config) == 0:
            return self
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"graphs of {self.encoding.value} take no configuration")

    @abstractmethod
    def runner(self) -> Runner | RunFunction:
        """A new runner of this graph, with state of its own where the runtime needs some."""

    def init_execution_context(self) -> ExecutionContext:
        """A new execution context, independent of every other one."""
        return ExecutionContext(self)

    def compute(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Run once, without state: an array for each input's name gives an array for each output's name.

        Nothing is cast: arrays must have the declared dtype. A name that no input has may be a decimal index. Raises
        `NNError`: `invalid-argument` for what doesn't fit, `runtime-error` when the runtime fails.
        """
        self.require_made_here()
        arrays = named_inputs(self, inputs.items())
        return dict(named_outputs(self, run(as_runner(self.runner()), arrays, None)))


_OUTPUTS = -1  # where outputs count as held; inputs do by their index
_NOTHING: tuple[DType, Dims] = (np.dtype(object), (-1,))  # what no tensor has: the next one is looked at


class ExecutionContext:
    """One inference after another on a graph: inputs are set and stay set, compute runs, outputs are read.

    Or piece by piece: `compute_single` makes a piece, `single_output_bytes` gives it, `fini_single` ends the sequence.

    Belongs to one thread at a time.
    """

    def __init__(self, graph: Graph) -> None:
        graph.require_made_here()
        self._forks = forks.count
        forks.keep(self)
        self.graph = graph
        try:
            self._runner = as_runner(graph.runner())
        except NNError:
            raise
        except Exception as error:
            raise failure(error) from error
        features = self._runner.features
        self._gives_buffers = "input_buffer" in features
        self._checks_inputs = "check_input" in features
        self._gives_steps = "steps" in features
        self._knows_outputs = "output_before_compute" in features
        self._inputs: list[Array | None] = [ABSENT if info.optional else None for info in graph.inputs]
        self._accepted: list[tuple[DType, Dims] | None] = [_NOTHING if info.optional else None for info in graph.inputs]
        self._bytes: list[memoryview | None] = [None] * len(graph.inputs)
        self._outputs: Sequence[Array] | None = None
        self._output_views: tuple[Sequence[Array] | None, list[memoryview | None]] = (None, [])
        self._sequence: Iterator[Sequence[Array]] | None = None
        self._step: Sequence[Array] | None = None
        self._outputs_of_sequence = False
        # Whether the inputs that are set were run. Kept only where something depends on it.
        self._ran = False
        self._guard: ComputeGuard | None = None
        self._held: HeldBytes | None = None
        self._known_output_bytes = 0  # looked at where bytes are held
        self._minds_running = self._gives_steps or self._knows_outputs

    def keep_to(self, guard: ComputeGuard, held: HeldBytes) -> None:
        """Compute within the time that a guard gives, and hold no more bytes than there may be."""
        self._guard, self._held = guard, held
        self._known_output_bytes = self.graph.known_output_bytes

    def set_input(self, key: int | str, tensor: ArrayLike) -> None:
        """Set an input, by index or by name, to a copy of `tensor`. See `write_input` for the errors."""
        index = find(self.graph.inputs, key, "input")
        array = as_declared(self.graph.inputs[index], tensor)
        if array.dtype == object:  # which has no bytes to be written
            self._inputs[index] = checked(self.graph.inputs[index], array).copy()
            self._accepted[index] = None
            self._inputs_changed()
            return
        self.write_input(index, array.dtype, array.shape, byte_view(array))

    def write_input(self, index: int, dtype: DType, dims: Dims, data: memoryview) -> None:
        """Set input `index` to a copy of `data`: the bytes (format `B`) of a row-major tensor of these dims.

        Raises `NNError` with `invalid-argument` if there is no such input, the dtype isn't the declared one, the dims
        don't fit the declared ones, or `data` isn't as long as dims and dtype say. A failed call changes nothing.
        """
        if self._checks_inputs:
            self._runner.check_input(index, data)
        known = 0 <= index < len(self._accepted) and self._accepted[index] == (dtype, dims)
        view = self._bytes[index] if known else None
        if view is None or len(view) != len(data):
            view = self._renew_input(index, dtype, dims, len(data))
        if self._ran:
            self._inputs_changed()
        view[:] = data

    def show_to(self, show: Callable[[bytes], None]) -> None:
        """Where a text goes as it is written, if the graph's options ask for that."""
        self._runner.text_sink = show

    def _inputs_changed(self) -> None:
        self._end_sequence()
        self._ran = False

    def _renew_input(self, index: int, dtype: DType, dims: Dims, nbytes: int) -> memoryview:
        info = self.graph.inputs[find(self.graph.inputs, index, "input")]
        accepted = dtype, dims
        if info.opaque:
            dtype, dims = _BYTE, (nbytes,)
        actual = fitting_dims(info, dtype, dims)
        expected = prod(dims) * dtype.itemsize
        if nbytes != expected:
            raise NNError(
                ErrorCode.INVALID_ARGUMENT,
                f"input {info.name!r}: {dtype_name(dtype)}{dims_text(dims)} is {expected} bytes, got {nbytes}",
            )
        if self._held is not None:
            self._held.hold(index, nbytes)
        buffer = self._runner.input_buffer(index, actual) if self._gives_buffers else None
        array: Array = np.empty(actual, dtype) if buffer is None else buffer
        view = byte_view(array)
        self._inputs[index] = array
        self._accepted[index] = accepted
        self._bytes[index] = view
        return view

    def compute(self) -> None:
        """Run the graph on the inputs that are set.

        Raises `NNError`: `invalid-argument` if an input was never set, `runtime-error` if the runtime fails; there
        are no outputs then.
        """
        if self._forks != forks.count:
            raise forks.made_elsewhere("execution context")
        if None in self._accepted:
            self._require_inputs()
        if self._minds_running:
            self._end_sequence()
            self._ran, self._outputs_of_sequence = True, False
        reuse, self._outputs = self._outputs or (), None
        if not reuse and self._held is not None:
            self._held.hold(_OUTPUTS, self._known_output_bytes)
        if self._guard is None:
            self._outputs = run(self._runner, self._inputs, reuse)  # type: ignore[arg-type]
            return
        outputs = self._guard.run(self._runner, partial(run, self._runner, self._inputs, reuse))  # type: ignore[arg-type]
        if outputs is not reuse:
            self._hold_outputs(outputs)
        self._outputs = outputs

    def _hold_outputs(self, outputs: Sequence[Array]) -> None:
        if self._held is not None:
            self._held.hold(_OUTPUTS, sum(array.nbytes for array in outputs))

    def _guarded(self, call: Callable[[], Result]) -> Result:
        """Make a call that has the runner compute."""
        self._require_made_here()
        return call() if self._guard is None else self._guard.run(self._runner, call)

    @property
    def context_full(self) -> bool:
        """Whether the outputs of the last compute end where the context was full."""
        return isinstance(self._outputs, EndedEarly)

    def compute_single(self) -> None:
        """Make the next piece of the sequence; the first of a new one on the inputs that are set, if none is under way.

        `set_input`, `compute` and `fini_single` end a sequence, and so does every error. Once it is complete, its whole
        is the graph's output, as if `compute` had made it. Raises `NNError` as `compute` does, and
        `unsupported-operation` if the graph gives its outputs all at once; `EndOfSequence` where there is no next
        piece; `ContextFull` where there is none because the context is full.
        """
        try:
            if self._sequence is None:
                self._sequence = self._guarded(self._begin_sequence)
            self._step = self._guarded(partial(next, self._sequence))
        except StopIteration as end:
            self._end_sequence()
            self._outputs, self._outputs_of_sequence = end.value, True
            if self.context_full:
                raise ContextFull("the sequence ends here: the context is full") from None
            raise EndOfSequence from None
        except BaseException as error:
            self._end_sequence()
            if isinstance(error, NNError) or not isinstance(error, Exception):
                raise
            raise failure(error) from error

    def _begin_sequence(self) -> Iterator[Sequence[Array]]:
        if not self._gives_steps:
            message = f"graphs of {self.graph.encoding.value} give their outputs all at once: compute them"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        self._require_inputs()
        self._ran, self._outputs = True, None
        return self._runner.steps(self._inputs)  # type: ignore[arg-type]

    def _end_sequence(self) -> None:
        self._require_made_here()
        sequence, self._sequence, self._step = self._sequence, None, None
        close = getattr(sequence, "close", None)
        if close is not None:
            close()

    def single_output_bytes(self, index: int) -> memoryview:
        """The last piece (output 0; empty if there is none), or what is told of the sequence so far (the others).

        A view, good until the next call of the context. Raises `NNError` with `invalid-argument` if there is no such
        output.
        """
        find(self.graph.outputs, index, "output")
        array = self._told(index) if self._step is None or index else self._step[0]
        if array is None and index and self._outputs is not None:
            array = self._outputs[index]
        return output_view(self.graph.outputs[index], ABSENT if array is None else array)

    def fini_single(self) -> None:
        """End the sequence, if one is under way, and forget what it gave."""
        self._end_sequence()
        if self._outputs_of_sequence:
            self._outputs, self._outputs_of_sequence = None, False

    def _told(self, index: int) -> Array | None:
        """What is known of an output although no compute has made it on the inputs that are set."""
        if self._step is not None and index:
            return self._step[index]
        if not self._knows_outputs or (self._ran and self._outputs is not None):
            return None
        self._require_made_here()
        return self._runner.output_before_compute(index, self._inputs)

    def _require_made_here(self) -> None:
        if self._forks != forks.count:
            raise forks.made_elsewhere("execution context")

    def _require_inputs(self) -> None:
        unset = [info.name for info, array in zip(self.graph.inputs, self._inputs, strict=True) if array is None]
        if unset:
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"compute before set_input: no value for {', '.join(map(repr, unset))}"
            )

    def compute_named(self, inputs: Iterable[tuple[str, ArrayLike]]) -> list[tuple[str, Array]]:
        """Run once on the named inputs alone, without touching the inputs that are set.

        Gives every output with its name, in the model's order; the arrays are the caller's.
        """
        arrays = named_inputs(self.graph, inputs)
        if self._held is not None:
            self._held.require(self._known_output_bytes)
        return named_outputs(self.graph, self._guarded(partial(run, self._runner, arrays, None)))

    def get_output(self, key: int | str) -> Array:
        """A copy of an output of the last compute, by index or by name.

        Raises `NNError` with `invalid-argument` if there is no such output, `runtime-error` if no compute has succeeded
        since the context was made or since the last one failed.
        """
        return self.output(key)[1].copy()

    def output_bytes(self, index: int) -> memoryview:
        """The bytes of output `index`, row-major: a view, good until the next compute. Raises as `get_output` does, and
        `unsupported-operation` if the elements are of a type that wasi-nn lacks."""
        if self._minds_running:
            return output_view(*self.output(index))
        of, views = self._output_views
        if of is not self._outputs or of is None:
            count = len(self.graph.outputs if self._outputs is None else self._outputs)
            of, views = self._output_views = (self._outputs, [None] * count)
        if 0 <= index < len(views):
            view = views[index]
            if view is not None:
                return view
        info, array = self.output(index)
        view = output_view(info, array)
        if array.flags.c_contiguous:  # else the view is of a copy, which the next compute wouldn't write
            views[index] = view
        return view

    def output(self, key: int | str) -> tuple[TensorInfo, Array]:
        """An output of the last compute, by index or by name, and what the graph says of it: the runtime's array, good
        until the next compute. Raises as `get_output` does."""
        if self._minds_running:
            index = find(self.graph.outputs, key, "output")
            told = self._told(index)
            if told is not None:
                return self.graph.outputs[index], told
        outputs = self._outputs
        if outputs is None:
            if not self.graph.outputs_vary:
                key = self.graph.outputs[find(self.graph.outputs, key, "output")].name
            raise NNError(
                ErrorCode.RUNTIME_ERROR, f"output {key!r} isn't there: no compute has succeeded, or the last failed"
            )
        infos = output_infos(self.graph, outputs)
        index = find(infos, key, "output")
        return infos[index], outputs[index]


def output_view(info: TensorInfo, array: Array) -> memoryview:
    """The bytes of an output, as `byte_view` gives them. Raises `NNError` with `unsupported-operation` for elements of
    a type that wasi-nn lacks."""
    if TensorType.of(array.dtype) is None:
        kind = dtype_name(array.dtype) if info.dtype is None else info.type_name
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"output {info.name!r} is {kind}; {no_such_tensors(kind)}")
    return byte_view(array)


def output_infos(graph: Graph, outputs: Sequence[Array]) -> Sequence[TensorInfo]:
    """What these outputs of a graph are."""
    return outputs.infos if isinstance(outputs, NamedOutputs) else graph.outputs


def named_outputs(graph: Graph, outputs: Sequence[Array]) -> list[tuple[str, Array]]:
    """Outputs of a graph, each with its name."""
    return [(info.name, array) for info, array in zip(output_infos(graph, outputs), outputs, strict=True)]


def named_inputs(graph: Graph, named: Iterable[tuple[str, ArrayLike]]) -> list[Array]:
    """The arrays for a graph's inputs in order, from (name, array) pairs; each input once, checked, contiguous."""
    arrays: list[Array | None] = [None] * len(graph.inputs)
    for name, tensor in named:
        index = find(graph.inputs, name, "input")
        info = graph.inputs[index]
        if arrays[index] is not None:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} is given twice")
        arrays[index] = checked(info, as_declared(info, tensor))
    for index, info in enumerate(graph.inputs):
        if info.optional and arrays[index] is None:
            arrays[index] = ABSENT
    missing = [info.name for info, array in zip(graph.inputs, arrays, strict=True) if array is None]
    if missing:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"no value for input {', '.join(map(repr, missing))}")
    return arrays  # type: ignore[return-value]
