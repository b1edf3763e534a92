"""Checks of the operator's options and of a model's builders, which all backends share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.types import GraphEncoding

_MAX_THREADS = 4096
_Check = Callable[[Any], bool]


def check_options(encoding: GraphEncoding, options: Mapping[str, Any], accepts: Mapping[str, _Check]) -> None:
    """Raise `NNError` with `invalid-argument` for an unknown option, or a value that its check in `accepts` rejects."""
    for name, value in options.items():
        if name not in accepts:
            known = ", ".join(sorted(accepts))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no option {name!r} for {encoding.value}; there are {known}")
        if not accepts[name](value):
            takes = getattr(accepts[name], "takes", "")
            message = f"option {name!r} of {encoding.value} can't be {shown(value)}{takes and f': it takes {takes}'}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def taking(what: str) -> Callable[[_Check], _Check]:
    """Decorates a check with the description of the accepted values, for errors."""

    def described(check: _Check) -> _Check:
        check.takes = what  # type: ignore[attr-defined]  # an attribute of a function
        return check

    return described


@taking(f"a whole number from 0 to {_MAX_THREADS}")
def is_thread_count(value: Any) -> bool:
    """Whether a value is a number of threads, or 0 for the runtime's own choice."""
    return type(value) is int and 0 <= value <= _MAX_THREADS


@taking("true or false")
def is_flag(value: Any) -> bool:
    """Whether a value is a truth value."""
    return isinstance(value, bool)


@taking("a text")
def is_text(value: Any) -> bool:
    """Whether a value is a text that isn't empty."""
    return isinstance(value, str) and value != ""


@taking('a list of texts, such as ["a", "b"]')
def is_texts(value: Any) -> bool:
    """Whether a value is a list of texts that aren't empty."""
    return isinstance(value, list) and all(map(is_text, value))


def one_of(words: Sequence[str] | Mapping[str, Any]) -> _Check:
    """A check that accepts these words."""
    return taking(f"one of {', '.join(words)}")(lambda value: isinstance(value, str) and value in words)


BY_PATH = "the operator can load it by its path, without a sha256"
"""The way to load a model that is refused from bytes, for errors. A model with a sha256 is loaded from bytes too."""


def how_to_set(name: str, value: Any) -> str:
    """The ways to set an option, for errors: in a file of graphs, in Python, and for `wasi-nn inspect`."""
    as_json = json.dumps(value, ensure_ascii=False)
    in_command = value if isinstance(value, str) else f"'{as_json}'"
    return (
        f"options = {{ {name} = {as_json} }} in a file of graphs (--graphs FILE), options={{{name!r}: {value!r}}} in "
        f"Python, --option {name}={in_command} for wasi-nn inspect"
    )


def how_to_run_by(encoding: GraphEncoding, runtime: str, extra: str) -> str:
    """The ways to have another runtime run a model, for errors."""
    return (
        f"run it by {runtime}: --runtime {encoding.value}={runtime}, in Python runtime={runtime!r}; if that isn't "
        f"installed, pip install 'wasi-nn[{extra}]'"
    )


def only_builder(encoding: GraphEncoding, builders: Sequence[memoryview]) -> bytes:
    """The model of an encoding whose graphs have exactly one builder. Raises `NNError` for another number."""
    if len(builders) != 1:
        message = f"a graph of {encoding.value} has one builder, the model; got {len(builders)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return as_bytes(builders[0])


def as_bytes(builder: memoryview) -> bytes:
    """A builder as `bytes`, which some runtimes require. No copy is made if the builder is a view of whole `bytes`."""
    whole = builder.obj
    return whole if isinstance(whole, bytes) and len(whole) == builder.nbytes else bytes(builder)
