"""`CarefulAdapter`: answers of registries with a bounded size, and none that leads credentials elsewhere."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import requests

_TIMES = (10, 60)  # seconds to connect, and between two parts of an answer
_LARGEST = 2**20  # bytes of an answer that isn't an artifact's content, such as a token or an error
_LONGEST = 120.0  # seconds for such an answer
_LARGEST_CHALLENGE = 4096  # characters
_PART = 65536
_CHALLENGE = "WWW-Authenticate"


class CarefulAdapter(requests.adapters.HTTPAdapter):
    """Makes the requests to a registry, and to the places that its answers name.

    A request without TLS is made only if it `may_be_plain`. Only the registry itself may ask for credentials: a server
    to which it redirects could name a place of its own for them. Answers come as they were sent: one that says that it
    is compressed is refused, since it could be much larger than what was counted.
    """

    def __init__(self, host: str, *, may_be_plain: bool) -> None:
        super().__init__()
        self._host = host.lower()
        self._may_be_plain = may_be_plain

    def send(self, request: Any, stream: bool = False, *arguments: Any, **settings: Any) -> Any:
        """Send a request; the answer's body is read if it isn't the content of an artifact. Raises
        `requests.RequestException`."""
        place = urlsplit(request.url)
        if place.scheme.lower() == "http" and not self._may_be_plain:
            raise requests.exceptions.InvalidURL(f"the registry names {request.url}, which has no TLS", request=request)
        request.headers["Accept-Encoding"] = "identity"
        answer = super().send(request, True, *arguments, **settings | {"timeout": _TIMES})
        try:
            self._check(answer, place.netloc.rpartition("@")[2].lower())
            if not stream or answer.status_code >= 300:
                answer._content, answer._content_consumed = read(answer, _LARGEST), True
        except BaseException:
            answer.close()
            raise
        return answer

    def _check(self, answer: Any, host: str) -> None:
        challenge = answer.headers.get(_CHALLENGE, "")
        if challenge and host != self._host:
            del answer.headers[_CHALLENGE]
        elif len(challenge) > _LARGEST_CHALLENGE:
            raise requests.exceptions.InvalidHeader(f"{_CHALLENGE} has more than {_LARGEST_CHALLENGE} characters")
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise requests.exceptions.ContentDecodingError(
                f"the answer is compressed ({coding}), which wasn't asked for"
            )


def read(answer: Any, most: int) -> bytes:
    """The body of an answer that has to be short and quick. Raises `requests.RequestException`."""
    until = time.monotonic() + _LONGEST
    content = b""
    while part := answer.raw.read1(_PART):
        content += part
        if len(content) > most:
            raise requests.exceptions.ContentDecodingError(f"an answer has more than {most} bytes")
        if time.monotonic() > until:
            raise requests.exceptions.ReadTimeout(f"an answer took longer than {_LONGEST:g} s")
    return content
