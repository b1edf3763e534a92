"""The options that limit a guest's memory, time and number of objects (`--max-...`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from wasi_nn.limits import units

if TYPE_CHECKING:
    from wasi_nn.limits.limits import HostLimits, Limits

Number = TypeVar("Number", int, float)


def _option(read: Callable[[str], Number]) -> Callable[[str], Number]:
    """The type of an option whose text `read` reads."""

    def value(text: str) -> Number:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


size, seconds, count = _option(units.size), _option(units.seconds), _option(units.count)
"""The types of options that take a number of bytes, a time and a whole number."""


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


_OPTIONS: dict[str, tuple[str, str]] = {
    "guest_memory": ("BYTES", "the guest's memory (default: 2G)"),
    "guest_time": ("TIME", "processor time of the guest's own code (default: 10m)"),
    "fuel": ("N", "instructions of the guest; counting them makes it slower (default: none)"),
    "compute_time": ("TIME", "time of one compute (default: 10m)"),
    "run_time": ("TIME", "time of the whole run (default: 1h)"),
    "compile_time": ("TIME", "time to compile the guest (default: 2m)"),
    "compile_memory": ("BYTES", "memory to compile the guest (default: 4G)"),
    "load_time": ("TIME", "time to load one model (default: 1m)"),
    "model_bytes": ("BYTES", "models that the guest loads from its own bytes, together (default: 1G)"),
    "tensor_bytes": ("BYTES", "the guest's tensors, together (default: 1G)"),
    "graphs": ("N", "graphs at a time (default: 64)"),
    "workers": ("N", "worker processes for models from the guest's own bytes (default: 8)"),
    "contexts": ("N", "execution contexts at a time (default: 256)"),
    "handles": ("N", "handles of all kinds: graphs, contexts, tensors, errors (default: 65536)"),
    "files": ("N", "files and directories open at a time (default: 256)"),
    "output_bytes": ("BYTES", "standard output and error, together (default: none)"),
    "computes": ("N", "computes at the same time (default: 64)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add an option for each limit."""
    group = parser.add_argument_group(
        "limits on the guest",
        "BYTES: 65536, 512M, 2G (K, M, G and T are powers of 1024).\n"
        "TIME: 10 (seconds), 500ms, 10m, 1h. N: a whole number.\n"
        "Each takes none for no limit.",
    )
    kinds = {**units.KINDS, "computes": units.count}
    for name, (metavar, text) in _OPTIONS.items():
        group.add_argument(
            f"--max-{name.replace('_', '-')}",
            type=_or_none(_option(kinds[name])),
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
