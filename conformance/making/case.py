"""What a case is while it is made: a guest's text, its needs, and the outcomes that a host may show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from conformance.making.rules import is_component, sources

TRAP = "trap"

Wanted = int | str
"""A number or word that a guest prints: `1`, `1-8`, `0|6`; or TRAP, if the call doesn't return."""


@dataclass(frozen=True)
class Line:
    """A line that the guest prints: a label, and the best value and all others that are accepted."""

    label: str
    best: Wanted
    others: Sequence[Wanted] = ()

    def of(self, values: Iterable[Wanted]) -> str:
        """The line with some values."""
        words = dict.fromkeys(word for value in values for word in str(value).split("|"))
        return f"{self.label} {'|'.join(word for word in words if not any(_covers(each, word) for each in words))}"


def _covers(range_: str, word: str) -> bool:
    """Whether a range such as `1-8` has a number."""
    low, dash, high = range_.partition("-")
    return bool(dash) and low.isdigit() and word.isdigit() and int(low) <= int(word) <= int(high)


def outcomes(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """The expected output, and all patterns of output that are accepted beside it. A trap ends the output."""
    expected: list[str] = []
    for line in lines:
        if line.best == TRAP:
            expected.append(TRAP)
            break
        expected.append(line.of([line.best]))
    accepted: list[list[str]] = []
    through: list[str] = []
    differ = False
    for line in lines:
        returned = [value for value in (line.best, *line.others) if value != TRAP]
        if TRAP in line.others:
            accepted.append([*through, TRAP])
        if not returned:
            if differ:
                accepted.append([*through, TRAP])
            break
        differ = differ or bool(line.others)
        through.append(line.of(returned))
    else:
        if differ:
            accepted.append(through)
    return expected, [each for each in accepted if each != expected]


class Guest(Protocol):
    """A guest that is being written."""

    lines: list[Line]
    errors: dict[int, None]
    graphs: dict[str, str]
    encodings: dict[str, None]
    types: dict[str, None]

    def functions_of(self, area: str, subject: str) -> list[str]:
        """The functions that a case of an area is about, as places of the specification."""

    def text(self, header: str) -> str:
        """The guest's text, with a comment at its head."""


@dataclass(frozen=True)
class Case:
    """A case: what the runner needs to know of it."""

    name: str
    """ABI/area/subject."""
    says: str
    """The rule that the case tests, in a sentence."""
    source: Sequence[str]
    """The places of the specification that the rule is about, `FILE: ITEM`."""
    text: str
    """The guest, as WebAssembly text."""
    expect: Sequence[str]
    """The output by the rule: lines, and TRAP or `exit N` for the end."""
    accept: Sequence[Sequence[str]] = ()
    """Other outputs that are accepted, since hosts differ."""
    graphs: Mapping[str, str] = field(default_factory=dict)
    """The named graphs that it needs: names with their models."""
    encodings: Sequence[str] = ()
    """The encodings that it loads from its own bytes."""
    types: Sequence[str] = ()
    """The types of tensors that it passes to a graph, beside f32."""

    def data(self) -> dict[str, Any]:
        """The case as it is written into cases.json."""
        every = {
            "says": self.says,
            "source": list(self.source),
            "graphs": dict(self.graphs),
            "encodings": list(self.encodings),
            "types": list(self.types),
            "expect": list(self.expect),
            "accept": [list(each) for each in self.accept],
        }
        return {key: value for key, value in every.items() if value}


def case(
    name: str,
    says: str,
    guest: Guest,
    *,
    expect: Sequence[str] | None = None,
    accept: Sequence[Sequence[str]] = (),
) -> Case:
    """A case of a guest, which has noted its lines and needs. `accept` are further accepted outputs, and
    `expect` is another output than the guest's lines."""
    abi, area, subject = name.split("/", 2)
    expected, accepted = outcomes(guest.lines)
    if expect is not None:
        expected, accepted = list(expect), []
    accepted += [list(each) for each in accept if list(each) not in accepted]
    if accepted and "differ" not in says:
        says += f" Hosts differ in the {'code' if is_component(abi) else 'errno'}."
    source = sources(abi, says, guest.functions_of(area, subject), list(guest.errors))
    encodings, types = list(guest.encodings), list(guest.types)
    head = _header(name, [says, _by(source)], expected, accepted, _needs(guest.graphs, encodings, types))
    return Case(name, says, source, guest.text(head), expected, accepted, dict(guest.graphs), encodings, types)


def _by(source: Sequence[str]) -> str:
    """The places of the specification in a line."""
    files: dict[str, list[str]] = {}
    for each in source:
        file, _, item = each.partition(": ")
        files.setdefault(file, []).append(item)
    return "By " + "; ".join(f"{file}: {', '.join(items)}" for file, items in files.items()) + "."


def _needs(graphs: Mapping[str, str], encodings: Sequence[str], types: Sequence[str]) -> list[str]:
    words = [
        f"the graph {name}" if name == model else f"the graph {model}, named {name}" for name, model in graphs.items()
    ]
    return [*words, *(f"models in {each}" for each in encodings), *(f"tensors of {each}" for each in types)]


def _header(
    name: str, texts: Sequence[str], lines: Sequence[str], accepted: Sequence[Sequence[str]], needs: Sequence[str]
) -> str:
    """The comment at the head of a guest: its name, its rule with its places, its needs and its output."""
    head = [name, ""]
    for text in texts:
        head += [*textwrap.wrap(text, 110), ""]
    head += [f"Needs {', '.join(needs)}.", ""] if needs else []
    head += ["Prints:", *(f"  {line}" for line in lines)]
    for each in accepted:
        head += ["or:", *(f"  {line}" for line in each)]
    return "\n".join(f";; {line}".rstrip() for line in head)
