"""The links of the built site: each leads to a file that is there, and to an anchor in it, and a page loads nothing
from other servers."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in ("href", "src"):
                self.links.append(value)
                if tag != "a":
                    self.loaded.append(value)
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)


def broken(site: Path) -> Iterator[str]:
    """The links of a folder's pages that lead nowhere, one line for each. Other servers aren't asked."""
    parsed = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in parsed.items():
        for link in dict.fromkeys(page.loaded):
            if urlsplit(link).netloc:
                yield f"{path.relative_to(site)}: {link} would be loaded from another server"
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists():
                yield f"{path.relative_to(site)}: {link} isn't there"
            elif anchor and target in parsed and anchor not in parsed[target].anchors:
                yield f"{path.relative_to(site)}: {link} has no such anchor"
