"""Running guests from Python: their arguments and streams, their results, and the errors for guests that can't run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core_guest
import onnx_models as models
import pytest
import wasmtime
from checks import on_threads
from command_guests import ECHOES_STDIN, LOOKS_UP_NET, command, says

import wasi_nn
from wasi_nn import GuestError, GuestTrap, Host
from wasi_nn.abi import wasmtime_c_api
from wasi_nn.abi.core import spec


@pytest.fixture
def host(cache_home: Path) -> Host:
    return Host({"net": models.relu()})


def run(host: Host, text: str, *arguments: Any, **keywords: Any) -> wasi_nn.RunResult:
    return host.run(text.encode(), *arguments, capture_output=True, **keywords)


@pytest.mark.usefixtures("either_call")
def test_output_is_captured_and_the_exit_code_returned(host: Host) -> None:
    result = run(host, command(says("out") + says("err", 2) + "(call $exit (i32.const 3))"))
    assert result == wasi_nn.RunResult(3, b"out", b"err")
    assert run(host, command("")) == wasi_nn.RunResult(0)


@pytest.mark.usefixtures("either_call")
@pytest.mark.parametrize("code", [0, 1, 125, 126, 255, 256, -1])
def test_every_exit_code_is_the_guests_own(host: Host, code: int) -> None:
    assert run(host, command(f"(call $exit (i32.const {code}))")).exit_code == code & 0xFFFFFFFF


def test_output_is_ours_unless_captured(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    sys.stdout.write("first ")
    assert host.run(command(says("out") + says("err", 2)).encode()).stdout == b""
    assert capfd.readouterr() == ("first out", "err")


def test_a_guest_has_no_input_unless_it_is_given_some(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of a file")
    echo = command(ECHOES_STDIN)
    assert run(host, echo).stdout == b""
    assert run(host, echo, stdin=b"").stdout == b""
    assert run(host, echo, stdin=b"some bytes").stdout == b"some bytes"
    assert run(host, echo, stdin=tmp_path / "file").stdout == b"of a file"
    with pytest.raises(GuestError, match=r"standard input .* can't be read"):
        run(host, echo, stdin=tmp_path / "nothing")


def test_graphs_are_found_by_name(host: Host) -> None:
    assert run(host, command(LOOKS_UP_NET)).exit_code == core_guest.SUCCESS
    assert run(Host(cache=False), command(LOOKS_UP_NET)).exit_code == core_guest.NOT_FOUND
    registry = wasi_nn.Registry()
    lazy = Host(registry, cache=False)
    registry.add("net", models.relu())
    assert run(lazy, command(LOOKS_UP_NET)).exit_code == core_guest.SUCCESS
    registry.remove("net")
    assert run(lazy, command(LOOKS_UP_NET)).exit_code == core_guest.NOT_FOUND


def test_guests_from_paths_bytes_and_compiled(host: Host, tmp_path: Path) -> None:
    text = command("(call $exit (i32.const 7))")
    (tmp_path / "guest.wat").write_text("  ;; a comment\n" + text)
    (tmp_path / "guest.wasm").write_bytes(wasmtime.wat2wasm(text))
    guests: list[Any] = [tmp_path / "guest.wat", str(tmp_path / "guest.wasm"), text.encode()]
    guests += [bytes(wasmtime.wat2wasm(text)), host.compile(text.encode())]
    assert [host.run(guest).exit_code for guest in guests] == [7] * 5


@pytest.mark.parametrize(
    ("guest", "message"),
    [
        (b"", "is empty"),
        (b"\0asm", "unknown version, or cut short"),
        (b"\0asm\x01\0\0\0\x01\xff", "not valid WebAssembly"),
        (b"\0asm\x02\0\0\0", "unknown version"),
        (b"\x7fGUEST\0", "neither binary nor text: it begins with b'\\x7fGUEST"),
        (b"(module (fun))", "not valid WebAssembly text"),
        (b'(module (func (export "_start") (i32.const 1)))', "not valid WebAssembly"),
        (b"(module (type (array (mut i8))))", "collection, which this host refuses: build it in a language without it"),
        (
            b"(component (core module (type (struct))))",
            "uses WebAssembly's garbage collection, which this host refuses",
        ),
        (b"(module)", "exports no '_start'"),
        (command("", '(import "env" "f" (func)) (import "env" "g" (global i32))').encode(), r"env\.f, env\.g"),
        (command("", f'(import "{spec.MODULE}" "train" (func))').encode(), r"wasi_ephemeral_nn\.train"),
        (command("", f'(import "{spec.MODULE}" "compute" (func (param i64)))').encode(), "incompatible import type"),
        (command("", memory="(memory 1)").encode(), "exports no memory named 'memory'"),
        (Path("nowhere.wasm"), "no guest at nowhere.wasm: no such file$"),
        (
            "oci://localhost:5000/a:1",
            "no such file; the command takes a guest in a registry as oci://HOST/NAME:TAG, and",
        ),
        ("localhost:5000/a:1", "wasi_nn.oci.pull_guest gets it"),
        (Path("/"), "/ is a directory, not a guest"),
    ],
)
def test_guests_that_cannot_be_run(host: Host, guest: Any, message: str) -> None:
    with pytest.raises(GuestError, match=message.replace("b'\\", "b'\\\\")) as caught:
        host.run(guest)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, GuestTrap)
    assert run(host, command("")).exit_code == 0


@pytest.mark.usefixtures("either_call")
def test_a_trap_says_where_and_keeps_what_was_written(host: Host) -> None:
    with pytest.raises(GuestTrap) as caught:
        run(host, command(says("so far") + "unreachable"))
    trap = caught.value
    assert (trap.reason, trap.stdout) == ("wasm `unreachable` instruction executed", b"so far")
    assert "wasm function" in trap.backtrace
    with pytest.raises(GuestTrap, match=r"load_by_name: the name \[4294967295, "):
        run(host, command("(drop (call $lookup (i32.const -1) (i32.const 3) (i32.const 0)))"))
    with pytest.raises(GuestTrap, match="call stack exhausted"):
        run(host, '(module (func $f (call $f)) (func (export "_start") (call $f)))')


@pytest.mark.usefixtures("either_call")
def test_an_interruption_is_raised_again(host: Host) -> None:
    class Interrupting:
        def get(self, _: str) -> wasi_nn.Graph:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Host(Interrupting(), cache=False), command(LOOKS_UP_NET))
    assert run(host, command(LOOKS_UP_NET)).exit_code == core_guest.SUCCESS


def test_names_in_a_guest_cannot_play_tricks_on_a_terminal(host: Host) -> None:
    with pytest.raises(GuestError) as refused:
        run(host, command("", '(import "env\\1b[2J" "f" (func))'))
    with pytest.raises(GuestTrap) as trap:
        run(host, '(module (func $f (@name "f\\1b[2J") unreachable) (func (export "_start") (call $f)))')
    assert "[2J" in str(refused.value)
    assert "[2J" in trap.value.backtrace
    assert (str(refused.value) + trap.value.backtrace.replace("\n", "")).isprintable()


def test_arguments_and_variables_that_no_guest_can_get(host: Host) -> None:
    for keywords in ({"args": ["a\0b"]}, {"args": ["\udcff"]}, {"env": {"A": "b\0"}}, {"env": {"\0": ""}}):
        with pytest.raises(GuestError, match=r"zero byte|Unicode"):
            host.run(command("").encode(), **keywords)


def test_directories_that_are_none(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory, match in (
        (tmp_path / "nothing", "^no directory at "),
        (tmp_path / "file", "is a file, not a directory"),
    ):
        with pytest.raises(GuestError, match=match):
            host.run(command("").encode(), dirs={"/": directory})


def test_a_host_on_many_threads(host: Host) -> None:
    codes: list[int] = []

    def work(n: int) -> None:
        for _ in range(10):
            codes.append(run(host, command(f"(call $exit (i32.const {n}))")).exit_code - n)
            codes.append(run(host, command(LOOKS_UP_NET)).exit_code)

    on_threads(work, 8)
    assert codes == [0] * 160


def test_nothing_is_left_in_the_temporary_directory(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    run(host, command(says("out")), stdin=b"in")
    with pytest.raises(GuestTrap):
        run(host, command("unreachable"), stdin=b"in")
    with pytest.raises(GuestError):
        run(host, command(""), stdin=b"in", dirs={"/": "/nowhere"})
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.usefixtures("either_call")
def test_two_lines_add_wasi_nn_to_a_linker_of_ones_own() -> None:
    engine = wasmtime.Engine()
    linker, store = wasmtime.Linker(engine), wasmtime.Store(engine)

    session = wasi_nn.Session({"relu": models.relu()})
    wasi_nn.add_to_linker(linker, session)

    exports = linker.instantiate(store, wasmtime.Module(engine, core_guest.wat())).exports(store)
    assert exports["compute"](store, 5) == core_guest.INVALID_ARGUMENT  # type: ignore[operator]
    with pytest.raises(wasmtime.WasmtimeError, match="defined twice"):
        wasi_nn.add_to_linker(linker, session)


@pytest.mark.usefixtures("either_call")
def test_host_functions_live_as_long_as_the_engine_needs_them() -> None:
    import gc

    engine = wasmtime.Engine()

    def instance() -> tuple[wasmtime.Store, Callable[..., Any]]:
        linker, store = wasmtime.Linker(engine), wasmtime.Store(engine)
        wasi_nn.add_to_linker(linker, wasi_nn.Session())
        exports = linker.instantiate(store, wasmtime.Module(engine, core_guest.wat())).exports(store)
        return store, exports["compute"]  # type: ignore[return-value]

    gc.collect()
    before = len(wasmtime_c_api.kept)
    calls = [instance() for _ in range(20)]
    gc.collect()
    assert [compute(store, 1) for store, compute in calls] == [core_guest.INVALID_ARGUMENT] * 20
    del calls
    gc.collect()
    assert len(wasmtime_c_api.kept) <= before  # functions of an earlier test may go meanwhile


def test_a_session_of_the_host_has_its_rules() -> None:
    host = Host({"net": models.relu()}, allow_load=False, cache=False)
    with host.session() as session:
        guest = core_guest.CoreGuest(session, store=host.store())
        assert guest.load(models.relu()) == core_guest.UNSUPPORTED_OPERATION
        assert guest.load_by_name("net") == core_guest.SUCCESS
