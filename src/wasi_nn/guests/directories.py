"""The directories that a guest is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from wasmtime import WasiConfig, WasmtimeError

from wasi_nn.errors import GuestError


@dataclass(frozen=True)
class Directory:
    """A directory for a guest, with all that is in it. The guest may write into it unless it is `read_only`."""

    path: str | os.PathLike[str]
    read_only: bool = False


Directories = Mapping[str, str | os.PathLike[str] | Directory]
"""Directories by the paths under which a guest sees them. A path alone is one that the guest may read and write."""


def path_of(directory: str | os.PathLike[str] | Directory) -> str:
    """The path of a directory that is given to a guest."""
    return os.fspath(directory.path if isinstance(directory, Directory) else directory)


def preopen(config: WasiConfig, directories: Directories) -> None:
    """Give directories to a guest. Raises `GuestError` for one that isn't there, or can't be opened."""
    for guest_path, given in directories.items():
        path = c_string("a directory", path_of(given))
        mutable = not (isinstance(given, Directory) and given.read_only)
        if not os.path.isdir(path):
            raise GuestError(f"no directory {path} to give to the guest")
        try:
            config.preopen_dir(path, c_string("a directory", guest_path), mutable)
        except WasmtimeError as error:
            raise GuestError(f"the directory {path} can't be opened for the guest") from error


def c_string(what: str, text: str) -> str:
    """The text, if it can be passed to a guest: without zero bytes, and in Unicode."""
    if "\0" in text:
        raise GuestError(f"{what} of the guest has a zero byte in it: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestError(f"{what} of the guest is not valid Unicode: {text!r}") from error
    return text
