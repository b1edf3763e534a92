"""The runners of ONNX graphs. The runners of a graph share its session of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.onnx.strings import as_fed, not_text
from wasi_nn.graph.guest_types import is_text
from wasi_nn.graph.runner import Runner, can_write_into
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue, RunOptions

    from wasi_nn.types import Array

ELEMENTS = {
    "float": ("float32", 1),
    "uint8": ("uint8", 2),
    "int8": ("int8", 3),
    "uint16": ("uint16", 4),
    "int16": ("int16", 5),
    "int32": ("int32", 6),
    "int64": ("int64", 7),
    "bool": ("bool", 9),
    "float16": ("float16", 10),
    "double": ("float64", 11),
    "uint32": ("uint32", 12),
    "uint64": ("uint64", 13),
    "bfloat16": ("bfloat16", 16),
}
"""ONNX Runtime's word for an element type: numpy's, and the number that TensorProto.DataType gives it."""
_ELEMENT_NUMBER = {f"tensor({word})": number for word, (_, number) in ELEMENTS.items()}

# Parts of ONNX Runtime's messages about an output that is bound to an array of other dimensions.
_OTHER_DIMS = ("pre-allocated output", "Got invalid dimensions for output")

_MOST_COPIED = 65536  # bytes: to copy so much takes less time than to bind a run's inputs and outputs


def runner_of(session: InferenceSession, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> Runner:
    """A new runner for a session with these inputs and outputs."""
    tensors = (*inputs, *outputs)
    numbers = all(info.dtype != object for info in tensors)
    kind = _BoundRunner if numbers else _UnboundRunner
    run = kind(session, inputs, outputs)
    return run if len({info.name for info in tensors}) == len(tensors) else _SeparatingRunner(inputs, outputs, run)


class _StoppableRunner(Runner):
    """A runner whose run can be stopped by its run options. Stopped options can't be used again."""

    def __init__(self, session: InferenceSession, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._input_names = [info.name for info in inputs]
        self._output_names = [info.name for info in outputs]
        self._options = _run_options()
        self._stopped = False

    def interrupt(self) -> None:
        self._options.terminate = True
        self._stopped = True

    def _options_for_a_run(self) -> RunOptions:
        if self._stopped:
            self._options, self._stopped = _run_options(), False
        return self._options

    def _run_by_names(self, inputs: Sequence[Array]) -> Sequence[Any]:
        """Run the session on these inputs. The outputs are copies of the runtime's own."""
        feeds = dict(zip(self._input_names, inputs, strict=True))
        outputs: Sequence[Any] = self._session.run(self._output_names, feeds, self._options_for_a_run())
        return outputs


def _run_options() -> RunOptions:
    from onnxruntime import RunOptions

    options = RunOptions()
    # The default value. If it isn't set, each run takes 50 microseconds more: the runtime throws as it looks it up.
    options.add_run_config_entry("gpu_graph_id", "0")
    return options


def _as_array(value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    holder: Array = np.empty(1, object)  # a sequence or a map becomes one element
    holder[0] = value
    return holder


class _UnboundRunner(_StoppableRunner):
    """Runs models with strings, sequences or maps, which can't be bound to buffers."""

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        fed = [
            as_fed(info.name, array) if is_text(info) else array
            for info, array in zip(self._inputs, inputs, strict=True)
        ]
        try:
            return [_as_array(value) for value in self._run_by_names(fed)]
        except UnicodeDecodeError as error:
            raise not_text(error) from error


class _SeparatingRunner(Runner):
    """Runs models with an input that is an output too: the runtime returns the input's own memory, which is copied."""

    def __init__(
        self, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], run: _BoundRunner | _UnboundRunner
    ) -> None:
        self._input_names = {info.name for info in inputs}
        self._outputs = outputs
        self._run = run

    def interrupt(self) -> None:
        self._run.interrupt()

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        outputs = zip(self._outputs, self._run(inputs, None), strict=True)
        return [array.copy() if info.name in self._input_names else array for info, array in outputs]


class _BoundRunner(_StoppableRunner):
    """Runs a session on the caller's input arrays and the runtime's output buffers, without copying either.

    One thing is faster with a copy: a run that keeps nothing, and has small outputs. Then nothing is bound.
    """

    def __init__(self, session: InferenceSession, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
        super().__init__(session, inputs, outputs)
        self._binding = session.io_binding()
        self._bound: list[Array | None] = [None] * len(inputs)
        self._last: Sequence[Array] | None = None
        # Whether outputs keep their dimensions as long as the inputs do.
        self._dims_stay = True
        # Only binding works for bfloat16, which numpy lacks.
        self._may_copy = all(info.type is not TensorType.BF16 for info in (*inputs, *outputs))
        self._has_small_outputs = False

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        if reuse is None:
            return self._run_once(inputs)
        alike = not any(map(is_not, inputs, self._bound)) or self._bind_inputs(inputs)
        if reuse and alike and self._dims_stay and self._bind_outputs(reuse) and self._run_into_bound():
            return reuse
        self._last = outputs = self._run_into_new()
        return outputs

    def _run_once(self, inputs: Sequence[Array]) -> Sequence[Array]:
        if self._has_small_outputs:
            outputs = self._run_by_names(inputs)
        else:
            self._bind_inputs(inputs)
            outputs = self._run_into_new()
            self._forget()
        self._has_small_outputs = self._may_copy and sum(array.nbytes for array in outputs) <= _MOST_COPIED
        return outputs

    def _run_into_new(self) -> list[Array]:
        """Run into new arrays, which the runtime makes."""
        for name in self._output_names:
            self._binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(self._binding, self._options_for_a_run())
        return [_view(value) for value in self._binding.get_outputs()]

    def _bind_inputs(self, inputs: Sequence[Array]) -> bool:
        """Bind the inputs to these arrays. Returns whether their dimensions are those of the last run."""
        alike = True
        for index, array in enumerate(inputs):
            bound = self._bound[index]
            if array is not bound:
                info = self._inputs[index]
                number = _ELEMENT_NUMBER[info.native]
                self._binding.bind_input(info.name, "cpu", 0, number, array.shape, array.ctypes.data)
                self._bound[index] = array
                alike = alike and bound is not None and bound.shape == array.shape
        return alike

    def _bind_outputs(self, arrays: Sequence[Array]) -> bool:
        """Bind the outputs to these arrays. Returns False if the runtime can't write into one of them."""
        if arrays is self._last:
            return True
        if not all(can_write_into(array, info.dtype) for array, info in zip(arrays, self._outputs, strict=True)):
            return False
        for info, array in zip(self._outputs, arrays, strict=True):
            self._binding.bind_output(info.name, "cpu", 0, _ELEMENT_NUMBER[info.native], array.shape, array.ctypes.data)
        self._last = arrays
        return True

    def _run_into_bound(self) -> bool:
        """Run into the bound arrays. Returns False if the outputs have other dimensions."""
        try:
            self._session.run_with_iobinding(self._binding, self._options_for_a_run())
        except RuntimeError as error:
            if not any(text in str(error) for text in _OTHER_DIMS):
                raise
            self._dims_stay = False
        return self._dims_stay

    def _forget(self) -> None:
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._bound = [None] * len(self._inputs)
        self._last = None


def _view(value: OrtValue) -> Array:
    """An array over the memory of a runtime's tensor, which it keeps alive."""
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    raw: Array = np.asarray(_Bits16(value))
    return raw.view(TensorType.BF16.dtype)


class _Bits16:
    """Shows a tensor of two-byte elements to numpy, which lacks their type, as numbers of 16 bits."""

    def __init__(self, value: OrtValue) -> None:
        self._value = value
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<u2",
            "shape": tuple(value.shape()),
            "data": (value.data_ptr(), False),
        }
