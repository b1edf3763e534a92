"""The built bridge: a component that stands beside a guest component and gives it wasi:nn.

The engine passes a list to a host function as one large value for each element, and at most some megabytes of them in
a call. The bridge takes the guest's lists instead (`wasi_nn.abi.component.compose` puts it beside the guest), and calls
the host with numbers and strings only. There is one bridge for each published version of wasi:nn.

`guests/bridge` has the sources; `bridge.c` describes how bytes cross. `guests/build_bridge.py` builds them into this
folder.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

VERSIONS = ("0.2.0-rc-2024-06-25", "0.2.0-rc-2024-08-19", "0.2.0-rc-2024-10-28")
"""The versions of wasi:nn that a guest may import, oldest first."""

NAMESPACE = "wasi:nn/"

INTERFACES = ("tensor", "graph", "inference", "errors")
"""The interfaces of each version."""

HOST = "wasi-nn:bridge/host"
"""The name of the instance of host functions that the bridge imports."""

HOST_FILE, PLACEHOLDER = "host.wasm", "placeholder.wasm"


SHIM_MODULES = ("memory", "constructor", "data", "load")
"""The core modules of the shim: what finds the guest's memory, and what takes the place of each function."""

MAX_SHIM_INSTANCES = 200
"""The most instances of the shim's modules in a guest. A guest for which this isn't enough gets no shim."""


def shim_file(module: str) -> str:
    """The name of a built module of the shim."""
    return f"shim-{module}.wasm"


def file_name(version: str) -> str:
    """The name of the built bridge for a version."""
    return f"bridge-{version.partition('-rc-')[2]}.wasm"


def nn_name(interface: str, version: str) -> str:
    """The name by which a guest imports an interface of wasi:nn."""
    return f"{NAMESPACE}{interface}@{version}"


def interface_of(name: str) -> str | None:
    """The interface of wasi:nn that a guest imports under a name; None if this host has no such interface."""
    interface, _, version = name.removeprefix(NAMESPACE).partition("@")
    known = name.startswith(NAMESPACE) and interface in INTERFACES and version in VERSIONS
    return interface if known else None


@cache
def binary(version: str) -> bytes:
    """The bridge for a version of wasi:nn, as a binary."""
    return (Path(__file__).parent / file_name(version)).read_bytes()


@cache
def placeholder() -> bytes:
    """A component that imports nothing and exports the types of wasi:nn."""
    return (Path(__file__).parent / PLACEHOLDER).read_bytes()


@cache
def host() -> bytes:
    """A component that imports `HOST` with all functions of all bridges. Its first type is that of the instance."""
    return (Path(__file__).parent / HOST_FILE).read_bytes()


@cache
def shim(module: str) -> bytes:
    """A core module of the shim, which is put into guests."""
    return (Path(__file__).parent / shim_file(module)).read_bytes()
