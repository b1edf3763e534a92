"""The site of the documentation lacks nothing: no page, no option of the command, no public name. `make check` builds
it, and checks its links."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import griffe
import make_docs
import pytest
from conftest import REPOSITORY
from docs_site import api, docstrings, links, llms, options, pages

from wasi_nn import cli

PARTS = ("Home", "Tutorial", "How-to", "Reference", "Explanation", "Project")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    pages.stage(make_docs.fill, folder)
    return folder


def test_every_page_is_in_the_navigation() -> None:
    assert list(make_docs.unlisted()) == []
    assert [part for part, _ in pages.navigation() if part not in PARTS] == []


def test_every_option_is_in_the_page_of_options(staged: Path) -> None:
    page = (staged / options.PAGE).read_text()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == list(cli._SUBCOMMANDS)
    for name, parser in options.parsers().items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        listed = re.findall(r"`(--?[\w-]+)`", "".join(re.findall(r"^\| (.*?) \| ", section, re.MULTILINE)))
        assert set(listed) == {option for action in parser._actions for option in action.option_strings}


def test_every_public_name_has_an_entry_and_a_docstring(staged: Path) -> None:
    assert list(api.problems()) == []
    for tier in api.TIERS:
        assert api.public_names(tier)


def test_a_name_without_a_docstring_is_noticed(write: Callable[[str, bytes], Path]) -> None:
    code = b'''
class Open:
    """Has a field, `size`."""
    size: int
    width: int
    def close(self): ...
    def open(self):
        """Open it."""
def bare(): ...
'''
    folder = write("module_of_this_test.py", code).parent
    module = griffe.load("module_of_this_test", search_paths=[str(folder)])
    found = [line.rpartition(": ")[2] for name in ("Open", "bare") for line in api.undocumented(module[name])]
    assert found == [
        "module_of_this_test.Open.width has no docstring",
        "module_of_this_test.Open.close has no docstring",
        "module_of_this_test.bare has no docstring",
    ]


def test_lists_in_docstrings_become_tables() -> None:
    text = "What it does.\n\nfile, path  the file,\n            or a | b\nsize        bytes\n\nRaises  nothing\nat all."
    assert docstrings.with_tables(text) == (
        "What it does.\n\n| | |\n|---|---|\n| `file`, `path` | the file, or a \\| b |\n| `size` | bytes |\n\n"
        "Raises  nothing\nat all."
    )


def test_the_list_for_language_models_names_every_page(staged: Path, tmp_path: Path) -> None:
    llms.write(staged, tmp_path)
    listed = re.findall(r"^- \[.+\]\((.+)\): \S.*$", (tmp_path / "llms.txt").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(pages.pages().values())
    whole = (tmp_path / "llms-full.txt").read_text()
    for path in listed:
        assert (tmp_path / path).read_text() in whole
    assert "class Host(graphs: Graphs = None, *, allow_load:" in whole


def test_links_that_lead_nowhere_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text('<h2 id="there">it</h2>')
    (tmp_path / "index.html").write_text(
        '<a href="other/#there">1</a><a href="other/#gone">2</a><a href="none.md">3</a>'
        '<a href="https://example.org/none">4</a><a href="#">5</a><img src="none.png"><script src="https://example.org/it.js"></script>'
    )
    assert list(links.broken(tmp_path)) == [
        "index.html: https://example.org/it.js would be loaded from another server",
        "index.html: other/#gone has no such anchor",
        "index.html: none.md isn't there",
        "index.html: none.png isn't there",
    ]


def test_links_show_the_titles_of_pages(staged: Path) -> None:
    assert "([Isolated graphs](../explanation/isolation.md))" in (staged / "reference" / "limits.md").read_text()
    for page in staged.rglob("*.md"):
        assert not re.search(r"\[[\w-]+\.md\]\(", page.read_text()), page


def test_pages_link_to_copies_of_the_sources(staged: Path) -> None:
    page = (staged / "reference" / "core-abi.md").read_text()
    assert "(../source/sdk/c/include/wasi_nn.h.txt)" in page
    header = (staged / "source" / "sdk" / "c" / "include" / "wasi_nn.h.txt").read_text()
    assert header == (REPOSITORY / "sdk" / "c" / "include" / "wasi_nn.h").read_text()


def test_all_figures_are_in_the_page_of_performance() -> None:
    readme = (REPOSITORY / "README.md").read_text().partition("\n## Speed\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\|$", readme, re.MULTILINE)
    assert rows
    assert "\n".join(rows) in (REPOSITORY / "docs" / "explanation" / "performance.md").read_text()
