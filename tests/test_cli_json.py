"""The command's output for programs: the JSON of each subcommand has the keys that docs/reference/command.md lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx_models
import pytest
from command_guests import EMPTY, LOOKS_UP_NET, command
from conftest import C_GUESTS, REPOSITORY, SUPPORT

from wasi_nn import cli
from wasi_nn.cli import versions

Write = Callable[[str, bytes], Path]
PAGE = REPOSITORY / "docs" / "reference" / "command.md"
ROWS = dict(re.findall(r"^\| `(wasi-nn [^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))


@pytest.fixture
def asked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs the command in a folder with a model and guests; gives the JSON that it prints."""
    write("net.onnx", onnx_models.relu())
    write("lookup.wat", command(LOOKS_UP_NET).encode())
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Any:
        assert cli.main(arguments) == code
        return json.loads(capfd.readouterr().out)

    return run


def listed(row: str, *, without: str = "") -> set[str]:
    """The keys that a row of the page names outside of parentheses."""
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", ROWS[row]))) - set(without.split())


@pytest.mark.parametrize(
    ("row", "arguments"),
    [
        ("wasi-nn --version --json", ["--version", "--json"]),
        ("wasi-nn --version --json", ["--json", "--version"]),
        ("wasi-nn inspect MODEL --json", ["inspect", "net.onnx", "--json"]),
        ("wasi-nn inspect GUEST --json", ["inspect", str(C_GUESTS / "infer.wasm"), "--json"]),
        ("wasi-nn graphs --json", ["graphs", "--graph", "net=net.onnx", "--json"]),
        ("wasi-nn doctor --json", ["doctor", "cache", "--json"]),
        ("wasi-nn cache --json", ["cache", "--json"]),
        ("wasi-nn new --list --json", ["new", "--list", "--json"]),
    ],
)
def test_the_keys_of_the_json_are_those_of_the_page(asked: Callable[..., Any], row: str, arguments: list[str]) -> None:
    content = asked(*arguments)
    for record in content if isinstance(content, list) else [content]:
        assert set(record) == listed(row)


def test_parts_of_the_json_have_the_keys_of_the_page(asked: Callable[..., Any]) -> None:
    model = asked("inspect", "net.onnx", "--json")
    inside = re.search(r"each a list of ([^;]*);", ROWS["wasi-nn inspect MODEL --json"])
    assert inside is not None
    assert set(model["inputs"][0]) == set(re.findall(r"`(\w+)`", inside[1]))
    assert asked("--version", "--json")["engine"] == {"name": "wasmtime", "version": versions.installed("wasmtime")}
    (row,) = asked("graphs", "--graph", "net=net.onnx", "--check", "--json")
    assert {"device", "load_ms", "run_ms"} <= set(row)
    assert listed("wasi-nn graphs --check --json") == {"device", "load_ms", "run_ms", "error", "code"}


def test_the_guests_of_a_file_of_graphs(asked: Callable[..., Any], write: Write) -> None:
    write("empty.wat", EMPTY)
    graphs = ["graphs", "--graphs", str(write("graphs.toml", GUESTS.encode()))]
    (net, *guests) = asked(*graphs, "--json")
    assert net["name"] == "net"
    assert all(set(row) == listed("wasi-nn graphs --graphs FILE --json") for row in guests)
    assert [(row["guest"], row["serves"], row["mount"], row["reuse"]) for row in guests] == [
        ("web", "http", "/guests/web", False),
        ("labels", "http", "/api", False),
        ("model", "model", None, True),
        ("lookup", None, None, False),
        ("twice", "http", "/api", False),
        ("lacks", "model", None, False),
    ]
    assert (guests[0]["path"], guests[0]["graphs"]) == (str(SUPPORT / "http" / "guest.wasm"), ["net"])
    checked = {row.get("guest"): row for row in asked(*graphs, "--check", "--json", code=1)}
    more = {key for row in checked.values() if "guest" in row for key in row} - set(guests[0])
    assert more == listed("wasi-nn graphs --graphs FILE --check --json")
    assert {name for name, row in checked.items() if "error" in row} == {"lookup", "twice", "lacks"}
    assert 'say what it serves, serves = "model" or serves = "http"' in checked["lookup"]["error"]
    assert checked["twice"]["error"] == "its path /api is that of guest 'labels'"
    assert "ended with exit code" in checked["lacks"]["error"]


GUESTS = f"""
[graphs.net]
path = "net.onnx"
[guests.web]
path = "{SUPPORT / "http" / "guest.wasm"}"
graphs = ["net"]
[guests.labels]
path = "empty.wat"
serves = "http"
mount = "/api"
[guests.model]
path = "empty.wat"
outputs = [{{ name = "y", datatype = "BYTES", shape = [1] }}]
reuse = true
[guests.lookup]
path = "lookup.wat"
[guests.twice]
path = "{SUPPORT / "http" / "guest.wasm"}"
mount = "/api"
[guests.lacks]
path = "lookup.wat"
outputs = [{{ name = "y", datatype = "BYTES", shape = [1] }}]
"""


def test_the_folders_of_the_sdk(asked: Callable[..., Any]) -> None:
    both = asked("sdk", "--json")
    assert set(both) == {"folder", "languages"} < listed("wasi-nn sdk --json")
    assert asked("sdk", "rust", "--json") == {"language": "rust", "folder": both["languages"]["rust"]}
    assert all(Path(folder).is_dir() for folder in both["languages"].values())


def test_a_trace_in_json(asked: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--trace", "t.json", "--graph", "net=net.onnx", "lookup.wat"]) == 0
    row = "wasi-nn trace FILE --json"
    shown = asked("trace", "t.json", "--json")
    assert set(shown) == listed(row)
    of_calls, of_runs = re.findall(r"\(each ([^)]*)\)", ROWS[row])
    assert set(shown["calls"][0]) == set(re.findall(r"`(\w+)`", of_calls)) - {"error"}
    assert set(shown["runs"][0]) == set(re.findall(r"`(\w+)`", of_runs))
    assert cli.main(["run", "--trace", "u.json", "lookup.wat"]) != 0
    capfd.readouterr()
    compared = asked("trace", "t.json", "--compare", "u.json", "--json", code=1)
    assert set(compared) == listed("wasi-nn trace FILE --compare OTHER --json")
    assert set(compared["differences"][0]) == {"first", "second", "name", "texts"}


def test_a_replay_in_json(asked: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--trace", "t.json", "--trace-data", "--graph", "net=net.onnx", "lookup.wat"]) == 0
    replayed = asked("replay", "--graph", "net=net.onnx", "t.json", "--json")
    assert set(replayed) == listed("wasi-nn replay FILE --json")
    assert (replayed["calls"], replayed["differences"]) == (1, [])
    (difference,) = asked("replay", "t.json", "--json", code=1)["differences"]
    assert (difference["call"], difference["name"]) == (1, "load_by_name")
    assert set(difference) == {"call", "name", "text"}


# The facts about a run


def facts(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text())
    assert set(content) == listed("wasi-nn run --stats-json FILE", without="FILE")
    return content


def test_the_facts_about_a_run_in_json(
    asked: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stats = tmp_path / "stats.json"
    assert cli.main(["run", "--stats-json", str(stats), "--graph", "net=net.onnx", "lookup.wat"]) == 0
    found = facts(stats)
    assert (found["guest"], found["exit_code"], found["error"]) == ("lookup.wat", 0, None)
    assert (found["nn_calls"], found["nn_failures"], found["nn_errors"]) == (1, 0, [])
    assert found["run_time"] > 0
    assert capfd.readouterr() == ("", ""), "the guest's streams are its own"
    assert cli.main(["run", "--stats-json", str(stats), "lookup.wat"]) == 8
    assert (facts(stats)["exit_code"], facts(stats)["nn_failures"]) == (8, 1)


def test_the_facts_about_a_run_that_failed(asked: Callable[..., Any], write: Write, tmp_path: Path) -> None:
    stats = write("stats.json", b"of an earlier run")
    write("trap.wat", command("unreachable").encode())
    assert cli.main(["run", "--stats-json", str(stats), "trap.wat"]) == 134
    assert facts(stats)["exit_code"] is None
    assert facts(stats)["error"].startswith("the guest trapped: wasm `unreachable`")
    assert cli.main(["run", "--stats-json", str(stats), "nowhere.wat"]) == 1
    assert "no guest at nowhere.wat" in facts(stats)["error"]


def test_facts_that_can_not_be_written_are_told_before_the_run(
    asked: Callable[..., Any], write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--stats-json", "nowhere/stats.json", str(C_GUESTS / "infer.wasm"), "--help"]) == 1
    output, errors = capfd.readouterr()
    assert (output, "nowhere/stats.json" in errors) == ("", True)


# The versions


def test_the_tested_versions_are_those_that_are_pinned() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {name.replace("_", "-").lower(): versions.numbers(pin, 2) for name, pin in pins.items()}
    assert {name: versions.numbers(tested, 2) for name, tested in versions.TESTED.items()} == {
        name: pinned[name] for name in versions.TESTED
    }


def test_the_least_versions_are_those_of_the_package() -> None:
    assert versions.numbers(versions.least("wasmtime")) >= (50, 0, 1)
    assert versions.least("numpy") == "1.26"
    assert versions.requirements()["onnx"].keys() == {"onnxruntime"}
    assert "dev" not in versions.requirements()
    assert versions.numbers("2.13.0+cpu.1") == (2, 13, 0)


@pytest.mark.parametrize("arguments", [["--json"], ["new", "c", "--json"], ["new", "c", "there", "--json"]])
def test_json_where_there_is_none(
    arguments: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert list(tmp_path.iterdir()) == []
