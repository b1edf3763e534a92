"""Signatures of guests in registries that cheat, and in ones that say too much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cosigned
import pytest
import registries
from conftest import need
from cosigned import BUNDLE, bundle, digest, entry, envelope_message, index, payload, simple_layer, simple_manifest

from wasi_nn import cli
from wasi_nn.errors import GuestError
from wasi_nn.oci import Reference, pull_guest
from wasi_nn.oci.keys import private_key
from wasi_nn.oci.registry import Repository
from wasi_nn.oci.signing import push_signature

NAME = "tests/guest"
WASM = b"\0asm\x01\0\0\0"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "layers": [{"mediaType": "application/wasm", "digest": digest(WASM), "size": len(WASM)}],
    }
).encode()
GUEST = digest(MANIFEST)
TAG = f"/v2/{NAME}/manifests/{cosigned.tag_of(GUEST)}"
REFERRERS = f"/v2/{NAME}/referrers/{GUEST}"
FALLBACK = f"/v2/{NAME}/manifests/{GUEST.replace(':', '-')}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("oras", "'wasi-nn[oci]'")
    need("cryptography", "'wasi-nn[oci]'")
    return cosigned.make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signature(keys: Path) -> bytes:
    """The signature of the guest's payload."""
    return cosigned.signed_by_openssl(keys / "p256.pem", payload(GUEST))


cache = registries.cache


def answers(*blobs: bytes, **documents: bytes) -> dict[str, Any]:
    """A registry of the guest with these blobs, and with a signatures' tag, an index or a fallback tag of referrers."""
    paths = {"tag": TAG, "referrers": REFERRERS, "fallback": FALLBACK}
    own = {f"/v2/{NAME}/manifests/1": MANIFEST, f"/v2/{NAME}/manifests/{GUEST}": MANIFEST}
    own |= {paths[name]: content for name, content in documents.items()}
    own |= {f"/v2/{NAME}/blobs/{digest(blob)}": blob for blob in (WASM, *blobs)}
    return {path: (200, {}, content) for path, content in own.items()}


def pulled(told: Mapping[str, Any], keys: Path, asked: list[tuple[str, str]] | None = None) -> Path:
    with registries.hostile_registry(told, asked) as running:
        return pull_guest(f"oci://{running}/{NAME}:1", require_signature=[keys / "p256.pub"])


def of_layers(*layers: dict[str, Any]) -> bytes:
    return simple_manifest(*layers)[0]


def referring(content: bytes, **changed: Any) -> dict[str, Any]:
    """The answers of a registry that knows referrers, and has this bundle."""
    manifest = cosigned.referrer(GUEST, content)
    told = answers(content, referrers=index(entry(manifest, **changed)))
    return {**told, f"/v2/{NAME}/manifests/{digest(manifest)}": (200, {}, manifest)}


def signed_bundle(keys: Path, content: bytes, **changed: Any) -> bytes:
    signature = cosigned.signed_by_openssl(keys / "p256.pem", envelope_message(content))
    return bundle(content, signature, **changed)


# The signatures' tag


def test_a_good_signature_is_taken(keys: Path, signature: bytes) -> None:
    content = payload(GUEST)
    assert pulled(answers(content, tag=of_layers(simple_layer(content, signature))), keys).read_bytes() == WASM


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "its signatures: its manifest isn't JSON"),
        (b"[" * 100_000, "its signatures: its manifest isn't JSON"),
        (b"[]", "its signatures: its manifest has no list of layers"),
        (index(), "its signatures: it is an index"),
        (b"{" + b" " * (4 * 2**20) + b"}", "an answer has more than 4194304 bytes"),
        (of_layers(*[simple_layer(b"", b"")] * 101), "it has 101 signatures, more than 100"),
        (of_layers(*[simple_layer(b"", b"")] * 5000), "its manifest has 5000 layers, more than 1000"),
        (of_layers(simple_layer(b"", b"", digest="sha256:../../etc/passwd")), "no digest of the form sha256:DIGEST"),
        (of_layers(simple_layer(b"", b"", size=-1)), "has no size in bytes"),
        (of_layers(), "has no valid signature by .*: its registry has neither the tag"),
        (of_layers(simple_layer(b"", b"", mediaType="text/plain")), "its registry has neither the tag"),
        (of_layers(simple_layer(b"", b"", size=2**16 + 1)), "the payload of one has 65537 bytes, more than 65536"),
        (of_layers(simple_layer(b"x", b"", size=2)), "has 1 bytes where its manifest says 2"),
        (of_layers(simple_layer(b"x", b"")), "it has 1 signature: one is by another key, or its payload was changed"),
        (of_layers(simple_layer(b"x", "%%%")), "it has 1 signature: one isn't base64"),
        (of_layers(simple_layer(b"x", "A\n")), "one isn't base64"),
        (of_layers(simple_layer(b"x", "é")), "one isn't base64"),
        (of_layers(simple_layer(b"x", "A" * 5000)), "one has more than 4096 characters"),
        (of_layers(simple_layer(b"x", b"", annotations={})), "one isn't base64"),
        (of_layers(simple_layer(b"x", b"", annotations=[])), "one isn't base64"),
        (
            of_layers(simple_layer(b"x", b""), simple_layer(b"x", "%")),
            "it has 2 signatures: one is by another key, or its payload was changed; one isn't base64$",
        ),
    ],
    ids=lambda value: value[:40].strip() if isinstance(value, str) else "",
)
def test_other_manifests_are_refused(manifest: bytes, message: str, keys: Path, cache: Path) -> None:
    with pytest.raises(GuestError, match=message) as error:
        pulled(answers(b"x", tag=manifest), keys)
    assert str(error.value).isprintable()
    assert not list(cache.rglob("*.wasm"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (payload("sha256:" + "0" * 64), f"one is of another artifact, sha256:{'0' * 64}$"),
        (payload("\x1b[31m\n"), r"one is of another artifact, \\x1b\[31m\\n$"),
        (payload("\ud800"), r"one is of another artifact, \\ud800$"),
        (payload("a" * 10_000), "one is of another artifact, aaa"),
        (payload(GUEST.upper()), "one is of another artifact"),
        (payload(GUEST, type="atomic container signature"), "the payload of one isn't of the type 'cosign container"),
        (payload(GUEST, image=[]), "the payload of one isn't of the type"),
        (payload(GUEST, image={}), "one is of another artifact, none"),
        (b'{"critical": []}', "the payload of one isn't of the type"),
        (b"[]", "the payload of one isn't an object of JSON"),
        (b"[" * 50_000, "the payload of one isn't JSON"),
        (b"\xff", "the payload of one isn't JSON"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_signature_of_something_else_is_refused(content: bytes, message: str, keys: Path) -> None:
    signature = cosigned.signed_by_openssl(keys / "p256.pem", content)
    with pytest.raises(GuestError, match=message) as error:
        pulled(answers(content, tag=of_layers(simple_layer(content, signature))), keys)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_a_payload_that_was_changed_is_refused(keys: Path, signature: bytes) -> None:
    content = payload(GUEST) + b" "
    with pytest.raises(GuestError, match="one is by another key, or its payload was changed"):
        pulled(answers(content, tag=of_layers(simple_layer(content, signature))), keys)


def test_a_payload_of_another_digest_is_refused(keys: Path, signature: bytes) -> None:
    content = payload(GUEST)
    told = answers(tag=of_layers(simple_layer(content, signature)))
    told[f"/v2/{NAME}/blobs/{digest(content)}"] = (200, {}, content[:-1] + b" ")
    with pytest.raises(GuestError, match=f"the registry sent other bytes for {digest(content)}"):
        pulled(told, keys)


def test_a_good_signature_is_found_among_bad_ones(keys: Path, signature: bytes) -> None:
    content = payload(GUEST)
    bad = [simple_layer(b"x", b"x"), simple_layer(b"x", "%"), simple_layer(b"x", b"", size=2**30)]
    asked: list[tuple[str, str]] = []
    told = answers(content, b"x", tag=of_layers(*bad, *bad, simple_layer(content, signature)))
    assert pulled(told, keys, asked).exists()
    assert [path for path, _ in asked].count(f"/v2/{NAME}/blobs/{digest(b'x')}") == 1


# A tag that moves


class Moving(dict[str, Any]):
    """Answers in which the guest's tag names another guest from the second request on."""

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key, default)
        if key == f"/v2/{NAME}/manifests/1":
            self[key] = (200, {}, MANIFEST.replace(b"2", b"3", 1))
        return found


def test_a_tag_that_moves_meanwhile_gives_what_was_verified(keys: Path, signature: bytes) -> None:
    content = payload(GUEST)
    told = Moving(answers(content, tag=of_layers(simple_layer(content, signature))))
    path = pulled(told, keys)
    assert digest(path.with_name("manifest.json").read_bytes()) == GUEST
    with pytest.raises(GuestError, match=f"@sha256:(?!{GUEST[7:]}).* has no valid signature"):
        pulled(told, keys)


# Referrers


def test_a_bundle_that_refers_to_a_guest_is_taken(keys: Path) -> None:
    content = signed_bundle(keys, cosigned.statement(GUEST))
    assert pulled(referring(content), keys).read_bytes() == WASM


@pytest.mark.parametrize("status", [400, 404, 405, 406])
def test_the_tag_of_referrers_is_asked_where_the_registry_does_not_know_them(status: int, keys: Path) -> None:
    content = signed_bundle(keys, cosigned.statement(GUEST))
    manifest = cosigned.referrer(GUEST, content)
    told = answers(content, fallback=index(entry(manifest)))
    told[f"/v2/{NAME}/manifests/{digest(manifest)}"] = (200, {}, manifest)
    told[REFERRERS] = (status, {}, b"")
    assert pulled(told, keys).exists()


@pytest.mark.parametrize(
    ("referrers", "message"),
    [
        (b"", "its referrers: its manifest isn't JSON"),
        (b"[]", "its referrers: its manifest has no list of manifests"),
        (b'{"manifests": {}}', "its referrers: its manifest has no list of manifests"),
        (index(*[entry(b"")] * 101), "its referrers: it has 101 signatures, more than 100"),
        (index(*[entry(b"")] * 5000), "its manifest has 5000 manifests, more than 1000"),
        (index(entry(b"", digest="sha256:../../etc/passwd")), "manifest 1 of its manifest has no digest of the form"),
        (index(entry(b"", size="1")), "manifest 1 of its manifest has no size in bytes"),
        (json.dumps({"manifests": [1]}).encode(), "manifest 1 of its manifest is no object"),
        (b"{" + b" " * (4 * 2**20) + b"}", "an answer has more than 4194304 bytes"),
        (index(), "its registry has neither the tag sha256-[0-9a-f]{64}.sig nor a bundle that refers to it"),
        (index(entry(b"gone")), "its registry has neither the tag"),
        (index(entry(b"", artifactType="text/plain")), "its registry has neither the tag"),
        (index(entry(b"", artifactType=[])), "its registry has neither the tag"),
        (
            index(entry(b"", annotations={"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"})),
            "its registry has neither the tag",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_other_referrers_are_refused(referrers: bytes, message: str, keys: Path) -> None:
    with pytest.raises(GuestError, match=message) as error:
        pulled(answers(referrers=referrers), keys)
    assert str(error.value).isprintable()


def test_the_manifest_of_a_referrer_has_to_have_its_digest(keys: Path) -> None:
    content = signed_bundle(keys, cosigned.statement(GUEST))
    told = referring(content)
    manifest = cosigned.referrer(GUEST, content)
    told[f"/v2/{NAME}/manifests/{digest(manifest)}"] = (200, {}, manifest + b" ")
    with pytest.raises(GuestError, match="the registry sent another manifest"):
        pulled(told, keys)


def odd_bundles(keys: Path) -> Iterator[tuple[bytes, str]]:
    good = cosigned.statement(GUEST)
    envelope = json.loads(signed_bundle(keys, good))["dsseEnvelope"]
    signatures = envelope["signatures"]
    other = "https://slsa.dev/provenance/v1"
    yield signed_bundle(keys, cosigned.statement(GUEST, predicateType=other)), "the statement of one isn't https"
    yield signed_bundle(keys, cosigned.statement(GUEST, _type="x")), "isn't a statement of in-toto"
    yield signed_bundle(keys, cosigned.statement(GUEST, subject={})), "isn't a statement of in-toto"
    yield signed_bundle(keys, cosigned.statement(GUEST, subject=[])), "one is of another artifact, none"
    yield signed_bundle(keys, cosigned.statement("sha256:00")), "one is of another artifact, sha256:00"
    yield signed_bundle(keys, cosigned.statement(GUEST, subject=[1, {"digest": 1}])), "one is of another artifact, none"
    yield signed_bundle(keys, b"[]"), "the payload of one isn't an object of JSON"
    yield signed_bundle(keys, good, mediaType=f"{BUNDLE};version=9"), "the bundle of one isn't of the type"
    yield signed_bundle(keys, good, dsseEnvelope=1), "has no statement of in-toto"
    yield signed_bundle(keys, good, dsseEnvelope=None, messageSignature={}), "has no statement of in-toto"
    for kind in ("text/plain", 1):
        yield signed_bundle(keys, good, dsseEnvelope={**envelope, "payloadType": kind}), "has no statement of in-toto"
    several: tuple[Any, ...] = ([], [1], [*signatures, *signatures], {})
    for many in several:
        changed = {**envelope, "signatures": many}
        yield signed_bundle(keys, good, dsseEnvelope=changed), "the bundle of one has no signature, or several"
    for sig in ("%", 1):
        yield signed_bundle(keys, good, dsseEnvelope={**envelope, "signatures": [{"sig": sig}]}), "one isn't base64"
    yield signed_bundle(keys, good, dsseEnvelope={**envelope, "payload": "%"}), "the payload of one isn't base64"
    yield bundle(good, cosigned.signed_by_openssl(keys / "p256.pem", good)), "one is by another key"
    yield b"[" * 100_000, "the bundle of one isn't JSON"
    yield b" " * (2**20 + 1), "the payload of one has 1048577 bytes, more than 1048576"


def test_other_bundles_are_refused(keys: Path) -> None:
    for content, message in odd_bundles(keys):
        with pytest.raises(GuestError, match=message) as error:
            pulled(referring(content), keys)
        assert str(error.value).isprintable()


# Answers of any kind


@pytest.mark.parametrize("where", [TAG, REFERRERS, FALLBACK, f"/v2/{NAME}/blobs/{digest(b'payload')}"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_answer_without_end_is_not_read_to_its_end(where: str, status: int, keys: Path) -> None:
    told = answers() if where in (REFERRERS, FALLBACK) else answers(tag=of_layers(simple_layer(b"payload", b"")))
    told[where] = (status, {}, registries.ENDLESS)
    with pytest.raises(GuestError, match=r"has more (bytes|than)"):
        pulled(told, keys)


@pytest.mark.parametrize("where", [TAG, REFERRERS, FALLBACK])
@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_registry_that_refuses_to_show_signatures_is_told(where: str, status: int, keys: Path) -> None:
    with pytest.raises(GuestError, match="can't be verified: "):
        pulled(answers() | {where: (status, {}, b"")}, keys)


def test_each_refusal_is_one_line_of_the_command(keys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = answers(b"x", tag=of_layers(simple_layer(b"x", "%")))
    with registries.hostile_registry(told) as running:
        place = f"oci://{running}/{NAME}"
        assert cli.main(["run", "--require-signature", str(keys / "p256.pub"), f"{place}:1"]) == 1
        error = f"{place}@{GUEST} has no valid signature by {keys / 'p256.pub'}: it has 1 signature: one isn't base64"
        assert capfd.readouterr().err.strip().endswith(f"wasi-nn: {error}")
        for key in ("p256.pem", "none.pub"):
            assert cli.main(["run", "--require-signature", str(keys / key), f"{place}:1"]) == 1
            (line,) = capfd.readouterr().err.splitlines()
            assert line.startswith(f"wasi-nn: {keys / key} can't be used as a key: ")


def test_a_signature_is_not_added_to_those_that_can_not_be_read(keys: Path) -> None:
    key = private_key(keys / "p256.pem", "guest")
    for manifest, message in (
        (b"{}", "no list of layers"),
        (of_layers(*[simple_layer(b"", b"")] * 101), "it has 101 signatures, more than 100"),
    ):
        with registries.hostile_registry(answers(tag=manifest)) as running:
            reference = Reference.parse(f"oci://{running}/{NAME}@{GUEST}")
            with pytest.raises(GuestError, match=f"can't be signed: .*{message}"):
                push_signature(Repository(reference), reference, key)
