"""Credentials for other servers: a token, and the files of TLS. Guests, errors and logs show nothing of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.process.files import read_regular

_LONGEST_TOKEN = 16384  # characters


@dataclass
class Credentials:
    """A token, which a file or an environment variable has, and the certificates of TLS, by their files."""

    token_file: str | None = None
    token_variable: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    _known: tuple[str, ...] = field(default=(), init=False, repr=False)  # the last tokens, which no error may show

    @property
    def has_token(self) -> bool:
        """Whether requests have a token."""
        return self.token_file is not None or self.token_variable is not None

    @property
    def has_tls_files(self) -> bool:
        """Whether a file of TLS is named."""
        return self.ca_file is not None or self.cert_file is not None

    def token(self) -> str | None:
        """The token of the next request: the file or the variable is read each time, since tokens are replaced. Raises
        `NNError` with `runtime-error` if there is none."""
        if self.token_file is not None:
            token = _content(self.token_file, "the token").decode("ascii", "replace").strip()
            where = f"the token file {printable(self.token_file)}"
        elif self.token_variable is not None:
            token, where = os.environ.get(self.token_variable, "").strip(), f"the variable {self.token_variable}"
        else:
            return None
        if not (token.isascii() and token.isprintable() and 0 < len(token) <= _LONGEST_TOKEN) or " " in token:
            raise NNError(ErrorCode.RUNTIME_ERROR, f"{where} has no token: one word of ASCII, and nothing else")
        if token not in self._known:
            self._known = (*self._known[-3:], token)
        return token

    def certificates(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The trusted certificates, the key and the certificate of this client; None for each that isn't given. Raises
        `NNError` with `runtime-error` for a file that can't be read."""
        files = ((self.ca_file, "the certificates"), (self.key_file, "the key"), (self.cert_file, "the certificate"))
        ca, key, cert = (None if file is None else _content(file, what) for file, what in files)
        return ca, key, cert

    def without_tokens(self, text: str) -> str:
        """A server's text without the tokens that were sent to it."""
        for token in self._known:
            text = text.replace(token, "[token]")
        return text


def _content(file: str, what: str) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        message = f"{what} can't be read from {printable(file)}: {one_line(error)}"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from None
