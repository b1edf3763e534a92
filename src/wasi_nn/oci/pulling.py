"""Pulls guests from registries. A guest is kept by the digest of its artifact, and checked each time it is used."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from wasi_nn.errors import GuestError, one_line
from wasi_nn.guests.compile_cache import is_trusted
from wasi_nn.oci.artifact import Artifact, Layer, file_path, parse
from wasi_nn.oci.keys import KeyFile, PublicKey, public_keys
from wasi_nn.oci.reference import Reference
from wasi_nn.oci.registry import LARGEST_MANIFEST, Repository, digest_of
from wasi_nn.oci.signatures import Signature
from wasi_nn.oci.signing import has_kept, kept_file, required
from wasi_nn.process.cache_folders import cache_folder
from wasi_nn.process.files import open_regular

logger = logging.getLogger("wasi_nn")

LARGEST_GUEST = 2**30
"""The most bytes of a guest."""
LARGEST_FILES = 64 * 2**30
"""The most bytes of a guest and the files beside it, together."""


def pull_guest(
    reference: str | Reference,
    *,
    require_digest: bool = False,
    require_signature: Sequence[KeyFile] | None = None,
    plain_http: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """The file of a guest that a registry has, pulled once and kept.

    A reference with a digest is answered from the cache, without the registry; one with a tag asks the registry, each
    time, for the digest that the tag has now. Both give the bytes of that digest or an error.

    reference          `oci://HOST/NAME:TAG`, `oci://HOST/NAME@sha256:DIGEST`, or either as a `Reference`
    require_digest     whether a reference without a digest is an error
    require_signature  public keys, each a file of PEM or PEM as bytes: one of them has to have signed the artifact, in
                       cosign's way. The signature is kept with the guest, and verified again each time
    plain_http         whether the registry is asked without TLS. One on this machine always is
    cache              the folder for pulled guests. None: `guests` in the user's folder of caches

    Raises `GuestError`: the reference is malformed, there is no such artifact, the registry refuses or can't be
    reached, the artifact is no guest, its bytes aren't those of the digest, it isn't signed by one of the keys, or a
    file has no public key.
    """
    reference = _parsed(reference, require_digest)
    keys = public_keys(require_signature, str(reference))
    folder = Path(cache) if cache is not None else default_cache()
    repository, manifest = None, b""
    digest = reference.digest
    kept = None if digest is None else _kept(folder, digest, reference)
    if kept is None:
        repository = Repository(reference, plain_http=plain_http)
        manifest = repository.manifest()
        digest = digest_of(manifest)
        if reference.digest is None:
            logger.info("%s is %s", reference, reference.with_digest(digest))
            kept = _kept(folder, digest, reference)
    assert digest is not None  # the guest is kept by it, or its manifest is here
    pinned, place = reference.with_digest(digest), _place(folder, digest)
    signed = None
    if keys and not has_kept(place, digest, keys):
        repository = repository or Repository(pinned, plain_http=plain_http)
        signed = required(repository, pinned, keys)
    if kept is None:
        assert repository is not None
        kept = _pulled(repository, reference, manifest, digest, folder)
    if signed is not None:
        _keep_signature(reference, place, *signed)
    return kept


def _pulled(repository: Repository, reference: Reference, manifest: bytes, digest: str, folder: Path) -> Path:
    """The guest of a manifest, which has this digest, pulled into the cache."""
    guest = _artifact(reference, manifest).guest
    if guest.size > LARGEST_GUEST:
        raise GuestError(f"{reference} can't be pulled: its guest has {guest.size} bytes, more than {LARGEST_GUEST}")
    place = _place(folder, digest)
    try:
        for each in (folder, place):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_own(folder, digest, reference)
        with _new_file(place / _file_name(reference)) as file:
            repository.read_blob(guest.digest, guest.size, file)
        with _new_file(place / _MANIFEST) as file:  # last: a folder with a manifest is complete
            file.write(manifest)
    except OSError as error:
        raise GuestError(f"{reference} can't be kept in {folder}: {one_line(error)}") from error
    return place / _file_name(reference)


def _keep_signature(reference: Reference, place: Path, key: PublicKey, signature: Signature) -> None:
    try:
        with _new_file(kept_file(place, key)) as file:
            file.write(signature.to_json())
    except OSError as error:
        raise GuestError(f"{reference} can't be kept in {place}: {one_line(error)}") from error


def pull_files(
    reference: str | Reference,
    folder: str | os.PathLike[str],
    *,
    require_digest: bool = False,
    require_signature: Sequence[KeyFile] | None = None,
    plain_http: bool = False,
) -> list[Path]:
    """Pull a guest and the files that were pushed with it into a new or empty folder; returns their paths, the guest's
    first. The arguments are those of `pull_guest`: a signature is of all files. Raises `GuestError` as `pull_guest`
    does, and if the folder has files already."""
    reference = _parsed(reference, require_digest)
    keys = public_keys(require_signature, str(reference))
    target = Path(folder)
    repository = Repository(reference, plain_http=plain_http)
    manifest = repository.manifest()
    if keys:
        required(repository, reference.with_digest(digest_of(manifest)), keys)
    artifact = _artifact(reference, manifest)
    paths = _paths(reference, artifact)
    total = sum(layer.size for layer in paths.values())
    if total > LARGEST_FILES:
        raise GuestError(f"{reference} can't be pulled: its files have {total} bytes, more than {LARGEST_FILES}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise GuestError(f"{reference} can't be pulled into {target}: the folder isn't empty")
        for path, layer in paths.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with _new_file(target / path) as file:
                repository.read_blob(layer.digest, layer.size, file)
    except OSError as error:
        raise GuestError(f"{reference} can't be pulled into {target}: {one_line(error)}") from error
    logger.info("%s is %s", reference, reference.with_digest(digest_of(manifest)))
    return [target / path for path in paths]


def kept_guests(cache: str | os.PathLike[str] | None = None) -> dict[Path, int]:
    """The folders of the pulled guests that are kept, with the bytes of each."""
    folder = Path(cache) if cache is not None else default_cache()
    return {
        path.parent: sum(file.stat().st_size for file in path.parent.iterdir())
        for path in folder.glob(f"*/{_MANIFEST}")
    }


def remove_guests(cache: str | os.PathLike[str] | None = None) -> int:
    """Remove the pulled guests that are kept; returns how many there were. Raises `OSError`."""
    kept = kept_guests(cache)
    for folder in kept:
        shutil.rmtree(folder)
    return len(kept)


def default_cache() -> Path:
    """The folder for pulled guests, unless another one is named."""
    return cache_folder("guests")


_MANIFEST = "manifest.json"


def _parsed(reference: str | Reference, require_digest: bool) -> Reference:
    reference = Reference.parse(reference) if isinstance(reference, str) else reference
    if require_digest and reference.digest is None:
        advice = f"give oci://{reference.host}/{reference.name}@sha256:DIGEST, as wasi-nn push prints it"
        raise GuestError(f"{reference} has no digest, which is required: {advice}")
    return reference


def _place(folder: Path, digest: str) -> Path:
    return folder / digest.removeprefix("sha256:")


def _file_name(reference: Reference) -> str:
    """The name of a kept guest: its argv[0], and its name in messages."""
    name = reference.name.rpartition("/")[2]
    return name if name.endswith(".wasm") else f"{name}.wasm"


def _artifact(reference: Reference, manifest: bytes) -> Artifact:
    try:
        return parse(manifest)
    except ValueError as error:
        raise GuestError(f"{reference} is no guest: {error}") from error


def _paths(reference: Reference, artifact: Artifact) -> dict[PurePosixPath, Layer]:
    """The layers with their paths below a folder, without those that have no title: other tools add such layers."""
    titled = [artifact.guest, *(layer for layer in artifact.files if layer.title is not None)]
    paths: dict[PurePosixPath, Layer] = {}
    for layer in titled:
        try:
            path = file_path(_file_name(reference) if layer.title is None else layer.title)
        except ValueError as error:
            raise GuestError(f"{reference} can't be pulled: {error}") from error
        if path in paths or any(path in other.parents or other in path.parents for other in paths):
            raise GuestError(f"{reference} can't be pulled: {path} is the path of two of its files, or a folder of one")
        paths[path] = layer
    return paths


def _kept(folder: Path, digest: str, reference: Reference) -> Path | None:
    """The guest of an artifact in the cache, if it is there undamaged."""
    place = _place(folder, digest)
    path = place / _file_name(reference)
    _require_own(folder, digest, reference)
    try:
        with open_regular(place / _MANIFEST) as file:
            manifest = file.read(LARGEST_MANIFEST + 1)
        if digest_of(manifest) != digest:
            return None
        guest = parse(manifest).guest
        with open_regular(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it has readinto
    except (OSError, ValueError):
        return None
    return path if f"sha256:{found}" == guest.digest else None


def _require_own(folder: Path, digest: str, reference: Reference) -> None:
    """Raise `GuestError` if other users could put another guest in place of one in the cache after its check."""
    for each in (folder, _place(folder, digest)):
        with suppress(FileNotFoundError):
            if not is_trusted(each.stat()):
                raise GuestError(f"{reference} can't be kept in {each}: other users can write to it")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file, which gets its name when it is complete."""
    descriptor, unfinished = tempfile.mkstemp(prefix=".pulled-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
