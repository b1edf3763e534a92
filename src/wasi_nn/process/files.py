"""Opening files to be read: regular ones alone, since a pipe may be waited for and a device read for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to be read. Raises `OSError` for what isn't there or is no regular file, without waiting for it."""
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  the caller's
    except ValueError as error:  # a zero byte in its name
        raise OSError(str(error)) from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError("it is no regular file")


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The content of a file. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def is_irregular(path: Path) -> bool:
    """Whether there is something at a path that is neither a regular file nor a directory."""
    try:
        return path.exists() and not (path.is_file() or path.is_dir())
    except OSError:
        return False


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
