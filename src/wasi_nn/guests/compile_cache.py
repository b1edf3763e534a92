"""The compile cache: keeps compiled guests on disk, so that a guest is compiled once.

The engine runs the content of a cached file as native code, and detects little damage in it. So each file starts with
the digest of its content, and gets its name only when it is complete. Other users who can write to the cache could make
this process run their code. So the cache uses only a directory and files that belong to the user of this process (or to
root), and that no other user can write. If anything is wrong with the cache, guests are compiled again, and still run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wasmtime import WasmtimeError, _ffi as ffi

from wasi_nn.guests.engine import has_source_lines
from wasi_nn.process.cache_folders import cache_folder

if TYPE_CHECKING:
    from wasmtime import Module
    from wasmtime.component import Component

logger = logging.getLogger("wasi_nn")

Compiled = TypeVar("Compiled", "Module", "Component")

_DIGEST_SIZE = hashlib.sha256().digest_size
_MAX_BYTES = 2 * 2**30


def default_directory() -> Path:
    """The default directory for compiled guests."""
    return cache_folder("compiled")


class CompileCache:
    """Compiled guests, by the digest of their bytes, the build of the engine and the format of the wrapping.

    When the files have more than `max_bytes`, those that were not used for the longest time are removed.
    """

    def __init__(self, directory: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._warned = False

    def get(
        self,
        wasm: bytes,
        compile_anew: Callable[[bytes], Compiled],
        deserialize: Callable[[bytes], Compiled],
        around: str = "",
    ) -> Compiled:
        """The compiled guest: read from disk if it is there and undamaged, or else compiled now and kept.

        `around` tells apart what this package puts around the guest's bytes before it compiles them.
        """
        lines = "-lines" if has_source_lines() else ""
        name = f"{hashlib.sha256(wasm).hexdigest()}-{_engine_build()}{around}{lines}"
        serialized = self._read(name)
        if serialized is not None:
            try:
                return deserialize(serialized)
            except WasmtimeError as error:  # made by another version of the engine, or for another processor
                logger.debug("the cached %s isn't for this engine: %s", self.directory / name, error)
        compiled = compile_anew(wasm)
        self._write(name, compiled.serialize())
        return compiled

    def _read(self, name: str) -> bytes | None:
        try:
            with self._opened() as directory:
                content = self._content(directory, name)
        except OSError:
            return None
        if content is None:
            return None
        digest, serialized = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if hashlib.sha256(serialized).digest() != digest:
            logger.warning("the cached %s is damaged; the guest is compiled again", self.directory / name)
            return None
        return serialized

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the directory; gives its descriptor, so that the directory that was checked is the one that is used.

        Raises `OSError` if the directory doesn't exist, or other users can write to it.
        """
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not is_trusted(os.fstat(directory)):
                self._warn()
                raise PermissionError(f"other users can write to {self.directory}")
            yield directory
        finally:
            os.close(directory)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "guests are compiled each time: other users could put code into the cache %s, which must belong to the "
                "user that runs guests and be writable by no other user (chmod go-w)",
                self.directory,
            )

    def _content(self, directory: int, name: str) -> bytes | None:
        """The content of a file in the directory; None if it isn't a regular file, or other users can write it."""
        # The flags: don't follow a link, and don't wait for the writer of a named pipe.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            state = os.fstat(file)
            if not stat.S_ISREG(state.st_mode) or not is_trusted(state) or state.st_size > self.max_bytes:
                return None
            with open(file, "rb", closefd=False) as opened:
                content = opened.read(self.max_bytes)
            with suppress(OSError):  # a read-only disk, on which no files are removed either
                os.utime(file)
            return content
        finally:
            os.close(file)

    def _write(self, name: str, serialized: bytes | bytearray) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._opened() as directory:
                _write_file(directory, name, hashlib.sha256(serialized).digest(), serialized)
                self._make_room(directory)
        except OSError as error:
            logger.debug("the compiled guest can't be kept in %s: %s", self.directory, error)

    def _make_room(self, directory: int) -> None:
        files = _files(directory)
        excess = sum(file.size for file in files) - self.max_bytes
        for file in sorted(files, key=lambda file: file.used):
            if excess <= 0:
                return
            with suppress(FileNotFoundError):
                os.unlink(file.name, dir_fd=directory)
            excess -= file.size

    def files(self) -> list[CachedFile]:
        """The files of compiled guests; none if the directory doesn't exist or isn't used."""
        try:
            with self._opened() as directory:
                return _files(directory)
        except OSError:
            return []

    def clear(self) -> int:
        """Remove the files of compiled guests; returns how many there were. Raises `OSError` for one that can't be
        removed. Guests that run aren't concerned."""
        if not self.directory.exists():
            return 0
        removed = 0
        with self._opened() as directory:
            for file in _files(directory):
                with suppress(FileNotFoundError):
                    os.unlink(file.name, dir_fd=directory)
                    removed += 1
        return removed


def cache_in(directory: Path, *, fuel: bool) -> CompileCache:
    """The cache in a directory. Code that counts fuel is compiled differently, and has a folder of its own there."""
    return CompileCache(directory / "fuel" if fuel else directory)


@dataclass(frozen=True)
class CachedFile:
    """A file of the cache: its name, its bytes, and when it was last used, in seconds of the system's clock."""

    name: str
    size: int
    used: float


def _files(directory: int) -> list[CachedFile]:
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process has removed the file, or renamed its new file
                state = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(state.st_mode):
                    files.append(CachedFile(entry.name, state.st_size, state.st_mtime))
    return files


def is_trusted(state: os.stat_result) -> bool:
    """Whether only the user of this process and root can have written a file or directory with this state."""
    if state.st_uid not in (0, os.geteuid()) or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    return state.st_uid != _overflow_user() or _knows_all_users()


def _overflow_user() -> int:
    """The user id that stands for all users outside this user namespace; -1 if the system has no user namespaces."""
    if sys.platform != "linux":
        return -1
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except OSError:
        return 65534  # the kernel's default


def _knows_all_users() -> bool:
    """Whether the user namespace of this process contains all users, as the first namespace does."""
    try:
        ranges = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    return sum(int(line.split()[2]) for line in ranges) >= 2**32 - 1


def _write_file(directory: int, name: str, *parts: bytes | bytearray) -> None:
    """Write a file under a temporary name, and rename it when it is complete."""
    unfinished = f".new-{os.urandom(8).hex()}"
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as opened:
            opened.writelines(parts)
        os.replace(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=directory)
        raise


def _engine_build() -> int:
    """A number that usually differs between builds of the engine. The engine itself checks its build as it reads."""
    return Path(ffi.filename).stat().st_size
