"""Execution contexts: inputs that are set, and outputs of the last compute."""

from __future__ import annotations

from array import array
from collections.abc import Buffer, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

from wit_world.imports import inference as wit, tensor as wit_tensor

try:
    from wit_world.imports import byte_strings, sequences
except ImportError:  # a world without wasi-nn:ext
    byte_strings = sequences = None  # type: ignore[assignment]

from .error import NNError, call, lacking
from .numbers import Code, Type
from .tensor import Tensor, array_of, bytes_of, copy_into


class Context:
    """Inputs that are set, and outputs of the last compute.

        context.set_input_at(0, "x", Tensor([1, 4], array("f", [0.5, -1.0, 2.0, 3.0])))
        context.compute()
        scores = context.output(0)

    Inputs stay set from one compute to the next. The functions that set them ask no host: `compute` raises what is
    wrong with them. Set an input always by its index or always by its name. `with`, `close()` or Python's own freeing
    gives a context back.
    """

    __slots__ = ("_inputs", "_outputs", "_resource", "_sequence")

    def __init__(self, resource: wit.GraphExecutionContext) -> None:
        """For this library: `Graph.context` makes contexts."""
        self._resource: wit.GraphExecutionContext | None = resource
        self._inputs: dict[str, Callable[[], wit_tensor.Tensor]] = {}
        self._outputs: list[tuple[str, wit_tensor.Tensor]] = []
        self._sequence: sequences.Sequence | None = None

    # Inputs

    def set_input(self, index: int, tensor: Tensor) -> None:
        """Set an input, counted from 0 in the model's order. The host gets the decimal index as the name, which this
        host takes and others may not."""
        self.set_input_named(str(index), tensor)

    def set_input_named(self, name: str, tensor: Tensor) -> None:
        """Set an input by its name."""
        self._end()
        self._inputs[name] = lambda: _made(tensor)

    def set_input_at(self, index: int, name: str, tensor: Tensor) -> None:
        """Set the input that has this index and this name: by its name, as every host takes it."""
        self.set_input_named(name, tensor)

    def set_strings(self, index: int, dims: Sequence[int], strings: Iterable[Buffer]) -> None:
        """Set an input of byte strings, in row-major order. (Extension.)"""
        self.set_strings_at(index, str(index), dims, strings)

    def set_strings_at(self, index: int, name: str, dims: Sequence[int], strings: Iterable[Buffer]) -> None:
        """Set the input of byte strings that has this index and this name. (Extension.)"""
        if byte_strings is None:
            raise lacking("byte-strings")
        self._end()
        new, sizes, texts = byte_strings.new, list(dims), [bytes_of(it) for it in strings]
        self._inputs[name] = lambda: call(new, sizes, texts)

    # Computes

    def compute(self) -> None:
        """Run the graph on the inputs that are set. Raises `NNError`, and leaves no outputs then."""
        self._end()
        self._drop_outputs()
        self._outputs = call(self._handle().compute, self._made_inputs())

    def compute_named(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs, by name, for these inputs alone. Inputs that are set stay so; outputs of the last compute don't.

        graph.context().compute_named({"x": Tensor([4], array("f", [1, 2, 3, 4]))})["y"].array()
        """
        self._end()
        self._drop_outputs()
        made = [(name, _made(tensor)) for name, tensor in inputs.items()]
        self._outputs = call(self._handle().compute, made)
        try:
            return dict(self.output_tensor(index) for index in range(len(self._outputs)))
        finally:
            self._drop_outputs()

    # Outputs

    @overload
    def output(self, index: int, type: Literal[Type.F32, Type.F64]) -> array[float]: ...
    @overload
    def output(self, index: int, type: Literal[Type.F16, Type.BF16, Type.U8, Type.I32, Type.I64]) -> array[int]: ...
    @overload
    def output(self, index: int, type: Type | None = None) -> array[Any]: ...
    def output(self, index: int, type: Type | None = None) -> array[Any]:  # noqa: A002
        """An output of the last compute, counted from 0, as a new array; f16 and bf16 are their bits.

        Raises `NNError` with `invalid-argument` if there is no such output, or if a type is given and the output is of
        another one; `Type.U8` gives the bytes of any.
        """
        name, tensor = self._found(index)
        return array_of(tensor.data(), _type(tensor), type, f"the output {name}")

    def output_into(self, index: int, buffer: Buffer) -> int:
        """Copy an output into a buffer of its type or of bytes; gives the number of the buffer's elements.

        Raises `NNError` with `too-large` if the buffer is too small: `needed` has the bytes that it needs.
        """
        name, tensor = self._found(index)
        return copy_into(tensor.data(), _type(tensor), buffer, f"the output {name}")

    def output_tensor(self, index: int) -> tuple[str, Tensor]:
        """An output's name, and its elements with their type and dims."""
        name, tensor = self._found(index)
        return name, Tensor(tensor.dimensions(), tensor.data(), _type(tensor))

    def strings(self, index: int) -> list[bytes]:
        """An output of byte strings, in row-major order. (Extension.)"""
        if byte_strings is None:
            raise lacking("byte-strings")
        return call(byte_strings.strings, self._found(index)[1])

    # Sequences

    def begin_sequence(self) -> None:
        """Begin a sequence on the inputs that are set. (Extension, as all functions of sequences.)"""
        if sequences is None:
            raise lacking("sequences")
        self._end()
        self._drop_outputs()
        handle = self._handle()
        self._sequence = call(sequences.begin, handle, self._made_inputs())

    def next_of_sequence(self) -> bool:
        """Make the next piece of the sequence, whose outputs are the context's then. False after the last piece."""
        if self._sequence is None:
            raise NNError(Code.INVALID_ARGUMENT, "no sequence is under way")
        self._drop_outputs()
        try:
            outputs = call(self._sequence.next)
        except NNError:
            self._end()
            raise
        self._outputs = outputs or []
        return outputs is not None

    def end_sequence(self) -> None:
        """End a sequence early, and drop its outputs."""
        if self._sequence is not None:
            self._end()
            self._drop_outputs()

    def pieces(self) -> Iterator[list[Tensor]]:
        """The outputs of a sequence on the inputs that are set, piece by piece. It ends with the loop.

        for piece in context.pieces():
            print(piece[0].data.decode(), end="", flush=True)
        """
        self.begin_sequence()
        try:
            while self.next_of_sequence():
                yield [self.output_tensor(index)[1] for index in range(len(self._outputs))]
        finally:
            self.end_sequence()

    # Freeing

    def close(self) -> None:
        """Give the context back, with its outputs. It can't be used any more."""
        resource, self._resource = self._resource, None
        self._inputs.clear()
        self._end()
        self._drop_outputs()
        if resource is not None:
            resource.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self) -> wit.GraphExecutionContext:
        if self._resource is None:
            raise NNError(Code.INVALID_ARGUMENT, "the context is closed")
        return self._resource

    def _made_inputs(self) -> list[tuple[str, wit_tensor.Tensor]]:
        """Tensors of all inputs, which a call takes."""
        return [(name, make()) for name, make in self._inputs.items()]

    def _found(self, index: int) -> tuple[str, wit_tensor.Tensor]:
        self._handle()
        if not self._outputs:
            raise NNError(Code.RUNTIME_ERROR, "there is no output: compute first")
        if not 0 <= index < len(self._outputs):
            message = f"no output has the index {index}: there are {len(self._outputs)}"
            raise NNError(Code.INVALID_ARGUMENT, message)
        return self._outputs[index]

    def _drop_outputs(self) -> None:
        outputs, self._outputs = self._outputs, []
        for _, tensor in outputs:
            tensor.__exit__(None, None, None)

    def _end(self) -> None:
        sequence, self._sequence = self._sequence, None
        if sequence is not None:
            sequence.__exit__(None, None, None)


def _made(tensor: Tensor) -> wit_tensor.Tensor:
    return wit_tensor.Tensor(list(tensor.dims), wit_tensor.TensorType(tensor.type.number), tensor.data)


def _type(tensor: wit_tensor.Tensor) -> Type:
    return Type.of_number(tensor.ty().value)
