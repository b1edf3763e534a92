"""A registry, by the package oras: requests with the user's credentials, and content that is checked by its digest."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import inf
from typing import Any, BinaryIO

from wasi_nn.errors import GuestError, one_line, printable
from wasi_nn.oci.reference import Reference
from wasi_nn.process.files import open_regular
from wasi_nn.settings import how_to_install_extra

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LARGEST_MANIFEST = 4 * 2**20
"""Bytes: as much as registries have to take."""

_CHUNK = 2**20
_LONGEST_REASON = 500  # characters
_UNKNOWN = (400, 404, 405, 406)  # codes of a registry that doesn't know referrers
_NO_CREDENTIALS = "it takes credentials, as docker login or podman login keep them"
_CREDENTIALS = {"DOCKER_CONFIG": "config.json", "XDG_RUNTIME_DIR": "containers/auth.json"}
_ODD = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What oras makes of odd answers of a registry, and of odd files of credentials."""


def digest_of(content: bytes) -> str:
    """The digest of some content, as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Blob:
    """Bytes, or a file, to be pushed. The client sends its parts, and begins again if it has to. Raises `OSError`
    if the file can't be read, or changes."""

    def __init__(self, content: bytes | str | os.PathLike[str]) -> None:
        self._content = content
        digest, self._size = hashlib.sha256(), 0
        for part in self._parts(inf):
            digest.update(part)
            self._size += len(part)
        self.digest = f"sha256:{digest.hexdigest()}"

    def _parts(self, most: float) -> Iterator[bytes]:
        with BytesIO(self._content) if isinstance(self._content, bytes) else open_regular(self._content) as file:
            while part := file.read(int(min(_CHUNK, most))):
                most -= len(part)
                yield part

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        for part in self._parts(left):
            left -= len(part)
            yield part
        if left:
            raise OSError(f"{self._content!s} has become shorter meanwhile")


class Repository:
    """The artifacts of one name in a registry. Its methods raise `GuestError`.

    `plain_http` has it speak HTTP without TLS, as it does with a registry on this machine in any case.
    """

    def __init__(self, reference: Reference, *, plain_http: bool = False) -> None:
        self._reference = reference
        try:
            import oras.container
            import oras.logger
            import oras.provider
        except ModuleNotFoundError as error:
            raise GuestError(f"{reference} needs the package {error.name}: {how_to_install_extra('oci')}") from error
        oras.logger.logger.logger.setLevel(logging.CRITICAL)  # its lines repeat the errors that are raised here
        insecure = plain_http or reference.is_local
        self._address = f"{'http' if insecure else 'https'}://{reference.host}/v2/{reference.name}"
        with self._guest_errors("reached"):
            self._client = _client(reference, insecure)
            place = f"{reference.host}/{reference.name}:{reference.tag}"
            self._client.auth.load_configs(oras.container.Container(place), _files_of_credentials())

    def manifest(self) -> bytes:
        """The manifest that the reference names, of at most `LARGEST_MANIFEST` bytes. A digest is checked."""
        name = self._reference.digest or self._reference.tag
        content = self._document("pulled", f"manifests/{name}", MANIFEST, missing=())
        assert content is not None
        return self._of_digest(name, content)

    def find_manifest(self, name: str, kind: str = MANIFEST) -> bytes | None:
        """The manifest of a tag or a digest, by its type, or None if the registry has none."""
        content = self._document("verified", f"manifests/{name}", kind, missing=(404,))
        return content if content is None else self._of_digest(name, content)

    def referrers(self, digest: str) -> bytes | None:
        """The index of what refers to a manifest, or None if there is none. A registry that doesn't know referrers has
        it under a tag. Of an index in several parts, this is the first one."""
        content = self._document("verified", f"referrers/{digest}", INDEX, missing=_UNKNOWN)
        return self.find_manifest(digest.replace(":", "-"), INDEX) if content is None else content

    def _document(self, done: str, path: str, kind: str, *, missing: tuple[int, ...]) -> bytes | None:
        """A manifest or an index; None for an answer with one of these codes."""
        from wasi_nn.oci import answers

        with (
            self._guest_errors(done),
            self._answer("GET", f"{self._address}/{path}", headers={"Accept": kind}, stream=True) as answer,
        ):
            if answer.status_code in missing:
                return None
            if answer.status_code >= 300:
                raise _Refused(_reason(answer))
            return answers.read(answer, LARGEST_MANIFEST)

    def _of_digest(self, name: str, content: bytes) -> bytes:
        """The content, if its name isn't the digest of another one."""
        if name.startswith("sha256:") and digest_of(content) != name:
            raise self._failure("pulled", f"the registry sent another manifest, {digest_of(content)}")
        return content

    def read_blob(self, digest: str, size: int, into: BinaryIO) -> None:
        """Write a blob of a known digest and size, in bytes, into a file."""
        found, count = hashlib.sha256(), 0
        address = f"{self._address}/blobs/{digest}"
        with self._guest_errors("pulled"), self._ask("GET", address, stream=True) as answer:
            for piece in answer.iter_content(_CHUNK):
                count += len(piece)
                if count > size:
                    break
                found.update(piece)
                into.write(piece)
        if count != size:
            more = "more" if count > size else str(count)
            raise self._failure("pulled", f"{digest} has {more} bytes where its manifest says {size}")
        if found.hexdigest() != digest.removeprefix("sha256:"):
            raise self._failure("pulled", f"the registry sent other bytes for {digest}")

    def write_blob(self, blob: Blob) -> None:
        """Push a blob, unless the registry has it."""
        with self._guest_errors("pushed"):
            if self._answer("HEAD", f"{self._address}/blobs/{blob.digest}").status_code == 200:
                return
            with self._ask("POST", f"{self._address}/blobs/uploads/") as answer:
                place = answer.headers.get("Location", "")
            if not place.startswith("http"):
                place = re.sub(r"/v2/.*", "", self._address) + place
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(blob))}
            place += f"{'&' if '?' in place else '?'}digest={blob.digest}"
            with self._ask("PUT", place, headers=headers, data=blob if len(blob) else b""):
                pass

    def write_manifest(self, content: bytes, tag: str) -> None:
        """Push a manifest under a tag."""
        with self._guest_errors("pushed"):
            address = f"{self._address}/manifests/{tag}"
            with self._ask("PUT", address, headers={"Content-Type": MANIFEST}, data=content):
                pass

    @contextmanager
    def _ask(self, method: str, address: str, **request: Any) -> Iterator[Any]:
        """An answer of the registry that is no error."""
        with self._answer(method, address, **request) as answer:
            if answer.status_code >= 300:
                raise _Refused(_reason(answer))
            yield answer

    def _answer(self, method: str, address: str, **request: Any) -> Any:
        request["headers"] = dict(request.get("headers", {}))  # the client adds its credentials to it
        try:
            return self._client.do_request(address, method, **request)
        except AttributeError as error:  # a user and a password are asked for, and oras has none for this host
            raise _Refused(f"the registry asks for a user: {_NO_CREDENTIALS}") from error

    @contextmanager
    def _guest_errors(self, done: str) -> Iterator[None]:
        """Raise an error of the registry or of the connection as a `GuestError`; `done` is a verb, such as `pulled`."""
        import requests
        import urllib3

        try:
            yield
        except _Refused as error:
            raise self._failure(done, str(error)) from None
        except requests.ConnectionError as error:
            raise self._failure(done, self._why_unreached(error)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, *_ODD, OSError) as error:
            raise self._failure(done, one_line(error)) from error

    def _why_unreached(self, error: BaseException) -> str:
        """Why there is no connection: the system's own words, where the layers above have kept them."""
        below = getattr(error.args[0] if error.args else None, "reason", error)
        cause = below.__cause__ if isinstance(below, BaseException) else None
        reason = (isinstance(cause, OSError) and cause.strerror) or one_line(cause or error)
        if "WRONG_VERSION_NUMBER" in str(error):
            reason += f"; if {self._reference.host} is a registry without TLS: plain_http=True, --plain-http"
        return reason

    def _failure(self, done: str, reason: str) -> GuestError:
        return GuestError(f"{self._reference} can't be {done}: {printable(reason)}")


class _Refused(Exception):
    """The registry's answer is an error."""


def _client(reference: Reference, insecure: bool) -> Any:
    """oras's client of a registry, with the kind of credentials that the registry asks for."""
    from oras.provider import Registry

    from wasi_nn.oci.answers import CarefulAdapter

    class Client(Registry):  # type: ignore[misc]  # its package has no types
        # Without oras's own repeats, which wait for a minute and more before they tell that there is no registry.
        do_request = inspect.unwrap(Registry.do_request)

        def __init__(self, backend: str) -> None:
            super().__init__(reference.host, insecure=insecure, auth_backend=backend)
            for scheme in ("http://", "https://"):
                self.session.mount(scheme, CarefulAdapter(reference.host, may_be_plain=insecure))

    client = Client("token")
    answer = client.session.get(f"{client.prefix}://{reference.host}/v2/")
    scheme = answer.headers.get("WWW-Authenticate", "Bearer").split(" ")[0].lower()
    return Client("basic") if scheme == "basic" else client


def _files_of_credentials() -> list[str]:
    """The files that docker login and podman login write, apart from ~/.docker/config.json, which oras reads itself."""
    places = [
        os.environ.get("REGISTRY_AUTH_FILE"),
        *(os.path.join(os.environ[name], file) for name, file in _CREDENTIALS.items() if os.environ.get(name)),
        os.path.expanduser("~/.config/containers/auth.json"),
    ]
    return [place for place in places if place and os.path.isfile(place)]


def _reason(answer: Any) -> str:
    """Why a registry refuses, in its own words where it has some."""
    try:
        words = "; ".join(error.get("message") or error["code"] for error in answer.json()["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        words = ""
    status = f"the registry answers {answer.status_code} {answer.reason}"
    if answer.status_code in (401, 403):
        words = words or _NO_CREDENTIALS
    return f"{status}: {words[:_LONGEST_REASON]}" if words else status
