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
from conformance.suite import CASES, HOME, matches
from conformance.words import SPECIFIED, in_words


def summary(results: Iterable[Result], seconds: float) -> str:
    """How many cases have which status, how many there are, and the seconds that they took together."""
    counts = Counter(result.status for result in results)
    each = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    return f"{each}: {counts.total()} cases in {seconds:.1f} s"


def explained(result: Result) -> str:
    """A result with its rule, the expected output and the given one."""
    lines = [f"{result.status}: {result.case.name}", f"  {result.case.says}", f"  by {in_places(result.case.source)}"]
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

Each rule has its places in the specification: items of `wasi-nn.witx` for core modules, of the version's `wasi-nn.wit`
for components, and of the component model's `CanonicalABI.md` for traps. [The
suite](../../conformance/README.md#sources) tells of the other files.

"""


def page(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]], at: Path, note: str = "") -> str:
    """The results as a page in Markdown, which is to lie at a path, with a note on the versions."""
    parts = [_INTRODUCTION, *_hosts(versions, results), *([f"\n{note}\n"] if note else []), *_matrix(results)]
    for host, each in results.items():
        parts += _differences(host, versions[host], each, at)
    return "".join(parts).rstrip("\n") + "\n"


def _hosts(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]]) -> Iterable[str]:
    yield f"| host | version | {' | '.join('differs' if each == ACCEPTED else each for each in STATUSES)} |\n"
    yield f"|---|---|{'---|' * len(STATUSES)}\n"
    for host, each in results.items():
        counts = Counter(result.status for result in each)
        yield f"| {host} | {versions[host]} | {' | '.join(str(counts[status]) for status in STATUSES)} |\n"


def _matrix(results: Mapping[str, Sequence[Result]]) -> Iterable[str]:
    yield "\n## By area\n\nHow many cases of an area passed, of those that the host was given.\n\n"
    yield f"| interface | area | specified by | {' | '.join(results)} |\n|---|---|---|{'---|' * len(results)}\n"
    areas: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for host, each in results.items():
        for result in each:
            areas[result.case.abi, result.case.area][host].append(result)
    for (abi, area), by_host in areas.items():
        cases = [result.case for result in next(iter(by_host.values()))]
        source = in_places(dict.fromkeys(each for case in cases for each in case.source if not _is_error(each)))
        yield f"| {abi} | {area} | {source} | {' | '.join(_cell(by_host[host]) for host in results)} |\n"


def in_places(source: Iterable[str]) -> str:
    """Places of the specification as text, those of a file together."""
    files: dict[str, list[str]] = defaultdict(list)
    for each in source:
        file, _, item = each.partition(": ")
        files[file].append(f"`{item}`")
    return "; ".join(f"{file}: {', '.join(items)}" for file, items in files.items())


def _is_error(source: str) -> bool:
    return "$nn_errno.$" in source or "error-code." in source


def _cell(results: Sequence[Result]) -> str:
    counts = Counter(result.status for result in results if result.status != UNSUPPORTED)
    if not counts:
        return "not supported"
    others = [f"{counts[status]} {status}" for status in (FAILED, CRASHED, HUNG) if counts[status]]
    others = [*([f"{counts[ACCEPTED]} differ"] if counts[ACCEPTED] else []), *others]
    return f"{counts[PASSED]} of {counts.total()}" + (f": {', '.join(others)}" if others else "")


def _differences(host: str, version: str, results: Sequence[Result], at: Path) -> Iterable[str]:
    """The results of a host that aren't by the rules, those alike together."""
    bad = [result for result in results if result.bad]
    differing = [result for result in results if result.status == ACCEPTED]
    if bad:
        yield f"\n## Wrong in {host}\n\nEach section is a report for those who make the host, with the smallest guest "
        yield "that shows the mistake.\nThe command runs in the folder that has the suite's folder `conformance`.\n"
        for alike in _grouped(bad):
            yield from _wrong(alike, version, at)
    if differing:
        yield f"\n## Different in {host}\n\n"
        yield "| area | what it does | expected | rule | specified by | cases |\n|---|---|---|---|---|---|\n"
        for alike in _grouped(differing):
            case, links = alike[0].case, ", ".join(_link(result, at) for result in alike)
            cells = _cells([*difference(alike[0]), case.says, in_places(case.source)])
            yield f"| {case.abi}/{case.area} | {cells} | {links} |\n"


def _grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Results that are alike together, each group by the size of the guests. A crash has one cause under many rules,
    which make a report together; a difference is explained by its rule, and has a group for each."""
    groups: dict[object, list[Result]] = defaultdict(list)
    for result in results:
        case, why = result.case, result.case.says if result.status == ACCEPTED else ""
        seen = _reason(result) if result.status == CRASHED else (case.abi, case.area, *difference(result), why)
        groups[result.status, seen].append(result)
    return [sorted(each, key=lambda result: result.case.guest.stat().st_size) for each in groups.values()]


def _wrong(alike: Sequence[Result], version: str, at: Path) -> Iterable[str]:
    """A report on a mistake of a host: the version, what is expected by which words, what is seen, and the guest."""
    first, *others = alike
    assert first.outcome is not None
    case, common = first.case, len(_common(first))
    given, _ = difference(first)
    yield f"\n### {case.name}\n\n- **Host**: {version}\n"
    yield f"- **Expected**{' after the lines before' if common else ''}: {_code(case.expect[common:], case.abi)}\n"
    also = dict.fromkeys(_code(each[common:], case.abi) for each in case.accept)
    yield f"- **Accepted too**: {'; '.join(also)}\n" if also else ""
    yield f"- **Rule**: {case.says}{''.join(_words_of(case.expect[common:], case.abi))}"
    yield f"{' Whatever a guest does, the host itself goes on.' if first.status == CRASHED else ''}\n"
    yield f"- **Specified by**: {in_places(case.source)}\n"
    yield f"- **Seen**: {_SEEN.get(first.status) or f'`{given}`'}\n\n```console\n$ {first.command}\n"
    for line in (*first.outcome.lines, _reason(first) or first.outcome.end):
        yield f"{line}\n"
    yield "```\n"
    yield from _details(f"The guest, {case.name}.wat", "wat", case.guest.with_suffix(".wat").read_text("utf-8"))
    for folder in first.models:
        yield from _model(folder)
    if others:
        yield "\nThe same in all guests of the suite, by their rules:\n\n| rule | expected | guests |\n|---|---|---|\n"
        rules: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for result in alike:
            rules[result.case.says, difference(result)[1]].append(result)
        for rule, results in rules.items():
            yield f"| {_cells(rule)} | {', '.join(_link(result, at) for result in results)} |\n"


def _cells(texts: Iterable[str]) -> str:
    """Texts as cells of a table."""
    return " | ".join(text.replace("|", r"\|") for text in texts)


_SEEN = {CRASHED: "the host crashes", HUNG: "the host hangs"}


def _code(lines: Sequence[str], abi: str) -> str:
    """Lines of an output in words, as code."""
    return ", ".join(f"`{in_words(line, abi)}`" for line in lines)


def _words_of(lines: Sequence[str], abi: str) -> Iterable[str]:
    """What the specification says of the errors that are expected first."""
    for code in re.findall(r"[a-z]+(?:[-_][a-z]+)*", in_words(lines[0], abi).partition("(")[2] if lines else ""):
        words = SPECIFIED.get(code.replace("_", "-"))
        yield f' The specification says of `{code}`: "{words}"' if words else ""


_SMALL = 4000
"""The characters of a model that is shown."""


def _model(folder: Path) -> Iterable[str]:
    """The files of a model, if they are short texts, or where they are."""
    contents = {file: file.read_bytes() for file in sorted(folder.iterdir())}
    name = folder.relative_to(HOME.parent).as_posix()
    if sum(map(len, contents.values())) > _SMALL or any(b"\0" in content for content in contents.values()):
        yield f"\nThe model is `{name}`.\n"
        return
    for file, content in contents.items():
        if content:
            yield from _details(f"The model, {name}/{file.name}", file.suffix[1:], content.decode())
        else:
            yield f"\n`{name}/{file.name}` is empty.\n"


def _details(title: str, language: str, text: str) -> Iterable[str]:
    """A text that is shown on demand."""
    yield f'\n<details markdown="1">\n<summary>{title}</summary>\n\n```{language}\n{text.rstrip()}\n```\n\n</details>\n'


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
