"""Items of a data set, and how a guest gets one: as a file that it may read, or as its standard input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.arguments import is_path, require_kind, wrong_argument
from wasi_nn.errors import GuestError, one_line
from wasi_nn.guests.directories import Directories, Directory

PLACE = "{}"
"""In the arguments of a guest, it stands for the item's own argument."""
ITEM_DIRECTORY = "/item"
"""The guest's path of the directory with an item's file."""

_ITEM = "a path, bytes, or a wasi_nn.MapItem"


@dataclass(frozen=True)
class MapItem:
    """An item for one run of a guest.

    name      what results and errors call it
    argument  takes the place of each `{}` in the guest's arguments, or follows them if there is none. None: there is no
              such argument, and `{}` is left as it is
    stdin     the guest's standard input: bytes, or the `pathlib.Path` of a file. None: it is empty
    dirs      directories for this item beside those of all items, as `Host.run` takes them
    """

    name: str
    argument: str | None = None
    stdin: bytes | os.PathLike[str] | None = None
    dirs: Directories = field(default_factory=dict)

    def arguments(self, common: Sequence[str]) -> list[str]:
        """The arguments of the guest for this item; `common` are those of all items."""
        if self.argument is None:
            return list(common)
        if not any(PLACE in text for text in common):
            return [*common, self.argument]
        return [text.replace(PLACE, self.argument) for text in common]


def file_item(path: str | os.PathLike[str]) -> MapItem:
    """A file as an item: its path is an argument of the guest, which may read the file's directory.

    A symbolic link is followed first, since a guest can't leave the directory. Raises `GuestError` for a path that is
    no file.
    """
    directory, name = os.path.split(_require_file(path))
    return MapItem(
        os.fsdecode(path),
        f"{ITEM_DIRECTORY}/{name}",
        dirs={ITEM_DIRECTORY: Directory(directory, read_only=True)},
    )


def _require_file(path: str | os.PathLike[str]) -> str:
    try:
        found = os.path.realpath(os.fsdecode(path))
        if os.path.isfile(found):
            return found
        kind = "is no regular file" if os.path.exists(found) else "doesn't exist"
    except (OSError, ValueError) as error:  # such as a zero byte in the path
        kind = f"can't be a path: {one_line(error)}"
    raise GuestError(f"the item {os.fsdecode(path)!r} {kind}")


def as_item(item: Any, index: int) -> MapItem:
    """What a caller gave as an item: a path is a file, bytes are standard input with the item's number as its name.

    Raises `GuestError` for a path that is no file, and `NNError` with `invalid-argument` for anything else.
    """
    if isinstance(item, bytes):
        return MapItem(str(index), stdin=item)
    if is_path(item):
        return file_item(item)
    if not isinstance(item, MapItem):
        raise wrong_argument("an item", _ITEM, item)
    require_kind("MapItem.name", item.name, str, "a text")
    if isinstance(item.stdin, os.PathLike):
        _require_file(item.stdin)  # a guest would take a directory for an empty file
    return item


def name_of(item: Any, index: int) -> str:
    """The name of what a caller gave as an item."""
    return item.name if isinstance(item, MapItem) else str(index) if isinstance(item, bytes) else os.fsdecode(item)
