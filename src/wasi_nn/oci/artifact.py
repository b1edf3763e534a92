"""The artifact of a guest: its manifest, and the layers of the guest and of files beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from wasi_nn.errors import printable, shortened
from wasi_nn.oci.registry import MANIFEST

GUEST = "application/wasm"
FILE = "application/octet-stream"
CONFIG = "application/vnd.wasm.config.v0+json"
TITLE = "org.opencontainers.image.title"
"""The annotation of a layer with the name of its file."""

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MOST_LAYERS = 1000


@dataclass(frozen=True)
class Layer:
    """A blob of an artifact. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str | None:
        """The name of its file, if it has one."""
        title = self.annotations.get(TITLE)
        return title if isinstance(title, str) else None

    def as_json(self) -> dict[str, Any]:
        """The layer as a manifest describes it."""
        table: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**table, "annotations": dict(self.annotations)} if self.annotations else table


@dataclass(frozen=True)
class Artifact:
    """A guest, and the files that were pushed beside it."""

    guest: Layer
    files: Sequence[Layer]


def parse(manifest: bytes) -> Artifact:
    """The artifact that a manifest describes. Raises `ValueError` for a malformed one, or one of no guest."""
    layers = layers_of(manifest)
    guests = [layer for layer in layers if layer.media_type == GUEST]
    if len(guests) != 1:
        kinds = ", ".join(sorted({layer.media_type for layer in layers})) or "none"
        count = f"{len(guests)} layers of the type {GUEST}" if guests else f"no layer of the type {GUEST}"
        raise ValueError(
            f"it has {count}, where a guest has one (the types of its layers: {printable(shortened(kinds))})"
        )
    return Artifact(guests[0], [layer for layer in layers if layer is not guests[0]])


def layers_of(manifest: bytes) -> list[Layer]:
    """The layers that a manifest describes. Raises `ValueError` for a malformed one."""
    table = _json(manifest)
    if not isinstance(table.get("layers"), list):
        if table.get("mediaType") in _INDEXES:
            raise ValueError("it is an index of several artifacts, not a guest: name one of them by its digest")
        raise ValueError("its manifest has no list of layers")
    if len(table["layers"]) > _MOST_LAYERS:
        raise ValueError(f"its manifest has {len(table['layers'])} layers, more than {_MOST_LAYERS}")
    return [_layer(f"layer {number} of its manifest", layer) for number, layer in enumerate(table["layers"], 1)]


def manifests_of(index: bytes) -> list[dict[str, Any]]:
    """The manifests that an index lists, each with its digest. Raises `ValueError` for a malformed one."""
    manifests = _json(index).get("manifests")
    if not isinstance(manifests, list):
        raise ValueError("its manifest has no list of manifests")
    if len(manifests) > _MOST_LAYERS:
        raise ValueError(f"its manifest has {len(manifests)} manifests, more than {_MOST_LAYERS}")
    for number, table in enumerate(manifests, 1):
        _layer(f"manifest {number} of its manifest", table)
    return manifests


def _json(manifest: bytes) -> dict[str, Any]:
    try:
        table = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise ValueError("its manifest isn't JSON") from error
    return table if isinstance(table, dict) else {}


def manifest_of(config: Layer, layers: Sequence[Layer]) -> dict[str, Any]:
    """The manifest of an artifact that is made."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in layers],
    }


def created() -> str:
    """The time of an artifact that is made: SOURCE_DATE_EPOCH, or 1970."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch) if epoch.isdecimal() else 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _layer(where: str, table: Any) -> Layer:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is no object")
    media_type, digest, size = (table.get(key) for key in ("mediaType", "digest", "size"))
    if not isinstance(media_type, str):
        raise ValueError(f"{where} has no mediaType")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{where} has no digest of the form sha256:DIGEST")
    if type(size) is not int or size < 0:
        raise ValueError(f"{where} has no size in bytes")
    annotations = table.get("annotations")
    return Layer(media_type, digest, size, annotations if isinstance(annotations, dict) else {})


def file_path(title: str) -> PurePosixPath:
    """The relative path that a title is. Raises `ValueError` for one that could leave its folder."""
    path = PurePosixPath(title)
    parts = title.split("/")
    if not title.isprintable() or "\\" in title or ":" in title or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name of a file isn't a path below a folder: {printable(shortened(title))}")
    return path
