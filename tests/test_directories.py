"""Directories of guests: which files a guest can read, and which it can write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from file_guests import CORE_DIRECTORY, CORE_OPENED, DIRECTORY, NEW, OLD, Step, component, core

from wasi_nn import Directory, GuestError, Host

CREATE, TRUNCATE = 1, 8
READ, WRITE = 1 << 1, 1 << 6  # rights of preview 1
ALL_RIGHTS = (1 << 30) - 1
D, IT = -1, -2  # in a component's steps: its directory, and the descriptor that it opened last
NOW = [1, 0, 0]


def opens(name: int, flags: int = 0, rights: int = READ, fd_flags: int = 0) -> Step:
    return "path_open", [CORE_DIRECTORY, 0, name, 3, flags, rights, rights, fd_flags, 900]


def opens_at(name: int, flags: int = 0, descriptor_flags: int = 1) -> Step:
    return "open-at", [D, 0, name, 3, flags, descriptor_flags]


CORE_WRITES: dict[str, Sequence[Step]] = {
    "open for writing": [opens(OLD, 0, READ | WRITE)],
    "open with all rights, and write": [
        opens(OLD, 0, ALL_RIGHTS),
        ("fd_write", [CORE_OPENED, 64, 1, 80]),
        ("fd_filestat_set_size", [CORE_OPENED, 1]),
    ],
    "append": [opens(OLD, 0, READ | WRITE, 1)],
    "create": [opens(NEW, CREATE)],
    "truncate by opening": [opens(OLD, TRUNCATE)],
    "set the size": [opens(OLD), ("fd_filestat_set_size", [CORE_OPENED, 1])],
    "set the times": [("path_filestat_set_times", [CORE_DIRECTORY, 0, OLD, 3, 0, 1000, 1 << 2])],
    "set the times of what is open": [opens(OLD), ("fd_filestat_set_times", [CORE_OPENED, 0, 1000, 1 << 2])],
    "set the times of the directory": [("fd_filestat_set_times", [CORE_DIRECTORY, 0, 1000, 1 << 2])],
    "make a directory": [("path_create_directory", [CORE_DIRECTORY, NEW, 3])],
    "rename": [("path_rename", [CORE_DIRECTORY, OLD, 3, CORE_DIRECTORY, NEW, 3])],
    "delete": [("path_unlink_file", [CORE_DIRECTORY, OLD, 3])],
    "delete a directory": [("path_remove_directory", [CORE_DIRECTORY, DIRECTORY, 3])],
    "link": [("path_link", [CORE_DIRECTORY, 0, OLD, 3, CORE_DIRECTORY, NEW, 3])],
    "link by a symbol": [("path_symlink", [OLD, 3, CORE_DIRECTORY, NEW, 3])],
    "create below": [
        ("path_open", [CORE_DIRECTORY, 0, DIRECTORY, 3, 2, READ, READ, 0, 900]),
        ("path_create_directory", [CORE_OPENED, NEW, 3]),
    ],
}
COMPONENT_WRITES: dict[str, Sequence[Step]] = {
    "open for writing": [opens_at(OLD, 0, 3)],
    "open for writing, and write": [opens_at(OLD, 0, 2), ("write", [IT, OLD, 3, 0])],
    "create": [opens_at(NEW, CREATE, 3)],
    "create, to read": [opens_at(NEW, CREATE, 1)],
    "truncate by opening": [opens_at(OLD, TRUNCATE, 3)],
    "truncate by opening, to read": [opens_at(OLD, TRUNCATE, 1)],
    "write": [opens_at(OLD, 0, 1), ("write", [IT, OLD, 3, 0])],
    "set the size": [opens_at(OLD, 0, 1), ("set-size", [IT, 1])],
    "set the times": [("set-times-at", [D, 0, OLD, 3, *NOW, *NOW])],
    "set the times of what is open": [opens_at(OLD), ("set-times", [IT, *NOW, *NOW])],
    "set the times of the directory": [("set-times", [D, *NOW, *NOW])],
    "make a directory": [("create-directory-at", [D, NEW, 3])],
    "rename": [("rename-at", [D, OLD, 3, D, NEW, 3])],
    "delete": [("unlink-file-at", [D, OLD, 3])],
    "delete a directory": [("remove-directory-at", [D, DIRECTORY, 3])],
    "link": [("link-at", [D, 0, OLD, 3, D, NEW, 3])],
    "link by a symbol": [("symlink-at", [D, OLD, 3, NEW, 3])],
    "create below": [opens_at(DIRECTORY, 2, 1 | 1 << 5), ("create-directory-at", [IT, NEW, 3])],
}
WRITES = [
    pytest.param(make(steps), id=f"{kind}: {name}")
    for kind, make, all_steps in (("core", core, CORE_WRITES), ("component", component, COMPONENT_WRITES))
    for name, steps in all_steps.items()
]
READS = [
    pytest.param(core([opens(OLD), ("fd_read", [CORE_OPENED, 64, 1, 80])]), id="core"),
    pytest.param(component([opens_at(OLD), ("read", [IT, 3, 0])]), id="component"),
]
# These fail in any directory, since the file was opened for reading.
OPENED_TO_BE_READ = ("core: set the size", "component: write", "component: set the size")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "dir").mkdir(parents=True)
    (folder / "old").write_bytes(b"content")
    for path in (folder / "old", folder / "dir", folder):
        os.utime(path, (10, 10))
    return folder


def state(folder: Path) -> list[object]:
    """All that a guest could change in the folder: names, contents, modification times, links."""
    return [
        (str(path), path.lstat().st_mtime_ns, path.lstat().st_nlink, path.is_file() and path.read_bytes())
        for path in (folder, *sorted(folder.rglob("*")))
    ]


@pytest.mark.parametrize("guest", WRITES)
def test_nothing_is_written_into_a_directory_that_is_read_only(guest: bytes, folder: Path) -> None:
    before = state(folder)
    host = Host(cache=False)
    assert host.run(guest, dirs={"/": Directory(folder, read_only=True)}).exit_code != 0
    assert state(folder) == before


@pytest.mark.parametrize("guest", [write for write in WRITES if write.id not in OPENED_TO_BE_READ])
def test_a_directory_is_written_into_unless_it_is_read_only(guest: bytes, folder: Path) -> None:
    host = Host(cache=False)
    assert host.run(guest, dirs={"/": folder}).exit_code == 0
    assert Directory(folder) == Directory(folder, read_only=False)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("guest", READS)
def test_both_kinds_are_read(guest: bytes, read_only: bool, folder: Path) -> None:
    assert Host(cache=False).run(guest, dirs={"/": Directory(folder, read_only)}).exit_code == 0


def test_no_directory_at_all(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="no directory"):
        Host(cache=False).run(core([]), dirs={"/": Directory(tmp_path / "nothing", read_only=True)})


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["/p", "/p/"], r"two directories have the path '/p/' for the guest \('/p'\)"),
        (["p", "./p"], "two directories have the path './p' for the guest"),
        (["/p:ro"], r"'/p:ro' is no path for the guest: .* Directory\(\.\.\., read_only=True\)"),
    ],
)
def test_paths_that_cant_be_the_guests(folder: Path, paths: list[str], message: str) -> None:
    with pytest.raises(GuestError, match=message):
        Host(cache=False).run(core([]), dirs=dict.fromkeys(paths, folder))


def test_a_host_path_may_have_colons(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert Host(cache=False).run(core([]), dirs={"/": folder}).exit_code == 0
