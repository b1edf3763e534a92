"""The switches of the extensions: of a host, a session and the command; and the lines of `inspect` about guests that
import them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from core_guest import TRAP, CoreGuest, wat
from numpy_graphs import Described

import wasi_nn
from wasi_nn import cli
from wasi_nn.abi.core.extensions import FUNCTIONS
from wasi_nn.cli import extension_options
from wasi_nn.guests.inspection import report_on
from wasi_nn.session.policy import EXTENSIONS


def guest_of(*functions: str) -> bytes:
    """A command that imports these functions of the extensions and does nothing."""
    imports = [
        f'(import "wasi_nn_ext" "{name}" (func (param{" i32" * FUNCTIONS[name].parameters}) (result i32)))'
        for name in functions
    ]
    return f'(module {" ".join(imports)} (memory (export "memory") 1) (func (export "_start")))'.encode()


def test_a_guest_that_imports_an_extension_that_is_turned_off_is_not_run() -> None:
    guest = guest_of("describe", "state_get", "state_set")
    assert wasi_nn.Host(cache=False).run(guest).exit_code == 0
    both = r"guest\.wasm imports describe and state of wasi-nn:ext, which this host doesn't allow"
    both += r" \(extensions=\['describe', 'state'\], --allow-ext describe --allow-ext state in place of --no-ext\)"
    with pytest.raises(wasi_nn.GuestError, match=both):
        wasi_nn.Host(cache=False, extensions=False).run(guest)
    three = guest_of("describe", "use_signature", "state_set")
    with pytest.raises(wasi_nn.GuestError, match="imports describe, signatures and state of wasi-nn:ext"):
        wasi_nn.Host(cache=False, extensions=[]).run(three)
    one = r"imports state of .*\(extensions=\['describe', 'state', 'sequences'\], --allow-ext state\)"
    host = wasi_nn.Host(cache=False, extensions=["sequences", "describe"])
    with pytest.raises(wasi_nn.GuestError, match=one):
        host.run(guest)
    assert host.run(guest_of("describe")).exit_code == 0
    assert host.run(guest_of()).exit_code == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_belongs_to_one_switch(name: str) -> None:
    interface = FUNCTIONS[name].interface
    wasi_nn.Host(cache=False, extensions=[interface]).run(guest_of(name))
    with pytest.raises(wasi_nn.GuestError, match=f"imports {interface} of wasi-nn:ext"):
        wasi_nn.Host(cache=False, extensions=set(EXTENSIONS) - {interface}).run(guest_of(name))


def test_a_linker_has_the_functions_that_the_session_allows() -> None:
    with wasi_nn.Session(extensions=["describe"]) as session:
        CoreGuest(session, wat(extensions=["describe"]))
        with pytest.raises(TRAP, match="unknown import: `wasi_nn_ext::use_signature`"):
            CoreGuest(session, wat(extensions=["describe", "signatures"]))


def test_a_function_that_no_version_has() -> None:
    guest = b'(module (import "wasi_nn_ext" "improve" (func)) (memory (export "memory") 1) (func (export "_start")))'
    with pytest.raises(wasi_nn.GuestError, match=r"lacks: wasi_nn_ext\.improve .*; and wasi_nn_ext: describe, "):
        wasi_nn.Host(cache=False).run(guest)


def test_a_guest_of_extensions_needs_a_memory() -> None:
    guest = b'(module (import "wasi_nn_ext" "end_sequence" (func (param i32) (result i32))) (func (export "_start")))'
    with pytest.raises(wasi_nn.GuestError, match="exports no memory named 'memory'"):
        wasi_nn.Host(cache=False).run(guest)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"extensions": ["describes"]}, "no extension is named 'describes'; .*; did you mean describe"),
        ({"extensions": "describe"}, "must be a collection, not one text"),
        ({"show_metadata": "no"}, "show_metadata must be True or False"),
    ],
)
def test_switches_of_the_wrong_kind(settings: dict[str, Any], text: str) -> None:
    for make in (wasi_nn.Host, wasi_nn.Session):
        with pytest.raises(wasi_nn.NNError, match=text):
            make(**settings)


# The command


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and the output of the command, with its errors."""
    try:
        code = cli.main(list(arguments))
    except SystemExit as ended:
        code = int(ended.code or 0)
    output, errors = capsys.readouterr()
    return code, output + errors


@pytest.fixture
def guest(tmp_path: Path, cache_home: Path) -> str:
    """The file of a guest that imports two extensions."""
    (tmp_path / "guest.wasm").write_bytes(guest_of("describe", "state_get"))
    return str(tmp_path / "guest.wasm")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 0, ""),
        (["--allow-ext", "describe", "--allow-ext", "state"], 0, ""),
        (["--no-metadata"], 0, ""),
        (["--no-ext"], 1, "guest.wasm imports describe and state of wasi-nn:ext, which this host doesn't allow"),
        (["--allow-ext", "state"], 1, "imports describe of wasi-nn:ext"),
        (["--allow-ext", "state", "--no-ext"], 2, "not allowed with argument --allow-ext"),
        (["--allow-ext", "byte_strings"], 2, "'byte_strings' isn't one of describe, signatures, state, sequences, by"),
    ],
)
def test_switches_of_the_command(
    guest: str, options: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got, said = answer(capsys, "run", *options, guest)
    assert got == code
    assert text in said


def test_the_command_names_every_extension() -> None:
    assert extension_options.EXTENSIONS == EXTENSIONS


def test_metadata_is_hidden_by_the_host() -> None:
    for shows in (True, False):
        with wasi_nn.Host({"net": Described([], [], {"key": "text"})}, show_metadata=shows, cache=False) as host:
            with host.session() as session:
                described = session.describe(session.load_by_name("net"))
        assert described.metadata == ({"key": "text"} if shows else {})


# inspect


def test_inspect_names_the_extensions_of_a_module(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = answer(capsys, "inspect", guest)
    assert code == 0
    assert "abi         core module\ndialect     spec\nextensions  describe, state\nnn\n" in text
    assert "  wasi_nn_ext.describe\n  wasi_nn_ext.state_get\nruns here\n" in text
    report = json.loads(answer(capsys, "inspect", "--json", guest)[1])
    assert (report["extensions"], report["wasi"], report["problems"]) == (["describe", "state"], [], [])


def test_inspect_of_guests_without_extensions(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_on(wat().encode()).extensions == ()
    assert report_on(b"(component)").extensions == ()
    assert report_on(wat(extensions=EXTENSIONS).encode()).extensions == EXTENSIONS


def test_inspect_names_the_extensions_of_a_component() -> None:
    interfaces = ("types", "state", "describe")
    imports = "".join(f'(import "wasi-nn:ext/{name}@0.1.0" (instance))' for name in interfaces)
    report = report_on(f"(component {imports})".encode())
    assert report.extensions == ("describe", "state")
    assert report.nn == tuple(f"wasi-nn:ext/{name}@0.1.0" for name in interfaces)
    assert report.other == report.versions == ()
