"""The operator's options that all backends of models on other servers have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wasi_nn.backends.options import Check, check_options, is_flag, is_text, one_of, taking
from wasi_nn.backends.remote.addresses import Address
from wasi_nn.backends.remote.credentials import Credentials
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set_option

_LONGEST = 86400.0  # seconds


@taking("a number of seconds above 0, up to a day")
def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 < value <= _LONGEST


@taking("a whole number of bytes above 0, below 2 GiB")
def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31


_OPTIONS: dict[str, Check] = {
    "token-file": is_text,
    "token-variable": is_text,
    "plain-token": is_flag,
    "ca-file": is_text,
    "cert-file": is_text,
    "key-file": is_text,
    "timeout": _is_time,
    "connect-timeout": _is_time,
    "max-answer-bytes": _is_size,
    "balance": one_of(("first", "rotate")),
    "repeat": is_flag,
}


@dataclass(frozen=True)
class RemoteSettings:
    """The settings of a model on other servers.

    timeout           seconds for a compute, or for a whole text, beside the limits of the guest
    connect_timeout   seconds until a server must be reached
    max_answer_bytes  the bytes that an answer, or a whole text with all about it, may have
    rotates           whether computes go to the servers by turns, not to the first one that answers
    repeats           whether a compute is sent again that a server may have had when it went away
    """

    credentials: Credentials
    allows_plain_token: bool
    timeout: float
    connect_timeout: float
    max_answer_bytes: int
    rotates: bool
    repeats: bool

    def require_safe(self, address: Address, *, is_encrypted: bool) -> None:
        """Raise `NNError` for a token that would go over a network in the clear (`security`), and for files of TLS
        without TLS (`invalid-argument`)."""
        if is_encrypted:
            return
        if self.credentials.has_tls_files:
            message = f"ca-file, cert-file and key-file are for TLS, which {address} doesn't ask for"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        if self.credentials.has_token and not (address.is_loopback or self.allows_plain_token):
            how = how_to_set_option("plain-token", True)
            message = f"the token would reach {address} without encryption: use TLS, or allow that ({how})"
            raise NNError(ErrorCode.SECURITY, message)


def check(kind: str, options: Mapping[str, Any], more: Mapping[str, Check]) -> None:
    """Raise `NNError` with `invalid-argument` for options that a backend of this kind doesn't take: `more` are those
    that it has beside the common ones."""
    check_options(kind, options, {**_OPTIONS, **more})
    if "token-file" in options and "token-variable" in options:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "the token is in token-file or in token-variable: give one of them")
    if ("cert-file" in options) != ("key-file" in options):
        raise NNError(ErrorCode.INVALID_ARGUMENT, "cert-file and key-file belong together: give both")


def settings_of(options: Mapping[str, Any]) -> RemoteSettings:
    """The settings that options give, once they are checked."""
    names = ("token-file", "token-variable", "ca-file", "cert-file", "key-file")
    return RemoteSettings(
        credentials=Credentials(*(options.get(name) for name in names)),
        allows_plain_token=options.get("plain-token", False),
        timeout=options.get("timeout", 600.0),
        connect_timeout=options.get("connect-timeout", 5.0),
        max_answer_bytes=options.get("max-answer-bytes", 64 << 20),
        rotates=options.get("balance") == "rotate",
        repeats=options.get("repeat", True),
    )
