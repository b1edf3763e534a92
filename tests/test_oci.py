"""Guests in registries: pushes to and pulls from Debian's docker-registry, and pulls from a hostile registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import registries
from conftest import need

from wasi_nn import cli
from wasi_nn.errors import GuestError
from wasi_nn.oci import Reference, pull_files, pull_guest, push_guest
from wasi_nn.oci.artifact import CONFIG, GUEST, TITLE
from wasi_nn.oci.registry import Blob, Repository

EXIT_7 = (
    '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)'
    '(func (export "_start") (call $exit (i32.const 7))))'
)
GUESTS = Path(__file__).parent.parent / "guests"
WASM = b"\0asm\x01\0\0\0"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


host, cache = registries.host, registries.cache


# References


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci://example.com/guest", ("example.com", "guest", "latest", None)),
        ("oci://example.com:5000/a/b-c/d__e:1.0", ("example.com:5000", "a/b-c/d__e", "1.0", None)),
        (f"oci://[::1]:5000/g@{digest(b'')}", ("[::1]:5000", "g", "latest", digest(b""))),
        (f"oci://example.com/g:tag@{digest(b'')}", ("example.com", "g", "tag", digest(b""))),
    ],
)
def test_a_reference_is_taken_apart(text: str, parts: tuple[str, str, str, str | None]) -> None:
    reference = Reference.parse(text)
    assert (reference.host, reference.name, reference.tag, reference.digest) == parts


@pytest.mark.parametrize(
    "text",
    [
        "oci://",
        "oci://example.com",
        "oci://example.com/",
        "oci://example.com/Upper",
        "oci://example.com/a/../b",
        "oci://example.com//a",
        "oci://user@example.com/a",
        "oci://example.com/a:",
        "oci://example.com/a@sha256:12",
        f"oci://example.com/a@sha512:{'0' * 64}",
        "oci://example.com/a?x=1",
        "oci://example.com/a b",
        "oci://example.com/a\n",
        "oci://example.com/" + "a" * 2000,
    ],
)
def test_other_texts_are_no_references(text: str) -> None:
    with pytest.raises(GuestError, match="is no reference to an artifact: it takes the form oci://HOST/NAME:TAG or"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost:5000", True),
        ("127.8.8.8", True),
        ("[::1]:80", True),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_only_registries_of_this_machine_are_asked_without_tls(name: str, local: bool) -> None:
    assert Reference.parse(f"oci://{name}/g").is_local is local


# Push and pull


def test_a_guest_is_pushed_and_pulled_by_tag_and_digest(host: str, write: Callable[[str, bytes], Path]) -> None:
    pushed = push_guest(write("exits.wat", EXIT_7.encode()), f"oci://{host}/tests/exits:1.0")
    assert pushed.digest is not None
    assert str(pushed) == f"oci://{host}/tests/exits@{pushed.digest}"
    by_tag = pull_guest(f"oci://{host}/tests/exits:1.0")
    assert by_tag == pull_guest(str(pushed))
    assert by_tag.name == "exits.wasm"
    assert by_tag.read_bytes().startswith(WASM)


def test_the_same_guest_has_the_same_digest(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = (GUESTS / "c" / "infer.wasm").read_bytes()
    first = push_guest(guest, f"oci://{host}/tests/same:1").digest
    assert first == push_guest(guest, f"oci://{host}/tests/same:2").digest
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert first != push_guest(guest, f"oci://{host}/tests/same:3").digest


def test_an_artifact_says_for_what_its_guest_is_made(host: str) -> None:
    import urllib.request

    def blob(kind: str, name: str) -> Any:
        address = f"http://{host}/v2/tests/made/{kind}/{name}"
        accepting = urllib.request.Request(address, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(accepting) as answer:
            return json.load(answer)

    for guest, system in (("c/infer.wasm", "wasip1"), ("component/infer.wasm", "wasip2")):
        pushed = push_guest(GUESTS / guest, f"oci://{host}/tests/made:{system}")
        manifest = blob("manifests", str(pushed.digest))
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == GUEST
        assert layer["annotations"] == {TITLE: "infer.wasm"}
        assert manifest["config"]["mediaType"] == CONFIG
        config = blob("blobs", manifest["config"]["digest"])
        assert (config["architecture"], config["os"]) == ("wasm", system)
        assert config["layerDigests"] == [layer["digest"]] == [digest((GUESTS / guest).read_bytes())]
        if system == "wasip2":
            assert any(name.startswith("wasi:nn/") for name in config["component"]["imports"])
            assert any(name.startswith("wasi:cli/run@") for name in config["component"]["exports"])


def test_a_pinned_guest_needs_its_registry_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    with registries.registry(tmp_path_factory.mktemp("short")) as running:
        pushed = push_guest(EXIT_7.encode(), f"oci://{running}/g:1")
        path = pull_guest(str(pushed))
    assert pull_guest(str(pushed)) == path
    with pytest.raises(GuestError, match=f"oci://{running}/g:1 can't be reached: Connection refused$"):
        pull_guest(f"oci://{running}/g:1")


@pytest.mark.parametrize("damage", ["guest", "manifest", "removed"])
def test_a_damaged_copy_is_pulled_again(host: str, damage: str) -> None:
    pushed = push_guest(EXIT_7.encode(), f"oci://{host}/tests/damaged:1")
    path = pull_guest(pushed)
    content = path.read_bytes()
    changed = path if damage == "guest" else path.with_name("manifest.json")
    changed.unlink() if damage == "removed" else changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    assert pull_guest(pushed).read_bytes() == content


@pytest.mark.parametrize("which", [0, 1], ids=["all", "one"])
def test_a_cache_that_others_can_write_is_not_used(host: str, cache: Path, which: int) -> None:
    pushed = push_guest(EXIT_7.encode(), f"oci://{host}/tests/others:1")
    folder = pull_guest(pushed).parents[1 - which]
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(GuestError, match=f"can't be kept in {folder}: other users can write to it"):
        pull_guest(pushed)


def test_pulled_guests_are_shown_and_removed(host: str, capfd: pytest.CaptureFixture[str], cache: Path) -> None:
    path = pull_guest(push_guest(EXIT_7.encode(), f"oci://{host}/tests/kept:1"))
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    assert cli.main(["cache", "--clear", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["pulled"]
    assert told == {"folder": str(cache / "wasi-nn" / "guests"), "guests": 1, "bytes": size, "removed": 1}
    assert not path.exists()


def test_a_tag_that_moves_names_the_new_guest(host: str) -> None:
    push_guest(EXIT_7.encode(), f"oci://{host}/tests/moves:1")
    before = pull_guest(f"oci://{host}/tests/moves:1").read_bytes()
    push_guest(EXIT_7.replace("7", "8").encode(), f"oci://{host}/tests/moves:1")
    assert pull_guest(f"oci://{host}/tests/moves:1").read_bytes() != before


def test_a_registry_with_users_takes_the_credentials_of_docker_login(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("users")
    with registries.registry(folder, has_users=True) as running:
        with pytest.raises(GuestError, match=r"can't be pushed: .*credentials"):
            push_guest(EXIT_7.encode(), f"oci://{running}/g:1")
        monkeypatch.setenv("DOCKER_CONFIG", str(registries.credentials(folder, running)))
        push_guest(EXIT_7.encode(), f"oci://{running}/g:1")
        assert pull_guest(f"oci://{running}/g:1").read_bytes().startswith(WASM)


def test_what_a_registry_lacks_is_told(host: str) -> None:
    with pytest.raises(GuestError, match=f"oci://{host}/tests/none:1 can't be pulled: the registry answers 404"):
        pull_guest(f"oci://{host}/tests/none:1")


def test_a_registry_without_tls_is_told(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reference, "is_local", False)
    with pytest.raises(
        GuestError, match=rf"can't be reached: .*; if {host} is a registry without TLS: .*--plain-http$"
    ):
        pull_guest(f"oci://{host}/g:1")


def test_a_digest_can_be_required(host: str) -> None:
    with pytest.raises(GuestError, match=r"has no digest, which is required: give oci://.*@sha256:DIGEST"):
        pull_guest(f"oci://{host}/g:1", require_digest=True)
    pushed = push_guest(EXIT_7.encode(), f"oci://{host}/g:1")
    assert pull_guest(pushed, require_digest=True)


def test_a_digest_is_no_place_to_push_to(host: str) -> None:
    with pytest.raises(GuestError, match="a push takes a tag, and gives the digest"):
        push_guest(EXIT_7.encode(), f"oci://{host}/g@{digest(b'')}")


# The command


def test_the_command_runs_a_pushed_guest(
    host: str, capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path]
) -> None:
    guest = write("exits.wat", EXIT_7.encode())
    assert cli.main(["push", str(guest), f"oci://{host}/tests/run:1"]) == 0
    pinned = capfd.readouterr().out.strip()
    assert cli.main(["run", f"oci://{host}/tests/run:1"]) == 7
    assert cli.main(["run", "--require-digest", pinned]) == 7
    assert cli.main(["run", "--require-digest", f"oci://{host}/tests/run:1"]) == 1
    assert "has no digest" in capfd.readouterr().err
    assert cli.main(["inspect", pinned]) == 0
    assert "core module" in capfd.readouterr().out


def test_a_file_of_graphs_goes_with_its_guest(
    host: str, capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    example = GUESTS / "example"
    for name in ("colours.onnx", "colours.txt", "apple.ppm"):
        write(f"made/models/{name}", (example / name).read_bytes())
    graphs = write("made/graphs.toml", b'[graphs.colours]\npath = "models/colours.onnx"\n')
    guest = str(GUESTS / "c" / "classify.wasm")
    assert cli.main(["push", "--json", "--graphs", str(graphs), guest, f"oci://{host}/tests/colours:1"]) == 0
    reference = json.loads(capfd.readouterr().out)["reference"]
    shutil.rmtree(tmp_path / "made")
    assert cli.main(["pull", "--require-digest", "--json", reference, str(tmp_path / "pulled")]) == 0
    files = json.loads(capfd.readouterr().out)["files"]
    assert [str(Path(file).relative_to(tmp_path / "pulled")) for file in files] == [
        "classify.wasm",
        "graphs.toml",
        "models/colours.onnx",
    ]
    settings = ["--graphs", files[1], "--dir", f"{example}::/data:ro"]
    arguments = ["--graph", "colours", "--labels", "/data/colours.txt", "/data/apple.ppm"]
    assert cli.main(["run", *settings, files[0], *arguments]) == 0
    assert "red" in capfd.readouterr().out
    assert cli.main(["pull", reference, str(tmp_path / "pulled")]) == 1
    assert "the folder isn't empty" in capfd.readouterr().err


def test_the_guests_of_a_file_of_graphs_go_with_it(
    host: str, capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    serves = (GUESTS / "c" / "serve_files.wasm").read_bytes()
    for name, content in {"serve.wasm": serves, "data/a.txt": b"a", "data/in/b.txt": b"b", "ca.pem": b""}.items():
        write(f"made/{name}", content)
    table = b"""
[graphs.far]
path = "http://localhost:1/far"
[guests.files]
path = "serve.wasm"
serves = "http"
directories = { "/data" = "data" }
http-out = { to = ["https://api.example.com"], ca-file = "ca.pem" }
"""
    graphs = str(write("made/graphs.toml", table))
    push = ["push", "--graphs", graphs]
    reference = f"oci://{host}/tests/guests:1"
    for guest in (str(GUESTS / "c" / "classify.wasm"), str(tmp_path / "made" / "serve.wasm")):
        assert cli.main([*push, guest, reference]) == 0
    shutil.rmtree(tmp_path / "made")
    assert cli.main(["pull", reference, str(tmp_path / "pulled")]) == 0
    pulled = {str(it.relative_to(tmp_path / "pulled")) for it in (tmp_path / "pulled").rglob("*") if it.is_file()}
    assert pulled == {"serve.wasm", "graphs.toml", "data/a.txt", "data/in/b.txt", "ca.pem"}
    capfd.readouterr()
    assert cli.main(["graphs", "--graphs", str(tmp_path / "pulled" / "graphs.toml")]) == 0
    assert "serve.wasm" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[graphs.net]\npath = "../secret.onnx"', "graph 'net' can't be pushed: its model"),
        ('[guests.g]\npath = "../secret.onnx"', "guest 'g' can't be pushed: its file"),
        ('[guests.g]\npath = "infer.wasm"\ndirectories = { "/d" = ".." }', "guest 'g' can't be pushed: its directory"),
        (
            '[guests.g]\npath = "infer.wasm"\ndirectories = { "/d" = "links" }',
            "guest 'g' can't be pushed: its directory",
        ),
        ('[guests.g]\npath = "infer.wasm"\ndirectories = { "/d" = "empty" }', "has no files"),
        ('[guests.g]\npath = "infer.wasm"', "one of its files is named infer.wasm too"),
    ],
)
def test_what_can_not_go_with_a_guest_is_told(
    table: str, message: str, host: str, capfd: pytest.CaptureFixture[str], write: Callable[[str, bytes], Path]
) -> None:
    secret = write("secret.onnx", b"secret")
    write("made/infer.wasm", WASM)
    graphs = write("made/graphs.toml", table.encode())
    for folder in ("links", "empty"):
        (graphs.parent / folder).mkdir()
    (graphs.parent / "links" / "secret").symlink_to(secret)
    assert cli.main(["push", "--graphs", str(graphs), str(GUESTS / "c/infer.wasm"), f"oci://{host}/tests/out:1"]) == 1
    assert message in capfd.readouterr().err


def test_a_file_is_pushed_in_parts_and_not_by_what_it_becomes(
    host: str, write: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasi_nn.oci.registry._CHUNK", 1000)
    model, guest = write("model.onnx", bytes(2500)), GUESTS / "c/infer.wasm"
    place = Reference.parse(f"oci://{host}/tests/parts:1")
    push_guest(guest, place, files={"model.onnx": model, "none.txt": write("none.txt", b"")})
    blob = Blob(changed := write("changed.onnx", b"x" * 2500))
    assert (len(blob), [len(part) for part in blob]) == (2500, [1000, 1000, 500])
    changed.write_bytes(b"x" * 2600)
    assert sum(map(len, blob)) == 2500
    changed.write_bytes(b"x" * 1500)
    with pytest.raises(GuestError, match="has become shorter meanwhile"):
        Repository(place).write_blob(blob)


# A registry that cheats

NAME = "tests/guest"


def manifest_of(*layers: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "layers": list(layers), **others}).encode()


def layer_of(content: bytes, kind: str = GUEST, size: int | None = None, title: str | None = None) -> dict[str, Any]:
    table: dict[str, Any] = {"mediaType": kind, "digest": digest(content), "size": size or len(content)}
    return table if title is None else {**table, "annotations": {TITLE: title}}


def pulled(manifest: bytes, tmp_path: Path, blobs: dict[bytes, bytes] | None = None, headers: Any = None) -> Path:
    """Pull a guest from a registry that has this manifest, and these bytes for the digests of the keys."""
    need("oras", "'wasi-nn[oci]'")
    answers: dict[str, Any] = {"/v2/": (200, {}, b"{}"), f"/v2/{NAME}/manifests/1": (200, headers or {}, manifest)}
    answers |= {f"/v2/{NAME}/blobs/{digest(key)}": (200, {}, value) for key, value in (blobs or {}).items()}
    with registries.hostile_registry(answers) as running:
        pull_files(f"oci://{running}/{NAME}:1", tmp_path / "into")
        return pull_guest(f"oci://{running}/{NAME}:1")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "its manifest isn't JSON"),
        (b"[" * 100_000, "its manifest isn't JSON"),
        (b"[]", "no list of layers"),
        (b'{"layers": {}}', "no list of layers"),
        (b'{"mediaType": "application/vnd.oci.image.index.v1+json"}', "index of several artifacts"),
        (manifest_of(), "no layer of the type application/wasm"),
        (manifest_of(*[layer_of(WASM)] * 2), "2 layers of the type"),
        (manifest_of(*[layer_of(WASM)] * 1001), "layers, more than 1000"),
        (
            manifest_of({"mediaType": GUEST, "digest": "sha256:../../etc/passwd", "size": 1}),
            "no digest of the form sha256:DIGEST",
        ),
        (manifest_of({"mediaType": GUEST, "digest": digest(b""), "size": True}), "no size"),
        (manifest_of({"mediaType": GUEST, "digest": digest(b""), "size": -1}), "no size"),
        (manifest_of({"mediaType": 1, "digest": digest(b""), "size": 1}), "layer 1 of its manifest has no mediaType"),
        (b"{" + b" " * (4 * 2**20) + b"}", "has more than 4194304 bytes"),
        (manifest_of(layer_of(WASM, "\x1b[31m\n")), r"its layers: \\x1b\[31m\\n\)"),
    ],
    ids=lambda value: value[:40].strip() if isinstance(value, str) else "",
)
def test_a_manifest_that_is_no_guests_is_refused(manifest: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(GuestError, match=message):
        pulled(manifest, tmp_path)


@pytest.mark.parametrize(
    ("sent", "size", "message"),
    [
        (WASM + b"x", None, "has more bytes where its manifest says 8"),
        (WASM[:5], None, "has 5 bytes where its manifest says 8"),
        (WASM[:7] + b"\x01", None, "sent other bytes for"),
    ],
)
def test_bytes_that_are_not_those_of_the_digest_are_refused(
    sent: bytes, size: int | None, message: str, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(GuestError, match=message):
        pulled(manifest_of(layer_of(WASM, size=size)), tmp_path, {WASM: sent})
    assert [path for path in (tmp_path / "into").rglob("*") if path.is_file()] == []


def test_a_manifest_of_another_digest_is_refused() -> None:
    need("oras", "'wasi-nn[oci]'")
    wanted = digest(b"another")
    answers: dict[str, Any] = {f"/v2/{NAME}/manifests/{wanted}": (200, {}, manifest_of(layer_of(WASM)))}
    with (
        registries.hostile_registry(answers) as running,
        pytest.raises(GuestError, match="the registry sent another manifest"),
    ):
        pull_guest(f"oci://{running}/{NAME}@{wanted}")


def test_a_guest_too_large_to_be_one_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="more than"):
        pulled(manifest_of(layer_of(WASM, size=2**40)), tmp_path)


@pytest.mark.parametrize("title", ["../out", "/etc/out", "a/../../out", "a//b", ".", "a\\b", "c:out", "a\nb", "", "a/"])
def test_a_file_can_not_leave_its_folder(title: str, tmp_path: Path) -> None:
    manifest = manifest_of(layer_of(WASM), layer_of(b"x", "text/plain", title=title))
    with pytest.raises(GuestError, match="the name of a file isn't a path below a folder"):
        pulled(manifest, tmp_path, {WASM: WASM, b"x": b"x"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("titles", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("guest.wasm", "b")])
def test_two_files_can_not_have_one_place(titles: tuple[str, str], tmp_path: Path) -> None:
    layers = [layer_of(b"x", "text/plain", title=title) for title in titles]
    with pytest.raises(GuestError, match="is the path of two of its files, or a folder of one"):
        pulled(manifest_of(layer_of(WASM), *layers), tmp_path, {WASM: WASM, b"x": b"x"})


def test_a_refusal_is_told_in_the_registrys_words_on_one_line(tmp_path: Path) -> None:
    need("oras", "'wasi-nn[oci]'")
    told = json.dumps({"errors": [{"message": "no\nway \x1b[31m"}, {"code": "DENIED"}]}).encode()
    answers: dict[str, Any] = {f"/v2/{NAME}/manifests/1": (500, {}, told)}
    with (
        registries.hostile_registry(answers) as running,
        pytest.raises(GuestError, match=r"answers 500 .*: no.*way.*; DENIED") as error,
    ):
        pull_guest(f"oci://{running}/{NAME}:1")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("where", ["/v2/", f"/v2/{NAME}/manifests/1", f"/v2/{NAME}/blobs/{digest(WASM)}"])
@pytest.mark.parametrize("status", [200, 307, 401, 500])
def test_an_answer_without_end_is_not_read_to_its_end(where: str, status: int, tmp_path: Path) -> None:
    need("oras", "'wasi-nn[oci]'")
    answers: dict[str, Any] = {f"/v2/{NAME}/manifests/1": (200, {}, manifest_of(layer_of(WASM)))}
    headers = {"Location": "/elsewhere"} if status == 307 else {"WWW-Authenticate": "Basic"} if status == 401 else {}
    answers[where] = (status, headers, registries.ENDLESS)
    with registries.hostile_registry(answers) as running, pytest.raises(GuestError, match=r"has more (bytes|than)"):
        pull_guest(f"oci://{running}/{NAME}:1")


def test_a_token_without_end_or_of_another_type_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    need("oras", "'wasi-nn[oci]'")
    answers: dict[str, Any] = {}
    with registries.hostile_registry(answers) as running:
        realm = f'Bearer realm="http://{running}/token",service="s"'
        answers[f"/v2/{NAME}/manifests/1"] = (401, {"WWW-Authenticate": realm}, b"")
        for token in (registries.ENDLESS, b"[]", b"{", b'{"token": "a\\nb: c"}', b'{"token": "\\ud800"}', b'"x"', b"1"):
            answers["/token"] = (200, {}, token)
            with pytest.raises(GuestError, match="can't be pulled: ") as error:
                pull_guest(f"oci://{running}/{NAME}:1")
            assert str(error.value).isprintable()


def test_a_challenge_as_long_as_a_book_is_not_taken_apart() -> None:
    need("oras", "'wasi-nn[oci]'")
    answers: dict[str, Any] = {f"/v2/{NAME}/manifests/1": (401, {"WWW-Authenticate": "a" * 60_000}, b"")}
    with (
        registries.hostile_registry(answers) as running,
        pytest.raises(GuestError, match="WWW-Authenticate has more than 4096 characters"),
    ):
        pull_guest(f"oci://{running}/{NAME}:1")


def test_what_is_packed_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(manifest_of(layer_of(WASM)))
    with pytest.raises(GuestError, match=r"is compressed \(gzip\)"):
        pulled(packed, tmp_path, headers={"Content-Encoding": "gzip"})


def test_a_server_to_which_a_registry_redirects_gets_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("oras", "'wasi-nn[oci]'")
    asked: list[tuple[str, str]] = []
    theirs: dict[str, Any] = {"/token": (200, {}, b'{"token": "t"}')}
    with registries.hostile_registry(theirs, asked) as other:
        theirs["/m"] = (401, {"WWW-Authenticate": f'Bearer realm="http://{other}/token"'}, b"")
        ours: dict[str, Any] = {f"/v2/{NAME}/manifests/1": (307, {"Location": f"http://{other}/m"}, b"")}
        with registries.hostile_registry(ours) as running:
            monkeypatch.setenv("DOCKER_CONFIG", str(registries.credentials(tmp_path, running)))
            with pytest.raises(GuestError, match="can't be pulled: "):
                pull_guest(f"oci://{running}/{NAME}:1")
    assert asked == [("/m", "")]


def test_a_registry_with_tls_leads_nowhere_without_it() -> None:
    need("oras", "'wasi-nn[oci]'")
    import requests

    from wasi_nn.oci.answers import CarefulAdapter

    asked: list[tuple[str, str]] = []
    with registries.hostile_registry({}, asked) as running, requests.Session() as session:
        session.mount("http://", CarefulAdapter("example.com", may_be_plain=False))
        with pytest.raises(requests.RequestException, match="which has no TLS"):
            session.get(f"http://{running}/token")
    assert asked == []


@pytest.mark.parametrize("content", ["[]", '{"auths": null}', '{"auths": {"HOST": []}}', '{"credHelpers": 1}', "{"])
def test_an_odd_file_of_credentials_is_an_error(content: str, tmp_path: Path) -> None:
    need("oras", "'wasi-nn[oci]'")
    with registries.hostile_registry({}) as running:
        (tmp_path / "config.json").write_text(content.replace("HOST", running))
        with pytest.raises(GuestError, match=r"can't be (reached|pulled): "):
            pull_guest(f"oci://{running}/{NAME}:1")
