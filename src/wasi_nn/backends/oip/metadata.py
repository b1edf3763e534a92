"""What a server tells of a model. It may be anything: each part is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasi_nn.errors import ErrorCode, NNError, printable, shortened
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.oip.datatypes import UNKNOWN, as_info

_MOST_TENSORS = 4096
_LONGEST_NAME = 4096  # characters
_MOST_VERSIONS = 100

Described = tuple[list[TensorInfo], list[TensorInfo], dict[str, str]]
"""The inputs, the outputs, and the texts of a model about itself."""


def described(server: str, answer: Any, optional: Sequence[str]) -> Described:
    """A model by its `ModelMetadataResponse`; `optional` are the names of inputs that need not be set.

    Raises `NNError`: `runtime-error` for a description that can't be one, `invalid-argument` for an optional input that
    doesn't exist.
    """
    if len(answer.inputs) + len(answer.outputs) > _MOST_TENSORS:
        count = len(answer.inputs) + len(answer.outputs)
        raise _wrong(server, f"{count} inputs and outputs: at most {_MOST_TENSORS} are allowed")
    inputs = _infos(server, "input", answer.inputs, optional)
    for name in optional:
        if all(info.name != name for info in inputs):
            names = ", ".join(repr(info.name) for info in inputs)
            message = f"option 'optional': the model has no input {name!r}; there are {names or 'none'}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    facts = {"platform": answer.platform, "versions": ", ".join(answer.versions[:_MOST_VERSIONS])}
    metadata = {name: shortened(printable(text)) for name, text in facts.items() if text}
    return inputs, _infos(server, "output", answer.outputs, ()), metadata


def _infos(server: str, kind: str, tensors: Any, optional: Sequence[str]) -> list[TensorInfo]:
    infos, names = [], set()
    for tensor in tensors:
        name = tensor.name
        if not name or len(name) > _LONGEST_NAME or name in names:
            raise _wrong(server, f"an {kind} named {shortened(name)!r}, which is empty, too long or there twice")
        names.add(name)
        if len(tensor.shape) > MAX_RANK or any(dim < -1 for dim in tensor.shape):
            dims = shortened(str(list(tensor.shape[: MAX_RANK + 1])))
            raise _wrong(server, f"{kind} {shortened(name)!r} of the shape {dims}")
        infos.append(as_info(name, tensor.datatype or UNKNOWN, tensor.shape, is_optional=name in optional))
    return infos


def _wrong(server: str, what: str) -> NNError:
    return NNError(ErrorCode.RUNTIME_ERROR, f"{server}: the server describes the model wrongly, by {printable(what)}")
