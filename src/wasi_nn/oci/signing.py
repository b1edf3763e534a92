"""Signatures in registries and beside kept guests: found, verified, kept and pushed."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from wasi_nn.errors import GuestError, counted
from wasi_nn.oci.artifact import Layer, created, layers_of, manifest_of, manifests_of
from wasi_nn.oci.keys import PrivateKey, PublicKey
from wasi_nn.oci.reference import Reference
from wasi_nn.oci.registry import Blob, Repository
from wasi_nn.oci.signatures import (
    ANNOTATION,
    BUNDLE,
    PREDICATE,
    SIMPLE,
    Signature,
    of_bundle,
    signature_bytes,
    simple_payload,
)
from wasi_nn.process.files import open_regular

_CONFIG = "application/vnd.oci.image.config.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
_MOST_SIGNATURES = 100  # of each form that are looked at: each takes a request or two
_LARGEST_PAYLOAD = 2**16  # bytes
_LARGEST_BUNDLE = 2**20  # bytes
_LARGEST_FILE = 2 * _LARGEST_BUNDLE  # of a kept signature, whose payload is in base64
_MOST_REASONS = 3  # in a message


def required(repository: Repository, reference: Reference, keys: Sequence[PublicKey]) -> tuple[PublicKey, Signature]:
    """A signature of an artifact by one of the keys, and the key. `reference` has the artifact's digest. Raises
    `GuestError` if its registry has none."""
    assert reference.digest is not None
    reasons, count = [], 0
    try:
        for found in _found(repository, reference.digest):
            count += 1
            try:
                if isinstance(found, ValueError):
                    raise found
                return found.verified_by(reference.digest, keys), found
            except ValueError as error:
                reasons.append(str(error))
    except ValueError as error:
        raise GuestError(f"{reference} can't be verified: {error}") from error
    names = " or ".join(key.name for key in keys)
    if not count:
        tag = tag_of(reference.digest)
        reason = f"its registry has neither the tag {tag} nor a bundle that refers to it"
    else:
        told = list(dict.fromkeys(reasons))[:_MOST_REASONS]
        reason = f"it has {counted(count, 'signature')}: {'; '.join(told)}"
    raise GuestError(f"{reference} has no valid signature by {names}: {reason}")


def tag_of(digest: str) -> str:
    """The tag of the signatures of an artifact."""
    return f"{digest.replace(':', '-')}.sig"


def _found(repository: Repository, digest: str) -> Iterator[Signature | ValueError]:
    """The signatures of an artifact in its registry, or what is wrong with one. Raises `ValueError` if they can't be
    told from each other."""
    manifest = repository.find_manifest(tag_of(digest))
    if manifest is not None:
        yield from _of_layers(repository, _simple_layers(manifest))
    index = repository.referrers(digest)
    if index is not None:
        yield from _of_referrers(repository, index)


def _simple_layers(manifest: bytes) -> list[Layer]:
    try:
        layers = [layer for layer in layers_of(manifest) if layer.media_type == SIMPLE]
    except ValueError as error:
        raise ValueError(f"its signatures: {error}") from error
    return _few(layers)


def _few(signatures: list[Any]) -> list[Any]:
    if len(signatures) > _MOST_SIGNATURES:
        raise ValueError(f"it has {len(signatures)} signatures, more than {_MOST_SIGNATURES}")
    return signatures


def _of_layers(repository: Repository, layers: list[Layer]) -> Iterator[Signature | ValueError]:
    payloads: dict[str, bytes] = {}  # most signatures of an artifact have the same one
    for layer in layers:
        try:
            signature = signature_bytes(layer.annotations.get(ANNOTATION))
            if layer.digest not in payloads:
                payloads[layer.digest] = _content(repository, layer, _LARGEST_PAYLOAD)
            yield Signature(SIMPLE, payloads[layer.digest], signature)
        except ValueError as error:
            yield error


def _of_referrers(repository: Repository, index: bytes) -> Iterator[Signature | ValueError]:
    try:
        digests = _few([entry["digest"] for entry in manifests_of(index) if _may_be_signature(entry)])
    except ValueError as error:
        raise ValueError(f"its referrers: {error}") from error
    for digest in digests:
        manifest = repository.find_manifest(digest)
        if manifest is None:
            continue
        try:
            layers = layers_of(manifest)
            if len(layers) == 1 and layers[0].media_type == BUNDLE:
                yield of_bundle(_content(repository, layers[0], _LARGEST_BUNDLE))
        except ValueError as error:
            yield error


def _may_be_signature(entry: dict[str, Any]) -> bool:
    """Whether a referrer may be a signature. Registries that don't know referrers leave it to the client to list them,
    and cosign lists its bundles by the type of their configuration, without annotations."""
    annotations = entry.get("annotations")
    predicate = annotations.get(_PREDICATE_TYPE, PREDICATE) if isinstance(annotations, dict) else PREDICATE
    return entry.get("artifactType", _EMPTY) in (BUNDLE, _EMPTY) and predicate == PREDICATE


def _content(repository: Repository, layer: Layer, most: int) -> bytes:
    if layer.size > most:
        raise ValueError(f"the payload of one has {layer.size} bytes, more than {most}")
    content = BytesIO()
    repository.read_blob(layer.digest, layer.size, content)
    return content.getvalue()


# Beside a kept guest


def kept_file(folder: Path, key: PublicKey) -> Path:
    """The file of the signature by a key, in the folder of a kept guest."""
    return folder / f"signature-{key.fingerprint}.json"


def has_kept(folder: Path, digest: str, keys: Sequence[PublicKey]) -> bool:
    """Whether a signature of an artifact by one of the keys is kept in a folder; it is verified again."""
    for key in keys:
        try:
            with open_regular(kept_file(folder, key)) as file:
                Signature.of_json(file.read(_LARGEST_FILE)).verified_by(digest, [key])
        except (OSError, ValueError):
            continue
        return True
    return False


# Pushing


def push_signature(repository: Repository, reference: Reference, key: PrivateKey) -> None:
    """Push a signature of an artifact, beside those that it has. `reference` has the artifact's digest. Nothing is
    pushed if it has one by the same key. Raises `GuestError`."""
    assert reference.digest is not None
    tag = tag_of(reference.digest)
    manifest = repository.find_manifest(tag)
    layers: list[Layer] = []
    if manifest is not None:
        try:
            layers = layers_of(manifest)
            found = list(_of_layers(repository, _simple_layers(manifest)))
        except ValueError as error:
            raise GuestError(f"{reference} can't be signed: {error}") from error
        if any(_is_by(each, reference.digest, key.public) for each in found):
            return
    payload = simple_payload(f"{reference.host}/{reference.name}", reference.digest)
    blob = Blob(payload)
    layers.append(Layer(SIMPLE, blob.digest, len(blob), {ANNOTATION: b64encode(key.sign(payload)).decode()}))
    config = Blob(json.dumps(_config(layers), separators=(",", ":")).encode())
    for each in (blob, config):
        repository.write_blob(each)
    table = manifest_of(Layer(_CONFIG, config.digest, len(config)), layers)
    repository.write_manifest(json.dumps(table, separators=(",", ":")).encode(), tag)


def _is_by(found: Signature | ValueError, digest: str, key: PublicKey) -> bool:
    try:
        return isinstance(found, Signature) and found.verified_by(digest, [key]) is key
    except ValueError:
        return False


def _config(layers: list[Layer]) -> dict[str, Any]:
    """The configuration of an image with these layers, as which cosign reads signatures."""
    return {
        "architecture": "",
        "created": created(),
        "history": [{"created": created()} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "config": {},
    }
