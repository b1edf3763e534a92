"""The blocks of code of a page of Markdown, and what the page says about them.

A comment before a block says why it can't be run: `<!-- not run: it needs a network -->`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

RUNNABLE = ("python", "sh", "console")
_FENCE = re.compile(r"(?:^ *<!-- not run: ([^\n]+) -->\n+)?^( *)```(\S*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"\n\n {4}(?:\$ )?(?:wasi-nn|python|pip|make|import|with) .*")


@dataclass(frozen=True)
class Block:
    """A block of code: its text, and the number of the line of the page that its text begins with."""

    line: int
    language: str
    text: str
    reason: str | None = None
    """Why it isn't run."""


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(page):
        line = page.count("\n", 0, found.start(4)) + 1
        yield Block(line, found[3], textwrap.dedent(found[4]), found[1])


def indented_commands(page: str) -> list[str]:
    """Commands and Python that are code by four spaces only, so that no test runs them."""
    return [found.strip() for found in _INDENTED.findall(_FENCE.sub("", page))]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console, each with the answer that is shown. A command goes on after a backslash."""
    for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, answer = re.sub(r"\\\n", "\0", text).partition("\n")
        yield command.replace("\0", "\\\n"), answer


def same(shown: str, answer: str) -> bool:
    """Whether an answer is the one that the page shows: lines may be wrapped there, and `...` stands for any text."""
    pattern = ".*".join(map(re.escape, " ".join(shown.split()).split("...")))
    return re.fullmatch(pattern, " ".join(answer.split()), re.DOTALL) is not None
