"""The check for known security advisories, against a server on this machine that answers as OSV does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
Write = Callable[[str, bytes], Path]
Answer = Callable[[str, dict[str, Any] | None], Any]

PROJECT = b"""
[project]
dependencies = ["Num_Py>=1.26", "wasmtime>=50.0.1; sys_platform == 'linux'", "free"]
[project.optional-dependencies]
onnx = ["onnxruntime >= 1.20"]
all = ["wasi-nn[onnx]"]
dev = ["pytest>=1"]
"""
PINNED = b"# the pins\nnumpy==2.4.6\nml_dtypes==0.6.0\n"


class Server:
    """A server on this machine; `questions` are the bodies that it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.questions: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.questions.append(question)
                self.reply(answer(self.path, question))

            def do_GET(self) -> None:
                self.reply(answer(self.path, None))

            def reply(self, content: Any) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def audit(write: Write, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the check on a small project."""
    write("pyproject.toml", PROJECT)
    write("constraints.txt", PINNED)

    def run(url: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, str(ROOT / "tools" / "audit.py"), "--url", url, "--project", str(tmp_path)]
        return subprocess.run(program, capture_output=True, text=True, check=False, env={"no_proxy": "*"})

    return run


def osv(known: Mapping[tuple[str, str], list[str]], details: Mapping[str, dict[str, Any]] | None = None) -> Answer:
    """Answers like OSV: with these advisories for the names and versions of packages."""

    def answer(path: str, question: dict[str, Any] | None) -> Any:
        if question is None:
            return (details or {}).get(path.rpartition("/")[2])
        results = []
        for query in question["queries"]:
            ids = known.get((query["package"]["name"], query["version"]), [])
            results.append({"vulns": [{"id": each, "modified": "2026-01-01T00:00:00Z"} for each in ids]} if ids else {})
        return {"results": results}

    return answer


Serve = Callable[[Answer], Server]
Audit = Callable[[str], subprocess.CompletedProcess[str]]


def test_the_least_and_the_pinned_versions_are_asked_for(serve: Serve, audit: Audit) -> None:
    server = serve(osv({}))
    result = audit(server.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "no known advisory in 3 least versions, 2 pinned versions\n"
    (question,) = server.questions
    asked = {(each["package"]["ecosystem"], each["package"]["name"], each["version"]) for each in question["queries"]}
    assert asked == {
        ("PyPI", "num-py", "1.26"),
        ("PyPI", "wasmtime", "50.0.1"),
        ("crates.io", "wasmtime", "50.0.1"),
        ("crates.io", "wasmtime-wasi", "50.0.1"),
        ("crates.io", "wasmtime-wasi-http", "50.0.1"),
        ("PyPI", "onnxruntime", "1.20"),
        ("PyPI", "numpy", "2.4.6"),
        ("PyPI", "ml-dtypes", "0.6.0"),
    }


def test_an_advisory_is_told_once_with_all_its_names(serve: Serve, audit: Audit) -> None:
    details = {
        "GHSA-1": {"id": "GHSA-1", "aliases": ["CVE-1", "PYSEC-1"], "summary": "Reads\nout of bounds"},
        "PYSEC-1": {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "summary": "The same"},
    }
    server = serve(osv({("onnxruntime", "1.20"): ["GHSA-1", "PYSEC-1"], ("numpy", "2.4.6"): ["GHSA-9"]}, details))
    result = audit(server.url)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "least versions: onnxruntime 1.20: CVE-1, GHSA-1, PYSEC-1: Reads out of bounds",
        "pinned versions: numpy 2.4.6: GHSA-9: no summary",
    ]


def test_an_accepted_advisory_is_told_with_the_reason(serve: Serve, audit: Audit) -> None:
    details = {"RUSTSEC-1": {"aliases": ["GHSA-f2pq-268w-886c"], "summary": "Drive letters"}}
    result = audit(serve(osv({("wasmtime-wasi", "50.0.1"): ["RUSTSEC-1"]}, details)).url)
    assert result.returncode == 0
    assert "wasmtime 50.0.1: GHSA-f2pq-268w-886c, RUSTSEC-1: Drive letters (accepted: only on Windows" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("no known advisory in")


def test_further_pages_are_asked_for(serve: Serve, audit: Audit) -> None:
    def answer(_: str, question: dict[str, Any] | None) -> Any:
        if question is None:
            return None
        queries = question["queries"]
        if "page_token" in queries[0]:
            assert [query["package"]["name"] for query in queries] == ["numpy"]
            return {"results": [{"vulns": [{"id": "GHSA-2"}]}]}
        page = {"vulns": [{"id": "GHSA-1"}], "next_page_token": "more"}
        return {"results": [page if query["package"]["name"] == "numpy" else {} for query in queries]}

    result = audit(serve(answer).url)
    assert result.returncode == 1
    assert [line.split(": ")[2] for line in result.stdout.splitlines()] == ["GHSA-1", "GHSA-2"]


@pytest.mark.parametrize("content", [b"<html>", [], {}, {"results": []}, {"results": [{}]}, None])
def test_what_is_no_answer_of_osv_is_not_taken_for_one(serve: Serve, audit: Audit, content: Any) -> None:
    result = audit(serve(lambda path, question: content).url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("advisories not checked: ")


def test_without_a_network_it_is_said_that_nothing_was_checked(audit: Audit, serve: Serve) -> None:
    server = serve(osv({}))
    server.close()
    server.close = lambda: None  # type: ignore[method-assign]
    result = audit(server.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("advisories not checked: no network (")


def test_each_least_version_is_allowed_and_pinned_at_least_so_high() -> None:
    import tomllib

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for each in project["optional-dependencies"].values() for text in each)]
    for requirement in map(Requirement, texts):
        if requirement.name != "wasi-nn":
            assert requirement.specifier, requirement
            assert requirement.specifier.contains(pinned[requirement.name.lower()], prereleases=True), requirement
