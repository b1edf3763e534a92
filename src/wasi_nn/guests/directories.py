"""The directories of this machine that a guest may use, and checks of text that is passed to a guest."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wasmtime import WasiConfig, WasmtimeError

from wasi_nn.arguments import as_flag, as_path
from wasi_nn.errors import GuestError


@dataclass(frozen=True)
class Directory:
    """A directory of this machine for a guest: `path`, with all files in it. The guest may write into it unless it is
    `read_only`."""

    path: str | os.PathLike[str]
    read_only: bool = False

    def __post_init__(self) -> None:
        as_path("Directory.path", self.path)
        object.__setattr__(self, "read_only", as_flag("Directory.read_only", self.read_only))


READ_ONLY = ":ro"
"""The ending of a read-only directory on the command line."""

Directories = Mapping[str, str | os.PathLike[str] | Directory]
"""Directories by their paths for the guest. The guest may read and write a directory that is only a path."""


def path_of(directory: str | os.PathLike[str] | Directory) -> str:
    """The path of a guest's directory on this machine."""
    return os.fsdecode(directory.path if isinstance(directory, Directory) else directory)


def preopen(config: WasiConfig, directories: Directories) -> None:
    """Let a guest use directories.

    Raises `GuestError` for a directory that doesn't exist or can't be opened, and for a wrong path of the guest.
    """
    require_distinct(c_string("a directory", path) for path in directories)
    for guest_path, directory in directories.items():
        path = c_string("a directory", path_of(directory))
        if guest_path.endswith(READ_ONLY) and not isinstance(directory, Directory):
            how = "a read-only directory is Directory(..., read_only=True)"
            raise GuestError(f"{guest_path!r} is no path for the guest: {how}")
        mutable = not (isinstance(directory, Directory) and directory.read_only)
        if not os.path.isdir(path):
            found = f"{path} is a file, not a directory" if os.path.exists(path) else f"no directory at {path}"
            raise GuestError(f"{found}, for the guest's {guest_path}")
        try:
            config.preopen_dir(path, guest_path, mutable)
        except WasmtimeError as error:
            raise GuestError(f"the directory {path} can't be opened for the guest") from error


def require_distinct(paths: Iterable[str]) -> None:
    """Raise `GuestError` for two paths that are the same path for a guest, such as `/p` and `/p/`."""
    paths_by_name: dict[str, str] = {}
    for path in paths:
        name = posixpath.normpath(path)
        if name in paths_by_name:
            other = paths_by_name[name]
            more = f" ({other!r})" if other != path else ""
            raise GuestError(f"two directories have the path {path!r} for the guest{more}")
        paths_by_name[name] = path


def c_string(what: str, text: str) -> str:
    """The text, if it can be passed to a guest: without zero bytes, and in Unicode."""
    if "\0" in text:
        raise GuestError(f"{what} of the guest has a zero byte in it: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestError(f"{what} of the guest is not valid Unicode: {text!r}") from error
    return text
