"""Limits as texts: numbers of bytes such as `512M`, times such as `10m`, and counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def size(text: str) -> int:
    """A number of bytes, such as 512M. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is no size: a size is a number of bytes, such as 65536, 512M or 2G")
    unit, decimals = _UNITS[match[3].upper()], match[2] or "0"
    # Without floats, which would round large sizes.
    return _positive(text, int(match[1]) * unit + int(decimals) * unit // int("1" + len(decimals) * "0"))


def seconds(text: str) -> float:
    """A time in seconds, such as 10m. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise ValueError(
            f"{text!r} is no time: a time is a number of seconds, such as 10 or 2.5, or has a unit: 500ms, 10m, 1h"
        )
    return _positive(text, float(match[1]) * _SECONDS[match[2]])


def count(text: str) -> int:
    """A whole number. Raises `ValueError`."""
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no count: a count is a whole number without a unit, such as 1000")
    return _positive(text, int(text))


def _positive(text: str, value: Number) -> Number:
    from wasi_nn.limits.limits import LARGEST  # which the command needs for a value only

    if not 0 < value < LARGEST:
        raise ValueError(f"{text!r} can't be a limit: a limit is more than 0 and less than 2^63")
    return value


KINDS: dict[str, Callable[[str], Any]] = {
    "guest_memory": size,
    "guest_time": seconds,
    "fuel": count,
    "compute_time": seconds,
    "run_time": seconds,
    "compile_time": seconds,
    "compile_memory": size,
    "load_time": seconds,
    "model_bytes": size,
    "tensor_bytes": size,
    "graphs": count,
    "workers": count,
    "contexts": count,
    "handles": count,
    "files": count,
    "output_bytes": size,
}
"""How the text of each limit on a guest is read, by the field of `Limits`."""
