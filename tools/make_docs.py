"""Build the documentation's site in `build/site` from the pages of this repository: `make docs`.

The exit code is 1, and stderr has a line for each mistake, if a link or its anchor leads nowhere, a public name has no
entry or no docstring, or a page isn't in the navigation of `mkdocs.yml`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from docs_site import api, links, llms, options
from docs_site.pages import CONFIGURATION, REPOSITORY, SITE, STAGED, navigation, pages, stage


def fill(path: str, text: str) -> str:
    """A page with what is generated for it."""
    return options.filled(text) if path == options.PAGE else text


def unlisted() -> Iterator[str]:
    """The pages that the navigation lacks, and those that it has and that don't exist."""
    listed, there = {path for _, path in navigation()}, set(pages().values())
    yield from (f"{CONFIGURATION.name}: the navigation lacks {path}" for path in sorted(there - listed))
    yield from (f"{CONFIGURATION.name}: there is no {path}" for path in sorted(listed - there))


def build() -> Iterator[str]:
    """Build the site; gives the mistakes that were found, one line each."""
    if wrong := [*unlisted(), *api.problems()]:
        yield from wrong
        return
    stage(fill)
    zensical = str(Path(sys.executable).with_name("zensical"))
    command = [zensical, "build", "--clean", "--strict", "-f", str(CONFIGURATION)]
    ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        yield ended.stdout
        return
    llms.write(STAGED, SITE)
    yield from links.broken(SITE)


def main() -> int:
    """Run the command; returns its exit code."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    mistakes = list(build())
    print(*mistakes, sep="\n", end="\n" if mistakes else "", file=sys.stderr)
    print(f"{SITE / 'index.html'}: {len(mistakes)} mistakes" if mistakes else SITE / "index.html")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
