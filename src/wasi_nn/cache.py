"""Compiled guests on disk, so that a guest is compiled once.

The engine runs what it reads back as native code, and notices little of what may have happened to it meanwhile. So a
file starts with the digest of the rest, is made whole before it gets its name, and lies in a directory of the user's
own. Whatever is wrong with the cache costs a compilation, never a run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from wasmtime import Module, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Component

logger = logging.getLogger("wasi_nn")

Compiled = TypeVar("Compiled", Module, Component)

_DIGEST_SIZE = hashlib.sha256().digest_size
_MAX_BYTES = 2 * 1024**3


def default_directory() -> Path:
    """Where compiled guests are kept unless the user says otherwise."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("wasi-nn", appauthor=False)) / "compiled"


class CompileCache:
    """Compiled guests by their bytes and the engine's build. Those not used for longest go when `max_bytes` is
    passed."""

    def __init__(self, directory: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.directory = directory
        self.max_bytes = max_bytes

    def get(
        self,
        wasm: bytes,
        compile_anew: Callable[[bytes], Compiled],
        deserialize: Callable[[bytes], Compiled],
    ) -> Compiled:
        """The compiled guest, from disk if it is there and sound, else compiled now and kept."""
        path = self.directory / f"{hashlib.sha256(wasm).hexdigest()}-{_engine_build()}"
        serialized = self._read(path)
        if serialized is not None:
            try:
                return deserialize(serialized)
            except WasmtimeError as error:  # made by another version of the engine, or for another processor
                logger.debug("the cached %s doesn't fit: %s", path, error)
        compiled = compile_anew(wasm)
        self._write(path, compiled.serialize())
        return compiled

    def _read(self, path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        digest, serialized = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if hashlib.sha256(serialized).digest() != digest:
            logger.warning("the cached %s is damaged; the guest is compiled again", path)
            return None
        return serialized

    def _write(self, path: Path, serialized: bytes | bytearray) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".new-", delete=False) as file:
                try:
                    file.write(hashlib.sha256(serialized).digest())
                    file.write(serialized)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
            self._make_room()
        except OSError as error:
            logger.debug("the compiled guest can't be kept in %s: %s", self.directory, error)

    def _make_room(self) -> None:
        files = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since: another process makes room, or has finished writing
                    files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
        excess = sum(size for _, size, _ in files) - self.max_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _engine_build() -> int:
    """A number that tells builds of the engine apart well enough; the engine itself makes sure."""
    return Path(ffi.filename).stat().st_size
