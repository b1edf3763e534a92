"""Registries for tests: Debian's docker-registry on this machine, and one that sends the bytes of a test."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from conftest import need, need_command

ENDLESS = bytes(65536)
"""The content of an answer that sends these bytes again and again, until nobody takes them."""
USER, PASSWORD = "maker", "secret"
_HASH = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"  # bcrypt's of the password
_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = "auth: {{htpasswd: {{realm: makers, path: {folder}/htpasswd}}}}\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a registry, in the modules of tests that have this fixture."""
    need("oras", "'wasi-nn[oci]'")
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of caches, and no credentials, in the modules of tests that have this fixture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "caches"


@contextmanager
def registry(folder: Path, *, has_users: bool = False) -> Iterator[str]:
    """A registry that keeps its artifacts in a folder; yields its host and port. With users, only one may use it."""
    need_command("docker-registry", "docker-registry")
    for _ in range(10):  # another process may take the port first
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        config = folder / "config.yml"
        config.write_text((_CONFIG + (_AUTH if has_users else "")).format(folder=folder, port=port))
        (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(process, port):
                yield f"127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            process.wait()
    raise RuntimeError("docker-registry doesn't begin")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a registry answers; whether it does."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/").close()
        except urllib.error.HTTPError:
            return True  # it asks for a user
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def credentials(folder: Path, host: str) -> Path:
    """A folder with the file of credentials that docker login would have made, for DOCKER_CONFIG."""
    from base64 import b64encode

    auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder


class HostileRegistry(BaseHTTPRequestHandler):
    """A registry that answers each path with the bytes that the test gave it, and anything else with 404."""

    answers: Mapping[str, tuple[int, Mapping[str, str], bytes]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        status, headers, content = self.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and content is not ENDLESS:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(content)
            while content is ENDLESS:
                self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def hostile_registry(
    answers: Mapping[str, tuple[int, Mapping[str, str], bytes]], asked: list[tuple[str, str]] | None = None
) -> Iterator[str]:
    """A running `HostileRegistry`; yields its host and port. `asked` gets the paths of requests, and the
    credentials."""
    own = {"answers": answers, "asked": [] if asked is None else asked}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (HostileRegistry,), own)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
