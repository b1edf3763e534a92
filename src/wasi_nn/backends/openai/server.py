"""One server that speaks OpenAI's API: its models, its texts piece by piece, and its errors as those of wasi-nn."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wasi_nn.backends.openai.http_exchange import Answer, exchange, server_name
from wasi_nn.backends.remote.failover import Unanswered
from wasi_nn.errors import Busy, ErrorCode, ModelNotFound, NNError, PromptTooLong, one_line, printable

if TYPE_CHECKING:
    from wasi_nn.backends.remote.addresses import Address
    from wasi_nn.backends.remote.calls import Call
    from wasi_nn.backends.remote.settings import RemoteSettings

_LONGEST_LINE = 1 << 20  # bytes of an event
_LONGEST_ERROR = 1 << 16  # bytes
_LONGEST_REASON = 600  # characters
_MOST_LISTED = 10
_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}
"""How OpenAI and llama.cpp's server say that a prompt doesn't fit; vLLM says it in words."""

_STATUS = {
    400: ErrorCode.INVALID_ARGUMENT,
    401: ErrorCode.SECURITY,
    403: ErrorCode.SECURITY,
    404: ErrorCode.NOT_FOUND,
    408: ErrorCode.TIMEOUT,
    413: ErrorCode.TOO_LARGE,
    422: ErrorCode.INVALID_ARGUMENT,
    504: ErrorCode.TIMEOUT,
}
"""The error code for each status of HTTP; all others are runtime errors."""


class OpenAIServer:
    """One server, and the name of the model there. Each request has a connection of its own."""

    def __init__(self, address: Address, settings: RemoteSettings, *, has_tls: bool) -> None:
        self._address = address
        self._settings = settings
        self._context = _context(settings) if has_tls else None
        self.name = server_name(address, has_tls=has_tls)
        self.model = address.fragment
        self._path = quote(address.path.rstrip("/"), safe="/%~!$&'()*+,;=:@") or "/v1"

    def find_model(self, call: Call) -> str:
        """Look whether the server has the model; returns the model's name, which is the only one there if the address
        names none. Raises `NNError` with `not-found`, `Unanswered` and `Busy`."""
        with self._exchange(call, "/models") as answer:
            if answer.status == 404 and self.model:  # a server without such a list
                return self.model
            self._require_success(answer)
            content = self._json(answer.whole(self._settings.max_answer_bytes))
        listed = content.get("data")
        models = listed if isinstance(listed, list) else []
        names = [str(model["id"]) for model in models if isinstance(model, dict) and "id" in model]
        if self.model in names or (not self.model and len(names) == 1):
            return self.model or names[0]
        shown = self._text(", ".join(names[:_MOST_LISTED])) or "none"
        wanted = f"no model is named {self.model!r}" if self.model else "the address names no model after a #"
        raise ModelNotFound(f"{self.name}: {wanted}; there are {shown}")

    def answer(self, call: Call, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request, an object of JSON. Raises `NNError`, `Unanswered` and `Busy`."""
        with self._exchange(call, path, body) as answer:
            self._require_success(answer)
            return self._json(answer.whole(self._settings.max_answer_bytes))

    @contextmanager
    def events(self, call: Call, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a text, each an object of JSON, as they come. Raises `NNError`, `Unanswered` and `Busy`."""
        with self._exchange(call, path, body) as answer:
            self._require_success(answer)
            yield self._events(answer)

    @contextmanager
    def _exchange(self, call: Call, path: str, body: Mapping[str, Any] | None = None) -> Iterator[Answer]:
        with exchange(self._address, self._settings, self._context, call, self._path + path, body) as answer:
            yield answer

    def _events(self, answer: Answer) -> Iterator[dict[str, Any]]:
        rest = b""
        while part := answer.part():
            *lines, rest = (rest + part).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                message = f"{self.name}: an event has more than {_LONGEST_LINE} bytes"
                raise NNError(ErrorCode.TOO_LARGE, message)
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                content = line[5:].strip()
                if content == b"[DONE]":
                    return
                event = self._json(content)
                if event.get("error"):
                    raise self._failure(500, event)
                yield event

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"it isn't JSON: {one_line(error)[:100]}") from None
        if not isinstance(value, dict):
            raise self.wrong("it is no object of JSON")
        return value

    def wrong(self, what: str) -> NNError:
        """The error for an answer that isn't one."""
        return NNError(ErrorCode.RUNTIME_ERROR, f"{self.name}: the server sent a wrong answer: {what}")

    def _require_success(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        content = answer.whole(_LONGEST_ERROR)
        try:
            error = json.loads(content)
        except (ValueError, RecursionError):
            error = None
        raise self._failure(answer.status, error if isinstance(error, dict) else {})

    def _failure(self, status: int, content: Mapping[str, Any]) -> NNError:
        error = content.get("error", content)
        details = error if isinstance(error, Mapping) else {"message": error}
        text = str(details.get("message") or details.get("detail") or "")
        reason = self._text(text)
        message = f"{self.name}: {reason or f'HTTP status {status}'}"
        if _TOO_LONG & {str(details.get("code")), str(details.get("type"))} or "maximum context length" in text:
            return PromptTooLong(message)
        if status == 429:
            return Busy(message)
        if status in (502, 503):
            return Unanswered(message, was_sent=False)  # the server refused the request
        if 300 <= status < 400:
            message = f"{self.name}: HTTP status {status}: redirects aren't followed"
        return NNError(_STATUS.get(status, ErrorCode.RUNTIME_ERROR), message)

    def _text(self, text: str) -> str:
        return self._settings.credentials.without_tokens(printable(" ".join(text.split())))[:_LONGEST_REASON]


def _context(settings: RemoteSettings) -> ssl.SSLContext:
    credentials = settings.credentials
    credentials.certificates()  # raises for a file that can't be read, with the file's name
    try:
        context = ssl.create_default_context(cafile=credentials.ca_file)
        if credentials.cert_file is not None:
            context.load_cert_chain(credentials.cert_file, credentials.key_file, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        message = f"the certificates of this client can't be used: {one_line(error)}"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")
