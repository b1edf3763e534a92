"""Pushes guests to registries, as artifacts that other WebAssembly tools pull too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wasi_nn.errors import GuestError, one_line
from wasi_nn.guests import guest_file
from wasi_nn.guests.engine import new_engine
from wasi_nn.guests.guest_file import Guest
from wasi_nn.guests.inspection import compiled_within_limits
from wasi_nn.loading.graphs_file import NamedInFile
from wasi_nn.oci.artifact import CONFIG, FILE, GUEST, TITLE, Layer, created, file_path, manifest_of
from wasi_nn.oci.keys import KeyFile, private_key
from wasi_nn.oci.reference import Reference
from wasi_nn.oci.registry import Blob, Repository, digest_of
from wasi_nn.oci.signing import push_signature


def push_guest(
    guest: Guest,
    reference: str | Reference,
    *,
    files: Mapping[str, str | os.PathLike[str]] | None = None,
    sign: KeyFile | None = None,
    plain_http: bool = False,
) -> Reference:
    """Push a guest under a tag; returns the reference with the digest, by which it can be pinned.

    guest       a `.wasm` or `.wat` file, or the bytes of either. Its file's name is its name in the artifact
    files       files beside it, by their paths relative to the guest's, with `/` between parts
    sign        the private key by which the artifact is signed, in cosign's way: a file of PEM, or PEM as bytes. An
                encrypted one takes its password from COSIGN_PASSWORD in the environment
    plain_http  whether the registry is asked without TLS. One on this machine always is

    The same guest and files give the same digest: the artifact's time is SOURCE_DATE_EPOCH or 1970. Raises
    `GuestError`: the guest, a file or the key can't be read, or the registry refuses or can't be reached.
    """
    place = Reference.parse(reference) if isinstance(reference, str) else reference
    if place.digest is not None:
        raise GuestError(f"{place} can't be pushed: a push takes a tag, and gives the digest")
    key = None if sign is None else private_key(sign, str(place))
    wasm = guest_file.read(guest)
    title = f"{guest_file.name_of(guest).removesuffix('.wat').removesuffix('.wasm')}.wasm"
    try:
        for name in (title, *(files or {})):
            file_path(name)
        blobs = {title: Blob(wasm), **{name: Blob(path) for name, path in (files or {}).items()}}
    except (OSError, ValueError) as error:
        raise GuestError(f"{place} can't be pushed: {one_line(error)}") from error
    if blobs[title].digest != Blob(wasm).digest:
        raise GuestError(
            f"{place} can't be pushed: one of its files is named {title} too, and is another than the guest"
        )
    layers = [
        Layer(FILE if number else GUEST, blob.digest, len(blob), {TITLE: name})
        for number, (name, blob) in enumerate(blobs.items())
    ]
    config = Blob(_json(_config(guest_file.name_of(guest), wasm, layers)))
    repository = Repository(place, plain_http=plain_http)
    for blob in (*blobs.values(), config):
        repository.write_blob(blob)
    content = _json(manifest_of(Layer(CONFIG, config.digest, len(config)), layers))
    pushed = place.with_digest(digest_of(content))
    if key is not None:  # before the tag names the artifact, so that nobody meets it without its signature
        push_signature(repository, pushed, key)
    repository.write_manifest(content, place.tag)
    return pushed


def files_of_graphs(path: str | os.PathLike[str], named: NamedInFile) -> dict[str, Path]:
    """A file of graphs and the files that it names, by their paths relative to its folder: models, guests, and the
    directories and certificates of guests. `named` is what the file names. Raises `GuestError` for a file elsewhere,
    and for a directory without a file, which an artifact can't hold."""
    folder = Path(path).absolute().parent
    found = {Path(path).name: Path(path)}

    def add(owner: str, what: str, source: Path) -> None:
        members = [it for it in sorted(source.rglob("*")) if not it.is_dir()] if source.is_dir() else [source]
        if not members:
            raise GuestError(
                f"{owner} can't be pushed: its {what} {source} has no files, and an artifact has only files"
            )
        for member in members:
            if not (member.is_relative_to(folder) and member.resolve().is_relative_to(folder.resolve())):
                raise GuestError(f"{owner} can't be pushed: its {what} {member} isn't in the folder of {path}")
            found[str(member.relative_to(folder))] = member

    for name, graph in named.graphs.items():
        for source in graph.source if isinstance(graph.source, list | tuple) else [graph.source]:
            if isinstance(source, os.PathLike):  # an address stays one
                add(f"graph {name!r}", "model", folder / source)
    for name, guest in named.guests.items():
        add(f"guest {name!r}", "file", guest.path)
        for directory in guest.directories.values():
            add(f"guest {name!r}", "directory", directory.path)
        if guest.http_out is not None and guest.http_out.ca_file is not None:
            add(f"guest {name!r}", "ca-file", guest.http_out.ca_file)
    return found


def _config(name: str, wasm: bytes, layers: list[Layer]) -> dict[str, Any]:
    """The configuration: the WASI that the guest is made for, and the interfaces of a component."""
    table = {
        "created": created(),
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [layer.digest for layer in layers],
    }
    if not guest_file.is_component(wasm):
        return table
    from wasmtime.component import Component

    engine = new_engine(fuel=False)
    kind = compiled_within_limits(Component, engine, wasm, name).type
    interfaces = {"exports": sorted(kind.exports(engine)), "imports": sorted(kind.imports(engine))}
    return {**table, "os": "wasip2", "component": interfaces}


def _json(table: Mapping[str, Any]) -> bytes:
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
