"""Converts between torch's tensors and numpy's arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.types import TensorType, dtype_named

if TYPE_CHECKING:
    import torch

    from wasi_nn.types import Array, DType


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an exception of torch into a `RuntimeError` whose message has no traces."""
    try:
        yield
    except NNError:
        raise
    except Exception as error:
        raise RuntimeError(brief(str(error)) or type(error).__name__) from error


_MAX_MESSAGE = 500  # characters of a message
_TRACE = re.compile(r"\n(Exception raised from |C\+\+ CapturedTraceback|frame #0|Stack Trace:).*", re.DOTALL)
_CAUSE = re.compile(r"^ *(?:[\w.]*(?:Error|Exception)): (.*)", re.MULTILINE | re.DOTALL)


def brief(message: str) -> str:
    """A message of torch without the traces of C++, TorchScript and Python."""
    message = _TRACE.sub("", message)
    if "Traceback" in message:
        while (cause := _CAUSE.search(message)) is not None:
            message = cause[1]
    return message[:_MAX_MESSAGE]


_FLOATS = ("float16", "bfloat16", "float32", "float64")
_DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", *_FLOATS)


def dtype_of(name: str) -> DType:
    """The numpy dtype for torch's dtype of this name; `object` if numpy has none."""
    return dtype_named(name if name in _DTYPES else "object")


@cache
def _has_torch_dtype(dtype: DType) -> bool:
    return dtype.name in _DTYPES


class _WritableView:
    """A read-only array that claims to be writable: torch has no read-only tensors, and warns about such arrays."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def as_tensor(array: Array, device: str, *, copy: bool) -> torch.Tensor:
    """A tensor with an array's elements. On the CPU it uses the array's own memory, except with `copy`."""
    import torch

    if not _has_torch_dtype(array.dtype):
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"torch has no tensors of {array.dtype.name}")
    is_bf16 = array.dtype == TensorType.BF16.dtype  # a dtype of numpy that torch doesn't know
    plain = array.view(np.int16) if is_bf16 else array
    tensor = torch.from_numpy(plain if plain.flags.writeable else np.asarray(_WritableView(plain)))
    tensor = tensor.view(torch.bfloat16) if is_bf16 else tensor
    return tensor.to(device) if device != "cpu" else tensor.clone() if copy else tensor


def as_array(what: str, value: Any, taken: set[int], *, kept: bool) -> Array:
    """A tensor of a model as an array that belongs to the caller: in the tensor's own memory if nothing else uses that.

    `what` is the tensor's name for messages. `taken` has the addresses of memory in use; the tensor's address is added.
    With `kept`, the model may use the tensor again.
    """
    import torch

    if type(value) in NUMBERS:
        return np.array(value, NUMBERS[type(value)])
    if not isinstance(value, torch.Tensor):
        raise _no_such_tensor(what, type(value).__name__)
    is_bf16 = _dtype_in_numpy(what, value) == "bfloat16"
    shared = kept or not _is_sole(value)
    tensor = value.detach().cpu().resolve_neg().contiguous()
    address = tensor.untyped_storage().data_ptr()
    if (tensor.numel() and address in taken) or (shared and address == value.untyped_storage().data_ptr()):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    taken.add(address)
    return tensor.view(torch.int16).numpy().view(TensorType.BF16.dtype) if is_bf16 else tensor.numpy()


def template_of(what: str, tensor: torch.Tensor) -> Array:
    """An array of a tensor's type and dimensions, without its elements. Raises as `as_array` does."""
    element: Array = np.zeros((), dtype_of(_dtype_in_numpy(what, tensor)))
    return np.broadcast_to(element, tuple(tensor.shape))


def _dtype_in_numpy(what: str, tensor: torch.Tensor) -> str:
    """numpy's name of a tensor's type. Raises `NNError` with `unsupported-operation` if numpy has no such tensors."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_nested:
        raise _no_such_tensor(what, "a sparse or nested tensor")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise _no_such_tensor(what, dtype)
    return dtype


def _no_such_tensor(what: str, kind: str) -> NNError:
    return NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{what} is {kind}; wasi-nn has no such tensors")


NUMBERS: dict[type, type] = {bool: np.bool_, int: np.int64, float: np.float64}


def _is_sole(tensor: torch.Tensor) -> bool:
    """Whether nothing but this tensor uses its memory: no view of it, no module, no constant of TorchScript."""
    return _references(tensor) == _references_of_sole()


@cache
def _references_of_sole() -> tuple[int, int]:
    """The numbers of references to a tensor that nothing else uses, with those that counting them needs."""
    import torch

    return _references(torch.empty(1))


def _references(tensor: torch.Tensor) -> tuple[int, int]:
    """The numbers of references to a tensor, and to its memory."""
    import torch

    internal: Any = tensor
    return internal._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


def named_leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors and numbers of a model's result or argument, each with a name: `output`, `output.0`, or the keys of
    dicts. None is left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from named_leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from named_leaves(item, f"{name or 'output'}.{place}")
    elif value is not None:
        yield name or "output", value
