"""The pages of the site: those of `docs/`, those that lie elsewhere in the repository, and copies of the sources that
pages link to."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import yaml

REPOSITORY = Path(__file__).parents[2]
STAGED = REPOSITORY / "build" / "docs"
SITE = REPOSITORY / "build" / "site"
CONFIGURATION = REPOSITORY / "mkdocs.yml"

_ELSEWHERE = {
    "README.md": "index.md",
    "SECURITY.md": "explanation/security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "conformance/README.md": "reference/conformance-suite.md",
    "sdk/README.md": "reference/sdks/index.md",
}
_LINK = re.compile(r"(\[[\w-]+\.md)?\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
_SOURCES = PurePosixPath("source")
_SHOWN = (".c", ".h", ".js", ".py", ".rs", ".ts", ".go", ".wit")  # the files of a folder that a page links to


def pages() -> dict[str, str]:
    """The path in the site of every page of the repository: `{"docs/reference/limits.md": "reference/limits.md"}`."""
    found = dict(_ELSEWHERE)
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        path = page.relative_to(REPOSITORY / "docs").as_posix()
        found[f"docs/{path}"] = path.replace("README.md", "index.md")
    for page in sorted((REPOSITORY / "sdk").glob("*/README.md")):
        found[f"sdk/{page.parent.name}/README.md"] = f"reference/sdks/{page.parent.name}.md"
    return found


def navigation() -> Iterator[tuple[str, str]]:
    """The pages in the order of the site's navigation, each with the title of its part."""

    def walk(entry: object, part: str) -> Iterator[tuple[str, str]]:
        if isinstance(entry, str):
            yield part, entry
        elif isinstance(entry, Mapping):
            for title, below in entry.items():
                yield from walk(below, part or title)
        elif isinstance(entry, list):
            for each in entry:
                yield from walk(each, part)

    yield from walk(yaml.safe_load(CONFIGURATION.read_text())["nav"], "")


def stage(filled: Callable[[str, str], str], into: Path = STAGED) -> None:
    """Write all pages into a folder that is made anew, with links that hold there. `filled(path, text)` fills in what
    is generated for a page."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    places = pages()
    sources: set[PurePosixPath] = set()
    for origin, path in places.items():
        text = _relinked((REPOSITORY / origin).read_text(), PurePosixPath(origin), path, places, sources)
        _write(into / path, filled(path, text))
    shutil.copy(REPOSITORY / "docs" / "site.css", into)
    for source in sorted(sources):
        _write_source(source, into)


def _relinked(
    text: str, origin: PurePosixPath, path: str, places: Mapping[str, str], sources: set[PurePosixPath]
) -> str:
    """A page's text with each link to a page or a source of the repository as it is from the page's place in the site.
    Sources that are linked to are added to `sources`."""

    def link(found: re.Match[str]) -> str:
        name, (file, hash_sign, anchor) = found[1], found[2].partition("#")
        if "://" in file or not file:
            return found[0]
        named = PurePosixPath(os.path.normpath(origin.parent / file))
        target = places.get(named.as_posix()) or places.get((named / "README.md").as_posix())
        if target is None:
            sources.add(named)
            target = _place_of(named)
        there = os.path.relpath(target, PurePosixPath(path).parent)
        text = f"[{title_of(named)}" if name else ""  # a page's title is a better text than the name of its file
        return f"{text}]({there}{hash_sign}{anchor})"

    parts = _FENCE.split(text)  # every other part is a block of code
    parts[::2] = (_LINK.sub(link, part) for part in parts[::2])
    return "".join(parts)


def title_of(page: PurePosixPath) -> str:
    """The title of a page of the repository."""
    found = re.search(r"^# (.*)$", (REPOSITORY / page).read_text(), re.MULTILINE)
    assert found is not None, page
    return found[1]


def _place_of(source: PurePosixPath) -> str:
    """A source is a text, which every browser shows; a folder is a page with links to its files."""
    return f"{_SOURCES / source}{'.md' if (REPOSITORY / source).is_dir() else '.txt'}"


def _write_source(source: PurePosixPath, into: Path) -> None:
    original = REPOSITORY / source
    if not original.is_dir():
        _write(into / _place_of(source), original.read_text())
        return
    lines = []
    for file in sorted(original.rglob("*")):
        if file.suffix in _SHOWN:
            _write_source(PurePosixPath(file.relative_to(REPOSITORY).as_posix()), into)
            name = file.relative_to(original)
            lines.append(f"- [`{name}`]({source.name}/{name}.txt)\n")
    _write(into / _place_of(source), f"# `{source}`\n\n{''.join(lines)}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
