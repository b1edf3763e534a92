"""Checks of the operator's options and of a model's builders, which all backends share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.types import GraphEncoding

_MAX_THREADS = 4096
_MOST_LISTED = 30  # options, in a message that names the one that was meant
Check = Callable[[Any], bool]
"""Whether an option may have a value."""


def check_options(kind: GraphEncoding | str, options: Mapping[str, Any], accepts: Mapping[str, Check]) -> None:
    """Raise `NNError` with `invalid-argument` for an unknown option, or a value that its check in `accepts` rejects.
    `kind` is the encoding, or another word for the graphs that have these options."""
    word = kind.value if isinstance(kind, GraphEncoding) else kind
    for name, value in options.items():
        if name not in accepts:
            meant = nearest(name, accepts)
            known = "" if meant and len(accepts) > _MOST_LISTED else f"; there are {', '.join(sorted(accepts))}"
            message = f"no option {name!r} for {word}{known}{meant}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        if not accepts[name](value):
            message = cannot_be(f"option {name!r} of {word}", value, accepts[name])
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def cannot_be(what: str, value: Any, check: Check) -> str:
    """The error message for a value that a check rejects."""
    takes = getattr(check, "takes", "")
    return f"{what} can't be {shown(value)}{takes and f': it takes {takes}'}"


def taking(what: str) -> Callable[[Check], Check]:
    """Decorates a check with the description of the accepted values, for errors."""

    def described(check: Check) -> Check:
        check.takes = what  # type: ignore[attr-defined]  # an attribute of a function
        return check

    return described


@taking(f"a whole number from 0 to {_MAX_THREADS}")
def is_thread_count(value: Any) -> bool:
    """Whether a value is a number of threads, or 0 for the runtime's own choice."""
    return type(value) is int and 0 <= value <= _MAX_THREADS


@taking("true or false")
def is_flag(value: Any) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


@taking("a text")
def is_text(value: Any) -> bool:
    """Whether a value is a text that isn't empty."""
    return isinstance(value, str) and value != ""


@taking('a list of texts, such as ["a", "b"]')
def is_texts(value: Any) -> bool:
    """Whether a value is a list of texts that aren't empty."""
    return isinstance(value, list) and all(map(is_text, value))


@taking('a list of names, such as ["a", "b"]')
def is_names(value: Any) -> bool:
    """Whether a value is a list of texts that isn't empty, and whose texts aren't."""
    return is_texts(value) and value != []


def one_of(words: Sequence[str] | Mapping[str, Any]) -> Check:
    """A check that accepts these words."""
    return taking(f"one of {', '.join(words)}")(lambda value: isinstance(value, str) and value in words)


def only_builder(encoding: GraphEncoding, builders: Sequence[memoryview]) -> bytes:
    """The model of an encoding whose graphs have exactly one builder. Raises `NNError` for another number."""
    if len(builders) != 1:
        message = (
            f"a graph of {encoding.value} takes one builder, the model; got {len(builders)}: give the path of one model"
        )
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return as_bytes(builders[0])


def as_bytes(builder: memoryview) -> bytes:
    """A builder as `bytes`, which some runtimes require. No copy is made if the builder is a view of whole `bytes`."""
    whole = builder.obj
    return whole if isinstance(whole, bytes) and len(whole) == builder.nbytes else bytes(builder)
