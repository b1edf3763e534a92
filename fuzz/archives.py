"""Target: zip and tar files of models. Unpacking makes only plain files and folders, in its folder and within the
limit of bytes, and raises only `NNError`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.formats import archives
from wasi_nn.backends.pytorch.archive import kind_of, require_loadable
from wasi_nn.backends.tensorflow.model import is_saved_model_archive, saved_model_folder

MAX_SIZE = 8192

_BLOCK = 512
_CHECKSUM = slice(148, 156)
_FOLDER = TemporaryDirectory(prefix="wasi-nn-fuzz-")
_TOP = Path(_FOLDER.name)
_INSIDE = _TOP / "a" / "b"


def run(data: bytes) -> None:
    """Check one archive and unpack it, in each way that a backend does."""
    model = memoryview(data)
    names, opened = archives.entries(model), archives.open_zip(model)
    assert not names or opened is None or names == opened.namelist(), "other names than zipfile's"
    with refusals(NNError):
        require_loadable(kind_of(model))
    if is_saved_model_archive(model):
        with refusals(NNError), saved_model_folder(model):
            pass
    _INSIDE.mkdir(parents=True, exist_ok=True)
    with refusals(NNError):
        archives.unpack(model, _INSIDE)
    _require_inside(len(data))
    for made in _INSIDE.iterdir():
        rmtree(made) if made.is_dir() else made.unlink()


def _require_inside(size: int) -> None:
    total = 0
    for path in _TOP.rglob("*"):
        assert path == _INSIDE.parent or _INSIDE in (path, *path.parents), f"{path} is outside"
        assert not path.is_symlink(), f"{path} is a link"
        assert path.is_file() or path.is_dir(), f"{path} is no plain file"
        total += path.stat().st_size if path.is_file() else 0
    assert total <= archives.MAX_RATIO * size, f"{total} bytes come out of {size}"


def mutate(data: bytes, max_size: int, seed: int, change: Callable[[bytes, int], bytes]) -> bytes:
    """Change any bytes, then mostly correct the checksums in the headers of a tar file."""
    changed = bytearray(change(data, max_size))
    if random.Random(seed).random() < 0.8:
        for at in range(0, len(changed) - _BLOCK + 1, _BLOCK):
            if changed[at + 257 : at + 262] == b"ustar":
                block = changed[at : at + _BLOCK]
                block[_CHECKSUM] = b" " * 8
                block[_CHECKSUM] = b"%06o\0 " % sum(block)
                changed[at : at + _BLOCK] = block
    return bytes(changed)
