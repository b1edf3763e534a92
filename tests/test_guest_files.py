"""Files that a guest names by path: which the host reads for it, and that it reads no others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from checks import refused

from wasi_nn import Directory, ErrorCode
from wasi_nn.guests.guest_files import GuestFiles

MOST = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a guest, beside a file that isn't the guest's."""
    folder = tmp_path / "guest"
    (folder / "in" / "deep").mkdir(parents=True)
    (folder / "top").write_bytes(b"top")
    (folder / "in" / "deep" / "low").write_bytes(b"low")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def files(folder: Path) -> Iterator[GuestFiles]:
    with closing(GuestFiles({".": folder})) as files:
        yield files


@pytest.mark.parametrize("path", ["in/deep/low", "./in/deep/low", "in//deep/./low", "/in/deep/low"])
def test_a_file_in_a_directory_of_the_guest_is_read(files: GuestFiles, path: str) -> None:
    assert files.read(path, MOST) == b"low"


def test_an_empty_file_and_a_name_with_odd_letters(files: GuestFiles, folder: Path) -> None:
    (folder / "leer \n\x1b[31m ü").touch()
    assert files.read("leer \n\x1b[31m ü", MOST) == b""


def test_the_directory_with_the_longest_name_has_the_file(tmp_path: Path) -> None:
    for name in ("all", "photos", "deep", "up"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it").write_text(name)
    photos = Directory(tmp_path / "photos", read_only=True)
    paths = {"/": tmp_path / "all", "../up": tmp_path / "up", "photos/deep": tmp_path / "deep"}
    with closing(GuestFiles({"/photos": photos, **paths})) as files:
        found = {path: files.read(path, MOST) for path in ("/it", "it", "/photos/it", "photos/deep/it", "../up/it")}
    assert found == {
        "/it": b"all",
        "it": b"all",
        "/photos/it": b"photos",
        "photos/deep/it": b"deep",
        "../up/it": b"up",
    }


def test_of_two_roots_the_one_that_is_as_absolute_as_the_path_has_the_file(tmp_path: Path) -> None:
    for name in ("here", "root"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it").write_text(name)
    for dirs in ({".": "here", "/": "root"}, {"/": "root", ".": "here"}):
        with closing(GuestFiles({path: tmp_path / name for path, name in dirs.items()})) as files:
            assert (files.read("it", MOST), files.read("/it", MOST)) == (b"here", b"root")


def test_a_name_that_only_begins_like_a_directorys_is_not_in_it(folder: Path) -> None:
    with closing(GuestFiles({"/pic": folder})) as files:
        refused(
            ErrorCode.SECURITY,
            r"'/pictures/top' isn't in a .* has '/pic': give .*--dir",
            files.read,
            "/pictures/top",
            9,
        )


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("../secret", "security", "file '../secret' has '..' in its path"),
        ("in/../top", "security", "'..' in its path"),
        ("in/deep/../../../secret", "security", "'..' in its path"),
        ("missing", "invalid-argument", "'missing' doesn't exist: there is no 'missing'"),
        ("in/missing/low", "invalid-argument", "there is no 'missing'"),
        ("top/low", "invalid-argument", "'top' is a file, not a directory"),
        ("in", "invalid-argument", "is a directory: name a file in it"),
        (".", "invalid-argument", "is a directory: name a file in it"),
        ("a\0b", "invalid-argument", "zero byte"),
        ("a\ud800", "invalid-argument", "isn't Unicode"),
        ("x" * 300, "invalid-argument", "can't be read: File name too long"),
        ("a/" * 3000, "invalid-argument", "path of 6000 bytes: at most 4096"),
    ],
)
def test_paths_that_are_refused(files: GuestFiles, path: str, code: str, message: str) -> None:
    refused(ErrorCode(code), message, files.read, path, MOST)


def test_a_path_of_this_machine_means_nothing(files: GuestFiles, tmp_path: Path) -> None:
    for path in (tmp_path / "secret", tmp_path / "guest" / "top", Path("/etc/passwd"), Path("/proc/self/environ")):
        refused(ErrorCode.INVALID_ARGUMENT, "doesn't exist", files.read, str(path), 1 << 20)


def test_no_link_is_followed(files: GuestFiles, folder: Path) -> None:
    links = {"out": "../secret", "abs": str(folder.parent / "secret"), "same": "top", "up": "..", "loop": "loop"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    for path in ("out", "abs", "same", "loop", "up/secret"):
        message = f"has the link '{path.partition('/')[0]}' in its path, which isn't followed"
        refused(ErrorCode.SECURITY, message, files.read, path, MOST)


def test_only_regular_files_are_read(files: GuestFiles, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    refused(ErrorCode.INVALID_ARGUMENT, "is a pipe or a device", files.read, "pipe", MOST)
    with closing(GuestFiles({"/dev": "/dev"})) as devices:
        refused(ErrorCode.INVALID_ARGUMENT, "is a pipe or a device", devices.read, "/dev/zero", MOST)


def test_a_file_that_is_too_large_is_not_read(files: GuestFiles, folder: Path) -> None:
    (folder / "whole").write_bytes(bytes(MOST))
    with open(folder / "huge", "wb") as huge:
        huge.truncate(1 << 40)
    assert files.read("whole", MOST) == bytes(MOST)
    refused(ErrorCode.TOO_LARGE, f"has {1 << 40} bytes: at most {MOST} are allowed", files.read, "huge", MOST)


def test_a_file_that_says_it_is_empty_is_read_to_the_limit() -> None:
    with closing(GuestFiles({"/": "/proc/self"})) as files:
        assert files.read("status", 1 << 16)
        refused(ErrorCode.TOO_LARGE, "at most 4 are allowed", files.read, "status", 4)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """In a process of its own that drops its rights, since root may read all files."""
    (tmp_path / "closed").write_bytes(b"x")
    (tmp_path / "closed").chmod(0)
    program = (
        "import os, sys\n"
        "from wasi_nn.guests.guest_files import GuestFiles\n"
        "files = GuestFiles({'.': sys.argv[1]})\n"
        "if os.getuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "try: files.read('closed', 9)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "the guest's file 'closed' can't be read: Permission denied" in done.stdout


def test_a_guest_that_replaces_its_directory_by_a_link_gets_the_old_one(tmp_path: Path) -> None:
    inner, outside = tmp_path / "all" / "inner", tmp_path / "outside"
    for folder in (inner, outside):
        folder.mkdir(parents=True)
        (folder / "it").write_text(folder.name)
    with closing(GuestFiles({"/": tmp_path / "all", "/inner": inner})) as files:
        inner.rename(tmp_path / "all" / "moved")
        inner.symlink_to("../outside")
        assert files.read("/inner/it", MOST) == b"inner"


def test_without_directories_nothing_is_read() -> None:
    with closing(GuestFiles({})) as files:
        refused(ErrorCode.SECURITY, "isn't in a directory of the guest, which has none: give", files.read, "a.png", 9)


def test_a_reader_that_is_closed_reads_nothing_and_leaves_no_descriptor(folder: Path) -> None:
    before = os.listdir("/proc/self/fd")
    files = GuestFiles({".": folder, "/more": folder})
    assert files.read("in/deep/low", MOST) == b"low"
    for path in ("in/deep/gone", "in", "top/it"):
        refused(ErrorCode.INVALID_ARGUMENT, "guest's file", files.read, path, MOST)
    files.close()
    files.close()
    refused(ErrorCode.SECURITY, "isn't in a directory", files.read, "top", MOST)
    assert set(os.listdir("/proc/self/fd")) <= set(before)  # what an earlier test left may close meanwhile


def test_a_directory_that_cannot_be_opened_keeps_only_its_own_files_from_being_read(folder: Path) -> None:
    with closing(GuestFiles({".": folder, "/gone": folder / "gone"})) as files:
        message = "couldn't open its directory: No such file"
        refused(ErrorCode.RUNTIME_ERROR, message, files.read, "/gone/it", MOST)
        assert files.read("top", MOST) == b"top"
