"""The options that limit what a guest may have and take."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.limits.limits import HostLimits, Limits

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def _size(text: str) -> int | None:
    found = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if text == "none":
        return None
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it takes bytes, or 512M, 2G, or none")
    return int(found[1]) * _UNITS[found[2].upper()]


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if text == "none":
        return None
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: it takes seconds, or 500ms, 10m, 1h, or none")
    return float(found[1]) * _SECONDS[found[2]]


def _count(text: str) -> int | None:
    if text != "none" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number: it takes one, or none")
    return None if text == "none" else int(text)


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
    group = parser.add_argument_group("limits of what the guest may have and take (512M, 10m; none for no limit)")
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
