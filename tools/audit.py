"""Ask OSV for known security advisories: for the least versions that pyproject.toml allows, and for the pinned ones.

The exit code is 1 if there is an advisory that `ACCEPTED` doesn't list. Without a network nothing is checked, which is
said, and the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

URL = "https://api.osv.dev"
TIMEOUT = 4  # seconds for one answer
MOST_BYTES = 32 * 2**20  # of one answer
MOST_DETAILS = 50

ACCEPTED = {
    "GHSA-f2pq-268w-886c": "only on Windows, where this package doesn't run",
    "GHSA-rc4p-x33f-vpr2": "only in builds without the feature gc, which the wheels have",
    "GHSA-43j2-gcp4-m22g": "only for guests with garbage collection, which the engine of the host refuses",
    "GHSA-2674-w29h-wqvj": "only in builds without the feature threads, which the wheels have",
}
"""Advisories that don't concern this package, each with the reason."""

CRATES = {"wasmtime": ("wasmtime", "wasmtime-wasi", "wasmtime-wasi-http")}
"""The Rust crates in a Python package that have its version: most of their advisories name no Python package."""

Package = tuple[str, str]  # its name and version


class NotChecked(Exception):
    """OSV can't be asked; the text says why."""


def least_versions(pyproject: Mapping[str, Any]) -> list[Package]:
    """The least version of each dependency for users: of the package itself, and of all extras but `dev`."""
    project = pyproject["project"]
    extras = project.get("optional-dependencies", {})
    texts = [*project["dependencies"], *(text for extra, each in extras.items() if extra != "dev" for text in each)]
    return sorted({package for text in texts for package in _packages(text, r"[>=]=")})


def pinned_versions(constraints: str) -> list[Package]:
    """The versions in a file of constraints."""
    return sorted({package for line in constraints.splitlines() for package in _packages(line, "==")})


def _packages(requirement: str, operator: str) -> Iterator[Package]:
    found = re.match(rf"\s*([A-Za-z0-9][\w.-]*)\s*{operator}\s*([\w.]+)", requirement)
    if found:
        yield re.sub(r"[-_.]+", "-", found[1]).lower(), found[2]


def advisories(url: str, packages: Sequence[Package]) -> dict[Package, set[str]]:
    """The ids of the known advisories for each package that has some. Raises `NotChecked`."""
    asked = [(package, "PyPI", package[0]) for package in packages]
    asked += [(package, "crates.io", crate) for package in packages for crate in CRATES.get(package[0], ())]
    found: dict[Package, set[str]] = {}
    tokens = dict.fromkeys(range(len(asked)), "")
    while tokens:
        queries = [_query(*asked[place], token) for place, token in tokens.items()]
        results = _answer(f"{url}/v1/querybatch", {"queries": queries}).get("results")
        if not isinstance(results, list) or len(results) != len(queries):
            raise NotChecked(f"{url} gave an answer that isn't OSV's")
        following = {}
        for place, result in zip(tokens, results, strict=True):
            for advisory in result.get("vulns", ()):
                found.setdefault(asked[place][0], set()).add(str(advisory["id"]))
            token = result.get("next_page_token")
            if token and token != tokens[place]:
                following[place] = str(token)
        tokens = following
    return found


def _query(package: Package, ecosystem: str, name: str, token: str) -> dict[str, Any]:
    query: dict[str, Any] = {"package": {"name": name, "ecosystem": ecosystem}, "version": package[1]}
    return query | ({"page_token": token} if token else {})


def details(url: str, advisory: str) -> tuple[set[str], str]:
    """All names of an advisory, and its summary; only the id where OSV doesn't tell more."""
    try:
        answer = _answer(f"{url}/v1/vulns/{advisory}")
    except NotChecked:
        return {advisory}, ""
    aliases = answer.get("aliases")
    names = {advisory, *map(str, aliases if isinstance(aliases, list) else ())}
    return names, " ".join(str(answer.get("summary", "")).split())[:200]


def _answer(url: str, question: object = None) -> dict[str, Any]:
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            content = json.loads(response.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        raise NotChecked(f"{url} answered {error.code}") from error
    except (OSError, HTTPException) as error:
        raise NotChecked(f"no network ({getattr(error, 'reason', error)})") from error
    except ValueError as error:
        raise NotChecked(f"{url} gave an answer that isn't OSV's") from error
    if not isinstance(content, dict):
        raise NotChecked(f"{url} gave an answer that isn't OSV's")
    return content


def report(url: str, sets: Mapping[str, Sequence[Package]]) -> int:
    """Print the advisories for sets of packages, each set by its name; returns the exit code."""
    found = advisories(url, sorted({package for packages in sets.values() for package in packages}))
    ids = sorted(set().union(*found.values()))
    known = {advisory: details(url, advisory) for advisory in ids[:MOST_DETAILS]}
    exit_code = 0
    for where, packages in sets.items():
        for package in packages:
            told: set[str] = set()
            for advisory in sorted(found.get(package, ())):
                names, summary = known.get(advisory, ({advisory}, ""))
                if names & told:  # the same advisory under another name
                    continue
                told |= names
                accepted = next((ACCEPTED[name] for name in sorted(names) if name in ACCEPTED), "")
                exit_code = exit_code if accepted else 1
                text = f"{where}: {' '.join(package)}: {', '.join(sorted(names))}: {summary or 'no summary'}"
                print(f"{text} (accepted: {accepted})" if accepted else text)
    if not exit_code:
        print(f"no known advisory in {', '.join(f'{len(packages)} {where}' for where, packages in sets.items())}")
    return exit_code


def main() -> int:
    """Check both sets; returns the exit code."""
    root = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=URL, help=f"the address of OSV's API (default: {URL})")
    parser.add_argument("--project", type=Path, default=root, help="the folder with the two files")
    options = parser.parse_args()
    sets = {
        "least versions": least_versions(tomllib.loads((options.project / "pyproject.toml").read_text())),
        "pinned versions": pinned_versions((options.project / "constraints.txt").read_text()),
    }
    try:
        return report(options.url, sets)
    except NotChecked as error:
        print(f"advisories not checked: {error}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
