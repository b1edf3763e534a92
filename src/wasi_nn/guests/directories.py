"""The directories that a guest is given."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wasmtime import WasiConfig, WasmtimeError

from wasi_nn.errors import GuestError


@dataclass(frozen=True)
class Directory:
    """A directory for a guest, with all that is in it. The guest may write into it unless it is `read_only`."""

    path: str | os.PathLike[str]
    read_only: bool = False


READ_ONLY = ":ro"

Directories = Mapping[str, str | os.PathLike[str] | Directory]
"""Directories by the paths under which a guest sees them. A path alone is one that the guest may read and write."""


def path_of(directory: str | os.PathLike[str] | Directory) -> str:
    """The path of a directory that is given to a guest."""
    return os.fspath(directory.path if isinstance(directory, Directory) else directory)


def preopen(config: WasiConfig, directories: Directories) -> None:
    """Give directories to a guest. Raises `GuestError` for one that isn't there, or can't be opened, and for paths that
    can't be the guest's."""
    if not isinstance(directories, Mapping):
        raise GuestError(f"dirs maps the guest's paths to directories, as {{'/': 'photos'}}: {directories!r}")
    require_distinct(c_string("a directory", path) for path in directories)
    for guest_path, given in directories.items():
        if not isinstance(given, str | os.PathLike | Directory):
            raise GuestError(f"a directory for the guest must be a path or a Directory: {given!r}")
        path = c_string("a directory", path_of(given))
        if guest_path.endswith(READ_ONLY) and not isinstance(given, Directory):
            how = "what it may only read is Directory(..., read_only=True)"
            raise GuestError(f"{guest_path!r} is no path for the guest: {how}")
        mutable = not (isinstance(given, Directory) and given.read_only)
        if not os.path.isdir(path):
            raise GuestError(f"no directory {path} to give to the guest")
        try:
            config.preopen_dir(path, c_string("a directory", guest_path), mutable)
        except WasmtimeError as error:
            raise GuestError(f"the directory {path} can't be opened for the guest") from error


def require_distinct(paths: Iterable[str]) -> None:
    """Raise `GuestError` for two paths that are the same to a guest."""
    found: dict[str, str] = {}
    for path in paths:
        same = posixpath.normpath(path)
        if same in found:
            more = f" ({found[same]!r})" if found[same] != path else ""
            raise GuestError(f"two directories would be {path!r} for the guest{more}")
        found[same] = path


def c_string(what: str, text: str) -> str:
    """The text, if it can be passed to a guest: without zero bytes, and in Unicode."""
    if not isinstance(text, str):
        raise GuestError(f"{what} of the guest must be text: {text!r}")
    if "\0" in text:
        raise GuestError(f"{what} of the guest has a zero byte in it: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestError(f"{what} of the guest is not valid Unicode: {text!r}") from error
    return text
