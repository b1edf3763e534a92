"""Keys and signatures as cosign makes them, by openssl and urllib: independent of the code that is tested."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

from conftest import need_command

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
KINDS = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "p521": ("EC", "ec_paramgen_curve:P-521"),
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "ed25519": ("ED25519", ""),
    "other": ("EC", "ec_paramgen_curve:P-256"),
    "small": ("RSA", "rsa_keygen_bits:1024"),
    "koblitz": ("EC", "ec_paramgen_curve:secp256k1"),
    "x25519": ("X25519", ""),
}
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max")
PASSWORD = "a password"
WAT = (
    '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)'
    '(func (export "_start") (call $exit (i32.const {}))))'
)
"""A guest that ends with a code."""


def openssl(*arguments: str | Path, given: bytes | None = None) -> bytes:
    """What openssl writes."""
    need_command("openssl", "openssl")
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make_keys(folder: Path) -> Path:
    """Fill a folder with a pair of keys of each kind, `KIND.pem` and `KIND.pub`, and with encrypted private keys."""
    for name, (kind, option) in KINDS.items():
        private = folder / f"{name}.pem"
        openssl("genpkey", "-algorithm", kind, *(("-pkeyopt", option) if option else ()), "-out", private)
        openssl("pkey", "-in", private, "-pubout", "-out", folder / f"{name}.pub")
    private = folder / "p256.pem"
    password = ("-passout", f"pass:{PASSWORD}")
    openssl("pkcs8", "-topk8", "-in", private, "-v2", "aes-256-cbc", *password, "-out", folder / "encrypted.pem")
    openssl("ec", "-in", private, "-aes256", *password, "-out", folder / "encrypted-ec.pem")
    openssl("ec", "-in", private, "-out", folder / "ec.pem")
    return folder


def signed_by_openssl(key: Path, message: bytes, algorithm: str = "sha256", *options: str) -> bytes:
    """A signature of a message. Ed25519 has no algorithm of digests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "message")
        file.write_bytes(message)
        if not algorithm:
            return openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", file)
        return openssl("dgst", f"-{algorithm}", "-sign", key, *options, file)


def openssl_verifies(key: Path, message: bytes, signature: bytes, algorithm: str = "sha256") -> None:
    """Have openssl verify a signature of a message by a public key; it fails the test otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        file, of_file = Path(folder, "message"), Path(folder, "signature")
        file.write_bytes(message)
        of_file.write_bytes(signature)
        if algorithm:
            openssl("dgst", f"-{algorithm}", "-verify", key, "-signature", of_file, file)
        else:
            openssl("pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", file, "-sigfile", of_file)


# What cosign pushes


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tag_of(of: str) -> str:
    return of.replace(":", "-") + ".sig"


def payload(of: str, **changed: Any) -> bytes:
    """The payload of simple signing, as Go writes it."""
    critical: dict[str, Any] = {
        "identity": {"docker-reference": "example.com/guest"},
        "image": {"docker-manifest-digest": of},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical | changed, "optional": None}, separators=(",", ":")).encode()


def simple_layer(content: bytes, signature: bytes | str, **changed: Any) -> dict[str, Any]:
    """The layer of a payload with its signature, in base64 if it is bytes."""
    text = signature if isinstance(signature, str) else b64encode(signature).decode()
    annotations = {"dev.cosignproject.cosign/signature": text}
    layer = {"mediaType": SIMPLE, "size": len(content), "digest": digest(content), "annotations": annotations}
    return layer | changed


def simple_manifest(*layers: dict[str, Any]) -> tuple[bytes, bytes]:
    """The manifest of signatures, and its configuration."""
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = json.dumps({"architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "rootfs": rootfs}).encode()
    described = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "size": len(config),
        "digest": digest(config),
    }
    table = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
    return json.dumps(table).encode(), config


def statement(of: str, **changed: Any) -> bytes:
    """The statement of in-toto that is the payload of a bundle."""
    table: dict[str, Any] = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": of.removeprefix("sha256:")}, "annotations": {}}],
        "predicateType": PREDICATE,
        "predicate": {},
    }
    return json.dumps(table | changed).encode()


def envelope_message(content: bytes, kind: str = STATEMENT) -> bytes:
    """The bytes of a payload that are signed in a bundle."""
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(content)).encode(), content])


def bundle(content: bytes, signature: bytes, **changed: Any) -> bytes:
    """A bundle of Sigstore, by a pair of keys and without a transparency log."""
    envelope = {
        "payload": b64encode(content).decode(),
        "payloadType": STATEMENT,
        "signatures": [{"sig": b64encode(signature).decode()}],
    }
    material = {"publicKey": {"hint": "anything"}}
    table = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(table | changed).encode()


def referrer(of: str, content: bytes) -> bytes:
    """The manifest of a bundle that refers to an artifact."""
    table = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": digest(b"{}")},
        "layers": [{"mediaType": BUNDLE, "size": len(content), "digest": digest(content)}],
        "subject": {"mediaType": MANIFEST, "size": 1, "digest": of},
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": PREDICATE},
    }
    return json.dumps(table).encode()


def index(*entries: dict[str, Any]) -> bytes:
    """The index of referrers."""
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def entry(manifest: bytes, **changed: Any) -> dict[str, Any]:
    """A referrer in an index."""
    table = {"mediaType": MANIFEST, "size": len(manifest), "digest": digest(manifest), "artifactType": BUNDLE}
    return table | changed


# A registry, asked without the code that is tested


def put(host: str, name: str, tag: str, manifest: bytes, *blobs: bytes, kind: str = MANIFEST) -> None:
    """Push a manifest with its blobs."""
    for blob in blobs:
        begun = urllib.request.Request(f"http://{host}/v2/{name}/blobs/uploads/", method="POST", data=b"")
        with urllib.request.urlopen(begun) as answer:
            place = answer.headers["Location"]
        _put(f"{place}{'&' if '?' in place else '?'}digest={digest(blob)}", blob, "application/octet-stream")
    _put(f"http://{host}/v2/{name}/manifests/{tag}", manifest, kind)


def _put(address: str, content: bytes, kind: str) -> None:
    request = urllib.request.Request(address, method="PUT", data=content, headers={"Content-Type": kind})
    urllib.request.urlopen(request).close()


def got(host: str, name: str, path: str) -> bytes:
    """A manifest or a blob."""
    request = urllib.request.Request(f"http://{host}/v2/{name}/{path}", headers={"Accept": MANIFEST})
    with urllib.request.urlopen(request) as answer:
        content: bytes = answer.read()
    return content


def put_simple(host: str, name: str, of: str, *signed: tuple[bytes, bytes]) -> None:
    """Push signatures of an artifact, each a payload and its signature, under their tag."""
    manifest, config = simple_manifest(*(simple_layer(content, signature) for content, signature in signed))
    put(host, name, tag_of(of), manifest, config, *{content for content, _ in signed})
