"""The bridge component, through which a guest component's tensors reach the host; `bridge.c` tells how.

The engine gives a host function a list as one large value an element, and at most some megabytes of them a call. So
the guest gets its wasi:nn from a component that is put beside it (`wasi_nn.abi.component.compose`) and speaks to the
host in plain numbers and strings. There is one for each published version of wasi:nn.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

VERSIONS = ("0.2.0-rc-2024-06-25", "0.2.0-rc-2024-08-19", "0.2.0-rc-2024-10-28")
"""The versions of wasi:nn that a guest may import, oldest first."""

INTERFACES = ("tensor", "graph", "inference", "errors")
"""The interfaces that each version has."""

HOST = "wasi-nn:bridge/host"
"""The name of the instance of host functions that the bridge imports."""

HOST_FILE, PLACEHOLDER = "host.wasm", "placeholder.wasm"


def file_name(version: str) -> str:
    """The name of the built bridge for a version."""
    return f"bridge-{version.partition('-rc-')[2]}.wasm"


@cache
def binary(version: str) -> bytes:
    """The bridge for a version of wasi:nn."""
    return (Path(__file__).parent / file_name(version)).read_bytes()


@cache
def placeholder() -> bytes:
    """A component that needs nothing and has the types of wasi:nn."""
    return (Path(__file__).parent / PLACEHOLDER).read_bytes()


@cache
def host() -> bytes:
    """A component that imports `HOST` with every function that any bridge calls; its first type is that instance's."""
    return (Path(__file__).parent / HOST_FILE).read_bytes()
