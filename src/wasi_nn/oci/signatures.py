"""Signatures of artifacts as cosign makes them: a payload that names a digest, and a signature of the payload.

There are two forms. Simple signing is a JSON of the artifact's digest, in a layer under a tag of its own. A bundle of
Sigstore has a statement of in-toto about the digest, in an envelope of DSSE, and refers to the artifact.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wasi_nn.errors import printable, shortened
from wasi_nn.oci.keys import PublicKey

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
"""The type of a layer with a payload of simple signing."""
ANNOTATION = "dev.cosignproject.cosign/signature"
"""The annotation of such a layer with the signature, in base64."""
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""The type of a bundle."""
STATEMENT = "application/vnd.in-toto+json"
"""The type of a bundle's payload."""
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""What a statement says of an artifact that is signed. Others tell how it was made, for example."""

_SIMPLE_TYPE = "cosign container image signature"
_STATEMENT_TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
_LARGEST_SIGNATURE = 2**12  # characters of base64


@dataclass(frozen=True)
class Signature:
    """A signature and its payload. `kind` is the payload's type, `SIMPLE` or `STATEMENT`."""

    kind: str
    payload: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        if self.kind == SIMPLE:
            return self.payload
        return b"DSSEv1 %d %s %d %s" % (len(self.kind), self.kind.encode(), len(self.payload), self.payload)

    def digests(self) -> list[str]:
        """The digests of the artifacts that the payload names. Raises `ValueError`."""
        table = _table(self.payload, "the payload of one")
        return _simple_digests(table) if self.kind == SIMPLE else _statement_digests(table)

    def verified_by(self, digest: str, keys: Sequence[PublicKey]) -> PublicKey:
        """The key that signed the artifact of a digest. Raises `ValueError` if it is none of these keys, or if what
        the key signed is another artifact."""
        for key in keys:
            if key.verifies(self.signature, self.message):
                named = self.digests()
                if digest not in named:
                    others = printable(shortened(", ".join(named))) or "none"
                    raise ValueError(f"one is of another artifact, {others}")
                return key
        raise ValueError("one is by another key, or its payload was changed")

    def to_json(self) -> bytes:
        """The signature as a file has it."""
        table = {
            "mediaType": self.kind,
            "payload": b64encode(self.payload).decode(),
            "signature": b64encode(self.signature).decode(),
        }
        return json.dumps(table, indent=1).encode()

    @classmethod
    def of_json(cls, content: bytes) -> Signature:
        """The signature that a file has. Raises `ValueError`."""
        table = _table(content, "the file")
        kind = table.get("mediaType")
        if kind not in (SIMPLE, STATEMENT):
            raise ValueError("the file has no type of a signature")
        return cls(kind, _decoded(table.get("payload"), "the payload of one"), signature_bytes(table.get("signature")))


def simple_payload(place: str, digest: str) -> bytes:
    """The payload of simple signing for the artifact of a digest; `place` is its host and name."""
    critical = {
        "identity": {"docker-reference": place},
        "image": {"docker-manifest-digest": digest},
        "type": _SIMPLE_TYPE,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def of_bundle(content: bytes) -> Signature:
    """The signature in a bundle. Raises `ValueError`."""
    table = _table(content, "the bundle of one")
    if table.get("mediaType") != BUNDLE:
        raise ValueError(f"the bundle of one isn't of the type {BUNDLE}")
    envelope = table.get("dsseEnvelope")
    if not isinstance(envelope, dict) or envelope.get("payloadType") != STATEMENT:
        raise ValueError("the bundle of one has no statement of in-toto")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise ValueError("the bundle of one has no signature, or several")
    payload = _decoded(envelope.get("payload"), "the payload of one")
    return Signature(STATEMENT, payload, signature_bytes(signatures[0].get("sig")))


def signature_bytes(text: object) -> bytes:
    """The signature that a text in base64 is. Raises `ValueError`."""
    if isinstance(text, str) and len(text) > _LARGEST_SIGNATURE:
        raise ValueError(f"one has more than {_LARGEST_SIGNATURE} characters")
    return _decoded(text, "one")


def _simple_digests(table: dict[str, Any]) -> list[str]:
    critical = table.get("critical")
    image = critical.get("image") if isinstance(critical, dict) else None
    if not isinstance(critical, dict) or not isinstance(image, dict) or critical.get("type") != _SIMPLE_TYPE:
        raise ValueError(f"the payload of one isn't of the type {_SIMPLE_TYPE!r}")
    digest = image.get("docker-manifest-digest")
    return [digest] if isinstance(digest, str) else []


def _statement_digests(table: dict[str, Any]) -> list[str]:
    subjects = table.get("subject")
    if table.get("_type") not in _STATEMENT_TYPES or not isinstance(subjects, list):
        raise ValueError("the payload of one isn't a statement of in-toto")
    if table.get("predicateType") != PREDICATE:
        raise ValueError(f"the statement of one isn't {PREDICATE}")
    digests = [subject.get("digest") for subject in subjects if isinstance(subject, dict)]
    named = [digest.get("sha256") for digest in digests if isinstance(digest, dict)]
    return [f"sha256:{digest}" for digest in named if isinstance(digest, str)]


def _table(content: bytes, what: str) -> dict[str, Any]:
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} isn't JSON") from error
    if not isinstance(table, dict):
        raise ValueError(f"{what} isn't an object of JSON")
    return table


def _decoded(text: object, what: str) -> bytes:
    try:
        if isinstance(text, str):
            return b64decode(text, validate=True)
    except ValueError:
        pass
    raise ValueError(f"{what} isn't base64")
