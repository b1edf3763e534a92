"""`Endpoint`: answers a request by a guest."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wasi_nn.abi.http.exchange import RequestHead, ResponseHead
from wasi_nn.abi.http.fields import Field, end_to_end
from wasi_nn.abi.http.vocabulary import status_of
from wasi_nn.errors import GuestError, one_line, printable
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import too_large
from wasi_nn.serving.http.door import as_json
from wasi_nn.serving.http_guests.call import GuestCall
from wasi_nn.serving.http_guests.pipes import ReadingEnd, WritingEnd
from wasi_nn.serving.http_guests.request_body import pass_body
from wasi_nn.serving.observing.timeline import stage

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from wasi_nn.serving.front import Front
    from wasi_nn.serving.http_guests.handler import Handler

logger = logging.getLogger("wasi_nn.serving")

_HELD = 4 * 64 * 2**10  # bytes of a request's bodies that wait here and in the pipes
_FOR_BROWSERS = [(b"x-content-type-options", b"nosniff")]
_CONFINED = [(b"content-security-policy", b"sandbox allow-scripts allow-forms allow-popups allow-downloads")]
"""With the policy, beside a guest's own one, a guest's page has no origin for a browser. Otherwise its scripts could
use the server, and the server's own page, in the name of whoever looks at it. On a port of their own, guests' pages
have another origin than the server's."""
_OF_THE_SERVER = (
    *("date", "x-content-type-options", "x-request-id", "x-trace-file"),
    *("alt-svc", "clear-site-data", "nel", "origin-agent-cluster", "report-to", "reporting-endpoints"),
    *("service-worker-allowed", "strict-transport-security"),
)
"""Fields that only the server gives to an answer; for browsers, the last ones are about all of its paths."""


class Endpoint:
    """Answers the requests of one guest."""

    def __init__(self, front: Front, handler: Handler) -> None:
        self._front = front
        self._handler = handler

    async def answer(self, prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path begins with `prefix`, behind which the guest's own path is."""
        limits, facts = self._front.service.limits, scope["facts"]
        facts.call, facts.model, facts.is_work = "guest", self._handler.name, True
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limits.body_bytes:
            raise too_large(limits, "the body")
        request = self._request(prefix, scope, headers)
        has_body = length != "0" or "transfer-encoding" in headers
        self._handler.require_room()
        until = self._handler.until(self._front.service.until(None))
        with self._front.request_bytes.hold() as held:
            held.add(_HELD)
            asked = time.monotonic()
            with stage("queue"):
                await self._handler.turns.turn(until)
            facts.waited = time.monotonic() - asked
            call, reading, writing = self._begin(request, facts.id, until, has_body=has_body)
            passing = asyncio.ensure_future(pass_body(scope, receive, call, reading, limits))
            is_answered = False
            try:
                with stage("answering"):
                    await self._respond(scope, send, call)
                is_answered = True
            finally:
                passing.cancel()
                if not (is_answered and call.has_whole_request):
                    call.stop(ServingError(Reason.CANCELLED, "nobody waits for the answer"))
                writing.close()
                if reading is not None:
                    reading.close()

    def _begin(
        self, request: RequestHead, request_id: str, until: float, *, has_body: bool
    ) -> tuple[GuestCall, WritingEnd | None, ReadingEnd]:
        """Have the guest begin, in the turn of this request."""
        with ExitStack() as undo:
            undo.callback(self._handler.turns.give_back)
            try:
                writing = ReadingEnd()
                undo.callback(writing.close_both)
                reading = None
                if has_body:
                    reading = WritingEnd()
                    undo.callback(reading.close_both)
            except OSError as error:
                message = f"the server has no files left for this: {one_line(error)}"
                raise ServingError(Reason.OVERLOADED, message, retry_after=1) from error
            answer = self._handler.new_answer(writing)
            if reading is not None:
                answer.on_left = reading.close
            call = GuestCall(
                self._handler, request, answer, (reading, writing), request_id, until, self._handler.turns.give_back
            )
            call.has_whole_request = not has_body
            undo.pop_all()
        return call, reading, writing

    def _request(self, prefix: str, scope: Scope, headers: dict[str, str]) -> RequestHead:
        own = {"authorization"} if self._front.tokens.are_needed else set()
        own |= {"x-forwarded-prefix", "x-request-id"}
        fields = end_to_end((name.decode("latin-1"), value) for name, value in scope["headers"])
        fields = [field for field in fields if field[0] not in own]
        fields += [("x-forwarded-prefix", prefix.encode()), ("x-request-id", scope["facts"].id.encode())]
        path = scope["raw_path"].decode("latin-1")[len(prefix) :] or "/"
        query = scope["query_string"].decode("latin-1")
        target = f"{path}?{query}" if query else path
        decoded = scope["path"][len(unquote(prefix)) :] or "/"
        if "\0" in decoded:
            raise ServingError(Reason.INVALID, "the path has a zero byte in it")
        client = scope["client"][0] if scope["client"] else ""
        authority, version = headers.get("host"), scope["http_version"]
        return RequestHead(
            scope["method"], target, scope["scheme"], authority, fields, prefix, decoded, client, version
        )

    async def _respond(self, scope: Scope, send: Send, call: GuestCall) -> None:
        answer = call.answer
        try:
            await answer.wait_for_head()
        except GuestError as error:
            logger.warning("guest %r, request %s: %s", self._handler.name, scope["facts"].id, one_line(error))
            raise ServingError(Reason.FAILED, "the guest gave no answer") from None
        head = answer.head
        if head is None or (call.failure is not None and not answer.is_whole):
            if answer.refusal is not None and call.failure is None:
                await self._refuse(scope, send, *answer.refusal)
                return
            raise call.failure or ServingError(Reason.FAILED, "the guest gave no answer")
        facts = scope["facts"]
        has_content = call.exchange.has_content(head.status)
        fields = _headers(head, has_content, is_confined="is_on_own_port" not in scope)
        await send({"type": "http.response.start", "status": head.status, "headers": fields})
        size, is_last = 0, False
        while not is_last and (part := await answer.part()):
            size += len(part)
            if has_content:
                _check_length(head, size, is_whole=False)
                is_last = answer.is_at_end and not answer.trailers and head.length in (None, size)
                await self._give(send, part, more_body=not is_last)
        if is_last:
            return
        if not answer.is_whole:
            failure = call.failure or ServingError(Reason.FAILED, "the guest didn't end its answer")
            logger.warning("guest %r, request %s: %s", self._handler.name, facts.id, failure.message)
            raise failure
        if has_content:
            _check_length(head, size, is_whole=True)
        await self._end(scope, send, answer.trailers)

    async def _refuse(self, scope: Scope, send: Send, error: str, text: str) -> None:
        status = status_of(error)
        facts = scope["facts"]
        facts.status, facts.outcome, facts.error = status, Reason.FAILED.value, error
        if text:
            logger.warning("guest %r, request %s: %s: %s", self._handler.name, facts.id, error, printable(text[:1000]))
        response = as_json({"error": f"the guest refused the request: {error}"}, status)
        await response(scope, _no_more, send)

    async def _give(self, send: Send, content: bytes, *, more_body: bool) -> None:
        idle_time = self._front.service.limits.idle_time
        try:
            async with asyncio.timeout(idle_time):
                await send({"type": "http.response.body", "body": content, "more_body": more_body})
        except TimeoutError:
            raise ServingError(Reason.CANCELLED, f"the client took nothing of the answer for {idle_time:g} s") from None

    async def _end(self, scope: Scope, send: Send, trailers: Sequence[Field]) -> None:
        wants_trailers = any(name == b"te" and b"trailers" in value.lower() for name, value in scope["headers"])
        end = scope["end_of_chunks"](trailers) if trailers and wants_trailers else b""
        await self._give(send, end, more_body=False)


def _check_length(head: ResponseHead, size: int, *, is_whole: bool) -> None:
    if head.length is not None and (size > head.length or (is_whole and size < head.length)):
        comparison = "more" if size > head.length else "fewer"
        raise ServingError(Reason.FAILED, f"the guest's answer has {comparison} bytes than its Content-Length")


def _headers(head: ResponseHead, has_content: bool, *, is_confined: bool) -> list[tuple[bytes, bytes]]:
    """The fields of an answer for the client. An answer that has no body by its status has no length either."""
    without = _OF_THE_SERVER if has_content or head.status == 200 else (*_OF_THE_SERVER, "content-length")
    own = [(name.encode(), value) for name, value in head.headers if name not in without]
    return [*own, *(_CONFINED if is_confined else ()), *_FOR_BROWSERS]


async def _no_more() -> Message:
    return {"type": "http.disconnect"}
