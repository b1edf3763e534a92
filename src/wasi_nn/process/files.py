"""Reads and maps regular files only, since opening a pipe may block and a device may have no end; lists folders."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading. Raises `OSError` for any other file, and never blocks on a pipe or device."""
    try:
        file = open(path, "rb", opener=_open_without_blocking)  # noqa: SIM115  the caller closes it
    except ValueError as error:  # a zero byte in the path
        raise OSError(str(error)) from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError("it is no regular file")


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The content of a file. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


@contextmanager
def mapped_file(path: str | os.PathLike[str]) -> Iterator[memoryview]:
    """The content of a file, mapped until the end of the block. Raises `OSError` as `open_regular` does, and
    `ValueError` for an empty file."""
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with memoryview(data) as view:
            yield view


def files_in(path: Path) -> Sequence[Path]:
    """The files and folders in a folder at any depth, sorted; the path itself if it is no folder. Links to folders
    aren't followed."""
    try:
        return sorted(path.rglob("*")) if path.is_dir() else [path]
    except OSError:  # a folder was removed meanwhile
        return [path]


def is_irregular(path: Path) -> bool:
    """Whether a path exists and is neither a regular file nor a directory."""
    try:
        return path.exists() and not (path.is_file() or path.is_dir())
    except OSError:
        return False


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
