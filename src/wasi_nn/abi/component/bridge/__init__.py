"""The built bridge: a component that stands beside a guest component and gives it wasi:nn.

The engine passes a list to a host function as one large value for each element, and at most some megabytes of them in
a call. The bridge takes the guest's lists instead (`wasi_nn.abi.component.compose` puts it beside the guest), and calls
the host with numbers and strings only. There is one bridge for each published version of wasi:nn, and another one with
the newest version for guests that also import wasi-nn:ext. A bridge of its own gives a guest wasi-nn:serving. Another
component beside the guest makes its requests of HTTP.

`guests/bridge` has the sources; `bridge.c` describes how bytes cross. `guests/build_bridge.py` builds them into this
folder.
"""

from __future__ import annotations

from collections.abc import Iterable
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

RESERVED = "wasi-nn:bridge/"
"""The beginning of names that no guest may import itself."""

EXTENSIONS_NAMESPACE, EXTENSIONS_VERSION = "wasi-nn:ext/", "0.1.0"

EXTENSIONS_INTERFACES = ("types", "describe", "signatures", "state", "sequences", "byte-strings")
"""The interfaces of wasi-nn:ext."""

EXTENSIONS_HOST = "wasi-nn:bridge/extensions"
"""The name of the instance of host functions that the bridge for wasi-nn:ext imports beside `HOST`."""

EXTENDED_FILE = "bridge-ext.wasm"
EXTENSIONS_FILE, EXTENSIONS_PLACEHOLDER = "host-ext.wasm", "placeholder-ext.wasm"

SERVING_NAMESPACE, SERVING_VERSION = "wasi-nn:serving/", "0.1.0"

NAMESPACES = (NAMESPACE, EXTENSIONS_NAMESPACE, SERVING_NAMESPACE)
"""The beginnings of the names of all interfaces of wasi-nn."""

SERVING_HOST = "wasi-nn:bridge/serving"
"""The name of the instance of host functions that the bridge for wasi-nn:serving imports."""

SERVING_FILE = "bridge-serving.wasm"
SERVING_HOST_FILE, SERVING_PLACEHOLDER = "host-serving.wasm", "placeholder-serving.wasm"

OUTGOING_FILE = "outgoing.wasm"

ALLOWED = "allowed"
"""The name of the function in a marker's instance."""

_USES = "wasi-nn:bridge/uses-"

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


def extension_name(interface: str) -> str:
    """The name by which a guest imports an interface of wasi-nn:ext."""
    return f"{EXTENSIONS_NAMESPACE}{interface}@{EXTENSIONS_VERSION}"


def extension_of(name: str) -> str | None:
    """The interface of wasi-nn:ext that a guest imports under a name; None if this host has no such interface."""
    interface = name.removeprefix(EXTENSIONS_NAMESPACE).removesuffix(f"@{EXTENSIONS_VERSION}")
    return interface if interface in EXTENSIONS_INTERFACES and name == extension_name(interface) else None


def serving_name(interface: str = "requests") -> str:
    """The name by which a guest imports an interface of wasi-nn:serving."""
    return f"{SERVING_NAMESPACE}{interface}@{SERVING_VERSION}"


def marker(interface: str) -> str:
    """The name of an instance that a wrapped guest imports if the guest imports an interface of wasi-nn:ext. By that,
    the host sees what the guest uses, also of a compiled guest. The instance has one function, which nothing calls:
    without it, the engine refuses the guest."""
    return f"{_USES}{interface}"


def marked(imports: Iterable[str]) -> list[str]:
    """The interfaces of wasi-nn:ext that a guest imports, by the imports of the wrapped guest."""
    return [name.removeprefix(_USES) for name in imports if name.startswith(_USES)]


@cache
def binary(version: str, *, extended: bool = False) -> bytes:
    """The bridge for a version of wasi:nn, as a binary; that with wasi-nn:ext if `extended`."""
    return _read(EXTENDED_FILE if extended else file_name(version))


@cache
def placeholder() -> bytes:
    """A component that imports nothing and exports the types of wasi:nn."""
    return _read(PLACEHOLDER)


@cache
def extensions_placeholder() -> bytes:
    """A component that imports nothing and exports the types of wasi-nn:ext."""
    return _read(EXTENSIONS_PLACEHOLDER)


@cache
def host() -> bytes:
    """A component that imports `HOST` with all functions of all bridges. Its first type is that of the instance."""
    return _read(HOST_FILE)


@cache
def extensions_host() -> bytes:
    """A component that imports `EXTENSIONS_HOST`. Its first type is that of the instance."""
    return _read(EXTENSIONS_FILE)


@cache
def serving() -> bytes:
    """The bridge for wasi-nn:serving, as a binary."""
    return _read(SERVING_FILE)


@cache
def serving_host() -> bytes:
    """A component that imports `SERVING_HOST`. Its first type is that of the instance."""
    return _read(SERVING_HOST_FILE)


@cache
def serving_placeholder() -> bytes:
    """A component that imports nothing and exports the types of wasi-nn:serving."""
    return _read(SERVING_PLACEHOLDER)


@cache
def outgoing() -> bytes:
    """A component that makes requests of HTTP by the engine's wasi:http, for a guest whose wasi:http is the host's."""
    return _read(OUTGOING_FILE)


@cache
def shim(module: str) -> bytes:
    """A core module of the shim, which is put into guests."""
    return _read(shim_file(module))


def _read(name: str) -> bytes:
    return (Path(__file__).parent / name).read_bytes()
