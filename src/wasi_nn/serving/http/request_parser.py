"""Reads requests that ask for another protocol as HTTP allows it: as if they didn't ask."""

from __future__ import annotations

from typing import Any, Protocol

import httptools


class Reader(Protocol):
    """What hears of the parts of requests, as httptools tells them, with this beside it."""

    is_in_body: bool
    """Whether the parts up to the body are known already, and are told once more."""

    def framing(self) -> bytes:
        """The headers that say how long the body of the request is; empty for a request without one."""


class RequestParser:
    """httptools' parser. That one skips the body of a request with `Upgrade`, and reads what comes after as a request:
    a client that sends such a request, as some do by default, would lose its body, and one could hide a request in it.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parser = _new_parser(reader)

    def feed_data(self, data: bytes) -> None:
        """Read more bytes. Raises `httptools.HttpParserError` for bytes that aren't HTTP."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._go_on()

    def _go_on(self) -> None:
        framing = self._reader.framing()
        self._parser = _new_parser(self._reader)
        if framing:
            self._reader.is_in_body = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._reader.is_in_body = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def _new_parser(reader: Reader) -> Any:
    parser = httptools.HttpRequestParser(reader)
    # As uvicorn sets it: what comes after a last request is no error of that one.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
