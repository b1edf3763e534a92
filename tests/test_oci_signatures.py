"""Signatures of guests in registries: made and verified by openssl on the one side, by this package on the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import cosigned
import pytest
import registries
from conftest import REPOSITORY, need
from cosigned import PASSWORD, WAT, payload, put_simple, signed_by_openssl, tag_of
from page_blocks import blocks_of

from wasi_nn import cli
from wasi_nn.errors import GuestError
from wasi_nn.oci import Reference, pull_files, pull_guest, push_guest

GUESTS = REPOSITORY / "guests"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("cryptography", "'wasi-nn[oci]'")
    return cosigned.make_keys(tmp_path_factory.mktemp("keys"))


host, cache = registries.host, registries.cache


@pytest.fixture(autouse=True)
def without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)


def pushed(host: str, name: str, code: int = 7, sign: Path | None = None) -> Reference:
    """A guest in the registry that ends with a code. Its name is in it, so that each test has a guest of its own."""
    guest = f'{WAT.format(code)[:-1]} (data (i32.const 0) "{name}"))'
    return push_guest(guest.encode(), f"oci://{host}/{name}:1", sign=sign)


def named(reference: Reference) -> str:
    assert reference.digest is not None
    return reference.digest


# Signatures that openssl made


@pytest.mark.parametrize(
    ("kind", "algorithm", "options"),
    [
        ("p256", "sha256", ()),
        ("p384", "sha256", ()),
        ("p384", "sha384", ()),
        ("p521", "sha256", ()),
        ("p521", "sha512", ()),
        ("rsa", "sha256", ()),
        ("rsa", "sha256", cosigned.PSS),
        ("ed25519", "", ()),
    ],
)
def test_a_signature_of_openssl_is_taken(
    kind: str, algorithm: str, options: tuple[str, ...], host: str, keys: Path, tmp_path: Path
) -> None:
    name = f"signed/{kind}{algorithm}{len(options)}"
    reference = pushed(host, name)
    content = payload(named(reference))
    signature = signed_by_openssl(keys / f"{kind}.pem", content, algorithm, *options)
    put_simple(host, name, named(reference), (content, signature))
    assert pull_guest(f"oci://{host}/{name}:1", require_signature=[keys / f"{kind}.pub"]).exists()
    assert pull_files(reference, tmp_path / "into", require_signature=[(keys / f"{kind}.pub").read_bytes()])
    with pytest.raises(
        GuestError, match=r"has no valid signature by .*other.pub: it has 1 signature: one is by another"
    ):
        pull_guest(reference, require_signature=[keys / "other.pub"])


def test_a_weak_digest_is_not_taken(host: str, keys: Path) -> None:
    for kind, algorithm in (("p256", "sha1"), ("rsa", "sha1"), ("p256", "sha512"), ("rsa", "sha512")):
        name = f"weak/{kind}{algorithm}"
        reference = pushed(host, name)
        content = payload(named(reference))
        put_simple(host, name, named(reference), (content, signed_by_openssl(keys / f"{kind}.pem", content, algorithm)))
        with pytest.raises(GuestError, match="one is by another key, or its payload was changed"):
            pull_guest(reference, require_signature=[keys / f"{kind}.pub"])


def test_any_of_several_keys_and_of_several_signatures_suffices(host: str, keys: Path) -> None:
    reference = pushed(host, "several")
    content = payload(named(reference), identity={"docker-reference": ""})
    signatures = [(content, signed_by_openssl(keys / f"{kind}.pem", content)) for kind in ("other", "p384", "p256")]
    put_simple(host, "several", named(reference), *signatures)
    wanted = [keys / "rsa.pub", keys / "p256.pub"]
    assert pull_guest(reference, require_signature=wanted).exists()
    with pytest.raises(GuestError, match=r"by .*rsa.pub or .*p521.pub: it has 3 signatures: one is by another key"):
        pull_guest(reference, require_signature=[keys / "rsa.pub", keys / "p521.pub"])


@pytest.mark.parametrize("listed", ["by cosign", "by its types"])
def test_a_bundle_is_taken_where_a_registry_does_not_know_referrers(listed: str, host: str, keys: Path) -> None:
    name = f"bundle/{listed.replace(' ', '-')}"
    reference = pushed(host, name)
    content = cosigned.statement(named(reference))
    signature = signed_by_openssl(keys / "p256.pem", cosigned.envelope_message(content))
    bundle = cosigned.bundle(content, signature)
    manifest = cosigned.referrer(named(reference), bundle)
    cosigned.put(host, name, cosigned.digest(manifest), manifest, bundle, b"{}")
    kind = {"artifactType": "application/vnd.oci.empty.v1+json"} if listed == "by cosign" else {}
    index = cosigned.index(cosigned.entry(manifest, **kind))
    cosigned.put(host, name, named(reference).replace(":", "-"), index, kind=cosigned.INDEX)
    assert pull_guest(reference, require_signature=[keys / "p256.pub"]).exists()
    with pytest.raises(GuestError, match="it has 1 signature: one is by another key"):
        pull_guest(reference, require_signature=[keys / "other.pub"])


# Signatures that this package makes


@pytest.mark.parametrize(
    ("private", "public", "algorithm"),
    [
        ("p256", "p256", "sha256"),
        ("p384", "p384", "sha256"),
        ("p521", "p521", "sha256"),
        ("rsa", "rsa", "sha256"),
        ("ed25519", "ed25519", ""),
        ("encrypted", "p256", "sha256"),
        ("encrypted-ec", "p256", "sha256"),
        ("ec", "p256", "sha256"),
    ],
)
def test_openssl_verifies_what_is_signed(
    private: str, public: str, algorithm: str, host: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", PASSWORD)
    name = f"signs/{private}"
    reference = pushed(host, name, sign=keys / f"{private}.pem")
    manifest = json.loads(cosigned.got(host, name, f"manifests/{tag_of(named(reference))}"))
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == cosigned.SIMPLE
    content = cosigned.got(host, name, f"blobs/{layer['digest']}")
    assert len(content) == layer["size"]
    assert content == payload(named(reference), identity={"docker-reference": f"{host}/{name}"})
    signature = b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    cosigned.openssl_verifies(keys / f"{public}.pub", content, signature, algorithm)
    config = json.loads(cosigned.got(host, name, f"blobs/{manifest['config']['digest']}"))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert pull_guest(reference, require_signature=[keys / f"{public}.pub"]).exists()


def test_a_signature_is_added_to_those_of_others_once(host: str, keys: Path) -> None:
    reference = pushed(host, "added")
    content = payload(named(reference))
    put_simple(host, "added", named(reference), (content, signed_by_openssl(keys / "other.pem", content)))
    for _ in range(2):
        for key in ("p256", "rsa"):
            assert pushed(host, "added", sign=keys / f"{key}.pem") == reference
    manifest = json.loads(cosigned.got(host, "added", f"manifests/{tag_of(named(reference))}"))
    assert len(manifest["layers"]) == 3
    for key in ("other", "p256", "rsa"):
        assert pull_guest(reference, require_signature=[keys / f"{key}.pub"]).exists()


def test_a_guest_is_signed_before_its_tag_names_it(host: str, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wasi_nn.oci.registry import Repository

    tags: list[str] = []
    write = Repository.write_manifest

    def watched(self: Repository, content: bytes, tag: str) -> None:
        tags.append(tag)
        write(self, content, tag)

    monkeypatch.setattr(Repository, "write_manifest", watched)
    reference = pushed(host, "before", sign=keys / "p256.pem")
    assert tags == [tag_of(named(reference)), "1"]


# What is kept


def test_a_guest_that_was_pulled_without_a_signature_needs_one_afterwards(host: str, keys: Path) -> None:
    reference = pushed(host, "earlier")
    path = pull_guest(reference)
    for name in (str(reference), f"oci://{host}/earlier:1"):
        with pytest.raises(GuestError, match=r"has no valid signature by .*p256.pub: its registry has neither the tag"):
            pull_guest(name, require_signature=[keys / "p256.pub"])
    pushed(host, "earlier", sign=keys / "p256.pem")
    assert pull_guest(reference, require_signature=[keys / "p256.pub"]) == path


def test_a_kept_signature_is_verified_without_its_registry(
    tmp_path_factory: pytest.TempPathFactory, keys: Path, write: Callable[[str, bytes], Path]
) -> None:
    wanted = [keys / "rsa.pub", keys / "p256.pub"]
    with registries.registry(tmp_path_factory.mktemp("short")) as running:
        reference = pushed(running, "kept", sign=keys / "p256.pem")
        unsigned = pushed(running, "unsigned")
        path = pull_guest(reference, require_signature=wanted)
        pull_guest(unsigned)
    assert pull_guest(reference, require_signature=wanted) == path
    for without, key in ((reference, "other.pub"), (unsigned, "p256.pub")):
        with pytest.raises(GuestError, match="can't be reached: Connection refused"):
            pull_guest(without, require_signature=[keys / key])
    (kept,) = path.parent.glob("signature-*.json")
    table = json.loads(kept.read_bytes())
    changed = [{**table, "payload": table["signature"]}, {**table, "signature": "%"}, {**table, "mediaType": 1}, []]
    for content in (*(json.dumps(each).encode() for each in changed), b"", b"{", b"\xff", b"[" * 10**6):
        kept.write_bytes(content)
        with pytest.raises(GuestError, match="can't be reached: Connection refused"):
            pull_guest(reference, require_signature=wanted)


def test_the_kept_signature_of_another_guest_is_not_taken(host: str, keys: Path) -> None:
    signed, unsigned = pushed(host, "one", sign=keys / "p256.pem"), pushed(host, "two")
    (kept,) = pull_guest(signed, require_signature=[keys / "p256.pub"]).parent.glob("signature-*.json")
    shutil.copy(kept, pull_guest(unsigned).parent)
    with pytest.raises(GuestError, match="has no valid signature"):
        pull_guest(unsigned, require_signature=[keys / "p256.pub"])


def test_a_guest_is_not_kept_where_its_signature_fails(host: str, keys: Path, cache: Path) -> None:
    with pytest.raises(GuestError, match="has no valid signature"):
        pull_guest(pushed(host, "none"), require_signature=[keys / "p256.pub"])
    assert not list(cache.rglob("*.wasm"))


def test_a_tag_that_moves_to_a_guest_without_a_signature_is_refused(host: str, keys: Path) -> None:
    wanted = [keys / "p256.pub"]
    signed = pushed(host, "moves", sign=keys / "p256.pem")
    assert pull_guest(f"oci://{host}/moves:1", require_signature=wanted).exists()
    moved = pushed(host, "moves", code=8)
    with pytest.raises(GuestError, match=f"{named(moved)} has no valid signature"):
        pull_guest(f"oci://{host}/moves:1", require_signature=wanted)
    content = payload(named(signed))
    put_simple(host, "moves", named(moved), (content, signed_by_openssl(keys / "p256.pem", content)))
    with pytest.raises(GuestError, match=f"it has 1 signature: one is of another artifact, {named(signed)}"):
        pull_guest(f"oci://{host}/moves:1", require_signature=wanted)


# The command


def test_the_command_runs_and_pulls_only_what_is_signed(
    host: str, keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path]
) -> None:
    wat, place = write("exits.wat", WAT.format(7).encode()), f"oci://{host}/commands/exits:1"
    required = ["--require-signature", str(keys / "other.pub"), "--require-signature", str(keys / "p256.pub")]
    directory = str(tmp_path / "into")
    commands = [
        ["run", *required, place],
        ["map", *required, "--output", os.devnull, place, "a"],
        ["inspect", *required, place],
        ["pull", *required, place, directory],
    ]
    assert cli.main(["push", str(wat), place]) == 0
    for command in commands:
        assert cli.main(command) == 1
        error = capfd.readouterr().err.splitlines()[-1]
        assert f"has no valid signature by {keys / 'other.pub'} or {keys / 'p256.pub'}: its registry has" in error
    assert not Path(directory).exists()
    assert cli.main(["push", "--sign", str(keys / "p256.pem"), str(wat), place]) == 0
    assert [cli.main(command) for command in commands] == [7, 1, 0, 0]  # map: the guest's code is an item's failure
    assert Path(directory, "exits.wasm").exists()


def test_a_file_of_graphs_is_signed_with_its_policy(
    host: str, keys: Path, tmp_path: Path, write: Callable[[str, bytes], Path]
) -> None:
    table = b"""
[guests.web]
path = "web.wasm"
serves = "http"
limits = { guest-memory = "64M", run-time = "2s" }
http-out = ["https://api.example.com"]
"""
    guest = write("made/web.wasm", (GUESTS / "c" / "serve_files.wasm").read_bytes())
    graphs, place = write("made/graphs.toml", table), f"oci://{host}/policy:1"
    assert cli.main(["push", "--sign", str(keys / "p256.pem"), "--graphs", str(graphs), str(guest), place]) == 0
    command = ["pull", "--require-signature", str(keys / "p256.pub"), place]
    assert cli.main([*command, str(tmp_path / "first")]) == 0
    assert (tmp_path / "first" / "graphs.toml").read_bytes() == table
    graphs.write_bytes(table.replace(b"64M", b"64G"))
    assert cli.main(["push", "--graphs", str(graphs), str(guest), place]) == 0
    assert cli.main([*command, str(tmp_path / "second")]) == 1


@pytest.mark.parametrize(
    "command", [["run"], ["map"], ["inspect"], ["inspect", "model.xml"]], ids=lambda value: "-".join(value)
)
def test_a_file_can_not_have_a_required_signature(
    command: list[str], capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path]
) -> None:
    guest = str(write("exits.wat", WAT.format(7).encode()))
    inputs = ["a"] if command == ["map"] else []
    assert cli.main([command[0], "--require-signature", "key.pub", *command[1:], guest, *inputs]) == 2
    assert "--require-signature is for guests in registries, oci://HOST/NAME:TAG: " in capfd.readouterr().err


# The page


def test_the_commands_of_the_page_do_as_it_says(host: str, tmp_path: Path) -> None:
    need("cryptography", "'wasi-nn[oci]'")
    text = (REPOSITORY / "docs" / "how-to" / "registries.md").read_text()
    section = text.partition("\n## Signatures\n")[2].partition("\n## ")[0]
    program = tmp_path / "bin" / "wasi-nn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m wasi_nn "$@"\n')
    program.chmod(0o755)
    for name in ("colours.onnx", "colours.txt", "apple.ppm"):
        shutil.copy(GUESTS / "example" / name, tmp_path)
    shutil.copy(GUESTS / "c" / "classify.wasm", tmp_path)
    commands = "".join(block.text for block in blocks_of(section) if block.language == "sh")
    assert "--require-signature" in commands
    assert "--sign" in commands
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", commands.replace("localhost:5000", host)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "red" in done.stdout
