"""Requests over HTTP and their answers, as they pass from the ingress to the deployment of a model."""

from __future__ import annotations

from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]

_OF_THE_BODY = (b"content-length", b"content-encoding", b"transfer-encoding")
_OF_THE_CONNECTION = (b"connection", b"keep-alive", b"authorization", b"x-request-id")


@dataclass(frozen=True)
class HttpRequest:
    """A request whose body was read and decompressed."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def passed_on(headers: Headers, body: bytes, request_id: str) -> Headers:
    """The headers of a request for the next one who reads it; tokens stay here."""
    kept = [(name, value) for name, value in headers if name not in (*_OF_THE_BODY, *_OF_THE_CONNECTION)]
    length = [(b"content-length", str(len(body)).encode())] if body else []
    return [*kept, *length, (b"x-request-id", request_id.encode())]


def handed_back(headers: Headers) -> Headers:
    """The headers of an answer for the client."""
    return [(name, value) for name, value in headers if name not in _OF_THE_CONNECTION]
