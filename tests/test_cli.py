"""The command `wasi-nn`: its options, its exit codes, and one clear line for each error."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_models as models
import pytest
from command_guests import ECHOES_STDIN, LOOKS_UP_NET, command, says
from conftest import C_GUESTS
from onnx import TensorProto

from wasi_nn import cli
from wasi_nn.isolation import unavailable
from wasi_nn.types import ExecutionTarget, GraphEncoding

Write = Callable[[str, bytes], Path]
Result = tuple[int, str, str]


@pytest.fixture
def files(tmp_path: Path, cache_home: Path, write: Write) -> Path:
    """A directory with some guests and models."""
    write("lookup.wat", command(LOOKS_UP_NET).encode())
    write("echo.wat", command(ECHOES_STDIN).encode())
    write("trap.wat", command("unreachable").encode())
    write("net.onnx", models.relu())
    write("dir/net/model.onnx", models.relu())
    write("broken.onnx", b"no model")
    write("dir/graphs.toml", b"[graphs.net]\npath = 'net'\n")
    return tmp_path


@pytest.fixture
def process(files: Path) -> Callable[..., Result]:
    """Runs the command as a process in the directory; returns exit code, output and errors."""

    def run(*arguments: str, stdin: str = "") -> Result:
        process = subprocess.run(
            [Path(sys.executable).with_name("wasi-nn"), *arguments],
            cwd=files,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in process.stderr
        return process.returncode, process.stdout, process.stderr

    return run


@pytest.fixture
def wasi_nn(files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command in the directory, in this process: half a second less than `process` takes. Its messages go to
    its errors, as there."""
    monkeypatch.chdir(files)
    root = logging.getLogger()

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(root, "handlers", [])  # without pytest's, for which the command would install none
                code = cli.main(arguments)
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            code = ended.code
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize(
    "options",
    [
        ["--graph", "net=net.onnx"],
        ["--graph", "net=onnx:cpu:net.onnx"],
        ["--graph", "net=autodetect:cpu:dir/net"],
        ["--graph", "net=dir/net"],
        ["--graph", "net=net.onnx", "--runtime", "onnx=openvino", "--convert-types"],
        ["--graphs", "dir/graphs.toml"],
        ["--nn-graph", "onnx::dir/net"],
        ["--nn-graph", "ONNX::dir/net/"],
        ["--nn-preload", "net:onnx:cpu:net.onnx"],
        ["--nn-preload", "net:ONNX:AUTO:net.onnx"],
        ["--graph", "other=net.onnx", "--graph", "net=net.onnx", "--no-load", "--no-cache"],
        ["--graph", "net=onnx:tpu:net.onnx", "--target-fallback", "cpu"],
        ["--graph", "net=net.onnx", "--allow-load", "openvino", "--allow-load", "onnx"],
    ],
)
def test_graphs_are_named_in_three_dialects(wasi_nn: Callable[..., Result], options: list[str]) -> None:
    assert wasi_nn("run", *options, "lookup.wat")[0] == 0


def test_a_graph_nobody_named(process: Callable[..., Result]) -> None:
    code, _, errors = process("run", "lookup.wat")
    assert code == 8, "this guest exits with the errno"
    assert "wasi-nn: load_by_name failed: no graph is named 'net'" in errors


def test_options_behind_the_guest_are_the_guests(wasi_nn: Callable[..., Result]) -> None:
    hint = "wasi-nn run: if {} meant for this command: the command's own options stand before the guest"
    for arguments, words in (
        (["--graph", "net=net.onnx", "--dir", "."], "--graph and --dir behind the guest's name are"),
        (["--graph", "net=net.onnx"], "--graph behind the guest's name is"),
        (["--dir", "."], "--dir behind the guest's name is"),
    ):
        code, _, errors = wasi_nn("run", "lookup.wat", *arguments)
        assert (code, errors.splitlines()[-1]) == (8, hint.format(words))
    assert "behind" not in wasi_nn("run", "lookup.wat", "--graph", "net", "--dir")[2]
    assert "behind" not in wasi_nn("run", "--graph", "other=net.onnx", "lookup.wat", "--graph", "net=net.onnx")[2]
    assert "behind" not in wasi_nn("run", "--graph", "net=net.onnx", "lookup.wat", "--dir", ".")[2]


def test_streams_are_the_commands(process: Callable[..., Result]) -> None:
    assert process("run", "echo.wat", stdin="hello") == (0, "hello", "")


def test_arguments_variables_and_directories_reach_the_guest(
    wasi_nn: Callable[..., Result], write: Write, tmp_path: Path
) -> None:
    write("in/x", b"\0\0\x80\x3f" * 4)
    result = wasi_nn(
        *("run", "--graph", "net=net.onnx", "--env", "A=b=c", "--dir", "in::/given"),
        *(str(C_GUESTS / "infer.wasm"), "--graph", "net", "f32:4:/given/x", "--output", "f32:/given/y"),
    )
    assert result[:2] == (0, "output 0: 16 bytes, 4 f32: 1 1 1 1\n")
    assert (tmp_path / "in" / "y").read_bytes() == (tmp_path / "in" / "x").read_bytes()


@pytest.mark.parametrize(
    ("option", "directory", "read_only"),
    [
        ("in", "in", False),
        ("in:ro", "in", True),
        ("in::/given", "/given", False),
        ("in::/given:ro", "/given", True),
        ("in::ro", "ro", False),
        ("odd:ro::/given", "/given", False),
        ("odd:ro:ro", "odd:ro", True),
    ],
)
def test_a_directory_may_be_read_only(
    wasi_nn: Callable[..., Result], write: Write, tmp_path: Path, option: str, directory: str, read_only: bool
) -> None:
    host = tmp_path / ("odd:ro" if option.startswith("odd") else "in")
    write(f"{host.name}/x", b"\0\0\x80\x3f" * 4)
    infer = [str(C_GUESTS / "infer.wasm"), "--graph", "net", f"f32:4:{directory}/x", "--output", f"f32:{directory}/y"]
    _, output, errors = wasi_nn("run", "--graph", "net=net.onnx", "--dir", option, *infer)
    assert output.startswith("output 0: 16 bytes")
    assert ("y: can't be written" in errors) == read_only
    assert (host / "y").exists() != read_only


def test_ctrl_c_ends_a_guest_that_never_ends(process: Callable[..., Result], tmp_path: Path, write: Write) -> None:
    write("loop.wat", command(says("begun") + "(loop $again (br $again))").encode())
    assert process("run", "echo.wat")[0] == 0
    program = Path(sys.executable).with_name("wasi-nn")
    with subprocess.Popen(
        [program, "run", "loop.wat"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    ) as running:
        assert running.stdout is not None
        assert running.stdout.read(5) == b"begun"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == -signal.SIGINT


def test_a_trap_is_134(process: Callable[..., Result]) -> None:
    code, _, errors = process("run", "trap.wat")
    assert code == 134
    assert errors.startswith("wasi-nn: the guest trapped: wasm `unreachable` instruction executed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "COMMAND"),
        (["dance"], 2, "dance"),
        (["run"], 2, "GUEST"),
        (["run", "--dance", "lookup.wat"], 2, "--dance"),
        (["run", "--graph", "net", "lookup.wat"], 2, "NAME=PATH"),
        (["run", "--graph", "=net.onnx", "lookup.wat"], 2, "NAME=PATH"),
        (
            ["run", "--graph", "net=onnx:npu:net.onnx", "lookup.wat"],
            2,
            "--graph net=onnx:npu:net.onnx: no target is named 'npu'; there are cpu",
        ),
        (
            ["run", "--graph", "net=onnx:net.onnx", "lookup.wat"],
            2,
            "--graph net=onnx:net.onnx: it takes NAME=PATH or NAME=ENCODING:TARGET:PATH, such as net=onnx:cpu:net.onnx",
        ),
        (["run", "--graph", "net=net.onnx", "--graph", "net=net.onnx", "lookup.wat"], 2, "two graphs are named 'net'"),
        (["run", "--graph", "net=net.onnx", "--nn-graph", "onnx::dir/net", "lookup.wat"], 2, "two graphs"),
        (["run", "--nn-graph", "onnx:dir/net", "lookup.wat"], 2, "ENCODING::DIR"),
        (["run", "--nn-graph", "onnx::..", "lookup.wat"], 2, "ENCODING::DIR"),
        (
            ["run", "--nn-graph", "onyx::dir/net", "lookup.wat"],
            2,
            "--nn-graph onyx::dir/net: no encoding is named 'onyx'; there are openvino",
        ),
        (["run", "--nn-preload", "net:onnx:net.onnx", "lookup.wat"], 2, "NAME:ENCODING:TARGET:PATH"),
        (["run", "--dir", "::/", "lookup.wat"], 2, "HOST::GUEST"),
        (["run", "--dir", "dir::", "lookup.wat"], 2, "HOST::GUEST"),
        (["run", "--dir", ":ro", "lookup.wat"], 2, "either may end in :ro"),
        (["run", "--dir", "dir:::ro", "lookup.wat"], 2, "either may end in :ro"),
        (["run", "--dir", ".::/p:xx", "lookup.wat"], 2, "unknown ending ':xx'; the only one is :ro"),
        (["run", "--dir", ".:rw", "lookup.wat"], 2, "unknown ending ':rw'; the only one is :ro"),
        (["run", "--dir", ".::/p:", "lookup.wat"], 2, "unknown ending ':'; the only one is :ro"),
        (["run", "--dir", ".::/p:ro:ro", "lookup.wat"], 2, "unknown ending ':ro'"),
        (
            ["run", "--dir", ".::/p", "--dir", "in::/p", "lookup.wat"],
            2,
            "two directories have the path '/p' for the guest",
        ),
        (
            ["run", "--dir", ".::/p", "--dir", "in::/p/", "lookup.wat"],
            2,
            "two directories have the path '/p/' for the guest",
        ),
        (["run", "--env", "A", "lookup.wat"], 2, "KEY=VALUE"),
        (["run", "--target-fallback", "npu", "lookup.wat"], 2, "npu"),
        (["run", "--allow-load", "onyx", "lookup.wat"], 2, "onyx"),
        (["run", "--allow-load", "onnx", "--no-load", "lookup.wat"], 2, "not allowed with"),
        (["inspect", "--encoding", "onyx", "net.onnx"], 2, "'onyx' isn't one of openvino, onnx"),
        (["run", "nowhere.wasm"], 1, "no guest at nowhere.wasm"),
        (["run", "net.onnx"], 1, "net.onnx is an ONNX model, not WebAssembly"),
        (["run", "--graph", "net=nowhere.onnx", "lookup.wat"], 1, "no such file or directory: nowhere.onnx"),
        (
            ["run", "--graph", "net=onyx:cpu:net.onnx", "lookup.wat"],
            2,
            "no encoding is named 'onyx'; there are openvino, onnx, ",
        ),
        (["run", "--graphs", "nowhere.toml", "lookup.wat"], 1, "nowhere.toml: no such file or directory"),
        (["run", "--runtime", "onnx", "lookup.wat"], 2, "--runtime onnx: it takes ENCODING=RUNTIME"),
        (["run", "--runtime", "tflite=openvino", "lookup.wat"], 2, "; did you mean tensorflowlite?"),
        (["run", "--graph", "net=onnx:gqu:net.onnx", "lookup.wat"], 2, "; did you mean gpu?"),
        (["run", "--runtime", "onyx=openvino", "lookup.wat"], 2, "no encoding is named 'onyx'"),
        (["run", "--runtime", "onnx=tensorrt", "lookup.wat"], 1, "no runtime for onnx is named 'tensorrt'"),
        (["graphs", "--graphs", "a.toml", "--graphs", "b.toml"], 2, "argument --graphs: it may be given only once"),
        (["inspect", "--option", "threads", "net.onnx"], 2, "--option threads: it takes KEY=VALUE"),
        (["run", "--dir", "nowhere", "lookup.wat"], 1, "no directory at nowhere, for the guest's nowhere"),
        (["run", "--dir", "net.onnx", "lookup.wat"], 1, "net.onnx is a file, not a directory, for the guest's net."),
        (["graphs", "--check"], 2, "name some by --graphs FILE or --graph NAME=PATH"),
        (["inspect", "net.onnx", "net.onnx"], 1, "one builder, the model; got 2: give the path of one model"),
        (["run", "dir"], 1, "dir is a directory, not a guest: give the path of its .wasm file"),
        (["inspect", "nowhere.onnx"], 1, "no such file or directory: nowhere.onnx"),
        (
            ["inspect", "broken.onnx"],
            1,
            "; it is a text, and begins with b'no model'",
        ),
        (["inspect", "--encoding", "tensorflowlite", "net.onnx"], 1, "ai_edge_litert can't load the model"),
        (["inspect", "--target", "tpu", "net.onnx"], 1, "no execution provider for tpu"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    wasi_nn: Callable[..., Result], arguments: list[str], code: int, message: str
) -> None:
    actual, output, errors = wasi_nn(*arguments)
    assert (actual, output) == (code, "")
    assert message in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("wasi-nn")
    if code == 1:
        assert len(errors.splitlines()) == 1


def test_a_model_that_fails_to_load_is_explained_to_whoever_runs_the_guest(wasi_nn: Callable[..., Result]) -> None:
    code, _, errors = wasi_nn("run", "--graph", "net=onnx:cpu:broken.onnx", "lookup.wat")
    assert code == 5
    assert "load_by_name failed: graph 'net': onnxruntime can't load the model" in errors


def test_inspect(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("two.onnx", models.add_and_mul())
    code, output, _ = wasi_nn("inspect", "two.onnx")
    assert code == 0
    assert [line.split() for line in output.splitlines()][:9] == [
        ["encoding", "onnx"],
        ["runtime", "onnxruntime"],
        ["device", "cpu"],
        ["inputs"],
        ["0", "a", "f32", "[n]"],
        ["1", "b", "f32", "[n]"],
        ["outputs"],
        ["0", "product", "f32", "[n]"],
        ["1", "sum", "f32", "[n]"],
    ]
    as_json = json.loads(wasi_nn("inspect", "--json", "dir/net")[1])
    assert (as_json.pop("operators"), as_json.pop("tensor_types")) == ({"Relu": 1}, None)
    assert as_json == {
        "encoding": "onnx",
        "runtime": "onnxruntime",
        "device": "cpu",
        "inputs": [{"name": "x", "type": "f32", "dims": [4], "optional": False}],
        "outputs": [{"name": "y", "type": "f32", "dims": [4], "optional": False}],
        "metadata": {"graph": "test"},
    }


def test_inspect_with_options_of_the_backend_and_of_the_host(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("int8.onnx", models.cast(TensorProto.INT8, TensorProto.FLOAT))
    assert "x  int8  [4]" in wasi_nn("inspect", "int8.onnx")[1]
    hint = "wasi-nn has no tensors of int8; the host can convert them (LoadRules(convert_types=True), --convert-types"
    assert hint in wasi_nn("inspect", "int8.onnx")[1]
    assert hint not in wasi_nn("inspect", "--convert-types", "int8.onnx")[1]
    assert hint not in wasi_nn("inspect", "net.onnx")[1]
    assert "x  i32  [4]" in wasi_nn("inspect", "--convert-types", "int8.onnx")[1]
    write("classifier.onnx", models.labelled(["b", "a"]))
    assert "p  seq(map(string,tensor(float)))  of any rank" in wasi_nn("inspect", "classifier.onnx")[1]
    text = wasi_nn("inspect", "--convert-types", "classifier.onnx")[1]
    assert "  0  p  f32  [?, 2]" in text
    assert re.search(r'^  keys of p +\["a", "b"\]$', text, re.MULTILINE)
    by_openvino = json.loads(
        wasi_nn("inspect", "--runtime", "onnx=openvino", "--option", "threads=1", "--json", "net.onnx")[1]
    )
    assert by_openvino["runtime"] == "openvino"
    code, _, errors = wasi_nn("inspect", "--option", "threads=many", "net.onnx")
    assert (code, "option 'threads' of onnx can't be 'many'" in errors) == (1, True)


def test_inspect_shows_what_guests_need(wasi_nn: Callable[..., Result], write: Write) -> None:
    code, output, _ = wasi_nn("inspect", str(C_GUESTS / "chat.wasm"))
    assert code == 0
    lines = output.splitlines()
    assert lines[:3] == ["abi      core module", "dialect  wasmedge", "nn"]
    assert "  wasi_ephemeral_nn.compute_single" in lines
    assert "  wasi_snapshot_preview1.fd_write" in lines
    assert lines[-1] == "runs here"
    component = C_GUESTS.parent / "component" / "infer.wasm"
    report = json.loads(wasi_nn("inspect", "--json", str(component))[1])
    assert (report["abi"], report["versions"], report["problems"]) == ("component", ["0.2.0-rc-2024-10-28"], [])
    assert "wasi:cli/stdout@0.2.0" in report["wasi"]


def test_inspect_shows_the_calls_of_guests(wasi_nn: Callable[..., Result], write: Write) -> None:
    code, output, _ = wasi_nn("inspect", "--calls", str(C_GUESTS / "infer.wasm"))
    assert code == 0
    called = output.partition("calls\n  wasi_ephemeral_nn\n")[2].partition("\nwasi\n")[0].splitlines()
    assert "    load_by_name(i32, i32, i32) -> i32" in called
    assert "wasi_ephemeral_nn.load" not in output, "each is named once"
    component = str(C_GUESTS.parent / "component" / "stream.wasm")
    code, output, _ = wasi_nn("inspect", "--calls", component)
    calls = {
        "wasi:nn/tensor@0.2.0-rc-2024-10-28": ["tensor(dimensions, ty, data)", "tensor.data()"],
        "wasi:nn/errors@0.2.0-rc-2024-10-28": ["error.code()", "error.data()"],
        "wasi:nn/graph@0.2.0-rc-2024-10-28": ["graph.init-execution-context()", "load-by-name(name)"],
        "wasi-nn:ext/sequences@0.1.0": ["sequence.next()", "begin(context, inputs)"],
    }
    lines = [line for interface, names in calls.items() for line in (f"  {interface}", *(f"    {it}" for it in names))]
    assert "\n".join(["calls", *lines, "wasi"]) in output
    assert json.loads(wasi_nn("inspect", "--json", component)[1])["calls"] == calls


def test_inspect_shows_calls_of_guests_only(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("net.onnx", models.relu())
    code, _, errors = wasi_nn("inspect", "--calls", "net.onnx")
    assert (code, "--calls shows the nn functions of a guest, and net.onnx isn't one" in errors) == (2, True)
    code, _, errors = wasi_nn("inspect", "--calls", "none.wasm")
    assert (code, "none.wasm" in errors, "--calls" in errors) == (1, True, False)
    write("odd.wat", b'(component (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (func)))')
    code, output, _ = wasi_nn("inspect", "--calls", "odd.wat")
    assert (code, "\ncalls\n" in output) == (0, True)


@pytest.mark.parametrize(
    ("guest", "lines"),
    [
        (
            '(module (import "wasi_nn" "load" (func (param i32 i32 i32 i32) (result i32))) (import "env" "f" (func)))',
            [
                "dialect  wamr",
                "  wasi_nn.load",
                "  env.f",
                "does not run here",
                "exports no '_start'",
                "env.f: link",
            ],
        ),
        ("(module)", ["abi  core module", "exports no '_start'"]),
        (
            '(component (import "acme:gadget/turn@1.0.0" (instance)))',
            ["abi  component", "acme:gadget/turn@1.0.0", "exports no 'wasi:cli/run@0.2.x'"],
        ),
        (
            '(component (import "wasi:nn/prompt@0.3.0" (instance)))',
            ["wasi:nn  0.3.0", "does not run here"],
        ),
    ],
)
def test_inspect_says_what_is_missing_to_run_a_guest(
    wasi_nn: Callable[..., Result], write: Write, guest: str, lines: list[str]
) -> None:
    write("guest.wat", guest.encode())
    code, output, errors = wasi_nn("inspect", "guest.wat")
    assert (code, errors) == (0, "")
    for line in lines:
        assert line in output


def test_inspect_of_a_guest_that_is_broken(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("broken.wasm", b"\0asm\x01\0\0\0\xff")
    code, _, errors = wasi_nn("inspect", "broken.wasm")
    assert (code, "is not valid WebAssembly" in errors) == (1, True)


# Dialects


def test_a_guest_gets_the_dialect_that_it_speaks_or_is_told_to(wasi_nn: Callable[..., Result], write: Write) -> None:
    lookup = "(func $lookup (param i32 i32 i32) (result i32))"
    exits = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    body = '(memory (export "memory") 1) (func (export "_start") (call $exit (call $lookup {})))'
    outside = "(i32.const 65536) (i32.const 1) (i32.const 0)"
    unload = '(import "wasi_ephemeral_nn" "unload" (func (param i32) (result i32)))'
    plain = f'(module (import "wasi_ephemeral_nn" "load_by_name" {lookup}) {{}} {exits} {body.format(outside)})'
    write("spec.wat", plain.format("").encode())
    write("wasmedge.wat", plain.format(unload).encode())
    write("wamr.wat", plain.format("").replace("wasi_ephemeral_nn", "wasi_nn").encode())
    assert wasi_nn("run", "spec.wat")[0] == 134
    assert wasi_nn("run", "wasmedge.wat")[0] == 1
    assert wasi_nn("run", "wamr.wat")[0] == 134
    assert wasi_nn("run", "--dialect", "wasmedge", "spec.wat")[0] == 1
    code, _, errors = wasi_nn("run", "--dialect", "spec", "wasmedge.wat")
    assert (code, "has imports that this host lacks: wasi_ephemeral_nn.unload" in errors) == (1, True)
    assert wasi_nn("run", "--dialect", "wasmtime", "spec.wat")[0] == 2


# Named graphs


def test_graphs_are_listed_and_checked(
    wasi_nn: Callable[..., Result], process: Callable[..., Result], write: Write
) -> None:
    write("text.onnx", models.strings())
    write("graphs.toml", b"[graphs.net]\npath = 'net.onnx'\n[graphs.text]\npath = 'text.onnx'\n")
    listed = ["graphs", "--graphs", "graphs.toml", "--graph", "other=onnx:cpu:dir/net"]
    code, output, errors = wasi_nn(*listed)
    assert (code, errors) == (0, "")
    assert process(*listed) == (code, output, errors)
    assert [line.split()[0] for line in output.splitlines()] == ["graph", "net", "text", "other"]
    assert "loaded" not in output
    code, output, errors = wasi_nn("graphs", "--graphs", "graphs.toml", "--check")
    assert (code, errors) == (0, "")
    assert output.count(" ms, ran in ") == 2
    rows: list[dict[str, Any]] = json.loads(wasi_nn("graphs", "--graphs", "graphs.toml", "--check", "--json")[1])
    assert [(row["name"], row["encoding"], row["runtime"], row["device"]) for row in rows] == [
        ("net", "onnx", "onnxruntime", "cpu"),
        ("text", "onnx", "onnxruntime", "cpu"),
    ]


def test_guests_are_listed_behind_the_graphs(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("odd.wat", b"(module")
    guests = (
        b"[guests.web]\npath = 'odd.wat'\nserves = 'http'\ngraphs = ['net', 'text-*']\n[guests.odd]\npath = 'odd.wat'\n"
    )
    write("graphs.toml", b"[graphs.net]\npath = 'net.onnx'\n" + guests)
    code, output, errors = wasi_nn("graphs", "--graphs", "graphs.toml")
    assert (code, errors) == (0, "")
    graphs, _, listed = output.partition("\n\n")
    assert graphs.splitlines()[1].startswith("net ")
    assert [re.split(r"  +", line)[:4] for line in listed.splitlines()] == [
        ["guest", "serves", "graphs", "path"],
        ["web", "http", "net, text-*", "/guests/web"],
        ["odd", "?", "none", listed.splitlines()[2].split()[-1]],
    ]
    write("graphs.toml", guests)
    code, output, _ = wasi_nn("graphs", "--graphs", "graphs.toml", "--check")
    heading, *rows = output.splitlines()
    assert (code, heading.split()[0], len(rows)) == (1, "guest", 2), "there is no table of no graphs"
    assert all("odd.wat: FAILED: " in row for row in rows)


def test_a_listed_graph_has_all_its_settings(wasi_nn: Callable[..., Result]) -> None:
    digest = "4d" * 32
    settings = [f"net:{setting}" for setting in ("threads=2", f"sha256= {digest}", "convert-types=false")]
    options = ["--graph", "net=net.onnx", *(word for setting in settings for word in ("--graph-option", setting))]
    _, row = wasi_nn("graphs", *options)[1].splitlines()
    assert row.endswith("net.onnx (threads=2, sha256=4d4d4d4d4d4d..., convert-types=false)")
    assert "(" not in wasi_nn("graphs", "--graph", "net=net.onnx")[1]


def test_a_graph_that_fails_its_check(wasi_nn: Callable[..., Result], write: Write) -> None:
    write("failing.onnx", models.failing())
    options = ["--graph", "broken=broken.onnx", "--graph", "failing=failing.onnx", "--graph", "net=net.onnx"]
    assert wasi_nn("graphs", *options)[0] == 0
    code, output, _ = wasi_nn("graphs", *options, "--check")
    _, broken, failing, net = output.splitlines()
    assert code == 1
    assert "FAILED" in broken
    assert "begins with b'no model'" in broken
    assert "FAILED: the runtime failed" in failing
    assert "FAILED" not in net


def test_backends(wasi_nn: Callable[..., Result]) -> None:
    rows: list[dict[str, Any]] = json.loads(wasi_nn("backends", "--json")[1])
    by_onnx = [row for row in rows if row["encoding"] == "onnx"]
    assert [row["runtime"] for row in by_onnx] == ["onnxruntime", "openvino"]
    assert all(row["devices"]["cpu"] and row["version"] and row["install"] is None for row in rows)
    assert {row["encoding"] for row in rows} == {e.value for e in GraphEncoding}
    elsewhere = {row["runtime"]: row["devices"] for row in rows if "remote" in row["devices"].values()}
    assert elsewhere == {runtime: {"cpu": "remote"} for runtime in ("oip", "openai")}
    may_load = {(row["encoding"], row["runtime"]) for row in rows if row["guests_may_load"]}
    isolated = {(row["encoding"], "openvino") for row in rows if row["runtime"] == "openvino" and not unavailable()}
    assert may_load == {("onnx", "onnxruntime"), ("tensorflowlite", "ai_edge_litert")} | isolated
    code, output, _ = wasi_nn("backends")
    assert (code, "onnxruntime" in output) == (0, True)


def test_the_words_of_the_options_are_the_specifications() -> None:
    assert list(cli.ENCODINGS) == [encoding.value for encoding in GraphEncoding]
    assert list(cli.TARGETS) == [target.value for target in ExecutionTarget]


def test_help_and_version_need_neither_engine_nor_runtime() -> None:
    for arguments in (["--help"], ["run", "--help"], ["--version"]):
        program = (
            "import sys; from wasi_nn.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit: pass\n"
            "print([m for m in ('numpy', 'wasmtime', 'onnxruntime') if m in sys.modules])"
        )
        output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        assert output.splitlines()[-1] == "[]"


def test_importing_the_package_imports_no_runtime_and_no_engine() -> None:
    program = (
        "import sys, wasi_nn\n"
        "wasi_nn.load; wasi_nn.Registry; wasi_nn.Session; assert set(wasi_nn.__all__) <= set(dir(wasi_nn))\n"
        "print([m for m in ('wasmtime', 'onnxruntime') if m in sys.modules])\n"
        "for name in wasi_nn.__all__: getattr(wasi_nn, name)\n"
        "print([m for m in ('wasmtime', 'onnxruntime') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["[]", "['wasmtime']"]


def test_output_that_nobody_reads_is_no_failure_of_ours() -> None:
    pipe = f"'{Path(sys.executable).with_name('wasi-nn')}' run --help | head -1; exit ${{PIPESTATUS[1]}}"
    process = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True)
    assert process.stderr == ""
