"""What backends are given: the operator's options and a model's builders, checked in one way for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.types import GraphEncoding

_MAX_THREADS = 4096
_Check = Callable[[Any], bool]


def check_options(encoding: GraphEncoding, options: Mapping[str, Any], accepts: Mapping[str, _Check]) -> None:
    """Raise `NNError` with `invalid-argument` unless each option is one that the backend accepts the value of."""
    for name, value in options.items():
        if name not in accepts:
            there = ", ".join(sorted(accepts))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no option {name!r} for {encoding.value}; there are {there}")
        if not accepts[name](value):
            takes = getattr(accepts[name], "takes", "")
            message = f"option {name!r} of {encoding.value} can't be {value!r}{takes and f': it takes {takes}'}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def _taking(what: str) -> Callable[[_Check], _Check]:
    """Has a check say in errors what it accepts."""

    def told(check: _Check) -> _Check:
        check.takes = what  # type: ignore[attr-defined]  # of a function
        return check

    return told


@_taking(f"a whole number from 0 to {_MAX_THREADS}")
def is_thread_count(value: Any) -> bool:
    """Whether a value is a number of threads, or 0 for the runtime's own choice."""
    return type(value) is int and 0 <= value <= _MAX_THREADS


@_taking("a text")
def is_text(value: Any) -> bool:
    """Whether a value is text with something in it."""
    return isinstance(value, str) and value != ""


@_taking('a list of texts, such as ["a", "b"]')
def is_texts(value: Any) -> bool:
    """Whether a value is a list of such texts."""
    return isinstance(value, list) and all(map(is_text, value))


def one_of(words: Sequence[str] | Mapping[str, Any]) -> _Check:
    """Accepts these words."""
    return _taking(f"one of {', '.join(words)}")(lambda value: isinstance(value, str) and value in words)


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
