"""Calls in words: what a guest gave and got, for lines and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasi_nn.errors import printable, shortened
from wasi_nn.tracing.call_recorder import CATEGORY, Described
from wasi_nn.types import dims_text

_MOST_SHOWN = 8  # tensors, builders or numbers of a call
_WORDS = ("encoding", "target", "runtime", "device")


def line_of(name: str, arguments: Described, nanoseconds: int, category: str) -> str:
    """A call as one line of text."""
    given, result = words_of(arguments, category)
    arrow = "-> " if result and "error" not in arguments else ""
    return f"{' '.join(filter(None, (shown_name(name, arguments), given, arrow + result)))}  ({time_text(nanoseconds)})"


def shown_name(name: str, arguments: Described) -> str:
    """The name of the guest's call: one on a context that doesn't exist is recorded as `context`, with its name."""
    return printable(shortened(str(arguments.get("call", name))))


def words_of(arguments: Described, category: str) -> tuple[str, str]:
    """The arguments of a call in words, and its result or its error. A malformed description raises any exception."""
    given = _described({key: value for key, value in arguments.items() if key not in ("result", "error", "call")})
    if error := arguments.get("error"):
        how = "FAILED" if category == CATEGORY else "REFUSED"
        return given, f"{how}, {error['code']}: {printable(error['message'])}"
    return given, _described(arguments.get("result") or {})


def _described(values: Mapping[str, Any]) -> str:
    """Arguments or results in words, such as `context 2, input 0, fp32[4] of 16 bytes`."""
    words = [_value(key, value) for key, value in values.items() if key not in _OF_TENSORS]
    if "dims" in values:
        words.append(_tensor(values))
    elif "bytes" in values:
        words.append(f"{values['bytes']:,} bytes")
    return ", ".join(filter(None, words))


_OF_TENSORS = frozenset(("type", "dims", "bytes", "data", "min", "max", "mean", "nonfinite", "hash"))


def _value(key: str, value: Any) -> str:
    if isinstance(value, str):
        shown = printable(shortened(value))
        return shown if key in _WORDS else f'"{shown}"' if key == "name" else f'{key} "{shown}"'
    if isinstance(value, list):
        shown = ", ".join(_described(item) if isinstance(item, Mapping) else str(item) for item in value[:_MOST_SHOWN])
        return f"{key} ({shown}{', ...' if len(value) > _MOST_SHOWN else ''})"
    if isinstance(value, Mapping):
        return f"{key} ({_described(value)})"
    return key if value is True else f"{key} {value}"


def _tensor(described: Mapping[str, Any]) -> str:
    text = f"{described.get('type', 'string')}{dims_text(tuple(described['dims']))}"
    if "bytes" in described:
        text += f" of {described['bytes']:,} bytes"
    if "min" in described:
        text += f", {described['min']:g} to {described['max']:g}"
    if "mean" in described:
        text += f", mean {described['mean']:g}"
    if "nonfinite" in described:
        text += f", {described['nonfinite']:,} NaN or infinite"
    return text


def time_text(nanoseconds: float) -> str:
    """A time with its unit, such as `1.2 ms`."""
    for unit, size in (("s", 10**9), ("ms", 10**6)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1000:.0f} us"
