"""The guests in C on real models: their answers are right, and equal to those of the runtime called directly."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import models as real_models
import numpy as np
import onnx_models
import onnxruntime
import pytest
from conftest import C_GUESTS, REPOSITORY, need

from build import C_GUESTS as NAMES, build_c
from wasi_nn import Host

pytestmark = pytest.mark.usefixtures("one_llama_thread")

RUNTIME: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}


def run(host: Host, guest: str, *arguments: str, **keywords: Any) -> list[str]:
    """Run a guest; returns the lines that it prints."""
    result = host.run(C_GUESTS / f"{guest}.wasm", arguments, capture_output=True, **keywords)
    assert result.exit_code == 0, result.stderr.decode()
    return result.stdout.decode().splitlines()


def magika_features(content: bytes) -> Any:
    """The input of Magika's model for this file content, computed as Magika's own package does."""
    begin, end = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    numbers = [*begin, *[256] * (1024 - len(begin)), *[256] * (1024 - len(end)), *end]
    return np.array([numbers], np.int32)


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by bytes"])
def test_identify_tells_what_files_hold(by_name: bool, tmp_path: Path) -> None:
    magika = real_models.magika()
    session = onnxruntime.InferenceSession(magika.model, **RUNTIME)
    labels = magika.labels.read_text().splitlines()
    (tmp_path / "short").write_bytes(b"  \n a \n")
    (tmp_path / "small.py").write_bytes(b"\n\n  import os\nprint(os.getcwd())\n\t \n")
    expected = {
        "pyproject.toml": "toml",
        "Makefile": "makefile",
        "src/wasi_nn/graph/graph.py": "python",
        "guests/c/identify.c": "c",
        "guests/c/identify.wasm": "wasm",
        "LICENSE": "txt",
        "/tmp/small.py": "python",
    }
    lines = run(
        Host({"magika": magika.model} if by_name else {}, allow_load=not by_name, cache=False),
        "identify",
        *(("--graph", "magika") if by_name else ("--model", "/models/model.onnx")),
        *("--labels", "/models/labels.txt", *expected, "/tmp/short"),
        dirs={".": REPOSITORY, "/models": magika.model.parent, "/tmp": tmp_path},
    )
    assert lines.pop(0).startswith(f"model loaded {'by name' if by_name else 'from bytes'} in ")
    assert lines.pop().split(maxsplit=1)[1] == "too short to tell"
    for line, (path, label) in zip(lines, expected.items(), strict=True):
        file = tmp_path / path[5:] if path.startswith("/tmp") else REPOSITORY / path
        scores = session.run(None, {"bytes": magika_features(file.read_bytes())})[0][0]
        best = int(scores.argmax())
        assert line.split()[:3] == [path, label, f"{100 * scores[best]:.1f}"]
        assert labels[best] == label


def test_classify_tells_what_photographs_show(tmp_path: Path) -> None:
    need("torch", "torch==2.13.0")
    network, pictures = real_models.efficientnet(), real_models.photographs()
    lines = run(
        Host({"net": network.model}, cache=False),
        "classify",
        *("--graph", "net", "--labels", "/models/efficientnet/labels.txt"),
        *(f"/models/photographs/{path.name}" for path in pictures.values()),
        dirs={"/models": network.model.parent.parent, "/tmp": tmp_path},
    )
    best = [lines[n : n + 6] for n in range(1, len(lines), 6)]
    assert ["cat" in "".join(part[1:3]) for part in best] == [True, False, False]
    assert [part[1].split("%  ")[1] for part in best[1:]] == ["espresso", "missile"]


def test_the_exported_network_is_the_published_one() -> None:
    need("torch", "torch==2.13.0")
    import torch

    network = real_models.efficientnet()
    module = real_models.efficientnet_module(network.model.with_name("weights.pth"))
    image = np.random.default_rng(3).uniform(-1, 1, (2, 3, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        reference = module(torch.from_numpy(image)).numpy()
    exported = onnxruntime.InferenceSession(network.model, **RUNTIME).run(None, {"image": image})[0]
    np.testing.assert_allclose(exported, reference, atol=5e-5)
    assert any(isinstance(part, torch.nn.ReLU6) for part in module.modules()), "Lite's activation"


def test_infer_runs_any_model_on_any_files(tmp_path: Path) -> None:
    a, b = onnx_models.f32([1, 2, 3]), onnx_models.f32([4, 5, 6])
    (tmp_path / "model.onnx").write_bytes(onnx_models.add_and_mul())
    (tmp_path / "a").write_bytes(a.tobytes())
    (tmp_path / "b").write_bytes(b.tobytes())
    arguments = ["f32:3:/tmp/a", "f32:3:/tmp/b", "--output", "f32", "--output", "f32:/tmp/sum", "--repeat", "3"]
    expected = ["output 0: 12 bytes, 3 f32: 4 10 18", "output 1: 12 bytes, 3 f32: 5 7 9"]
    dirs = {"/tmp": tmp_path}
    host = Host({"net": tmp_path / "model.onnx"}, cache=False)
    assert run(host, "infer", "--graph", "net", *arguments, dirs=dirs) == expected
    assert run(host, "infer", "--model", "/tmp/model.onnx", *arguments, dirs=dirs) == expected
    assert (tmp_path / "sum").read_bytes() == (a + b).tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--graph", "other"], "load_by_name: not_found"),
        (["--graph", "net", "f64:1:/tmp/x"], "set_input: invalid_argument"),
        (["--graph", "net"], "compute: invalid_argument"),
        (["--model", "/tmp/x"], "load: invalid_encoding"),
        (["--model", "/tmp/nothing"], "/tmp/nothing: can't be opened"),
        ([], "no model: give --graph NAME or --model FILE"),
        (["--graph", "net", "f16:1"], "an input is TYPE:DIMS:FILE"),
        (["--graph", "net", "f99:1:/tmp/x"], "a type is one of"),
        (["--dance"], "no option --dance; usage: infer (--graph NAME | --model FILE) "),
        (["--graph"], "--graph needs a value"),
    ],
)
def test_infer_says_what_went_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345678")
    host = Host({"net": onnx_models.relu()}, cache=False)
    result = host.run(C_GUESTS / "infer.wasm", arguments, dirs={"/tmp": tmp_path}, capture_output=True)
    assert result.exit_code == 1
    assert message in result.stderr.decode()


@pytest.mark.parametrize("name", NAMES)
def test_a_guest_tells_its_usage(name: str) -> None:
    result = Host(cache=False).run(C_GUESTS / f"{name}.wasm", ["--help"], capture_output=True)
    assert (result.exit_code, result.stderr) == (0, b"")
    [line] = result.stdout.decode().splitlines()
    words = line.removeprefix(f"usage: {name} ")
    assert words != line
    comment = " ".join((C_GUESTS / f"{name}.c").read_text().partition("\n */")[0].replace("\n *", " ").split())
    assert words.replace("TYPE:DIMS:FILE...", "INPUT...") in comment


@pytest.mark.parametrize(
    "picture", [b"", b"P5 1 1 255 ", b"P6 1 1 65535 1234", b"P6 9 9 255 123", b"P6 -1", b"P6 0 0 255 "]
)
def test_classify_refuses_what_is_no_picture(picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(picture)
    (tmp_path / "labels").write_bytes(b"one\n")
    host = Host({"net": onnx_models.convolution(32)}, cache=False)
    arguments = ["--graph", "net", "--labels", "/tmp/labels", "/tmp/picture"]
    result = host.run(C_GUESTS / "classify.wasm", arguments, dirs={"/tmp": tmp_path}, capture_output=True)
    assert result.exit_code == 1
    assert b"/tmp/picture" in result.stderr


@pytest.mark.parametrize("guest", ["c/measure.wasm", "component/measure.wasm"])
def test_measure_tells_the_time_of_each_step_and_the_last_output(guest: str) -> None:
    rounds = 4
    host = Host({"net": onnx_models.convolution(224)}, cache=False)
    arguments = ["net", str(rounds), *(["image"] if guest.startswith("component") else [])]
    result = host.run(REPOSITORY / "guests" / guest, arguments, capture_output=True)
    assert result.exit_code == 0, result.stderr.decode()
    steps, *times = struct.unpack_from(f"<{1 + 3 * rounds}Q", result.stdout)
    assert steps == 3
    assert all(0 < time < 60e9 for time in times)
    image = np.arange(3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224) % 251 / np.float32(251)
    [expected] = onnxruntime.InferenceSession(onnx_models.convolution(224), **RUNTIME).run(None, {"image": image})
    np.testing.assert_allclose(
        np.frombuffer(result.stdout[8 * (1 + 3 * rounds) :], np.float32), expected.reshape(-1), rtol=1e-3
    )


@pytest.mark.parametrize("arguments", [[], ["net"], ["net", "0"], ["net", "-1"], ["net", "1e9"], ["gone", "1"]])
def test_measure_needs_a_graph_and_a_number_of_rounds(arguments: list[str]) -> None:
    host = Host({"net": onnx_models.convolution(32)}, cache=False)
    result = host.run(C_GUESTS / "measure.wasm", arguments, capture_output=True)
    assert result.exit_code == 1
    assert result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_guests_are_those_of_the_sources(name: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    assert build_c(name, tmp_path).read_bytes() == (C_GUESTS / f"{name}.wasm").read_bytes()


def test_the_header_is_good_for_cpp_and_needs_no_library(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    import subprocess

    for suffix in ("c", "cc"):
        (tmp_path / f"guest.{suffix}").write_text("#include <wasi_nn.h>\nint f(void) { return wasi_nn_compute(1); }\n")
        compile_ = [sys.executable, "-m", "ziglang", "c++" if suffix == "cc" else "cc", "-c", "-Wall", "-Wextra"]
        compile_ += ["-Werror", "-pedantic", "--target=wasm32-freestanding", "-I", str(REPOSITORY / "guests/include")]
        subprocess.run([*compile_, f"guest.{suffix}", "-o", "guest.o"], cwd=tmp_path, check=True)


@pytest.fixture(scope="module")
def smollm2() -> Host:
    """A host with a small language model that gives the same answer each time."""
    need("xllamacpp", "'wasi-nn[ggml]'")
    return Host({"smollm2": real_models.smollm2()}, cache=False)


OPTIONS = '{"temp": 0, "n-predict": 24, "ctx-size": 512}'


def test_chat_answers_with_its_words_as_they_come_and_at_once(smollm2: Host, caplog: pytest.LogCaptureFixture) -> None:
    arguments = "--graph", "smollm2", "--options", OPTIONS
    question = "What is the capital of France?"
    lines = run(smollm2, "chat", *arguments, question)
    assert lines[0] == f"> {question}"
    assert "Paris" in lines[1]
    assert run(smollm2, "chat", *arguments, "--at-once", question) == lines
    result = smollm2.run(C_GUESTS / "chat.wasm", arguments, stdin=f"{question}\n".encode(), capture_output=True)
    assert lines[1] in result.stdout.decode()
    assert b'"output_tokens": ' in result.stderr
    assert not caplog.records, "that a sequence is complete is no failure"


def test_chat_has_a_text_shown_by_the_host_as_it_comes(smollm2: Host, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--graph", "smollm2", "--options", OPTIONS.replace("{", '{"stream-stdout": true, '), "--at-once"]
    question = "What is the capital of France?"
    lines = run(smollm2, "chat", *arguments, question)
    text = lines[1][: len(lines[1]) // 2]
    assert "Paris" in text
    assert lines[1] == 2 * text, "by the host, and then by the guest"
    smollm2.run(C_GUESTS / "chat.wasm", [*arguments, question])
    assert 2 * text in capfd.readouterr().out


def test_chat_is_told_at_once_that_its_options_do_not_fit(smollm2: Host) -> None:
    for options, error in (("{", "invalid_encoding"), ('{"temp": "hot"}', "invalid_argument")):
        result = smollm2.run(C_GUESTS / "chat.wasm", ["--graph", "smollm2", "--options", options], capture_output=True)
        assert (result.exit_code, result.stderr) == (1, f"load_by_name_with_config: {error}\n".encode())


def test_chat_says_when_the_models_context_is_full_or_the_prompt_too_long(smollm2: Host) -> None:
    options = '{"temp": 0, "ignore-eos": true, "ctx-size": 64}'
    arguments = ["--graph", "smollm2", "--options", options, "--system", "Count."]
    result = smollm2.run(C_GUESTS / "chat.wasm", [*arguments, "Count to one thousand."], capture_output=True)
    assert (result.exit_code, b"[the model's context is full]" in result.stderr) == (0, True)
    result = smollm2.run(C_GUESTS / "chat.wasm", [*arguments, "word " * 1000], capture_output=True)
    assert (result.exit_code, b"longer than the model's context" in result.stderr) == (1, True)


def test_chat_is_told_what_is_not_there(smollm2: Host) -> None:
    result = smollm2.run(C_GUESTS / "chat.wasm", ["--graph", "llama"], capture_output=True)
    assert (result.exit_code, result.stderr) == (1, b"load_by_name_with_config: not_found\n")


def test_chat_is_told_that_a_models_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"soon gone")
    host = Host({"gone": file}, cache=False)
    file.unlink()
    result = host.run(C_GUESTS / "chat.wasm", ["--graph", "gone"], capture_output=True)
    assert (result.exit_code, result.stderr) == (1, b"gone: the model's file is gone\n")
