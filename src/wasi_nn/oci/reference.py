"""References to artifacts: `oci://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wasi_nn.arguments import shown
from wasi_nn.errors import GuestError
from wasi_nn.hosts import is_this_machine

SCHEME = "oci://"
"""The beginning of every reference."""
_FORM = f"{SCHEME}HOST/NAME:TAG or {SCHEME}HOST/NAME@sha256:DIGEST"
_DEFAULT_TAG = "latest"

# The distribution specification's grammar of names, tags and digests, and hosts of URLs.
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"{_PART}(?:/{_PART})*"
_REFERENCE = re.compile(
    rf"(?P<host>{_HOST})/(?P<name>{_NAME})(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST = 1024  # characters


@dataclass(frozen=True)
class Reference:
    """An artifact in a registry: `host`, with a port if it has one, and `name`. `digest` is its manifest's: with
    it, the tag has no effect."""

    host: str
    name: str
    tag: str = _DEFAULT_TAG
    digest: str | None = None

    def __str__(self) -> str:
        place = f"{SCHEME}{self.host}/{self.name}"
        return f"{place}:{self.tag}" if self.digest is None else f"{place}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that a text is. Raises `GuestError`."""
        match = _REFERENCE.fullmatch(text.removeprefix(SCHEME)) if len(text) <= _LONGEST else None
        if match is None:
            raise GuestError(f"{shown(text)} is no reference to an artifact: it takes the form {_FORM}")
        return cls(match["host"], match["name"], match["tag"] or _DEFAULT_TAG, match["digest"])

    def with_digest(self, digest: str) -> Reference:
        """The same place, pinned to a manifest."""
        return replace(self, digest=digest)

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine, by its address or by the name localhost."""
        return is_this_machine(re.sub(r":[0-9]+$", "", self.host).strip("[]"))
