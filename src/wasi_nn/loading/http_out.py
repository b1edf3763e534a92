"""Where a guest that answers HTTP requests may send requests of its own, and how many: `http-out` in its table.

    http-out = ["https://api.example.com", "http://10.0.0.7:8080/v1", { url = "http://metrics.lan", private = true }]
    http-out = { to = ["https://api.example.com"], requests = 4, answer-bytes = "1M", ca-file = "ca.pem" }

A place is a scheme, a host, a port (80 or 443 if none is given) and perhaps a path, below which all paths are. A name
is one host, not those below it. A name whose address is private, such as one of this machine or of its network, is
reached only if the place is `private`; an address that is given as such says that itself.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wasi_nn.arguments import shown
from wasi_nn.backends.options import Check, is_flag, is_text, taking
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.hosts import is_address
from wasi_nn.limits import units
from wasi_nn.loading.file_tables import is_table, require_known

_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>/[!-~]*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_MOST_DECODINGS = 3
_ODD_IN_PATH = re.compile("[\\\\#\x00-\x1f\x7f\xc0\xc1]")  # the last two begin forms of ASCII that UTF-8 forbids
_PARAMETERS = re.compile("[;?#].*")


@dataclass(frozen=True)
class Place:
    """Requests that a guest may make: those with this scheme, host and port, whose path is `path` or below it."""

    scheme: str
    host: str
    port: int
    path: str = ""
    private: bool = False

    @property
    def has_usual_port(self) -> bool:
        """Whether the port is the one of the scheme, which a URL and `Host` leave out."""
        return self.port == _PORTS[self.scheme]

    def has(self, scheme: str, host: str, port: int, path: str) -> bool:
        """Whether a request to this host and path may be made."""
        return (scheme, host, port) == (self.scheme, self.host, self.port) and self._has_path(path)

    def _has_path(self, path: str) -> bool:
        if not self.path:
            return True
        own, _, _ = path.partition("?")
        if _may_be_another(own):
            return False
        return f"{own}/".startswith(f"{self.path}/")


def _may_be_another(path: str) -> bool:
    """Whether some server takes a path for another one than it seems to be: by parts of dots, also with parameters,
    spaces or controls, by encoded or repeated slashes, or by more than one round of decoding."""
    plain, before = unquote(path, "latin-1"), path
    for _ in range(_MOST_DECODINGS):
        if plain == before:
            break
        plain, before = unquote(plain, "latin-1"), plain
    if plain != before or "//" in path or plain.count("/") != path.count("/") or _ODD_IN_PATH.search(plain):
        return True
    return any(part and not part.strip(". ") for part in (_PARAMETERS.sub("", part) for part in plain.split("/")))


@dataclass(frozen=True)
class HttpOut:
    """The requests that a guest may make while it answers one request.

    places           where they may go
    requests         how many there may be at once
    request_bytes    the most bytes of a request's body
    answer_bytes     the most bytes of an answer's body
    connect_time     seconds, for finding the address and connecting
    first_byte_time  seconds, for the head of the answer
    between_time     seconds, for each further part of the answer, and for each part of the request
    ca_file          a file with the certificates of authorities that servers may have, in place of the system's
    """

    places: tuple[Place, ...] = ()
    requests: int = 8
    request_bytes: int = 16 * 2**20
    answer_bytes: int = 64 * 2**20
    connect_time: float = 10.0
    first_byte_time: float = 30.0
    between_time: float = 30.0
    ca_file: Path | None = None

    def place_of(self, scheme: str, authority: str, path: str) -> Place | None:
        """The place that allows a request, one with `private` before others; None if the request may not be made."""
        found = host_and_port(authority, scheme)
        places = [] if found is None else [place for place in self.places if place.has(scheme, *found, path)]
        return max(places, key=lambda place: place.private, default=None)


def host_and_port(authority: str, scheme: str) -> tuple[str, int] | None:
    """The host, in lower case and as the shortest text of an address, and the port; None for an authority that has
    anything else, such as a user's name, or that isn't one."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or scheme not in _PORTS:
        return None
    host, port = match["host"].lower(), int(match["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        return None
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return None
    return host, port


def http_out_of(where: str, folder: Path, value: Any) -> HttpOut | None:
    """The value of the key `http-out`. `folder` is the folder of the file, `where` names the table in messages. Raises
    `NNError`: `not-found` for a file that doesn't exist, `invalid-argument` for any other mistake."""
    where = f"{where}, http-out"
    keys: Mapping[str, Any] = value if is_table(value) else {"to": value}
    require_known(where, keys, _KEYS, ("to",))
    settings: dict[str, Any] = {}
    for key, read in _NUMBERS.items():
        if key in keys:
            settings[key.replace("-", "_")] = _number(where, key, read, keys[key])
    if "ca-file" in keys:
        settings["ca_file"] = path = (folder / keys["ca-file"]).absolute()
        if not os.path.isfile(path):
            raise NNError(ErrorCode.NOT_FOUND, f"{where}: no file at {path}")
    places = tuple(_place(where, item) for item in keys["to"])
    return HttpOut(places, **settings) if places else None


def _place(where: str, item: Any) -> Place:
    keys: Mapping[str, Any] = item if is_table(item) else {"url": item}
    require_known(f"{where}, a place", keys, _PLACE_KEYS, ("url",))
    url: str = keys["url"]
    match = _URL.fullmatch(url)
    scheme = "" if match is None else match["scheme"].lower()
    found = None if match is None else host_and_port(match["authority"], scheme)
    if match is None or found is None or {"?", "#"} & set(url):
        form = "http or https, a host, and perhaps a port and a path, such as https://api.example.com/v1"
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: {shown(url)} is no place of the form https://HOST: {form}")
    return Place(scheme, *found, (match["path"] or "").rstrip("/"), keys.get("private", is_address(found[0])))


def _number(where: str, key: str, read: Callable[[str], Any], value: Any) -> Any:
    try:
        number = read(value) if isinstance(value, str) else value
    except ValueError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: {key}: {error}") from error
    kinds = (int, float) if key.endswith("time") else (int,)
    if type(number) not in kinds or not 0 < number < float("inf"):
        message = (
            f'{where}: {key} can\'t be {shown(value)}: it takes a positive number, or a text such as "10s" or "64M"'
        )
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return number


@taking('a list of places, such as ["https://api.example.com"]')
def _is_list(value: Any) -> bool:
    return isinstance(value, list)


@taking("a number or a text")
def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


_NUMBERS: dict[str, Callable[[str], Any]] = {
    "requests": int,
    "request-bytes": units.size,
    "answer-bytes": units.size,
    "connect-time": units.seconds,
    "first-byte-time": units.seconds,
    "between-time": units.seconds,
}
_KEYS: dict[str, Check] = {"to": _is_list, "ca-file": is_text} | dict.fromkeys(_NUMBERS, _is_number)
_PLACE_KEYS: dict[str, Check] = {"url": is_text, "private": is_flag}
