"""Lists and unpacks zip and tar files, which may be hostile."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from struct import Struct, unpack_from
from typing import Self

from wasi_nn.errors import ErrorCode, NNError, one_line

MAX_ENTRIES = 100_000
MAX_UNPACKED = 16 << 30  # bytes
MAX_DEPTH = 16  # nested folders
MAX_RATIO = 1000  # of the unpacked size; about what deflate reaches with zeros, and far above what it does with weights

_MAX_DIRECTORY = 32 << 20  # bytes of a zip file's directory: zipfile makes an object for each entry when it opens one
_MAX_HEADERS = 4 << 20  # bytes of a tar file's headers, without the block that each entry has
_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_GLOBAL_COST = 1024  # what a byte of a global header counts as: every entry with a header of its own copies it
# The records at the end of a zip file: their marks and sizes. Then an entry of its directory: its mark, its flags, and
# the sizes of its name, its further fields and its comment.
_END, _END_SIZE, _MAX_COMMENT = b"PK\x05\x06", 22, 65535
_END_64, _LOCATOR_SIZE, _END_64_SIZE = b"PK\x06\x06", 20, 56
_ENTRY_MARK, _ENTRY, _UTF_8 = b"PK\x01\x02", Struct("<4s4xH18xHHH12x"), 0x800


class _ViewFile(io.RawIOBase):
    """A read-only file over bytes, without a copy of them."""

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
    """Open bytes as a zip file. None if they are no zip file, or one whose directory has more than 32 MiB. To find out
    what a file is, use `entries`, which is five times as fast."""
    if not _directory_of(model, _MAX_DIRECTORY):
        return None
    try:
        return zipfile.ZipFile(io.BufferedReader(_ViewFile(model)))
    except Exception:  # for a hostile file, zipfile raises more than its documentation says
        return None


def entries(model: memoryview, most: int = _MAX_DIRECTORY) -> list[str]:
    """The names of a zip file's entries. An empty list if the bytes are no zip file, or one with a damaged directory,
    one of more than `most` bytes, or more than `MAX_ENTRIES` entries. Where `open_zip` opens it too, it has no other
    names."""
    directory = _directory_of(model, most)
    names: list[str] = []
    at, end = 0, len(directory) - _ENTRY.size
    while at <= end and len(names) < MAX_ENTRIES:
        mark, flags, name_size, extra_size, comment_size = _ENTRY.unpack_from(directory, at)
        name = directory[at + _ENTRY.size : at + _ENTRY.size + name_size]
        if mark != _ENTRY_MARK:
            return []
        try:
            names.append(name.decode("utf-8" if flags & _UTF_8 else "cp437").partition("\0")[0])
        except UnicodeDecodeError:
            return []
        at += _ENTRY.size + name_size + extra_size + comment_size
    return names if at == len(directory) else []


def _directory_of(model: memoryview, most: int) -> bytes:
    """A zip file's directory; empty if the bytes are no zip file, or its directory has more than `most` bytes."""
    if bytes(model[:4]) != b"PK\x03\x04":
        return b""
    tail = bytes(model[-(_END_SIZE + _MAX_COMMENT) :])
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_SIZE:
        return b""
    size: int = unpack_from("<I", tail, end + 12)[0]
    end_64 = end - _LOCATOR_SIZE - _END_64_SIZE
    if end_64 >= 0 and tail[end_64 : end_64 + 4] == _END_64:
        size = max(size if size != 0xFFFFFFFF else 0, unpack_from("<Q", tail, end_64 + 40)[0])
        end = end_64
    start = len(model) - len(tail) + end - size  # the directory lies before the records that end the file
    return bytes(model[start : start + size]) if start > 0 and size <= most else b""


def is_tar(model: memoryview) -> bool:
    """Whether the bytes begin like a tar file, or like a gzip file, which may be a compressed tar file."""
    return bytes(model[257:262]) == b"ustar" or bytes(model[:3]) == b"\x1f\x8b\x08"


def unpack(model: memoryview, folder: Path) -> None:
    """Unpack a zip file, or a tar file that may be compressed by gzip, into a folder.

    Raises `NNError`: `security` if entries lie outside of the folder, aren't regular files and directories, or are too
    many or too large; `runtime-error` if the archive is damaged.
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
    except OSError as error:  # only its reason: its text names the folder, a path of the host's
        message = f"the archive can't be unpacked: {error.strerror or 'it is damaged'}"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from error
    except Exception as error:  # for a hostile file, zipfile and tarfile raise more than their documentation says
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
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(f"its entry {info.filename!r} is no plain file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source:
            left -= _copy(source, target, left)


def _unpack_tar(model: memoryview, folder: Path, limit: int) -> None:
    left, count = limit, 0
    with tarfile.open(fileobj=io.BufferedReader(_ViewFile(model)), mode="r|*", tarinfo=_bounded_tar_info()) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all, with their headers
            count += 1
            _require_bounded(count, member.size, left)
            target = _target(folder, member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            source = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if source is None:
                raise _refused(f"its entry {member.name!r} is no plain file")
            target.parent.mkdir(parents=True, exist_ok=True)
            with source:
                left -= _copy(source, target, left)


def _bounded_tar_info() -> type[tarfile.TarInfo]:
    """A class that reads the headers of one tar file, up to `_MAX_HEADERS`.

    `tarfile` itself reads headers of any size into memory, and the maps of sparse files in quadratic time.
    """
    left = _MAX_HEADERS

    class BoundedTarInfo(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            nonlocal left
            header = super().frombuf(buf, encoding, errors)
            if header.size < 0 or header.type == tarfile.GNUTYPE_SPARSE:
                raise _refused("one of its entries is sparse, or has a negative size")
            if header.type == tarfile.XGLTYPE:
                left -= header.size * _GLOBAL_COST
            elif header.type in _LONG_HEADERS:
                left -= header.size
            if left < 0:
                raise _refused(f"its headers have more than {_MAX_HEADERS} bytes")
            return header

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise _refused("one of its entries is sparse")

    return BoundedTarInfo


def _target(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise _refused(f"its entry {name!r} lies outside of it")
    if len(path.parts) > MAX_DEPTH:
        raise _refused(f"its entry {name[:200]!r} is in more than {MAX_DEPTH} folders")
    return folder / path


def _copy(source: object, target: Path, left: int) -> int:
    """Copy a file, and return its size. Raises `NNError` if it has more than `left` bytes, whatever its header says."""
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
