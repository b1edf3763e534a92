"""The options of the worker processes of isolated graphs (`--worker-...`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import UsageError
from wasi_nn.cli.limit_options import count, seconds, size

if TYPE_CHECKING:
    from wasi_nn.isolation import Isolation

_OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "memory": (size, "BYTES", "memory of a worker: 65536, 512M, 2G (default: 4G)"),
    "threads": (count, "N", "threads of a worker (default: 1024)"),
    "load_time": (seconds, "TIME", "time for a worker to load a model: 10, 500ms, 10m (default: 5m)"),
    "grace": (seconds, "TIME", "time for a worker to stop a compute, before it is killed (default: 1s)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--isolate`, and an option for each field of `Isolation`."""
    group = parser.add_argument_group("isolated graphs, which run in worker processes that can do nothing but compute")
    group.add_argument(
        "--isolate",
        action=argparse.BooleanOptionalAction,
        help="isolate all graphs, or none (default: only models from the guest's own bytes that run on OpenVINO)",
    )
    for name, (kind, metavar, text) in _OPTIONS.items():
        flag = f"--worker-{name.replace('_', '-')}"
        group.add_argument(flag, type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text)
    group.add_argument(
        "--worker-spare",
        action="store_true",
        default=argparse.SUPPRESS,
        help="keep a second worker with an imported runtime ready, for when one fails; takes memory (default: none)",
    )


def isolation(options: argparse.Namespace) -> Isolation:
    """The settings of isolated graphs that the options give. Raises `UsageError` for a setting with `--no-isolate`."""
    from wasi_nn.isolation import Isolation

    names = (*_OPTIONS, "spare")
    values = {name: getattr(options, f"worker_{name}") for name in names if hasattr(options, f"worker_{name}")}
    if values and options.isolate is False:
        option = f"--worker-{next(iter(values)).replace('_', '-')}"
        raise UsageError(f"{option} is for isolated graphs, and --no-isolate has none: leave out one of the two")
    return Isolation(**values)
