"""The drivers: one module a host, each with a class `Driver`. A module in this folder is a driver by being here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.hosts.driver import Driver

NAMES = sorted(
    path.stem.replace("_", "-")
    for path in Path(__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "driver")
)


def is_driver(name: str) -> bool:
    """Whether a host's name is that of a driver, or the path of one: a file `.py`."""
    return name in NAMES or (name.endswith(".py") and Path(name).is_file())


def driver_for(name: str, path: str) -> Driver:
    """The driver of a host, by its name or by the path of its file, for the command at a path."""
    if name in NAMES:
        module = import_module(f"conformance.hosts.{name.replace('-', '_')}")
    else:
        spec = spec_from_file_location(f"conformance_host_{Path(name).stem}", name)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    made: Driver = module.Driver(path)
    return made
