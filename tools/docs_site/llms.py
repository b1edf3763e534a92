"""`llms.txt` and `llms-full.txt`: the documentation for language models, as one list of pages and as one text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from docs_site.pages import STAGED, navigation

_FENCE_OR_COMMENT = re.compile(r"^```.*?^```$|<!--.*?-->", re.DOTALL | re.MULTILINE)
_MOST_CHARACTERS = 200  # of a summary


def write(site: Path) -> None:
    """Write both files into the built site, and the Markdown of each page beside its HTML, which `llms.txt` links to."""
    for _, path in navigation():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text((STAGED / path).read_text())
    (site / "llms.txt").write_text("\n".join(_list()) + "\n")
    texts = (f"<!-- {path} -->\n\n{(STAGED / path).read_text()}" for _, path in navigation())
    (site / "llms-full.txt").write_text("\n\n".join(texts))


def _list() -> Iterator[str]:
    yield f"# wasi-nn\n\n> {_summary((STAGED / 'index.md').read_text())}"
    for part, entries in groupby(navigation(), key=lambda entry: entry[0]):
        yield f"\n## {part}\n"
        for _, path in entries:
            text = (STAGED / path).read_text()
            title = re.search(r"^# (.*)$", text, re.MULTILINE)
            yield f"- [{title[1] if title else path}]({path}): {_summary(text)}"


def _summary(text: str) -> str:
    """The first sentence of a page, without marks."""
    prose = _FENCE_OR_COMMENT.sub("", text)
    paragraphs = (" ".join(it.split()) for it in prose.split("\n\n"))
    first = next((it for it in paragraphs if it and not it.startswith(("#", ":::", "|"))), "")
    plain = re.sub("[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first))
    sentence = re.split(r"(?<=\.) ", plain)[0].rstrip(":")
    return sentence if len(sentence) <= _MOST_CHARACTERS else f"{sentence[:_MOST_CHARACTERS].rsplit(' ', 1)[0]} ..."
