"""What a guest of a file of graphs serves: what the operator says, or what its imports and exports show. And the
path and the directories that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

from wasi_nn.abi.component import bridge, reading
from wasi_nn.abi.core import serving
from wasi_nn.abi.wasm_binary import Malformed, module_imports
from wasi_nn.errors import GuestError
from wasi_nn.guests import guest_file
from wasi_nn.guests.directories import Directory
from wasi_nn.loading.served_guest import ServedGuest, Serves

_HTTP_HANDLER = re.compile(r"wasi:http/incoming-handler@0\.2\.")
_PREFIX = "/guests/"


def kind_of(guest: ServedGuest) -> Serves:
    """What a guest serves. Raises `GuestError` for a file that isn't WebAssembly, or that doesn't show it."""
    if guest.serves is not None:
        return guest.serves
    if guest.outputs:
        return Serves.MODEL
    for name in _imports_and_exports(guest_file.read(guest.path)):
        if name.startswith((bridge.SERVING_NAMESPACE, serving.MODULE)):
            return Serves.MODEL
        if _HTTP_HANDLER.match(name):
            return Serves.HTTP
    raise GuestError(
        f"{guest_file.name_of(guest.path)} neither imports wasi-nn:serving nor exports wasi:http/incoming-handler: "
        'say what it serves, serves = "model" or serves = "http"'
    )


def mount_of(name: str, guest: ServedGuest) -> str:
    """The path under which a guest that serves http answers."""
    return guest.mount or f"{_PREFIX}{quote(name, safe='')}"


def directories_of(guest: ServedGuest) -> dict[str, Directory]:
    """The directories of a guest, as a run takes them."""
    return {path: Directory(it.path, read_only=not it.writable) for path, it in guest.directories.items()}


def _imports_and_exports(wasm: bytes) -> Iterator[str]:
    """The names of a component's imports and exports, or of the modules from which a core module imports. A malformed
    part counts as far as it can be read."""
    if guest_file.is_component(wasm):
        imported, exported = reading.names_of(wasm)
        yield from imported
        yield from exported
        return
    with suppress(Malformed):
        for module, _ in module_imports(wasm):
            yield module
