"""Execution contexts: one inference after another on a graph, with inputs that stay set.

Copies: `ExecutionContext.write_input` copies a caller's bytes once, into a buffer that the context owns and uses again;
the runtime reads that buffer in place. `ExecutionContext.output_bytes` is a view of what the runtime wrote, for the
caller to copy once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wasi_nn.arguments import require_function, wrong_argument
from wasi_nn.errors import ContextFull, EndOfSequence, ErrorCode, NNError
from wasi_nn.graph.bound_compute import BoundCompute
from wasi_nn.graph.byte_strings import held_bytes
from wasi_nn.graph.fitting import byte_view, find
from wasi_nn.graph.input_slots import InputSlots
from wasi_nn.graph.named_tensors import input_pairs, named_inputs, named_outputs, output_infos, output_view
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.python_tensors import as_declared
from wasi_nn.graph.runner import ABSENT, as_runner, failure, run
from wasi_nn.graph.sequence import NamedSequence
from wasi_nn.process import forks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import HeldBytes
    from wasi_nn.types import Array, Dims, DType

Result = TypeVar("Result")

# Keys in `HeldBytes`: of outputs, of a sequence's inputs, and of bound computes. Inputs have their indexes.
_OUTPUTS, _OF_SEQUENCE, _BOUND = -1, -2, -3


class ExecutionContext:
    """Runs one inference after another on a graph: set the inputs (they stay set), compute, get the outputs.

    A language model can give its output piece by piece: iterate over `pieces()`, or call `compute_single`,
    `single_output_bytes` and `fini_single`.

    One thread at a time may use a context. Contexts of one graph are independent of each other.
    """

    def __init__(self, graph: Graph) -> None:
        require_usable = getattr(graph, "require_usable", None)
        if require_usable is None:
            raise wrong_argument("graph", "a wasi_nn.Graph", graph)
        require_usable()
        self._forks = forks.count
        forks.leak_in_child(self)
        self.graph = graph
        try:
            self._runner = as_runner(graph.runner())
        except NNError:
            raise
        except Exception as error:
            raise failure(error) from error
        features = self._runner.features
        self._checks_inputs = "check_input" in features
        self._gives_steps = "steps" in features
        self._knows_outputs = "output_before_compute" in features
        self._inputs = InputSlots(graph.inputs, self._runner)
        self._has_run = False  # whether compute has run on the inputs that are set
        self._outputs: Sequence[Array] | None = None
        self._output_views: tuple[Sequence[Array] | None, list[memoryview | None]] = (None, [])
        self._sequence: Iterator[Sequence[Array]] | None = None
        self._step: Sequence[Array] | None = None
        self._outputs_of_sequence = False
        self._gives_pieces = False  # whether the outputs are those of the current piece, while a sequence is under way
        self.sequence_number = 0
        """Counts the sequences that have ended, or would have: `NamedSequence` compares it."""
        self._guard: ComputeGuard | None = None
        self._held: HeldBytes | None = None
        self._known_output_bytes = 0  # set where bytes are held
        self.plan: object = None
        """What an ABI keeps for the next compute of this context; None again where a sequence begins."""

    def keep_to(self, guard: ComputeGuard, held: HeldBytes) -> None:
        """Bound the time of computes by `guard`, and count the bytes of inputs and outputs in `held`."""
        self._guard, self._held, self._inputs.held = guard, held, held
        self._known_output_bytes = self.graph.known_output_bytes
        if guard.has_deadlines and "expect_deadlines" in self._runner.features:
            self._runner.expect_deadlines()
        if "know_deadline" in self._runner.features:
            self._runner.know_deadline(lambda: guard.due)

    def set_input(self, key: int | str, tensor: ArrayLike) -> None:
        """Set an input, by index or by name, to a copy of `tensor`. See `write_input` for the errors."""
        index = find(self.graph.inputs, key, "input")
        array = as_declared(self.graph.inputs[index], tensor)
        if array.dtype == object:
            self._inputs.set_objects(index, array)
            self._inputs_changed()
            return
        self.write_input(index, array.dtype, array.shape, byte_view(array))

    def write_input(self, index: int, dtype: DType, dims: Dims, data: memoryview) -> None:
        """Set input `index` to a copy of `data`: the bytes (format `B`) of a row-major tensor with dimensions `dims`.

        Raises `NNError` with `invalid-argument` if the graph has no such input, `dtype` isn't the declared element
        type, `dims` don't fit the declared dimensions, or `data` has another length than `dims` and `dtype` require.
        The input stays as it was then.
        """
        if self._checks_inputs:
            self._runner.check_input(index, data)
        view = self._inputs.view_for(index, dtype, dims, len(data))
        if self._has_run:
            self._inputs_changed()
        try:
            view[:] = data
        except (TypeError, ValueError):
            raise wrong_argument("data", "a memoryview of bytes", data) from None

    def show_to(self, show: Callable[[bytes], None]) -> None:
        """Set the function that receives generated text while it streams, if the graph's options ask for that."""
        require_function("show", show)
        self._runner.text_sink = show

    def _inputs_changed(self) -> None:
        self._has_run = False
        if self._sequence is not None:
            self._end_sequence()

    def compute(self) -> None:
        """Run the graph on the inputs that are set.

        Raises `NNError`: `invalid-argument` if an input was never set, `runtime-error` if the runtime fails; there
        are no outputs then.
        """
        self._require_made_here()
        inputs = self._inputs.require_all()
        if self._sequence is not None:
            self._end_sequence()
        self._has_run, self._outputs_of_sequence = True, False
        reuse, self._outputs = self._outputs or (), None
        if not reuse and self._held is not None:
            self._held.hold(_OUTPUTS, self._known_output_bytes)
        if self._guard is None:
            self._outputs = run(self._runner, inputs, reuse)
            return
        outputs = self._guard.run(self._runner, partial(run, self._runner, inputs, reuse))
        if outputs is not reuse:
            self._hold_outputs(outputs)
        self._outputs = outputs

    def _hold_outputs(self, outputs: Sequence[Array]) -> None:
        if self._held is not None:
            self._held.hold(_OUTPUTS, sum(map(held_bytes, outputs)))

    def interrupt(self) -> None:
        """Make the current compute raise soon, if its runtime can be interrupted. May be called from any thread."""
        self._runner.interrupt()

    def _guarded(self, call: Callable[[], Result]) -> Result:
        """Call a function that has the runner compute, within the time of the guard."""
        self._require_made_here()
        return call() if self._guard is None else self._guard.run(self._runner, call)

    @property
    def context_full(self) -> bool:
        """Whether the outputs of the last compute end where the context was full."""
        return isinstance(self._outputs, Outputs) and self._outputs.context_full

    def compute_single(self) -> None:
        """Compute the next piece of the sequence. If no sequence has begun, begin one on the inputs that are set.

        `set_input`, `compute`, `fini_single` and every error end a sequence. After its last piece, the graph's outputs
        are those of the whole sequence, as if `compute` had run. Raises `NNError` as `compute` does, with
        `unsupported-operation` if the graph gives its outputs all at once; `EndOfSequence` after the last piece;
        `ContextFull` if the sequence ends because the model's context is full.
        """
        try:
            if self._sequence is None:
                self._sequence = self._guarded(lambda: self._begin_sequence(self._inputs.require_all()))
                self._gives_pieces = False
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

    def pieces(self) -> Iterator[Array]:
        """Begin a new sequence on the inputs that are set, and yield its pieces: a copy of output 0 for each.

        The iterator ends with the sequence, or when the model's context is full (see `context_full`); the graph's
        outputs are then those of the whole sequence. Closing the iterator ends the sequence early. Raises `NNError` as
        `compute_single` does.
        """
        self.fini_single()
        try:
            while True:
                try:
                    self.compute_single()
                except (EndOfSequence, ContextFull):
                    return
                assert self._step is not None  # since no error was raised
                yield self._step[0].copy()
        finally:
            self._end_sequence()

    def sequence(self, inputs: Mapping[str, ArrayLike] | Iterable[tuple[str, ArrayLike]] | ArrayLike) -> NamedSequence:
        """Begin a sequence on these inputs, as `compute_named` takes them; the context's inputs stay as they are.

        Raises `NNError` as `compute_named` does, with `unsupported-operation` if the graph gives its outputs all at
        once.
        """
        arrays = named_inputs(self.graph, input_pairs(self.graph, inputs))
        self._end_sequence()
        if self._held is not None:
            self._held.hold(_OF_SEQUENCE, sum(map(held_bytes, arrays)))
        self._begin(arrays)
        return NamedSequence(self)

    def begin_sequence(self) -> None:
        """Begin a sequence on the inputs that are set; `next_piece` computes its pieces. Raises `NNError` as `compute`
        does, with `unsupported-operation` if the graph gives its outputs all at once."""
        inputs = self._inputs.require_all()
        self._end_sequence()
        self._begin(inputs)

    def next_piece(self) -> bool:
        """Compute the next piece of the sequence that has begun; returns whether there was one. The outputs of the
        context are those of the piece then, and after the last piece those of the whole sequence.

        Raises `NNError` as `compute` does, with `invalid-argument` if no sequence is under way.
        """
        if self._sequence is None:
            if self._outputs_of_sequence:
                return False
            message = "no sequence is under way: a compute, a new input or an error ends one"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        try:
            self.compute_single()
        except (EndOfSequence, ContextFull):
            return False
        return True

    def end_sequence(self) -> None:
        """End the sequence that is under way, and drop its outputs. Of no effect if none is under way."""
        if self._sequence is not None:
            self.fini_single()

    def _begin(self, inputs: Sequence[Array]) -> None:
        try:
            self._sequence = self._guarded(partial(self._begin_sequence, inputs))
        except BaseException:
            self._end_sequence()
            raise
        self._gives_pieces = True

    def piece(self) -> list[tuple[str, Array]]:
        """Copies of the outputs of the sequence's current piece, each with its name."""
        assert self._step is not None  # a piece has just been computed
        return [(name, array.copy()) for name, array in named_outputs(self.graph, self._step)]

    def __repr__(self) -> str:
        unset = ", ".join(self._inputs.unset_names) or "none"
        return f"<{type(self).__name__} of {self.graph!r}, inputs to be set: {unset}>"

    def _begin_sequence(self, inputs: Sequence[Array]) -> Iterator[Sequence[Array]]:
        if not self._gives_steps:
            encoding = self.graph.encoding.value
            message = f"graphs of {encoding} give their outputs all at once, not piece by piece: call compute"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        self.plan = None  # a bound compute wouldn't end the sequence
        self._has_run, self._outputs, self._outputs_of_sequence = True, None, False
        return self._runner.steps(inputs)

    def _end_sequence(self) -> None:
        self._require_made_here()
        self.sequence_number += 1
        sequence, self._sequence, self._step = self._sequence, None, None
        close = getattr(sequence, "close", None)
        if close is not None:
            close()
        if self._held is not None:
            self._held.hold(_OF_SEQUENCE, 0)

    def single_output_bytes(self, index: int) -> memoryview:
        """The bytes of output `index` for the current piece. Output 0 is the piece (empty before the first one); the
        other outputs describe the sequence so far.

        The view is valid until the next call of the context. Raises `NNError` with `invalid-argument` if the graph has
        no such output.
        """
        index = find(self.graph.outputs, index, "output")
        array = self._early_output(index) if self._step is None or index else self._step[0]
        if array is None and index and self._outputs is not None:
            array = self._outputs[index]
        return output_view(self.graph.outputs[index], ABSENT if array is None else array)

    def fini_single(self) -> None:
        """End the sequence, if one has begun, and drop its outputs."""
        self._end_sequence()
        if self._outputs_of_sequence:
            self._outputs, self._outputs_of_sequence = None, False

    def _early_output(self, index: int) -> Array | None:
        """An output that is known before the compute has ended; None if it isn't known."""
        if self._step is not None and (index or self._gives_pieces):
            return self._step[index]
        if not self._knows_outputs or (self._has_run and self._outputs is not None):
            return None
        return self._guarded(partial(self._runner.output_before_compute, index, self._inputs.arrays))

    def _require_made_here(self) -> None:
        if self._forks != forks.count:
            raise forks.made_elsewhere("execution context")

    def compute_named(
        self, inputs: Mapping[str, ArrayLike] | Iterable[tuple[str, ArrayLike]] | ArrayLike
    ) -> list[tuple[str, Array]]:
        """Run once on these inputs, and leave the context's inputs and outputs as they are, though a sequence ends.
        `inputs` are pairs of name and tensor, a mapping, or the tensor for the only input that must be set.

        Returns each output with its name, in the model's order. The caller owns the arrays. Raises `NNError` as
        `Graph.compute` does.
        """
        arrays = named_inputs(self.graph, input_pairs(self.graph, inputs))
        if self._sequence is not None:
            self._end_sequence()
        if self._held is not None:
            self._held.require(self._known_output_bytes)
        return named_outputs(self.graph, self._guarded(partial(run, self._runner, arrays, None)))

    def bind(self, inputs: Sequence[tuple[str, Array]], small_bytes: int) -> BoundCompute | None:
        """Prepare named computes on these arrays, whose elements the caller may change in between. None if the graph
        takes other arrays than these. `small_bytes` is the size of the arrays, with those of the outputs, that nothing
        else counts; the context counts them from now on. Raises `NNError` as `compute_named` does before it runs."""
        arrays = named_inputs(self.graph, inputs)
        for _, given in inputs:
            if not any(given is array or np.may_share_memory(given, array) for array in arrays):
                return None
        if self._held is not None:
            self._held.hold(_BOUND, small_bytes)
        return BoundCompute(self._runner, self._guard, arrays)

    def get_output(self, key: int | str) -> Array:
        """A copy of an output of the last compute, by index or by name.

        Raises `NNError`: `invalid-argument` if the graph has no such output, `runtime-error` if no compute has run, or
        the last one failed.
        """
        return self.output(key)[1].copy()

    def output_bytes(self, index: int) -> memoryview:
        """The bytes of output `index`, row-major. The view is valid until the next compute. Raises `NNError` as
        `get_output` does, with `unsupported-operation` if wasi-nn lacks the element type."""
        if self._step is not None or self._knows_outputs:
            return output_view(*self.output(index))
        outputs, views = self._output_views
        if outputs is not self._outputs or outputs is None:
            count = len(self.graph.outputs if self._outputs is None else self._outputs)
            outputs, views = self._output_views = (self._outputs, [None] * count)
        if type(index) is int and 0 <= index < len(views):
            view = views[index]
            if view is not None:
                return view
        info, array = self.output(index)
        view = output_view(info, array)
        if array.flags.c_contiguous:  # else the view is of a copy, which the next compute wouldn't write
            views[index] = view
        return view

    def output(self, key: int | str) -> tuple[TensorInfo, Array]:
        """The `TensorInfo` and the runtime's own array of an output of the last compute, by index or by name. The array
        is valid until the next compute. Raises `NNError` as `get_output` does."""
        if self._step is not None or self._knows_outputs:
            index = find(self.graph.outputs, key, "output")
            early = self._early_output(index)
            if early is not None:
                return self.graph.outputs[index], early
        outputs = self._outputs
        if outputs is None:
            if not self.graph.outputs_vary:
                key = self.graph.outputs[find(self.graph.outputs, key, "output")].name
            raise NNError(
                ErrorCode.RUNTIME_ERROR,
                f"output {key!r} isn't available: no compute has succeeded, or the last one failed",
            )
        infos = output_infos(self.graph, outputs)
        index = find(infos, key, "output")
        return infos[index], outputs[index]
