"""The pages of the API: which names are public, whether each has an entry and a docstring, and their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import griffe

from docs_site.docstrings import with_tables
from docs_site.pages import REPOSITORY

_SOURCES = REPOSITORY / "src"
_DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)

TIERS = ("wasi_nn", "wasi_nn.backends", "wasi_nn.tracing", "wasi_nn.ray", "wasi_nn.oci")
"""The public modules. Everything else is internal."""


def page_of(tier: str) -> str:
    """The path of the page of a public module, in `docs/`."""
    return f"reference/api/{tier.replace('.', '_')}.md"


def public_names(tier: str) -> list[str]:
    """The public names of a module: those of `__all__` if that is a list, else what the module imports under its own
    name, `from ... import Name as Name`."""
    tree = ast.parse((_SOURCES / tier.replace(".", "/") / "__init__.py").read_text())
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.List)
            and ast.unparse(node.targets[0]) == "__all__"
        ):
            return list(ast.literal_eval(node.value))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return [name.asname for node in imports for name in node.names if name.asname == name.name and name.asname]


def problems() -> Iterator[str]:
    """What is wrong with the API's documentation, one line for each: a public name without an entry or a docstring."""
    for tier in TIERS:
        entries = set(_DIRECTIVE.findall((REPOSITORY / "docs" / page_of(tier)).read_text()))
        names = {f"{tier}.{name}" for name in public_names(tier)}
        yield from (f"docs/{page_of(tier)}: no entry for {name}" for name in sorted(names - entries))
        yield from (f"docs/{page_of(tier)}: {name} isn't public" for name in sorted(entries - names))
        for name in sorted(names & entries):
            yield from undocumented(_object(name))


def undocumented(it: griffe.Object) -> Iterator[str]:
    """What has no docstring: a public object, or a public member of a class. A field is documented too by the class's
    docstring if it names the field, and a member of an enumeration needs nothing but its name."""
    where = f"{it.relative_filepath}:{it.lineno}: {it.path}"
    if not it.has_docstring:
        yield f"{where} has no docstring"
    if not isinstance(it, griffe.Class) or any("Enum" in str(base) for base in it.bases):
        return
    own = it.docstring.value if it.docstring else ""
    for name, member in it.members.items():
        if name.startswith("_") or member.is_alias or any(_documents(kind, name) for kind in (it, *it.mro())):
            continue
        if not (member.is_attribute and re.search(rf"\b{re.escape(name)}\b", own)):
            yield f"{where}.{name} has no docstring"


def _documents(kind: griffe.Class, name: str) -> bool:
    return name in kind.members and kind.members[name].has_docstring


def as_text(page: str) -> str:
    """A page with the signatures and docstrings of its entries in their places, for readers of plain Markdown."""
    return _DIRECTIVE.sub(lambda found: "\n".join(_text_of(_object(found[1]), found[1], 3)).rstrip("\n"), page)


def _text_of(it: griffe.Object, path: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}\n"
    if isinstance(it, griffe.Class | griffe.Function):
        word = "class" if isinstance(it, griffe.Class) else "def"
        yield f"```python\n{word} {it.signature()}\n```\n"
    if it.docstring:
        yield f"{with_tables(it.docstring.value)}\n"
    if isinstance(it, griffe.Class):
        for name, member in it.members.items():
            if not name.startswith("_") and not isinstance(member, griffe.Alias) and member.has_docstring:
                yield from _text_of(member, f"{path}.{name}", level + 1)


@cache
def _package() -> griffe.Module:
    loaded = griffe.load("wasi_nn", search_paths=[str(_SOURCES)], resolve_aliases=True)
    assert isinstance(loaded, griffe.Module)
    return loaded


def _object(path: str) -> griffe.Object:
    found = _package()[path.partition(".")[2]]
    return found.final_target if isinstance(found, griffe.Alias) else found
