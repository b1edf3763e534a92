"""`Exchange`: one request and its answer, between the server and the guest's calls of `wasi:http`.

The server makes it and reads the answer from it; the guest's thread does the rest. Bodies are streams of the engine:
here are only their beginnings and ends.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from wasi_nn.abi.http.fields import Field, FieldBytes


@dataclass(frozen=True)
class RequestHead:
    """A request without its body.

    method, scheme, authority, version  as HTTP has them
    path          the guest's part of the path, as the client sent it, with the query
    headers       the fields, with names in lower case
    prefix        the path up to the guest's part
    decoded_path  `path` without its query and with its escapes decoded
    client        the address of the client
    """

    method: str
    path: str
    scheme: str = "http"
    authority: str | None = None
    headers: Sequence[Field] = ()
    prefix: str = ""
    decoded_path: str = ""
    client: str = ""
    version: str = "1.1"


@dataclass(frozen=True)
class ResponseHead:
    """An answer without its body. `length` is its `Content-Length`, or None."""

    status: int
    headers: Sequence[Field] = ()
    length: int | None = None


class Listener(ABC):
    """Hears of the guest's steps, on the guest's thread."""

    @abstractmethod
    def answered(self, head: ResponseHead) -> None:
        """The guest has given its answer's head."""

    @abstractmethod
    def refused(self, error: str, text: str) -> None:
        """The guest has given an error in place of an answer: a case of `error-code`, and a text with it."""

    @abstractmethod
    def finished(self, trailers: Sequence[Field]) -> None:
        """The guest has ended the answer's body."""

    @abstractmethod
    def broke(self) -> None:
        """The guest has dropped the answer's body without ending it."""

    @abstractmethod
    def left_body(self) -> None:
        """The guest reads no more of the request's body. It may still want to know the trailers."""

    @abstractmethod
    def written(self) -> int:
        """The bytes of the answer's body that the guest has written."""


class Exchange:
    """One request and its answer. `field_bytes` counts the fields that the guest holds."""

    def __init__(self, request: RequestHead, listener: Listener, most_field_bytes: int) -> None:
        self.request = request
        self.listener = listener
        self.field_bytes = FieldBytes(most_field_bytes)
        self._trailers: Sequence[Field] | None = None
        self._trailers_failure = ""
        self._has_trailers = threading.Event()

    def has_content(self, status: int) -> bool:
        """Whether an answer of this status has a body that the client gets."""
        return self.request.method != "HEAD" and status not in (204, 304)

    def give_trailers(self, trailers: Sequence[Field], failure: str = "") -> None:
        """Tell the trailers of the request, whose body has come to its end; `failure` is a case of `error-code` if it
        hasn't. Called by the server."""
        self._trailers, self._trailers_failure = trailers, failure
        self._has_trailers.set()

    def wait_for_trailers(self) -> tuple[Sequence[Field], str]:
        """The trailers of the request, or why there are none."""
        self._has_trailers.wait()
        return self._trailers or (), self._trailers_failure
