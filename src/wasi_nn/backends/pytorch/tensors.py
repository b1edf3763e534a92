"""Tensors of torch over numpy's arrays and back, and what graphs of torch's modules share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import RunFunction
from wasi_nn.types import GraphEncoding, TensorType

if TYPE_CHECKING:
    import torch

    from wasi_nn.types import Array, DType


@contextmanager
def plain_errors() -> Iterator[None]:
    """What torch raises in here comes out without its traces."""
    try:
        yield
    except NNError:
        raise
    except Exception as error:
        raise RuntimeError(brief(str(error)) or type(error).__name__) from error


_LONGEST = 500  # characters of a message
_TRACE = re.compile(r"\n(Exception raised from |C\+\+ CapturedTraceback|frame #0|Stack Trace:).*", re.DOTALL)
_CAUSE = re.compile(r"^ *(?:[\w.]*(?:Error|Exception)): (.*)", re.MULTILINE | re.DOTALL)


def brief(message: str) -> str:
    """What helps of a message of torch's: without the traces of C++, TorchScript and Python."""
    message = _TRACE.sub("", message)
    if "Traceback" in message:
        while (cause := _CAUSE.search(message)) is not None:
            message = cause[1]
    return message[:_LONGEST]


_FLOATS = ("float16", "bfloat16", "float32", "float64")
_DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", *_FLOATS)


def dtype_of(name: str) -> DType:
    """The numpy dtype with the elements of torch's dtype of a name; `object` where there is none."""
    if name == "bfloat16":
        return TensorType.BF16.dtype
    return np.dtype(name if name in _DTYPES else object)


@cache
def _is_known(dtype: DType) -> bool:
    return dtype.name in _DTYPES


class _Memory:
    """Lets torch see an array that is read-only, as one that isn't: it has no other tensors, and warns."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def as_tensor(array: Array, device: str, *, copy: bool) -> torch.Tensor:
    """A tensor over an array's own memory if it is to be on the CPU, unless it is to be a copy."""
    import torch

    if not _is_known(array.dtype):
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"torch has no tensors of {array.dtype.name}")
    halves = array.dtype == TensorType.BF16.dtype
    plain = array.view(np.int16) if halves else array
    tensor = torch.from_numpy(plain if plain.flags.writeable else np.asarray(_Memory(plain)))
    tensor = tensor.view(torch.bfloat16) if halves else tensor
    return tensor.to(device) if device != "cpu" else tensor.clone() if copy else tensor


def as_array(name: str, value: Any, taken: set[int], *, kept: bool) -> Array:
    """An output as an array that belongs to the caller: over the tensor's own memory if nothing else has it.

    `taken` has the addresses of memory that something else has, and gets this one's. With `kept`, the model may have
    the tensor, too.
    """
    import torch

    if type(value) in NUMBERS:
        return np.array(value, NUMBERS[type(value)])
    if not isinstance(value, torch.Tensor):
        what = type(value).__name__
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"output {name!r} is {what}; wasi-nn has no such tensors")
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or value.layout is not torch.strided or value.is_nested:
        what = dtype if value.layout is torch.strided and not value.is_nested else "no dense tensor"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"output {name!r} is {what}; wasi-nn has no such tensors")
    shared = kept or not _is_sole(value)
    tensor = value.detach().cpu().resolve_neg().contiguous()
    address = tensor.untyped_storage().data_ptr()
    if (tensor.numel() and address in taken) or (shared and address == value.untyped_storage().data_ptr()):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    taken.add(address)
    return tensor.view(torch.int16).numpy().view(TensorType.BF16.dtype) if dtype == "bfloat16" else tensor.numpy()


NUMBERS: dict[type, type] = {bool: np.bool_, int: np.int64, float: np.float64}


def _is_sole(tensor: torch.Tensor) -> bool:
    """Whether nothing but this tensor has its memory: no view of it, no module, no constant of TorchScript's."""
    return _holders(tensor) == _sole()


@cache
def _sole() -> tuple[int, int]:
    import torch

    return _holders(torch.empty(1))


def _holders(tensor: torch.Tensor) -> tuple[int, int]:
    import torch

    internal: Any = tensor
    return internal._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


def named_leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a model gives, or takes, one after the other, each with the name of its place: `output`, `output.0`, or
    the keys of dicts. None is nothing."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from named_leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from named_leaves(item, f"{name or 'output'}.{place}")
    elif value is not None:
        yield name or "output", value


Call = Callable[["Sequence[Array]", "Callable[[Array], torch.Tensor]"], Any]
"""Runs a model on arrays, with what makes tensors of them; gives what the model gives."""


class TorchGraph(Graph):
    """A module of torch's. With `writes`, it may write to its inputs. With `keeps_state`, each context has a module of
    its own, since what one computes depends on what it computed before."""

    encoding = GraphEncoding.PYTORCH
    runtime = "torch"
    writes = keeps_state = False
    weights: frozenset[int] = frozenset()
    """The addresses of memory that the module keeps, as far as its tensors don't say so themselves."""

    def call(self) -> Call:
        """What runs the module."""
        raise NotImplementedError

    def runner(self) -> RunFunction:
        return partial(self._run, self.call())

    def _run(self, call: Call, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        import torch

        taken = set(self.weights)

        def tensor(array: Array) -> torch.Tensor:
            made = as_tensor(array, self.device, copy=self.writes)
            taken.add(made.untyped_storage().data_ptr())
            return made

        with torch.inference_mode(), plain_errors():
            given = list(named_leaves(call(inputs, tensor)))
            outputs = [(name, as_array(name, value, taken, kept=self.keeps_state)) for name, value in given]
        if self.outputs_vary:
            return Outputs.named(outputs)
        if len(outputs) != len(self.outputs):
            message = f"the model gave {len(outputs)} outputs, but declares {len(self.outputs)}"
            raise NNError(ErrorCode.RUNTIME_ERROR, message)
        return [array for _, array in outputs]
