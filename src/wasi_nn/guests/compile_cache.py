"""Compiled guests on disk, so that a guest is compiled once.

The engine runs what it reads back as native code, and notices little of what may have happened to it meanwhile. So a
file starts with the digest of the rest and is made whole before it gets its name. Whoever can write there could have
code of theirs run by us: the directory and its files must be our user's (or root's) and writable by nobody else, or
they aren't used. Whatever is wrong with the cache costs a compilation, never a run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from wasmtime import Module, WasmtimeError, _ffi as ffi
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
        self._complained = False

    def get(
        self,
        wasm: bytes,
        compile_anew: Callable[[bytes], Compiled],
        deserialize: Callable[[bytes], Compiled],
    ) -> Compiled:
        """The compiled guest, from disk if it is there and sound, else compiled now and kept."""
        name = f"{hashlib.sha256(wasm).hexdigest()}-{_engine_build()}"
        serialized = self._read(name)
        if serialized is not None:
            try:
                return deserialize(serialized)
            except WasmtimeError as error:  # made by another version of the engine, or for another processor
                logger.debug("the cached %s doesn't fit: %s", self.directory / name, error)
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
        """The directory, open: what is found to be ours is what is used, wherever its path leads to meanwhile. Raises
        `OSError` if it isn't there, or not to be used."""
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not _is_ours(os.fstat(directory)):
                self._complain()
                raise PermissionError(f"{self.directory} isn't ours alone")
            yield directory
        finally:
            os.close(directory)

    def _complain(self) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                "guests are compiled each time: others could put code into the cache %s, which must belong to the "
                "user that runs guests and be writable by nobody else (chmod go-w)",
                self.directory,
            )

    def _content(self, directory: int, name: str) -> bytes | None:
        """What a file of ours holds; None if it isn't one."""
        # Neither waits for a writer if it is a pipe, nor follows it elsewhere if it is a link.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            state = os.fstat(file)
            if not stat.S_ISREG(state.st_mode) or not _is_ours(state) or state.st_size > self.max_bytes:
                return None
            with open(file, "rb", closefd=False) as opened:
                content = opened.read(self.max_bytes)
            with suppress(OSError):  # a disk that can't be written, where nothing makes room either
                os.utime(file)
            return content
        finally:
            os.close(file)

    def _write(self, name: str, serialized: bytes | bytearray) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._opened() as directory:
                _put(directory, name, hashlib.sha256(serialized).digest(), serialized)
                self._make_room(directory)
        except OSError as error:
            logger.debug("the compiled guest can't be kept in %s: %s", self.directory, error)

    def _make_room(self, directory: int) -> None:
        files = []
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since: another process makes room, or has finished writing
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode):
                        files.append((state.st_mtime, state.st_size, entry.name))
        excess = sum(size for _, size, _ in files) - self.max_bytes
        for _, size, name in sorted(files):
            if excess <= 0:
                return
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            excess -= size


def _is_ours(state: os.stat_result) -> bool:
    """Whether nobody but our user and root, who may do anything, could have written this."""
    if state.st_uid not in (0, os.geteuid()) or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    return state.st_uid != _overflow_user() or _knows_all_users()


def _overflow_user() -> int:
    """Who every user looks like that our user namespace doesn't know; -1 where there are no such namespaces."""
    if sys.platform != "linux":
        return -1
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except OSError:
        return 65534


def _knows_all_users() -> bool:
    """Whether this process is in no user namespace but one that has all the users that there are."""
    try:
        ranges = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    return sum(int(line.split()[2]) for line in ranges) >= 2**32 - 1


def _put(directory: int, name: str, *parts: bytes | bytearray) -> None:
    """Write a file whole: under a name that nobody looks for until it is."""
    unfinished = f".new-{secrets.token_hex(8)}"
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
    """A number that tells builds of the engine apart well enough; the engine itself makes sure."""
    return Path(ffi.filename).stat().st_size
