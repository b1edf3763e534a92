"""Addresses of models on other servers. Only operators give them: a guest's bytes and names never become one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from wasi_nn.errors import ErrorCode, NNError, printable, shortened
from wasi_nn.hosts import in_url, is_this_machine

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_MOST = 64  # servers of one model


@dataclass(frozen=True)
class RemoteModel:
    """A model on other servers: `addresses` has the address of each server. `scheme` begins all of them."""

    scheme: str
    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))


@dataclass(frozen=True)
class Address:
    """The address of a model on one server: `SCHEME://HOST:PORT/PATH#FRAGMENT`. `port` is None if it isn't given. In
    `path`, `%20` still stands for a space."""

    text: str
    host: str
    port: int | None
    path: str
    fragment: str

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return is_this_machine(self.host)

    def host_and_port(self, default: int) -> str:
        """The host and the port for a library."""
        return f"{in_url(self.host)}:{self.port or default}"

    def __str__(self) -> str:
        return self.text


def is_address(source: Any) -> bool:
    """Whether a model's source is the text of an address, not the path of a file."""
    return isinstance(source, str) and _SCHEME.match(source) is not None


def as_remote_model(source: Any) -> RemoteModel | None:
    """The model at an address, or at each of a list of addresses; None for any other source.

    Raises `NNError` with `invalid-argument` for a list of which only some are addresses, and for an address that isn't
    one of a host, or that has a password or a query in it.
    """
    if isinstance(source, RemoteModel):
        return source
    texts = list(source) if isinstance(source, list | tuple) else [source]
    if not any(map(is_address, texts)):
        return None
    if not all(map(is_address, texts)):
        raise _wrong("a model is at addresses or in files: a list can't have both")
    schemes = dict.fromkeys(_scheme(text) for text in texts)
    if len(schemes) > 1:
        raise _wrong(f"all addresses of a model begin alike, not with {', '.join(f'{it}://' for it in schemes)}")
    if len(texts) > _MOST:
        raise _wrong(f"a model has at most {_MOST} addresses, not {len(texts)}")
    return RemoteModel(next(iter(schemes)), tuple(map(_parsed, texts)))


def _scheme(text: str) -> str:
    return text.partition("://")[0]


def _parsed(text: str) -> Address:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if "@" in text.partition("://")[2].partition("/")[0] or "?" in text:
        # The text isn't shown: it may have a secret in it.
        raise _wrong("an address has no user, password or query: give a token by the option token-file")
    if not host or not text.isprintable() or " " in text:
        raise _wrong(f"{printable(shortened(text))!r} is no address: it takes SCHEME://HOST:PORT/...")
    return Address(text, host, port, parts.path, unquote(parts.fragment))


def _wrong(message: str) -> NNError:
    return NNError(ErrorCode.INVALID_ARGUMENT, message)
