"""`Door`: the one way in for requests over HTTP. It has the checks, the notes and the errors of all of them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from wasi_nn.errors import one_line
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.origins import Origins
from wasi_nn.serving.observing.request_log import FinishedRequest, request_id
from wasi_nn.serving.observing.request_traces import TOLD_BY
from wasi_nn.serving.settings import how_to_raise

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Router
    from starlette.types import Message, Receive, Scope, Send

    from wasi_nn.serving.front import Front

logger = logging.getLogger("wasi_nn.serving")

STATUS = {
    Reason.INVALID: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.NOT_FOUND: 404,
    Reason.TOO_SLOW: 408,
    Reason.TOO_LARGE: 413,
    Reason.UNSUPPORTED: 400,
    Reason.OVERLOADED: 429,
    Reason.FAILED: 500,
    Reason.UNAVAILABLE: 503,
    Reason.LATE: 504,
    Reason.CANCELLED: 499,  # as nginx has it; nobody reads the answer
}
"""The status of each error."""

OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")
"""The paths that need no token: those that a probe asks."""


_KIND_OF_PART = re.compile(r":\w+(?=\})")


@cache
def _pattern(path: str) -> str:
    """A route's path as the conventions for telemetry have it, such as `/v2/models/{name}`."""
    return _KIND_OF_PART.sub("", path)


ErrorContent = Callable[[int, str, ServingError | None], object]
"""A protocol's form of an error, as JSON: of a status, a message and, unless HTTP itself went wrong, the error."""


def _plain(status: int, message: str, error: ServingError | None) -> object:
    return {"error": message}


class Door:
    """The application of the HTTP server: checks a request, passes it to the router, and notes how it ended.

    `forms` are the forms of errors by the beginnings of paths; the others have `{"error": message}`. `origins` are the
    rules for browsers, and `open_paths` those that need no token, of which `/` and those below `/page/` are the page's.
    """

    def __init__(
        self,
        front: Front,
        router: Router,
        forms: Mapping[str, ErrorContent] | None = None,
        origins: Origins | None = None,
        open_paths: Collection[str] = OPEN_PATHS,
    ) -> None:
        self._front = front
        self._router = router
        self._forms = forms or {}
        self._origins = origins or Origins()
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket: the server is told to have none
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        form = next((form for begin, form in self._forms.items() if scope["path"].startswith(begin)), _plain)
        facts = FinishedRequest(request_id(headers.get("x-request-id")), "http", "unknown", headers=headers)
        facts.method, facts.path = scope["method"], scope["path"]
        scope["app"] = self  # so that the router raises its errors
        scope["facts"] = facts
        answer = _Answer(
            facts, send, has_body=headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        )
        try:
            with self._front.noting(facts):
                try:
                    self._check(scope, headers, facts)
                    await self._router(scope, receive, answer.send)
                except ServingError as error:
                    facts.status = STATUS[error.reason]
                    raise
                except HTTPException as error:
                    facts.status, facts.outcome = error.status_code, Reason.INVALID.value
                    path = json.dumps(scope["path"][:200])
                    message = f"no such path: {path}" if error.status_code == 404 else f"{error.detail}: {path}"
                    facts.error = message
                    content = form(error.status_code, message, None)
                    await _error(error.status_code, content, error.headers)(scope, receive, answer.send)
                finally:
                    endpoint = scope.get("endpoint")
                    facts.call = getattr(endpoint, "__name__", facts.call)
                    facts.route = _pattern(getattr(scope.get("route"), "path", ""))
                    facts.model = str(scope.get("path_params", {}).get("name", facts.model))
        except ServingError as error:
            if not answer.has_begun:
                await of(error, form)(scope, receive, answer.send)
        except Exception as error:
            logger.exception("request %s failed: %s", facts.id, one_line(error))
            if answer.has_begun:
                raise
            content = form(500, "the server failed; its log has more", None)
            await _error(500, content, None)(scope, receive, answer.send)

    def _check(self, scope: Scope, headers: Mapping[str, str], facts: FinishedRequest) -> None:
        most = self._front.service.limits.header_bytes
        if len(scope["raw_path"]) + sum(len(name) + len(value) for name, value in scope["headers"]) > most:
            message = f"the headers have more than {most} bytes ({how_to_raise('header_bytes')})"
            raise ServingError(Reason.TOO_LARGE, message)
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:  # a proxy may have looked at another one
            raise ServingError(Reason.INVALID, "the request has more than one Host")
        path = scope["path"]
        self._origins.check(headers, is_for_page=path == "/" or path.startswith("/page/"))
        self._front.admit(facts, headers.get("authorization"), is_probe=path in self._open_paths)


class _Answer:
    """Passes the messages of an answer on, with the id of the request, and notes them. If the request has a body that
    wasn't read, the connection ends with the answer: a client could otherwise go on sending for ever."""

    def __init__(self, facts: FinishedRequest, send: Send, *, has_body: bool) -> None:
        self._facts = facts
        self._send = send
        self._has_body = has_body
        self.has_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._facts.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self._facts.id.encode())]
            if self._facts.trace_file:
                headers.append((TOLD_BY.encode(), self._facts.trace_file.encode()))
            message["headers"] = headers
            if self._has_body and not self._facts.has_read_body:
                headers.append((b"connection", b"close"))
        else:
            self._facts.bytes_out += len(message.get("body", b""))
        await self._send(message)


def begin_work(request: Request) -> FinishedRequest:
    """What is noted about a request, which is one to a model, as is noted from now on."""
    facts: FinishedRequest = request.scope["facts"]
    facts.call, facts.is_work = request.scope["endpoint"].__name__, True
    facts.model = str(request.path_params.get("name", facts.model))
    return facts


def as_json(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(json.dumps(content).encode(), status, media_type="application/json")


def of(error: ServingError, form: ErrorContent = _plain) -> Response:
    """The answer for an error, in the form of its protocol."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if error.reason is Reason.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    status = STATUS[error.reason]
    return _error(status, form(status, error.message, error), headers)


def _error(status: int, content: object, headers: Mapping[str, str] | None) -> Response:
    response = as_json(content, status)
    response.headers.update(headers or {})
    return response
