"""What backends are given: the operator's options and a model's builders, checked in one way for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.types import GraphEncoding

_MAX_THREADS = 4096


def check_options(
    encoding: GraphEncoding, options: Mapping[str, Any], accepts: Mapping[str, Callable[[Any], bool]]
) -> None:
    """Raise `NNError` with `invalid-argument` unless each option is one that the backend accepts the value of."""
    for name, value in options.items():
        if name not in accepts:
            there = ", ".join(sorted(accepts))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no option {name!r} for {encoding.value}; there are {there}")
        if not accepts[name](value):
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"option {name!r} of {encoding.value} can't be {value!r}")


def is_thread_count(value: Any) -> bool:
    """Whether a value is a number of threads, or 0 for the runtime's own choice."""
    return type(value) is int and 0 <= value <= _MAX_THREADS


def is_text(value: Any) -> bool:
    """Whether a value is text with something in it."""
    return isinstance(value, str) and value != ""


def is_texts(value: Any) -> bool:
    """Whether a value is a list of such texts."""
    return isinstance(value, list) and all(map(is_text, value))


def one_of(words: Sequence[str] | Mapping[str, Any]) -> Callable[[Any], bool]:
    """Accepts these words."""
    return lambda value: isinstance(value, str) and value in words


def only_builder(encoding: GraphEncoding, builders: Sequence[memoryview]) -> bytes:
    """The model of an encoding whose graphs have one builder."""
    if len(builders) != 1:
        message = f"a graph of {encoding.value} has one builder, the model; got {len(builders)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return as_bytes(builders[0])


def as_bytes(builder: memoryview) -> bytes:
    """A builder as the `bytes` that runtimes ask for: without a copy if that is what it is a view of."""
    whole = builder.obj
    return whole if isinstance(whole, bytes) and len(whole) == builder.nbytes else bytes(builder)
