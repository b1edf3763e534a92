"""Checks of arguments from Python callers, and conversions where the meaning of an argument is clear.

Each check returns the argument in the form that the callee wants. For an argument of the wrong kind it raises `NNError`
with `invalid-argument`. The message has the parameter's name, the wanted kind and the value.
"""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, TypeVar

from wasi_nn.errors import ErrorCode, NNError, printable

Kind = TypeVar("Kind")

_LONGEST_SHOWN = 100  # characters
_LONGEST_COMMAND = 1000  # characters


def wrong_argument(name: str, wanted: str, value: object) -> NNError:
    """The error for an argument of the wrong kind."""
    return NNError(ErrorCode.INVALID_ARGUMENT, f"{name} must be {wanted}, not {shown(value)}")


def shown(value: object) -> str:
    """A short description of a value for a message. A value that can't be shown, such as a number of 5,000 digits, is
    described by its type."""
    try:
        return _description(value)
    except Exception:
        return printable(f"an object of type {type(value).__name__}")


def _description(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 20:
        return f"{len(value)} bytes"
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape != ():
        dims = ", ".join(map(str, value.shape))
        return printable(f"an array of {value.dtype}[{dims}]")
    text = printable(_short.repr(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = _LONGEST_SHOWN


def plain(value: Any) -> Any:
    """A scalar of numpy as a number, text or truth value of Python; any other value unchanged."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


def require_kind(name: str, value: Any, kind: type[Kind] | tuple[type[Kind], ...], wanted: str) -> Kind:
    """The value, if it is of a class."""
    if isinstance(value, kind):
        return value
    raise wrong_argument(name, wanted, value)


def require_function(name: str, value: Any) -> None:
    """Require a function or another callable object."""
    if not callable(value):
        raise wrong_argument(name, "a function", value)


def as_flag(name: str, value: Any, also: str = "") -> bool:
    """True or False. Numbers and texts are refused, since `"no"` would count as true. `also` names other accepted
    kinds."""
    value = plain(value)
    if isinstance(value, bool):
        return value
    raise wrong_argument(name, f"True or False{also and f', {also}'}", value)


def as_number(name: str, value: Any, wanted: str, fits: Callable[[float], bool] = lambda value: True) -> Any:
    """A whole number or a float that isn't NaN, that a float can hold, and that `fits` accepts."""
    value = plain(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    if is_number and (isinstance(value, float) or abs(value) <= sys.float_info.max) and fits(value):
        return value
    raise wrong_argument(name, wanted, value)


def as_text(name: str, value: Any, wanted: str = "a str") -> str:
    """A text."""
    return require_kind(name, value, str, wanted)


def as_path(name: str, value: Any, wanted: str = "a path") -> str:
    """The path of a file, from a str, a path-like object or bytes."""
    if isinstance(value, str | bytes | os.PathLike):
        path = os.fsdecode(value)
        if path:
            return path
    raise wrong_argument(name, f"{wanted}, as a str or a pathlib.Path", value)


def is_path(value: object) -> bool:
    """Whether a value is a path and can't be the content of a file, as bytes could."""
    return isinstance(value, str | os.PathLike)


def as_bytes(name: str, value: Any, wanted: str = "bytes") -> bytes:
    """The bytes of an object with a buffer. They are copied unless they are `bytes`."""
    return value if isinstance(value, bytes) else bytes(as_view(name, value, wanted))


def as_view(name: str, value: Any, wanted: str = "bytes") -> memoryview:
    """A view of the bytes of an object with a buffer, such as `bytes`, a `memoryview` or an array."""
    try:
        return memoryview(value).cast("B")
    except (TypeError, ValueError):
        raise wrong_argument(name, wanted, value) from None


def as_builders(
    name: str, value: Any, wanted: str = "bytes, or a list with the bytes of each builder"
) -> list[memoryview]:
    """The builders of a model, from their bytes; bytes alone are the only builder."""
    if isinstance(value, list | tuple):
        return [as_view(f"{name}[{place}]", part, _builder_instead_of(part)) for place, part in enumerate(value)]
    return [as_view(name, value, wanted)]


def _builder_instead_of(part: object) -> str:
    return "bytes (a path is given alone, without a list)" if is_path(part) else "bytes"


def as_texts(name: str, value: Any, example: str) -> list[str]:
    """A list of texts. A text alone is an error, since it would be taken for a list of letters."""
    items = as_items(name, value, f"a list of str, such as {example}")
    return [as_text(f"{name}[{place}]", item) for place, item in enumerate(items)]


def as_items(name: str, value: Any, wanted: str) -> list[Any]:
    """The items of a collection that is neither text nor a mapping."""
    if isinstance(value, str | bytes):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{name} must be a collection, not one text: write [{shown(value)}]")
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise wrong_argument(name, wanted, value)
    return list(value)


def as_arguments(name: str, value: Any) -> list[str]:
    """The arguments of a guest: texts, and paths as texts."""
    wanted = "a list of str, such as ['photo.ppm']"
    if isinstance(value, str | bytes):
        words = shown(_words(os.fsdecode(value[:_LONGEST_COMMAND])))
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{name} must be a list, not one text: write {words}")
    if isinstance(value, Mapping | Set) or not isinstance(value, Iterable):
        raise wrong_argument(name, wanted, value)
    items = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in value]
    return [as_text(f"{name}[{place}]", item) for place, item in enumerate(items)]


def _words(text: str) -> list[str]:
    """The words of a text as a shell divides it, or at its spaces if a quotation in it doesn't end."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def as_mapping(name: str, value: Any, wanted: str) -> Mapping[Any, Any]:
    """A mapping."""
    return require_kind(name, value, Mapping, wanted)


def as_options(name: str, value: Any) -> dict[str, Any]:
    """The options of a backend, by name, with numbers of numpy as numbers of Python."""
    options = as_mapping(name, value, "a mapping of names to values, such as {'threads': 2}")
    return {as_text(f"the name of an option in {name}", key): plain(item) for key, item in options.items()}


def as_json(name: str, value: Any) -> memoryview:
    """JSON as bytes, from bytes, a text, or a mapping that is encoded."""
    if isinstance(value, Mapping):
        import json

        try:
            value = json.dumps(dict(value))
        except (TypeError, ValueError, RecursionError):
            raise wrong_argument(name, "JSON, which has only mappings, lists, texts and numbers", value) from None
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return as_view(name, value, "JSON, as a mapping, a str or bytes")
