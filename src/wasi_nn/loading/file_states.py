"""Whether files have been changed since they were looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wasi_nn.process.files import files_in

FileState = tuple[str, int, int, int, int]
"""A file's path, size, times of change and inode."""


def state_of(paths: Sequence[Path]) -> list[FileState]:
    """The state of each file, also of those in folders. Files with another state have been changed."""
    state = []
    for path in paths:
        for file in files_in(path):
            try:
                stat = file.stat()
            except OSError:  # the file was removed: loading the graph raises the error
                continue
            state.append((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return state
