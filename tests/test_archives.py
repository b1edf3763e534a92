"""The names in zip files, which tell models from other files: read fast, in bounds, and as `zipfile` reads them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from struct import pack

import pytest
from checks import refused

import wasi_nn
from wasi_nn import ErrorCode
from wasi_nn.backends.formats.archives import MAX_ENTRIES, entries

Fill = Callable[[zipfile.ZipFile], None]


def files(*names: str) -> bytes:
    def fill(archive: zipfile.ZipFile) -> None:
        for name in names:
            archive.writestr(name, b"")

    return zipped(fill)


def zipped(fill: Fill) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        fill(archive)
    return buffer.getvalue()


def _with_comments(archive: zipfile.ZipFile) -> None:
    archive.comment = b"made in a test"
    info = zipfile.ZipInfo("net/saved_model.pb")
    info.comment, info.extra = b"a comment", pack("<HH4x", 0x7777, 4)
    archive.writestr(info, b"content")


def _large(archive: zipfile.ZipFile) -> None:
    with archive.open("a/large", "w", force_zip64=True) as file:
        file.write(b"content")


ZIPS: dict[str, Callable[[], bytes]] = {
    "one file": lambda: files("net.onnx"),
    "folders": lambda: files("a/", "a/data.pkl"),
    "comments and further fields": lambda: zipped(_with_comments),
    "names of other alphabets": lambda: files("\u6a21\u578b", "\xe9t\xe9"),
    "an old tool's names": lambda: files("tab").replace(b"tab", b"t\x84b"),
    "a name with a zero byte": lambda: files("tab").replace(b"tab", b"t\0b"),
    "very many entries": lambda: files(*map(str, range(65_600))),  # more than the end's number of two bytes
    "a large file": lambda: zipped(_large),
    "two behind each other": lambda: files("first") + zipped(_with_comments),
}


def names_by_zipfile(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.namelist()


@pytest.mark.parametrize("name", ZIPS)
def test_the_names_are_those_that_zipfile_reads(name: str) -> None:
    made = ZIPS[name]()
    names = entries(memoryview(made))
    assert names == names_by_zipfile(made)
    assert len(names) > 0


def test_a_damaged_directory_that_zipfile_reads_has_no_other_names() -> None:
    chance, whole = random.Random(1), zipped(_with_comments)
    outcomes = set()
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        content = content[: chance.choice([len(content), chance.randrange(len(content))])]
        names = entries(memoryview(content))
        try:
            expected = names_by_zipfile(bytes(content))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
            expected = []
        if names and expected:
            assert names == expected
        outcomes.add((bool(names), bool(expected)))
    assert {(True, True), (False, False)} <= outcomes


def directory(count: int) -> bytes:
    """A zip file with only a directory, of this many entries."""
    entry = b"PK\x01\x02" + pack("<24xHHH12x", 1, 0, 0) + b"f"
    end = b"PK\x05\x06" + pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 4, 0)
    return b"PK\x03\x04" + count * entry + end


def test_a_file_is_told_without_opening_it_and_the_number_of_its_entries_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = [directory(count) for count in (MAX_ENTRIES, MAX_ENTRIES + 1)]
    monkeypatch.delattr(zipfile, "ZipFile")  # it makes an object for each entry
    assert [len(entries(memoryview(model))) for model in models] == [MAX_ENTRIES, 0]
    for model in models:
        refused(ErrorCode.INVALID_ENCODING, "the model is a zip file: unpack it", wasi_nn.load, model)


def test_a_directory_that_says_that_it_is_larger_than_the_file_has_no_names() -> None:
    model = bytearray(directory(3))
    for size in (2**32 - 1, 2**31, len(model), 3 * 47 + 4):
        model[-10:-6] = pack("<I", size)
        assert entries(memoryview(model)) == []
