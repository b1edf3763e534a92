"""Who may use the server: those with a token, if there are tokens."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.process.files import read_regular
from wasi_nn.serving.failures import Reason, ServingError

_SHORTEST = 16  # characters: a shorter token could be guessed
_SCHEME = "bearer "


class Tokens:
    """The bearer tokens of a file, one a line; a line that begins with # is a comment. Without a file, everybody may
    use the server. Raises `NNError` for a file that can't be read or has no token, or one of less than 16 characters.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._digests: list[bytes] = []
        self.reload()

    def reload(self) -> None:
        """Read the file again. Raises as `Tokens` does, and changes nothing then."""
        if self._file is None:
            return
        try:
            lines = [line.strip() for line in bytes(read_regular(self._file)).decode().splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            message = f"the file of tokens {self._file} can't be read: {one_line(error)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, printable(message)) from error
        tokens = [line for line in lines if line and not line.startswith("#")]
        if not tokens or min(map(len, tokens)) < _SHORTEST:
            wrong = "has no token" if not tokens else f"has a token of less than {_SHORTEST} characters"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"the file of tokens {self._file} {wrong}")
        self._digests = [_digest(token) for token in tokens]

    @property
    def are_needed(self) -> bool:
        """Whether a request needs a token."""
        return bool(self._digests)

    def require(self, authorization: str | None) -> None:
        """Raise `ServingError` with `unauthenticated` unless a request's `Authorization` has one of the tokens."""
        if not self._digests:
            return
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise ServingError(Reason.UNAUTHENTICATED, "the request needs a token: Authorization: Bearer TOKEN")
        given = _digest(authorization[len(_SCHEME) :].strip())
        # All are compared, each in a time that doesn't depend on its content.
        if sum(hmac.compare_digest(given, digest) for digest in self._digests) == 0:
            raise ServingError(Reason.UNAUTHENTICATED, "the request's token isn't known here")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
