"""Counts the operators of a TorchScript model or an exported program without torch.

Of a TorchScript model, these are the calls of operators that its code has, however often the code runs.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from zipfile import BadZipFile, ZipFile

from wasi_nn.backends.formats.archives import open_zip
from wasi_nn.backends.pytorch.archive import Kind, kind_of

_MOST_TEXT = 64 << 20  # bytes of code
# A name that isn't called matches too: else the search would begin anew at each of its parts.
_CALL = re.compile(
    r"""#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\b(torch|ops)((?:\.[A-Za-z_]\w*)+)(\(?)""", re.DOTALL
)


def pytorch_operators(model: memoryview) -> Counter[str] | None:
    """How often each operator occurs, by its name, such as `torch.conv2d`; None for bytes that are neither a
    TorchScript model nor an exported program. Raises `ValueError` for a damaged model, or one with more code than
    64 MiB."""
    kind = kind_of(model)
    archive = open_zip(model) if kind in (Kind.TORCHSCRIPT, Kind.EXPORTED) else None
    if archive is None:
        return None
    try:
        if kind is Kind.TORCHSCRIPT:
            texts = _texts(archive, "code/", ".py")
            return Counter(f"{call[1]}{call[2]}" for text in texts for call in _CALL.finditer(text) if call[3])
        return Counter(target for text in _texts(archive, "models/", ".json") for target in _targets(json.loads(text)))
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def _texts(archive: ZipFile, folder: str, ending: str) -> Iterator[str]:
    """The texts of an archive's entries in a folder."""
    left = _MOST_TEXT
    for info in archive.infolist():
        if not (info.filename.partition("/")[2].startswith(folder) and info.filename.endswith(ending)):
            continue
        with archive.open(info) as entry:
            content = entry.read(left + 1)
        left -= len(content)
        if left < 0:
            raise ValueError(f"its code has more than {_MOST_TEXT} bytes")
        yield content.decode(errors="replace")


def _targets(program: Any) -> Iterator[str]:
    """The operators of the nodes of a program, and of the programs in it."""
    todo = [program]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += item
        elif isinstance(item, dict):
            todo += item.values()
            target = item.get("target")
            if isinstance(target, str) and "inputs" in item and "outputs" in item:
                yield target.removeprefix("torch.ops.")
