"""The options that limit what a guest may have and take."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from wasi_nn.limits.limits import HostLimits, Limits

Number = TypeVar("Number", int, float)

_LARGEST = 2**63
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def _size(text: str) -> int | None:
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it takes bytes, as 65536, 512M or 2G, or none")
    unit, part = _UNITS[found[3].upper()], found[2] or "0"
    return _positive(text, int(found[1]) * unit + int(part) * unit // int("1" + len(part) * "0"))


def _seconds(text: str) -> float | None:
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: it takes seconds, as 10 or 2.5, or 500ms, 10m, 1h, or none"
        )
    return _positive(text, float(found[1]) * _SECONDS[found[2]])


def _count(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no count: it takes a whole number without a unit, as 1000, or none"
        )
    return _positive(text, int(text))


def _positive(text: str, value: Number) -> Number:
    if not 0 < value < _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} can't be a limit: it takes more than 0 and less than 2^63, or none")
    return value


_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "guest_memory": (_size, "BYTES", "of its memories (default: 2G)"),
    "guest_time": (_seconds, "TIME", "of processor time in its own code (default: 10m)"),
    "fuel": (_count, "N", "instructions; counting them takes time itself (default: none)"),
    "compute_time": (_seconds, "TIME", "for one compute (default: 10m)"),
    "run_time": (_seconds, "TIME", "for the whole run (default: 1h)"),
    "compile_time": (_seconds, "TIME", "for compiling it (default: 2m)"),
    "compile_memory": (_size, "BYTES", "of memory for compiling it (default: 4G)"),
    "load_time": (_seconds, "TIME", "for loading one model (default: 1m)"),
    "model_bytes": (_size, "BYTES", "of models that it loads from its own bytes (default: 1G)"),
    "tensor_bytes": (_size, "BYTES", "of tensors (default: 1G)"),
    "graphs": (_count, "N", "graphs that it holds (default: 64)"),
    "workers": (_count, "N", "processes of isolated graphs that it loads from its own bytes (default: 8)"),
    "contexts": (_count, "N", "execution contexts that it holds (default: 256)"),
    "handles": (_count, "N", "things that it holds in all (default: 65536)"),
    "files": (_count, "N", "files and directories that it has open (default: 256)"),
    "output_bytes": (_size, "BYTES", "of output (default: none)"),
    "computes": (_count, "N", "computes at once (default: 64)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand's parser."""
    group = parser.add_argument_group(
        "limits of what the guest may have and take",
        "BYTES: 65536, 512M, 2G (K, M, G and T are powers of 1024). TIME: 10 (seconds), 500ms, 10m, 1h.\n"
        "N: a whole number. Any: none for no limit.",
    )
    for name, (kind, metavar, text) in _OPTIONS.items():
        group.add_argument(
            f"--max-{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text
        )


def limits(options: argparse.Namespace) -> tuple[Limits, HostLimits]:
    """The limits that the options give: the guest's, and the host's."""
    from wasi_nn.limits.limits import HostLimits, Limits

    given = {name: getattr(options, f"max_{name}") for name in _OPTIONS if hasattr(options, f"max_{name}")}
    of_guest = {field.name: given[field.name] for field in fields(Limits) if field.name in given}
    return Limits(**of_guest), HostLimits(**({"computes": given["computes"]} if "computes" in given else {}))
