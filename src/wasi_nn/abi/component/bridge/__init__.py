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

INTERFACES = ("tensor", "graph", "inference", "errors")
"""The interfaces of each version."""

HOST = "wasi-nn:bridge/host"
"""The name of the instance of host functions that the bridge imports."""

HOST_FILE, PLACEHOLDER = "host.wasm", "placeholder.wasm"


def file_name(version: str) -> str:
    """The name of the built bridge for a version."""
    return f"bridge-{version.partition('-rc-')[2]}.wasm"


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
