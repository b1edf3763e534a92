"""Reads files for a guest that names them by path, such as the image for a language model: its own files only.

A path is looked up in the directories that the guest was given, and nowhere else. Each part of it is opened in the
directory before it, and no link is followed. The directories are opened before the guest runs, so that a guest that
may rename one of them can't put another in its place.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from typing import NamedTuple

from wasi_nn.errors import ErrorCode, NNError, printable, shortened
from wasi_nn.guests.directories import Directories, path_of
from wasi_nn.settings import how_to_set

_NONE = -1
_MAX_PATH = 4096  # bytes
_MAX_SHOWN = 8  # directories in a message
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PART = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Root(NamedTuple):
    """A directory of the guest: its path as the guest sees it, the parts of that path, and the descriptor, or the
    reason why there is none."""

    path: str
    parts: list[str]
    descriptor: int
    reason: str = ""


class GuestFiles:
    """The files in a guest's directories."""

    def __init__(self, directories: Directories) -> None:
        self._roots: list[_Root] = []
        self._lock = threading.Lock()  # a load that goes on after its guest must not read by a closed descriptor
        for guest_path, directory in directories.items():
            parts = _parts(guest_path)
            try:
                root = _Root(guest_path, parts, os.open(path_of(directory), _DIRECTORY))
            except OSError as error:
                root = _Root(guest_path, parts, _NONE, error.strerror or "")
            self._roots.append(root)

    def read(self, path: str, most: int) -> bytes:
        """The content of a file of at most `most` bytes, by its path as the guest sees it.

        Raises `NNError`: `security` for a path out of the guest's directories, or with a link in it;
        `invalid-argument` for a file that doesn't exist, can't be read or isn't a regular file; `too-large`;
        `runtime-error` if its directory couldn't be opened.
        """
        what = f"the guest's file {shortened(path)!r}"
        _require_plain(path, what)
        with self._lock:
            root, names = self._place(path, what)
            file = _opened(root, names, what)
        try:
            return _content(file, most, what)
        finally:
            os.close(file)

    def _place(self, path: str, what: str) -> tuple[int, list[str]]:
        """The directory that the guest has for a path, and the rest of the path."""
        parts = _parts(path)
        roots = [root for root in self._roots if parts[: len(root.parts)] == root.parts]
        if not roots:
            how = f"give it the file's directory ({how_to_set('dirs', '--dir')})"
            raise NNError(
                ErrorCode.SECURITY, f"{what} isn't in a directory of the guest, which has {self._named}: {how}"
            )
        # Of `.` and `/`, the one that is as absolute as the path.
        root = max(roots, key=lambda it: (len(it.parts), it.path.startswith("/") == path.startswith("/")))
        rest = parts[len(root.parts) :]
        if ".." in rest:
            raise NNError(ErrorCode.SECURITY, f"{what} has '..' in its path: name the file without")
        if not rest:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} is a directory: name a file in it")
        if root.descriptor == _NONE:
            message = f"{what} can't be read, since the host couldn't open its directory: {root.reason}"
            raise NNError(ErrorCode.RUNTIME_ERROR, message)
        return root.descriptor, rest

    @property
    def _named(self) -> str:
        names = [repr(shortened(root.path)) for root in self._roots[:_MAX_SHOWN]]
        more = ["..."] if len(self._roots) > _MAX_SHOWN else []
        return ", ".join(names + more) or "none"

    def close(self) -> None:
        """Close the directories. No file is read afterwards."""
        with self._lock:
            while self._roots:
                root = self._roots.pop()
                if root.descriptor != _NONE:
                    os.close(root.descriptor)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _require_plain(path: str, what: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} has a path that isn't Unicode") from error
    if "\0" in path:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} has a zero byte in its path")
    if size > _MAX_PATH:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} has a path of {size} bytes: at most {_MAX_PATH} are allowed")


def _opened(root: int, names: list[str], what: str) -> int:
    """A descriptor of the file at the end of these names, from a directory on."""
    directory = root
    try:
        for name in names[:-1]:
            inner = _open(name, _PART, directory, what)
            if directory != root:
                os.close(directory)
            directory = inner
        return _open(names[-1], _FILE, directory, what)
    finally:
        if directory != root:
            os.close(directory)


def _open(name: str, flags: int, directory: int, what: str) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as error:
        mode = 0
        with suppress(OSError):
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        shown = printable(repr(shortened(name)))
        if stat.S_ISLNK(mode):
            message = f"{what} has the link {shown} in its path, which isn't followed: name the file itself"
            raise NNError(ErrorCode.SECURITY, message) from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            missing = f"{shown} is a file, not a directory" if mode else f"there is no {shown}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} doesn't exist: {missing}") from error
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} can't be read: {error.strerror}") from error


def _content(file: int, most: int, what: str) -> bytes:
    status = os.fstat(file)
    if stat.S_ISDIR(status.st_mode):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} is a directory: name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} is a pipe or a device, not a regular file")
    size, parts = status.st_size, []
    if size <= most:
        left = most + 1  # it may grow meanwhile
        try:
            while left and (part := os.read(file, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} can't be read: {error.strerror}") from error
        size = most + 1 - left
    if size > most:
        raise NNError(ErrorCode.TOO_LARGE, f"{what} has {size} bytes: at most {most} are allowed")
    return b"".join(parts)
