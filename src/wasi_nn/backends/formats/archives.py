"""Models that are archives: looking into zip and tar files, and unpacking them, when they may be hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from struct import unpack_from
from typing import Self

from wasi_nn.errors import ErrorCode, NNError, one_line

MAX_ENTRIES = 100_000
MAX_UNPACKED = 16 << 30  # bytes
MAX_DEPTH = 16  # folders in each other
MAX_RATIO = 1000  # what deflate can reach; zeros that are nothing but a bomb reach it, weights don't come near

_MAX_DIRECTORY = 32 << 20  # bytes
_MAX_HEADERS = 4 << 20  # bytes of a tar file's headers, beside the block that each entry has
_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_GLOBAL_COST = 1024  # of a byte of a header that is for all entries: each that has one of its own copies it
_END, _END_SIZE, _MAX_COMMENT = b"PK\x05\x06", 22, 65535
_END_64, _LOCATOR_SIZE, _END_64_SIZE = b"PK\x06\x06", 20, 56


class _ViewFile(io.RawIOBase):
    """Bytes as a file, without a copy of them."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._view[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def open_zip(model: memoryview) -> zipfile.ZipFile | None:
    """The zip file that these bytes are; None if they are none, or one whose directory is absurd."""
    if bytes(model[:4]) != b"PK\x03\x04" or not 0 < _directory_size(model) <= _MAX_DIRECTORY:
        return None
    try:
        return zipfile.ZipFile(io.BufferedReader(_ViewFile(model)))
    except Exception:  # of a hostile file, zipfile raises more than it tells of
        return None


def _directory_size(model: memoryview) -> int:
    """What a zip file says of the size of its directory; 0 if it says nothing."""
    tail = bytes(model[-(_END_SIZE + _MAX_COMMENT) :])
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_SIZE:
        return 0
    size: int = unpack_from("<I", tail, end + 12)[0]
    end_64 = end - _LOCATOR_SIZE - _END_64_SIZE
    if end_64 >= 0 and tail[end_64 : end_64 + 4] == _END_64:
        size = max(size if size != 0xFFFFFFFF else 0, unpack_from("<Q", tail, end_64 + 40)[0])
    return size


def entries(model: memoryview) -> list[str]:
    """The names of a zip file's entries; none if the bytes are no zip file."""
    archive = open_zip(model)
    return archive.namelist() if archive is not None else []


def is_tar(model: memoryview) -> bool:
    """Whether these bytes begin as a tar file, which gzip may have compressed."""
    return bytes(model[257:262]) == b"ustar" or bytes(model[:3]) == b"\x1f\x8b\x08"


def unpack(model: memoryview, folder: Path) -> None:
    """Unpack a zip or tar file (compressed by gzip or not) into a folder.

    Raises `NNError` with `security` for one whose entries would land outside of the folder, aren't plain files and
    directories, or are too many or too large; `runtime-error` for one that is damaged.
    """
    limit = min(MAX_UNPACKED, MAX_RATIO * len(model))
    try:
        archive = open_zip(model)
        if archive is not None:
            _unpack_zip(archive, folder, limit)
        else:
            _unpack_tar(model, folder, limit)
    except NNError:
        raise
    except OSError as error:  # its text would say where the folder is
        raise NNError(
            ErrorCode.RUNTIME_ERROR, f"the archive can't be unpacked: {error.strerror or 'it is damaged'}"
        ) from error
    except Exception as error:  # of a hostile file, zipfile and tarfile raise more than they tell of
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the archive is damaged: {one_line(error)}") from error


def _unpack_zip(archive: zipfile.ZipFile, folder: Path, limit: int) -> None:
    infos = archive.infolist()
    _require_bounded(len(infos), sum(info.file_size for info in infos), limit)
    left = limit
    for info in infos:
        target = _target(folder, info.filename)
        if info.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise _refused(f"{info.filename!r} in it is no plain file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source:
            left -= _copy(source, target, left)


def _unpack_tar(model: memoryview, folder: Path, limit: int) -> None:
    left, count = limit, 0
    with tarfile.open(fileobj=io.BufferedReader(_ViewFile(model)), mode="r|*", tarinfo=_bounded_headers()) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # they would be kept with all of their headers
            count += 1
            _require_bounded(count, member.size, left)
            target = _target(folder, member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            source = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if source is None:
                raise _refused(f"{member.name!r} in it is no plain file")
            target.parent.mkdir(parents=True, exist_ok=True)
            with source:
                left -= _copy(source, target, left)


def _bounded_headers() -> type[tarfile.TarInfo]:
    """What reads the headers of a tar file. `tarfile` reads those of any size, and those of sparse files slowly."""
    left = _MAX_HEADERS

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            nonlocal left
            header = super().frombuf(buf, encoding, errors)
            if header.size < 0 or header.type == tarfile.GNUTYPE_SPARSE:
                raise _refused("an entry of it is sparse, or smaller than nothing")
            if header.type == tarfile.XGLTYPE:
                left -= header.size * _GLOBAL_COST
            elif header.type in _LONG_HEADERS:
                left -= header.size
            if left < 0:
                raise _refused(f"its headers have more than {_MAX_HEADERS} bytes")
            return header

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise _refused("an entry of it is sparse")

    return Header


def _target(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise _refused(f"{name!r} in it leads out of it")
    if len(path.parts) > MAX_DEPTH:
        raise _refused(f"{name[:200]!r} in it is in more than {MAX_DEPTH} folders")
    return folder / path


def _copy(source: object, target: Path, left: int) -> int:
    """Copy a file that may say less than the truth of its size."""
    copied = 0
    with open(target, "wb") as file:
        while part := source.read(1 << 20):  # type: ignore[attr-defined]
            copied += len(part)
            _require_bounded(0, copied, left)
            file.write(part)
    return copied


def _require_bounded(count: int, size: int, limit: int) -> None:
    if count > MAX_ENTRIES:
        raise _refused(f"it has more than {MAX_ENTRIES} entries")
    if size > limit:
        raise _refused(f"it unpacks to more than {limit} bytes")


def _refused(why: str) -> NNError:
    return NNError(ErrorCode.SECURITY, f"the archive won't be unpacked: {why}")
