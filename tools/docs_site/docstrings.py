"""Docstrings as Markdown: the lists of parameters in them become tables.

graphs         the graphs that guests may load by name
allow_load     the models that guests may load from
               their own bytes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_ROW = re.compile(r"(\S.*?) {2,}(\S.*)")


class Tables(griffe.Extension):
    """Has the tables made in all docstrings that griffe loads, for mkdocstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was loaded."""
        if obj.docstring is not None:
            obj.docstring.value = with_tables(obj.docstring.value)


def with_tables(docstring: str) -> str:
    """A docstring with a table in the place of each list."""
    paragraphs = re.split(r"\n\n", docstring)
    return "\n\n".join(_as_table(paragraph) or paragraph for paragraph in paragraphs)


def _as_table(paragraph: str) -> str | None:
    """A paragraph as a table, if it is a list: in each line a name and, two spaces or more behind it, a text."""
    lines = paragraph.splitlines()
    if not all(line.startswith(" ") or _ROW.fullmatch(line) for line in lines) or lines[0].startswith(" "):
        return None
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in _rows(lines))])


def _rows(lines: list[str]) -> Iterator[tuple[str, str]]:
    name, text = "", ""
    for line in lines:
        found = _ROW.fullmatch(line)
        if found is not None and not line.startswith(" "):
            if name:
                yield name, text
            name, text = ", ".join(f"`{each}`" for each in found[1].split(", ")), found[2].replace("|", "\\|")
        else:
            text += f" {line.strip()}".replace("|", "\\|")
    yield name, text
