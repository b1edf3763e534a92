"""Keys of signatures, read from PEM: public ones, which verify, and private ones, which sign."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any

from wasi_nn.errors import GuestError, one_line, printable, shortened
from wasi_nn.process.files import open_regular
from wasi_nn.settings import how_to_install_extra

KeyFile = str | os.PathLike[str] | bytes
"""A file of PEM by its path, or PEM itself as bytes."""
PASSWORD = "COSIGN_PASSWORD"
"""The environment variable with the password of an encrypted private key."""

_LARGEST = 2**16  # bytes
_LEAST_RSA_BITS = 2048
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----.*?-----END \1-----", re.DOTALL)
_KINDS = "ECDSA on P-256, P-384 or P-521, RSA of at least 2048 bits, or Ed25519"
_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")


class PublicKey:
    """A public key. `name` is its file's, for messages; `fingerprint` the SHA-256 of the key, as hex."""

    def __init__(self, key: Any, name: str) -> None:
        from cryptography.hazmat.primitives import serialization

        self._key, self._ways, self.name = key, _ways(key, name), name
        content = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.fingerprint = hashlib.sha256(content).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature of a message is by this key."""
        from cryptography.exceptions import InvalidSignature

        for way in self._ways:
            try:
                self._key.verify(signature, message, *way)
            except InvalidSignature:
                continue
            return True
        return False


class PrivateKey:
    """A private key; `public` is its public one."""

    def __init__(self, key: Any, name: str) -> None:
        self._key = key
        self.public = PublicKey(key.public_key(), name)
        self._way = self.public._ways[0]

    def sign(self, message: bytes) -> bytes:
        """A signature of a message, by SHA-256 and, for RSA, PKCS #1 v1.5."""
        signature: bytes = self._key.sign(message, *self._way)
        return signature


def public_keys(files: Sequence[KeyFile] | None, needed_by: str) -> list[PublicKey]:
    """The public keys in files, each of which has one. `needed_by` begins the message about a missing package. Raises
    `GuestError` for any other file, and for no file; None gives no keys."""
    if files is None:
        return []
    if isinstance(files, (str, bytes, os.PathLike)):
        files = [files]
    if not files:
        raise GuestError(f"{needed_by} can't be verified: require_signature has no key")
    _require_package(needed_by)
    return [_public(file) for file in files]


def private_key(file: KeyFile, needed_by: str) -> PrivateKey:
    """The private key in a file. An encrypted one takes its password from `PASSWORD` in the environment. Raises
    `GuestError` as `public_keys` does."""
    _require_package(needed_by)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    name, blocks = _blocks(file)
    found = {kind: block for kind, block in blocks if kind.endswith("PRIVATE KEY")}
    if not found:
        what = "a public key" if any(kind.endswith("PUBLIC KEY") for kind, _ in blocks) else "no private key"
        raise _error(name, f"it is {what}, and signing takes a private one")
    (kind, block), *more = found.items()
    if more:
        raise _error(name, "it has more than one private key")
    if kind in _COSIGN:
        advice = "make one by openssl genpkey, which cosign import-key-pair takes too"
        raise _error(name, f"it is encrypted in cosign's own way, and signing takes a key of PKCS #8: {advice}")
    password = None
    try:
        try:
            key = load_pem_private_key(block, None)
        except TypeError:  # it is encrypted
            password = os.environ.get(PASSWORD)
            if not password:
                raise _error(name, f"it is encrypted, and {PASSWORD} in the environment has no password") from None
            key = load_pem_private_key(block, password.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        by = "" if password is None else f" by the password in {PASSWORD}"
        raise _error(name, _unread(error) + by) from error
    return PrivateKey(key, name)


def _public(file: KeyFile) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    name, blocks = _blocks(file)
    found = [block for kind, block in blocks if kind in ("PUBLIC KEY", "RSA PUBLIC KEY")]
    if any(kind.endswith("PRIVATE KEY") for kind, _ in blocks):
        advice = "openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem writes it"
        raise _error(name, f"it has a private key, and a signature is verified by the public one: {advice}")
    if not found:
        kinds = printable(shortened(", ".join(kind for kind, _ in blocks)))
        raise _error(name, f"it has no PUBLIC KEY, but {kinds}")
    if len(found) > 1:
        raise _error(name, f"it has {len(found)} public keys: give each one by a file of its own")
    try:
        key = load_pem_public_key(found[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _error(name, _unread(error)) from error
    return PublicKey(key, name)


def _blocks(file: KeyFile) -> tuple[str, list[tuple[str, bytes]]]:
    """The name of a file for messages, and its parts of PEM with their kinds."""
    name = "the PEM" if isinstance(file, bytes) else printable(os.fspath(file))
    if isinstance(file, bytes):
        content = file
    else:
        try:
            with open_regular(file) as opened:
                content = opened.read(_LARGEST + 1)
        except OSError as error:
            raise _error(name, error.strerror or str(error)) from error
    if len(content) > _LARGEST:
        raise _error(name, f"it has more than {_LARGEST} bytes")
    blocks = [(match[1].decode("ascii"), match[0] + b"\n") for match in _BLOCK.finditer(content)]
    if not blocks:
        raise _error(name, "it isn't PEM, which begins with -----BEGIN")
    return name, blocks


def _ways(key: Any, name: str) -> list[tuple[Any, ...]]:
    """The arguments with which a key signs, first of all, and those with which its signatures are taken too."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    sha256 = hashes.SHA256()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return [()]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        pss = padding.PSS(padding.MGF1(sha256), padding.PSS.AUTO)
        return [(padding.PKCS1v15(), sha256), (pss, sha256)]
    if isinstance(key, ec.EllipticCurvePublicKey):
        curves: dict[str, list[hashes.HashAlgorithm]] = {
            "secp256r1": [sha256],
            "secp384r1": [sha256, hashes.SHA384()],
            "secp521r1": [sha256, hashes.SHA512()],
        }
        if key.curve.name in curves:
            return [(ec.ECDSA(algorithm),) for algorithm in curves[key.curve.name]]
    raise _error(name, f"its kind isn't taken: {_KINDS}")


def _unread(error: Exception) -> str:
    """Why a key can't be read: what the package says, without its guesses."""
    return f"it can't be read ({one_line(error).partition('. ')[0]})"


def _require_package(needed_by: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise GuestError(f"{needed_by} needs the package {error.name}: {how_to_install_extra('oci')}") from error


def _error(name: str, reason: str) -> GuestError:
    return GuestError(f"{name} can't be used as a key: {reason}")
