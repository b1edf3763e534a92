"""The cases, as they are read from cases.json, and the models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HOME = Path(__file__).parent
CASES, MODELS = HOME / "cases", HOME / "models"
TYPES = ("f16", "f32", "f64", "bf16", "u8", "i32", "i64")


@dataclass(frozen=True)
class Case:
    """A guest, its needs, and the outputs that are expected of it."""

    name: str
    """ABI/area/subject."""
    says: str
    """The rule that the case tests."""
    source: Sequence[str]
    """The places of the specification that the rule is about, `FILE: ITEM`."""
    expect: Sequence[str]
    """The lines of the output by the rule. The last is `trap` or `exit N` if the guest doesn't end by itself with 0."""
    accept: Sequence[Sequence[str]] = ()
    """Other outputs that are accepted, since hosts differ."""
    graphs: Mapping[str, str] | None = None
    """The named graphs that the guest loads: names with models."""
    encodings: Sequence[str] = ()
    """The encodings of models in the guest's own bytes."""
    types: Sequence[str] = ()
    """The types of tensors that it passes to a graph, beside f32."""

    @property
    def abi(self) -> str:
        """The interface that the guest imports, such as `core`."""
        return self.name.split("/")[0]

    @property
    def area(self) -> str:
        """The subject among those of the interface, such as `set_input`."""
        return self.name.split("/")[1]

    @property
    def guest(self) -> Path:
        """The guest's file. Beside it lies its text, `.wat`."""
        return CASES / f"{self.name}.wasm"


def all_cases() -> dict[str, Case]:
    """All cases by name."""
    read: dict[str, dict[str, object]] = json.loads((CASES / "cases.json").read_text(encoding="utf-8"))
    return {name: Case(name=name, **data) for name, data in read.items()}  # type: ignore[arg-type]


def choose(cases: Iterable[Case], patterns: Sequence[str]) -> Iterator[Case]:
    """The cases that any of the patterns names: whole names, beginnings of them that end before a `/`, or patterns with
    `*`. No pattern: all cases."""
    for case in cases:
        if not patterns or any(_names(pattern.rstrip("/"), case.name) for pattern in patterns):
            yield case


def _names(pattern: str, name: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}/") or ("*" in pattern and fnmatchcase(name, pattern))


def matches(pattern: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether an output is as a pattern says. The words of a line may have alternatives: `1|5`, `1-8`."""
    return len(pattern) == len(lines) and all(map(_line_matches, pattern, lines))


def _line_matches(pattern: str, line: str) -> bool:
    words, given = pattern.split(" "), line.split(" ")
    return len(words) == len(given) and all(
        word == has or any(_word_matches(each, has) for each in word.split("|"))
        for word, has in zip(words, given, strict=True)
    )


def _word_matches(pattern: str, word: str) -> bool:
    low, dash, high = pattern.partition("-")
    if dash and low.isdigit() and high.isdigit():
        return word.isdigit() and int(low) <= int(word) <= int(high)
    return word == pattern
