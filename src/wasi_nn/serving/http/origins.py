"""Which pages in browsers may use the server: its own, under a name that no other site can have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from wasi_nn.arguments import shown
from wasi_nn.errors import shortened
from wasi_nn.hosts import is_address
from wasi_nn.serving.failures import Reason, ServingError

_is_address = lru_cache(16)(is_address)  # each request has a name
_PRIVATE = (".localhost", ".internal")  # ends of names that nobody can register


@dataclass(frozen=True)
class Origins:
    """The rules for requests of browsers.

    has_page  whether the server has a page of its own: without one, no page may use the server
    names     further names under which browsers reach the server
    is_open   whether strangers need neither a token nor a certificate's name. A site can have its own name mean this
              machine's address (DNS rebinding), and is then the server's own origin for a browser. So the name must be
              one that no site can have.
    is_local  whether only this machine reaches the server: an open one then takes no request with a site's name
    is_tls    whether the server itself speaks TLS
    """

    has_page: bool = False
    names: Collection[str] = field(default=())
    is_open: bool = True
    is_local: bool = True
    is_tls: bool = False

    def check(self, headers: Mapping[str, str], *, is_for_page: bool) -> None:
        """Raise `ServingError` with `forbidden` for a request of another site's page."""
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and not (self.has_page and self._is_ours(origin, host)):
            message = f"requests of pages in browsers are refused: Origin {shown(shortened(origin))} isn't this server"
            raise ServingError(Reason.FORBIDDEN, message)
        is_checked = self.is_open and (self.is_local or is_for_page or origin is not None)
        if is_checked and host and not self._is_known(host):
            message = f"the server isn't known by the name {shown(shortened(host))}"
            raise ServingError(Reason.FORBIDDEN, f"{message}: wasi-nn serve --allow-host NAME, or --token-file")

    def _is_ours(self, origin: str, host: str) -> bool:
        scheme, _, rest = origin.partition("://")
        schemes = ("https",) if self.is_tls else ("http", "https")  # a proxy may speak TLS
        return scheme in schemes and rest != "" and rest.lower() == host.lower()

    def _is_known(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        # No site's name is without a dot.
        return "." not in name or name.endswith(_PRIVATE) or name in self.names or _is_address(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() and name else host
