"""The options that limit a guest's memory, time and number of objects (`--max-...`)."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from wasi_nn.limits.limits import HostLimits, Limits

Number = TypeVar("Number", int, float)

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def size(text: str) -> int | None:
    """A number of bytes, such as 512M, or None for `none`."""
    if text == "none":
        return None
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it takes bytes, such as 65536, 512M or 2G, or none")
    unit, decimals = _UNITS[match[3].upper()], match[2] or "0"
    # Without floats, which would round large sizes.
    return _positive(text, int(match[1]) * unit + int(decimals) * unit // int("1" + len(decimals) * "0"))


def seconds(text: str) -> float | None:
    """A time in seconds, such as 10m, or None for `none`."""
    if text == "none":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: it takes seconds, such as 10 or 2.5, or 500ms, 10m, 1h, or none"
        )
    return _positive(text, float(match[1]) * _SECONDS[match[2]])


def count(text: str) -> int | None:
    """A whole number, or None for `none`."""
    if text == "none":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no count: it takes a whole number without a unit, as 1000, or none"
        )
    return _positive(text, int(text))


def _positive(text: str, value: Number) -> Number:
    from wasi_nn.limits.limits import LARGEST

    if not 0 < value < LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} can't be a limit: it takes more than 0 and less than 2^63, or none")
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
            f"--max-{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text
        )


def limits(options: argparse.Namespace) -> tuple[Limits, HostLimits]:
    """The limits that the options set: the guest's, and the host's."""
    from wasi_nn.limits.limits import HostLimits, Limits

    values = {name: getattr(options, f"max_{name}") for name in _OPTIONS if hasattr(options, f"max_{name}")}
    host_values = {name: values[name] for name in ("computes", "workers") if name in values}  # there is one guest
    values.pop("computes", None)
    return Limits(**values), HostLimits(**host_values)
