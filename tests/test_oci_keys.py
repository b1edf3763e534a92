"""Files of keys for signatures of guests: what is taken, and what is told about the others."""

from __future__ import annotations

import sys
from pathlib import Path

import cosigned
import pytest
from conftest import need
from cosigned import WAT

from wasi_nn.errors import GuestError
from wasi_nn.oci import pull_guest, push_guest


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("cryptography", "'wasi-nn[oci]'")
    return cosigned.make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)


def test_without_the_package_it_is_named(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for call in (
        lambda: pull_guest("oci://localhost:1/g", require_signature=[keys / "p256.pub"]),
        lambda: push_guest(b"", "oci://localhost:1/g", sign=keys / "p256.pem"),
    ):
        with pytest.raises(GuestError, match=r"oci://localhost:1/g:latest needs the package cryptography: pip install"):
            call()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("p256.pem", "it has a private key, and a signature is verified by the public one: openssl pkey -in"),
        ("encrypted.pem", "it has a private key"),
        ("small.pub", "its kind isn't taken: ECDSA on P-256, P-384 or P-521, RSA of at least 2048 bits, or Ed25519"),
        ("koblitz.pub", "its kind isn't taken"),
        ("x25519.pub", "its kind isn't taken"),
        ("none.pub", "No such file"),
        (".", "Is a directory"),
        ("/dev/null", "no regular file"),
        (b"", "the PEM can't be used as a key: it isn't PEM"),
        (b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----", "it has no PUBLIC KEY, but CERTIFICATE"),
        (b"-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----", "can't be used as a key: "),
        (b"-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", "can't be used as a key: "),
        (b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n" * 2, "it has 2 public keys"),
        (b"-----BEGIN A-----" * 10_000, "it has more than 65536 bytes"),
        (b"\xff\xfe", "it isn't PEM"),
    ],
    ids=lambda value: "pem" if isinstance(value, bytes) else None,
)
def test_a_file_without_a_public_key_is_told(file: str | bytes, message: str, keys: Path) -> None:
    key = file if isinstance(file, bytes) else keys / file
    with pytest.raises(GuestError, match=message) as error:
        pull_guest("oci://localhost:1/guest", require_signature=[key])
    assert str(error.value).isprintable()


def test_keys_that_are_none_are_an_error() -> None:
    with pytest.raises(GuestError, match="require_signature has no key"):
        pull_guest("oci://localhost:1/guest", require_signature=[])


@pytest.mark.parametrize(
    ("file", "password", "message"),
    [
        ("p256.pub", None, "it is a public key, and signing takes a private one"),
        ("encrypted.pem", None, "it is encrypted, and COSIGN_PASSWORD in the environment has no password"),
        ("encrypted.pem", "", "it is encrypted, and COSIGN_PASSWORD in the environment has no password"),
        ("encrypted.pem", "wrong", r"it can't be read \(.*\) by the password in COSIGN_PASSWORD$"),
        ("encrypted-ec.pem", None, "it is encrypted"),
        ("small.pem", None, "its kind isn't taken"),
        ("x25519.pem", None, "its kind isn't taken"),
        (
            b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
            "",
            "it is encrypted in cosign's own way, and signing takes a key of PKCS #8",
        ),
        (b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----", None, "it is no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----", None, "can't be used as a key: "),
    ],
    ids=lambda value: "pem" if isinstance(value, bytes) else None,
)
def test_a_file_without_a_private_key_is_told_before_anything_is_pushed(
    file: str | bytes, password: str | None, message: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if password is not None:
        monkeypatch.setenv("COSIGN_PASSWORD", password)
    key = file if isinstance(file, bytes) else keys / file
    with pytest.raises(GuestError, match=message) as error:
        push_guest(WAT.format(7).encode(), "oci://localhost:1/guest", sign=key)
    assert str(error.value).isprintable()
