"""The programs in `examples`: each runs by the commands of its docstring, and withstands hostile input."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ggml_models
import pytest
from conftest import need

REPOSITORY = Path(__file__).parent.parent
EXAMPLES, GUESTS = REPOSITORY / "examples", REPOSITORY / "guests"
COLOURS = GUESTS / "example"
Write = Callable[[str, bytes], Path]
LOOPS = b'(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
GROWS = b'(module (memory (export "memory") 4000) (func (export "_start")))'
ECHOES = b"""(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\00\\04\\00\\00")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A function that imports a program of an example, with these variables."""

    def imported(path: str, **variables: object) -> ModuleType:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        file = EXAMPLES / path
        found = importlib.util.spec_from_file_location(file.stem, file)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, file.stem, module)  # where dataclasses look for their module
        found.loader.exec_module(module)
        return module

    return imported


def client_of(module: ModuleType) -> Any:
    need("starlette", "'wasi-nn[serve]'")
    need("httpx2", "httpx2")
    from starlette.testclient import TestClient

    return TestClient(module.app)


def test_each_example_is_in_the_table() -> None:
    folders = {path.parent.name for path in EXAMPLES.glob("*/*.py")}
    table = (EXAMPLES / "README.md").read_text()
    assert {folder for folder in folders if f"| [{folder}]({folder}/" in table} == folders
    assert len(folders) == 6


def test_the_image_service(program: Callable[..., ModuleType]) -> None:
    need("onnxruntime", "'wasi-nn[onnx]'")
    service = program(
        "image_service/service.py",
        MODEL=COLOURS / "colours.onnx",
        LABELS=COLOURS / "colours.txt",
        GUEST=GUESTS / "c" / "classify.wasm",
    )
    with client_of(service) as client:
        answer = client.post("/classify", content=(COLOURS / "apple.ppm").read_bytes())
        assert answer.status_code == 200, answer.text
        first = answer.json()[0]
        assert first["label"] == "red"
        assert 80 < first["percent"] < 100
        for picture in (b"", b"no picture", b"P6\n9999999 9999999\n255\n", b"P6\n-1 1\n255\n"):
            answer = client.post("/classify", content=picture)
            assert answer.status_code in (400, 422), answer.text
        vars(service)["LARGEST_PICTURE"] = 1000
        assert client.post("/classify", content=bytes(1001)).status_code == 413


def test_the_upload_gate(program: Callable[..., ModuleType], tmp_path: Path) -> None:
    need("onnxruntime", "'wasi-nn[onnx]'")
    import models as real_models

    magika = real_models.magika()
    guest = GUESTS / "c" / "identify.wasm"
    settings = {"MODEL": magika.model, "LABELS": magika.labels, "GUEST": guest, "FOLDER": tmp_path, "ALLOW": "bmp,onnx"}
    gate = program("upload_gate/gate.py", **settings)
    picture, text = (COLOURS / "apple.ppm").read_bytes(), (REPOSITORY / "Makefile").read_bytes()
    with client_of(gate) as client:
        answer = client.post("/upload/apple.ppm", content=picture)
        assert answer.status_code == 201
        assert answer.json() == {"name": "apple.ppm", "type": "bmp"}
        assert client.post("/upload/apple.ppm", content=picture).status_code == 409
        answer = client.post("/upload/picture.bmp", content=text)
        assert answer.status_code == 415
        assert answer.text.startswith("picture.bmp is makefile (")
        assert client.post("/upload/short.bmp", content=b"x").status_code == 415
        for name in ("..%2Fout", ".hidden", "%00", "a%0Ab", "x" * 200):
            assert client.post(f"/upload/{name}", content=picture).status_code in (400, 404), name
        vars(gate)["LARGEST_UPLOAD"] = 1000
        assert client.post("/upload/large", content=bytes(1001)).status_code == 413
    assert [path.name for path in tmp_path.iterdir()] == ["apple.ppm"]
    assert (tmp_path / "apple.ppm").read_bytes() == picture


def test_the_chat(program: Callable[..., ModuleType], write: Write) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    model = write("model.gguf", ggml_models.steady())
    chat = program("chat_stream/chat.py", MODEL=model, GUEST=GUESTS / "c" / "chat.wasm", TOKENS=8)
    with client_of(chat) as client:
        assert "<form>" in client.get("/").text
        with client.stream("POST", "/chat", content=b"Count, please") as answer:
            events = "".join(answer.iter_text()).split("\n\n")
        assert events[-2:] == ["event: end\ndata: {}", ""]
        texts = [json.loads(event.removeprefix("data: "))["text"] for event in events[:-2]]
        assert len(texts) > 1
        assert all(texts)
        for message in (b"", b"  ", b"--options", b"a\0b"):
            assert client.post("/chat", content=message).status_code == 400
        assert client.post("/chat", content=bytes(4001)).status_code == 413


def test_the_plugins(program: Callable[..., ModuleType], write: Write) -> None:
    need("onnxruntime", "'wasi-nn[onnx]'")
    plugins = program("plugin/plugins.py")
    for name, content in {"a_echo.wat": ECHOES, "b_loop.wat": LOOPS, "c_grow.wat": GROWS, "d_text.wasm": b"no"}.items():
        write(f"plugins/{name}", content)
    folder = write("plugins/e_empty.wasm", b"").parent
    echo, loop, grow, text, empty = plugins.findings(COLOURS / "colours.onnx", folder, b"found it\x1b[2J")
    assert echo == plugins.Finding("a_echo.wat", "found it?[2J", failed=False)
    assert loop.failed
    assert "guest_time" in loop.text
    assert grow.failed
    assert "guest_memory" in grow.text
    assert text.failed
    assert empty.failed
    assert "is empty" in empty.text


def test_the_table_of_a_folder(tmp_path: Path, write: Write) -> None:
    need("onnxruntime", "'wasi-nn[onnx]'")
    write("pictures/apple.ppm", (COLOURS / "apple.ppm").read_bytes())
    write("pictures/broken.ppm", b"P6\n")
    program = [sys.executable, str(EXAMPLES / "folder" / "classify_folder.py")]
    arguments = [
        COLOURS / "colours.onnx",
        COLOURS / "colours.txt",
        GUESTS / "c" / "classify.wasm",
        tmp_path / "pictures",
    ]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([*program, *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, apple, broken = csv.reader(done.stdout.splitlines())
    assert (head, apple) == (["picture", "label", "error"], ["apple.ppm", "red", ""])
    assert broken[:2] == ["broken.ppm", ""]
    assert broken[2]
