"""Results as text, as data and as a page."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from conformance.run import ACCEPTED, CRASHED, FAILED, HUNG, PASSED, STATUSES, UNSUPPORTED, Result
from conformance.suite import CASES, matches
from conformance.words import in_words


def summary(results: Iterable[Result], seconds: float) -> str:
    """How many cases have which status, how many there are, and the seconds that they took together."""
    counts = Counter(result.status for result in results)
    each = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    return f"{each}: {counts.total()} cases in {seconds:.1f} s"


def explained(result: Result) -> str:
    """A result with its rule, the expected output and the given one."""
    lines = [f"{result.status}: {result.case.name}", f"  {result.case.says}"]
    if result.outcome is not None:
        lines.append(f"  expected: {' · '.join(result.case.expect)}")
        lines += [f"        or: {' · '.join(each)}" for each in result.case.accept]
        lines.append(f"     given: {' · '.join(result.outcome.shown)}")
        lines += [f"   it says: {result.outcome.reason}"] if result.outcome.reason else []
    return "\n".join(lines)


def data(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """The results as data."""
    return {
        host: {
            "version": versions[host],
            "cases": {
                result.case.name: {
                    "status": result.status,
                    **({"output": result.outcome.shown} if result.outcome else {}),
                    **({"missing": result.missing} if result.missing else {}),
                    "seconds": round(result.seconds, 3),
                }
                for result in each
            },
        }
        for host, each in results.items()
    }


_INTRODUCTION = """\
# Conformance

What each host of wasi-nn does in the cases of [the conformance suite](../../conformance/README.md). `make conformance`
wrote this page.

- **passed**: the output is that of the rule, which the case states.
- **differs**: the output is another accepted one. Hosts differ where the specification is silent, or has several
  errors for one mistake.
- **failed**: the output is neither. **crashed**: the host itself ended. **hung**: it had to be killed.
- **not supported**: the host lacks something that the case needs: an interface, an encoding, a type of tensors.

"""


def page(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]], at: Path) -> str:
    """The results as a page in Markdown, which is to lie at a path."""
    parts = [_INTRODUCTION, *_hosts(versions, results), *_matrix(results)]
    for host, each in results.items():
        parts += _differences(host, each, at)
    return "".join(parts).rstrip("\n") + "\n"


def _hosts(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]]) -> Iterable[str]:
    yield f"| host | version | {' | '.join('differs' if each == ACCEPTED else each for each in STATUSES)} |\n"
    yield f"|---|---|{'---|' * len(STATUSES)}\n"
    for host, each in results.items():
        counts = Counter(result.status for result in each)
        yield f"| {host} | {versions[host]} | {' | '.join(str(counts[status]) for status in STATUSES)} |\n"


def _matrix(results: Mapping[str, Sequence[Result]]) -> Iterable[str]:
    yield "\n## By area\n\nHow many cases of an area passed, of those that the host was given.\n\n"
    yield f"| interface | area | {' | '.join(results)} |\n|---|---|{'---|' * len(results)}\n"
    areas: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for host, each in results.items():
        for result in each:
            areas[result.case.abi, result.case.area][host].append(result)
    for (abi, area), by_host in areas.items():
        yield f"| {abi} | {area} | {' | '.join(_cell(by_host[host]) for host in results)} |\n"


def _cell(results: Sequence[Result]) -> str:
    counts = Counter(result.status for result in results if result.status != UNSUPPORTED)
    if not counts:
        return "not supported"
    others = [f"{counts[status]} {status}" for status in (FAILED, CRASHED, HUNG) if counts[status]]
    others = [*([f"{counts[ACCEPTED]} differ"] if counts[ACCEPTED] else []), *others]
    return f"{counts[PASSED]} of {counts.total()}" + (f": {', '.join(others)}" if others else "")


def _differences(host: str, results: Sequence[Result], at: Path) -> Iterable[str]:
    """The results of a host that aren't by the rules, those alike together."""
    bad = [result for result in results if result.bad]
    differing = [result for result in results if result.status == ACCEPTED]
    if bad:
        yield f"\n## Wrong in {host}\n\nEach with the smallest guest that shows it, and others that show the same.\n"
        for alike in _grouped(bad):
            yield from _wrong(alike, at)
    if differing:
        yield f"\n## Different in {host}\n\n| area | what it does | by the rule | cases |\n|---|---|---|---|\n"
        for alike in _grouped(differing):
            given, expected = difference(alike[0])
            links = ", ".join(_link(result, at) for result in alike)
            yield f"| {alike[0].case.abi}/{alike[0].case.area} | {given} | {expected} | {links} |\n"


def _grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Results that are alike together, each group by the size of the guests."""
    groups: dict[object, list[Result]] = defaultdict(list)
    for result in results:
        reason = _reason(result) if result.status == CRASHED else ""
        where = (result.case.abi, result.case.area) if result.status != CRASHED else ()
        groups[result.status, where, reason or difference(result)].append(result)
    return [sorted(each, key=lambda result: result.case.guest.stat().st_size) for each in groups.values()]


def _wrong(alike: Sequence[Result], at: Path) -> Iterable[str]:
    """A section on a mistake of a host: how to see it, what it does, and what it should do."""
    first, *others = alike
    assert first.outcome is not None
    yield f"\n### {first.case.name}\n\n{first.case.says}\n\n```console\n$ {first.command}\n"
    for line in (*first.outcome.lines, _reason(first) or first.outcome.end):
        yield f"{line}\n"
    expected = [in_words(line, first.case.abi) for line in first.case.expect[len(_common(first)) :]]
    yield f"```\n\nBy the rule{' after these lines' if _common(first) else ''}: `{'`, `'.join(expected)}`."
    given, _ = difference(first)
    yield f" The host: {'it crashes' if first.status == CRASHED else f'`{given}`'}."
    yield f" The guest: {_link(first, at, first.case.name + '.wat')}.\n"
    if others:
        yield f"\nThe same: {', '.join(_link(result, at) for result in others)}.\n"


def _common(result: Result) -> list[str]:
    """The lines at the beginning of the output that are by the rule."""
    assert result.outcome is not None
    common = []
    for given, expected in zip(result.outcome.shown, result.case.expect, strict=False):
        if not matches([expected], [given]):
            break
        common.append(given)
    return common


def _reason(result: Result) -> str:
    """What the host says, without numbers of threads."""
    said = result.outcome.reason if result.outcome else ""
    said = re.sub(r"\(\d+\) panicked", "panicked", said)
    said = re.sub(r"/\S*/registry/src/[^/]*/", "", said)
    return re.sub(r"length \(\d+\)", "length (...)", said)


def difference(result: Result) -> tuple[str, str]:
    """The first line of the output that isn't by the rule, and that of the rule, in words."""
    assert result.outcome is not None
    for given, expected in zip_longest(result.outcome.shown, result.case.expect):
        if given is None or expected is None or not matches([expected], [given]):
            words = [in_words(line, result.case.abi) if line else "nothing more" for line in (given, expected)]
            return _short(words[0]), _short(words[1])
    return "", ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _link(result: Result, at: Path, text: str = "") -> str:
    target = os.path.relpath(CASES / f"{result.case.name}.wat", at.resolve().parent)
    return f"[{text or result.case.name.split('/')[-1]}]({target})"
