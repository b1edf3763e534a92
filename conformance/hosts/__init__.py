"""The drivers: one module a host, each with a class `Driver`. A module in this folder is a driver by being here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.hosts.driver import Driver

NAMES = sorted(
    path.stem.replace("_", "-")
    for path in Path(__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "driver")
)


def driver_for(name: str, path: str) -> Driver:
    """The driver of a host by its name, for the command at a path."""
    made: Driver = import_module(f"conformance.hosts.{name.replace('-', '_')}").Driver(path)
    return made
