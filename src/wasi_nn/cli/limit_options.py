"""The options that limit a guest's memory, time and number of objects (`--max-...`)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from wasi_nn.limits.limits import HostLimits, Limits

Number = TypeVar("Number", int, float)

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def size(text: str) -> int:
    """A number of bytes, such as 512M."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: a size is a number of bytes, such as 65536, 512M or 2G")
    unit, decimals = _UNITS[match[3].upper()], match[2] or "0"
    # Without floats, which would round large sizes.
    return _positive(text, int(match[1]) * unit + int(decimals) * unit // int("1" + len(decimals) * "0"))


def seconds(text: str) -> float:
    """A time in seconds, such as 10m."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: a time is a number of seconds, such as 10 or 2.5, or has a unit: 500ms, 10m, 1h"
        )
    return _positive(text, float(match[1]) * _SECONDS[match[2]])


def count(text: str) -> int:
    """A whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no count: a count is a whole number without a unit, such as 1000"
        )
    return _positive(text, int(text))


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type of values that also takes `none`, for no limit."""

    def value(text: str) -> Any:
        if text == "none":
            return None
        try:
            return kind(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}; or none, for no limit") from None

    return value


def _positive(text: str, value: Number) -> Number:
    from wasi_nn.limits.limits import LARGEST

    if not 0 < value < LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} can't be a limit: a limit is more than 0 and less than 2^63")
    return value


_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "guest_memory": (size, "BYTES", "the guest's memory (default: 2G)"),
    "guest_time": (seconds, "TIME", "processor time of the guest's own code (default: 10m)"),
    "fuel": (count, "N", "instructions of the guest; counting them makes it slower (default: none)"),
    "compute_time": (seconds, "TIME", "time of one compute (default: 10m)"),
    "run_time": (seconds, "TIME", "time of the whole run (default: 1h)"),
    "compile_time": (seconds, "TIME", "time to compile the guest (default: 2m)"),
    "compile_memory": (size, "BYTES", "memory to compile the guest (default: 4G)"),
    "load_time": (seconds, "TIME", "time to load one model (default: 1m)"),
    "model_bytes": (size, "BYTES", "models that the guest loads from its own bytes, together (default: 1G)"),
    "tensor_bytes": (size, "BYTES", "the guest's tensors, together (default: 1G)"),
    "graphs": (count, "N", "graphs at a time (default: 64)"),
    "workers": (count, "N", "worker processes for models from the guest's own bytes (default: 8)"),
    "contexts": (count, "N", "execution contexts at a time (default: 256)"),
    "handles": (count, "N", "handles of all kinds: graphs, contexts, tensors, errors (default: 65536)"),
    "files": (count, "N", "files and directories open at a time (default: 256)"),
    "output_bytes": (size, "BYTES", "standard output and error, together (default: none)"),
    "computes": (count, "N", "computes at the same time (default: 64)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add an option for each limit."""
    group = parser.add_argument_group(
        "limits on the guest",
        "BYTES: 65536, 512M, 2G (K, M, G and T are powers of 1024).\n"
        "TIME: 10 (seconds), 500ms, 10m, 1h. N: a whole number.\n"
        "Each takes none for no limit.",
    )
    for name, (kind, metavar, text) in _OPTIONS.items():
        group.add_argument(
            f"--max-{name.replace('_', '-')}",
            type=_or_none(kind),
            default=argparse.SUPPRESS,
            metavar=metavar,
            help=text,
        )


def limits(options: argparse.Namespace) -> tuple[Limits, HostLimits]:
    """The limits that the options set: the guest's, and the host's."""
    from wasi_nn.limits.limits import HostLimits, Limits

    values = {name: getattr(options, f"max_{name}") for name in _OPTIONS if hasattr(options, f"max_{name}")}
    host_values = {name: values[name] for name in ("computes", "workers") if name in values}  # there is one guest
    values.pop("computes", None)
    return Limits(**values), HostLimits(**host_values)
