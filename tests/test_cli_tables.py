"""What the command prints for a person: tables that line up, help that fits, errors that say what to type."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import onnx_models as models
import pytest

from wasi_nn import cli
from wasi_nn.cli.table import Columns, hanging, table, text_width

Write = Callable[[str, bytes], Path]
PROGRAM = str(Path(sys.executable).with_name("wasi-nn"))


# Tables


def test_columns_line_up_also_under_wide_and_combining_characters() -> None:
    rows = [("graph", "device"), ("日本語", "cpu"), ("e\u0301te\u0301", "gpu"), ("net", "cpu")]
    assert table(rows) == ["graph   device", "日本語  cpu", "e\u0301te\u0301     gpu", "net     cpu"]
    assert {text_width(line[: line.index("pu") - 1]) for line in table(rows)[1:]} == {8}


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_table_fits_the_width_and_loses_nothing(width: int) -> None:
    rows = [
        ("net", "onnx", "/models/" + "deep/" * 30 + "net.onnx", "it can't be read"),
        ("日本語" * 10, "tensorflowlite", "x", "a long reason that goes on for more than one line of the terminal"),
    ]
    lines = table(rows, indent=2, width=width)
    assert max(map(text_width, lines)) <= width
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(map("".join, rows)).replace(" ", ""))


@pytest.mark.parametrize("letter", ["x", "漢", "e\u0301"])
def test_a_word_of_any_length_is_broken_in_time_that_grows_with_it(letter: str) -> None:
    lines = table([(letter * 50_000, "b")], width=40)
    assert max(map(text_width, lines)) <= 40
    assert "".join(lines).replace(" ", "").count(letter) == 50_000


def test_cells_that_fit_are_not_wrapped() -> None:
    rows = [("short", "words " * 20)]
    assert table(rows, width=60)[0].startswith("short  words words")
    assert len(table(rows, width=60)) == 3
    assert table(rows) == [("short  " + "words " * 20).rstrip()]


def test_a_terminal_too_narrow_for_a_table_gets_one_all_the_same() -> None:
    lines = table([("a" * 30, "b" * 30, "c" * 30)], width=10)
    assert "".join(lines).count("a") == 30
    assert table([]) == table([], width=1) == []


def test_escapes_of_a_model_reach_no_terminal() -> None:
    assert table([("\x1b[31mred", "\u202ename")]) == ["\\x1b[31mred  \\u202ename"]


def test_a_row_that_comes_later_may_be_wider() -> None:
    columns = Columns([("name", "model")])
    assert list(columns.lines([("a longer name", "x")])) == ["a longer name  x"]


def test_text_hangs_under_its_first_line() -> None:
    assert hanging("one two three", None) == "one two three"
    assert hanging("one two three four", 16) == "one two\n    three four"
    assert hanging("  one two three four", 16) == "  one two\n    three four"


def test_each_table_of_the_command_fits_its_terminal_and_is_whole_in_a_pipe(write: Write, tmp_path: Path) -> None:
    write("net.onnx", models.relu())
    write("broken.onnx", b"no model")
    graphs = ["--graph", "net=net.onnx", "--graph", "日本語のグラフ=broken.onnx"]
    for arguments in (["graphs", *graphs, "--check"], ["inspect", "net.onnx"]):
        in_terminal = re.sub(r"\x1b\[\d+m", "", on_a_terminal(tmp_path, 60, *arguments))  # without its colours
        assert max(map(text_width, in_terminal.splitlines())) <= 60
        piped = subprocess.run([PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        assert len(piped.splitlines()) <= len(in_terminal.splitlines())
        if arguments[0] == "graphs":
            assert len(piped.splitlines()) == 3
            assert "FAILED" in piped.splitlines()[2]


def on_a_terminal(folder: Path, columns: int, *arguments: str) -> str:
    """The output of the command on a terminal with so many columns."""
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (50, columns))
        program, environment = [PROGRAM, *arguments], {**os.environ, "NO_COLOR": "1"}
        with subprocess.Popen(
            program, cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            os.close(theirs)
            theirs = -1
            output = b""
            while part := _read(ours):
                output += part
            process.wait()
        return output.decode()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has ended, and closed its side
        return b""


def test_the_columns_of_backends_line_up_where_runtimes_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli.main(["backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines[0].index("version")
    rows = [line for line in lines[1:] if "isn't installed" not in line]
    assert all(line[start - 1] == " " != line[start] for line in rows)
    assert "onnxruntime isn't installed: pip install 'wasi-nn[onnx]'" in lines


# Errors of the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            f"COMMAND is missing: {', '.join(cli._SUBCOMMANDS)} (help: wasi-nn --help)",
        ),
        (["rum"], f"'rum' isn't one of {', '.join(cli._SUBCOMMANDS)}; did you mean run?"),
        (["inspect", "--stats", "net.onnx"], "wasi-nn inspect: no option --stats (help"),
        (["--versoin"], "no option --versoin; did you mean --version?"),
        (["run"], "wasi-nn run: GUEST is missing: a .wasm or .wat file, or oci://HOST/NAME:TAG (help: wasi-nn run"),
        (["run", "--isolat", "guest.wasm"], "wasi-nn run: no option --isolat; did you mean --isolate?"),
        (["run", "--max-file=3", "guest.wasm"], "no option --max-file; did you mean --max-files?"),
        (["run", "--no-cache", "--graf", "a=b", "guest.wasm"], "no option --graf; did you mean --graph?"),
        (
            ["run", "--dialect", "wasmedg", "guest.wasm"],
            "argument --dialect: 'wasmedg' isn't one of auto, spec, wasmedge",
        ),
        (["run", "--graph"], "wasi-nn run: --graph needs a value: NAME=[ENCODING:TARGET:]PATH"),
        (["replay"], "FILE is missing: the trace"),
        (["inspect"], "MODEL is missing: a model"),
        (["graphs", "net.onnx"], "wasi-nn graphs: 'net.onnx' is one argument too many"),
        (["backends", "--jso"], "no option --jso; did you mean --json?"),
        (["backends", "-v"], "wasi-nn backends: no option -v"),
    ],
)
def test_a_slip_on_the_command_line_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    output, errors = capsys.readouterr()
    assert (ended.value.code, output, len(errors.splitlines())) == (2, "", 1)
    assert message in errors
    assert " --help)" in errors


def test_the_guests_own_options_are_not_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["run", str(tmp_path / "nowhere.wasm"), "--graf", "x"]) == 1
    assert "no guest at" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in cli._SUBCOMMANDS)])
def test_help_fits_a_terminal_of_80_columns(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    output = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, output.splitlines())) <= 80
    assert output.startswith(" ".join(["usage: wasi-nn", *command]))
    assert "wasi-nn" in output.partition("\n\n")[2], "each help has an example"


def test_help_has_the_options_first_that_most_people_need(capsys: pytest.CaptureFixture[str]) -> None:
    for command, first in (("run", "--graph"), ("map", "--graph"), ("serve", "--graph"), ("inspect", "--encoding")):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        output = capsys.readouterr().out
        options = re.findall(r"^  (--?[a-z-]+)", output, re.MULTILINE)
        assert options[0] == first
        assert 5 <= options.index("-h") <= 10
        assert len(set(options)) == len(options)


def test_every_module_of_a_subcommand_is_in_a_section_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    modules = Path(cli.__file__).parent.glob("*.py")
    subcommands = {path.stem for path in modules if "def add_parser(subcommands" in path.read_text()}
    assert subcommands == set(cli._SUBCOMMANDS)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    output = capsys.readouterr().out
    for title, names in cli._SECTIONS.items():
        assert re.findall(r"^  (\w+)  ", output.partition(f"\n{title}:\n")[2].partition("\n\n")[0], re.MULTILINE) == [
            *names
        ]
