"""Hosts on a network, by their names or addresses. Nothing here asks a name server."""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # of protocols, and of a cloud's services
        "192.88.99.0/24",
        "168.63.129.16/32",  # a cloud's services, in machines of that cloud
        "3fff::/20",  # for examples
    )
]
"""Networks that Python takes for public in some versions or in all."""


def is_address(host: str) -> bool:
    """Whether a host is given by its IP address, not by a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine: a loopback address, or the name `localhost`."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host.lower() == "localhost"


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet. An IPv6 address that holds an IPv4 address counts as that.
    Raises `ValueError` for a name."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if inner is None and parsed not in _UNICAST:
            return False
        if inner is not None:
            parsed = inner
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _NOT_PUBLIC)


def in_url(host: str) -> str:
    """A host as URLs have it: an IPv6 address is in brackets."""
    return f"[{host}]" if ":" in host else host
