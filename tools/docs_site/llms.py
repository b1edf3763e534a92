"""`llms.txt` and `llms-full.txt`: the documentation for language models, as one list of pages and as one text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from docs_site import api
from docs_site.pages import navigation

_FENCE_OR_COMMENT = re.compile(r"^```.*?^```$|<!--.*?-->", re.DOTALL | re.MULTILINE)
_MOST_CHARACTERS = 200  # of a summary


def write(staged: Path, site: Path) -> None:
    """Write both files into a folder, and the Markdown of each page, to which the links of `llms.txt` lead."""
    texts = {path: api.as_text((staged / path).read_text()) for _, path in navigation()}
    for path, text in texts.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    (site / "llms.txt").write_text("\n".join(_list(texts)) + "\n")
    (site / "llms-full.txt").write_text("\n\n".join(f"<!-- {path} -->\n\n{text}" for path, text in texts.items()))


def _list(texts: Mapping[str, str]) -> Iterator[str]:
    yield f"# wasi-nn\n\n> {_summary(texts['index.md'])}"
    for part, entries in groupby(navigation(), key=lambda entry: entry[0]):
        yield f"\n## {part}\n"
        for _, path in entries:
            title = re.search(r"^# (.*)$", texts[path], re.MULTILINE)
            assert title is not None, path
            yield f"- [{title[1]}]({path}): {_summary(texts[path])}"


def _summary(text: str) -> str:
    """The first sentence of a page, without marks."""
    prose = _FENCE_OR_COMMENT.sub("", text)
    paragraphs = (" ".join(it.split()) for it in prose.split("\n\n"))
    first = next((it for it in paragraphs if it and not it.startswith(("#", ":::", "|"))), "")
    plain = re.sub("[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first))
    sentence = re.split(r"(?<=\.) ", plain)[0].rstrip(":")
    return sentence if len(sentence) <= _MOST_CHARACTERS else f"{sentence[:_MOST_CHARACTERS].rsplit(' ', 1)[0]} ..."
