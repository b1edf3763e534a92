"""The conformance suite's runner: what it makes of a host, its command, its drivers and its reports."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY, need

from bench import wasmtime_setup
from conformance import __main__ as command, report
from conformance.hosts import NAMES, driver_for, wasi_nn as wasi_nn_command
from conformance.hosts.driver import CRASH, HANG, TRAP, Driver, Graph, Outcome
from conformance.run import ACCEPTED, CRASHED, FAILED, HUNG, PASSED, UNSUPPORTED, Result, run, run_all
from conformance.suite import HOME, MODELS, all_cases, choose, matches

SUITE = all_cases()


@pytest.mark.parametrize(
    ("pattern", "lines", "fits"),
    [
        (["load 0"], ["load 0"], True),
        (["load 1-8"], ["load 8"], True),
        (["load 1-8"], ["load 0"], False),
        (["load 0|6"], ["load 6"], True),
        (["load 0|6"], ["load 1"], False),
        (["load 0", "trap"], ["load 0"], False),
        (["load-by-name ok"], ["load-by-name ok"], True),
        (["load-by-name ok|0-8"], ["load-by-name 3"], True),
        (["load-by-name ok|0-8"], ["load-by-name 9"], False),
        ([], [], True),
    ],
)
def test_outputs_are_matched_by_patterns(pattern: list[str], lines: list[str], fits: bool) -> None:
    assert matches(pattern, lines) is fits


# What the runner makes of a host

CASE = SUITE["core/load_by_name/empty"]


class Script(Driver):
    """A host that is a shell script."""

    encodings = ("onnx",)

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        return [*self.words, str(guest)]

    def end(self, code: int, errors: str) -> str:
        return TRAP if "trap" in errors else f"exit {code}"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("echo load_by_name 8", PASSED),
        ("echo load_by_name 6", ACCEPTED),
        ("echo load_by_name 0", FAILED),
        ("true", FAILED),
        ("echo load_by_name 8; exit 3", FAILED),
        ("echo load_by_name 8; echo trap >&2; exit 1", FAILED),
        ("echo load_by_name 8; kill -SEGV $$", CRASHED),
        ("echo load_by_name 8; sleep 60", HUNG),
        ("printf 'load_by_name 8\\377'", FAILED),
    ],
)
def test_the_status_of_a_case(tmp_path: Path, script: str, status: str) -> None:
    host = tmp_path / "host"
    host.write_text(f"#!/bin/sh\n{script}\n")
    host.chmod(host.stat().st_mode | stat.S_IXUSR)
    assert run(CASE, Script(str(host)), timeout=0.5 if status == HUNG else 60).status == status


def test_a_host_may_be_given_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = tmp_path / "host"
    host.write_text("#!/bin/sh\necho load_by_name 8\n")
    host.chmod(host.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    assert run(CASE, Script("./host"), 60).status == PASSED


def test_each_guest_runs_in_an_empty_folder_with_the_models_by_the_names_of_the_graphs(tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.write_text('#!/bin/sh\n[ -z "$(ls)" ] && [ -e "$2" ] && echo load_by_name 8\ntouch left\n')
    host.chmod(host.stat().st_mode | stat.S_IXUSR)

    class WithGraph(Script):
        def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
            assert [graph.folder.name for graph in graphs] == ["relu"]
            return [*self.words, str(guest), str(graphs[0].files[0])]

    results = run_all([SUITE["core/load_by_name/unknown"]] * 3, WithGraph(str(host)), jobs=1)
    assert [result.status for result in results] == [PASSED] * 3


@pytest.mark.parametrize(
    ("attribute", "value"), [("abis", ("2024-10-28",)), ("encodings", ("ggml",)), ("named", False)]
)
def test_a_case_that_needs_more_than_the_host_has_is_not_supported(attribute: str, value: object) -> None:
    host = Script("/nonexistent")
    setattr(host, attribute, value)
    assert run(CASE, host, 1).status == UNSUPPORTED


def test_a_type_that_the_host_lacks_is_not_supported() -> None:
    host = Script("/nonexistent")
    host.types = ("f32",)
    assert run(SUITE["core/types/f64"], host, 1).missing == "tensors of f64"


@pytest.mark.parametrize(
    ("name", "path"),
    [("wasi-nn-library", sys.executable), ("wasi-nn", f"{sys.executable} -m wasi_nn")],
    ids=["library", "command"],
)
def test_a_process_of_this_host_that_ends_or_hangs_is_replaced(tmp_path: Path, name: str, path: str) -> None:
    loop = tmp_path / "loop.wat"
    loop.write_text('(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))')
    host = driver_for(name, path)
    try:
        assert host.run(loop, [], tmp_path, 1).end == HANG
        assert run(CASE, host, 60).status == PASSED
        worker = host.processes.idle.queue[0]
        worker.kill()
        worker.wait()
        assert host.run(CASE.guest, [], tmp_path, 60).end == CRASH
        assert run(CASE, host, 60).status == PASSED
    finally:
        host.close()


def test_the_command_of_this_host_may_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "wasi_nn"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(
        "import os, signal\n"
        "def command():\n"
        "    print('load_by_name 8', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    host = wasi_nn_command.Driver(f"{sys.executable} -m wasi_nn")
    results = run_all([CASE, CASE], host, jobs=1)
    assert [result.status for result in results] == [CRASHED, CRASHED]
    assert [result.outcome and result.outcome.lines for result in results] == [["load_by_name 8"]] * 2


def test_the_python_of_the_command_is_that_of_its_script(tmp_path: Path) -> None:
    for first, python in (("#!/usr/bin/python3", ["/usr/bin/python3"]), ("#!/bin/sh", [])):
        script = tmp_path / "wasi-nn"
        script.write_text(f"{first}\necho load_by_name 8\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        assert [*wasi_nn_command.python_of([str(script)])] == python
    host = wasi_nn_command.Driver(str(script))
    assert run(CASE, host, 60).status == PASSED, "a command without a known Python is started for each guest"


def test_the_command_writes_results_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = tmp_path / "iwasm"
    host.write_text('#!/bin/sh\n[ "$1" = --version ] && echo iwasm 0 && exit\necho load_by_name 0\n')
    host.chmod(host.stat().st_mode | stat.S_IXUSR)
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    files = ["--json", str(results), "--page", str(page)]
    assert command.main(["--host", f"iwasm={host}", CASE.name, "core/load/onnx-works", *files]) == 1
    said = capsys.readouterr().out
    assert "expected: load_by_name 8" in said
    assert "1 failed, 1 not supported" in said
    read = json.loads(results.read_text())["iwasm"]
    assert read["cases"][CASE.name]["output"] == ["load_by_name 0"]
    assert "load_by_name 0 (success)" in page.read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sleep 60", "it hangs when it is asked for its version"),
        ("kill -SEGV $$", "it crashes when it is asked for its version: SIGSEGV"),
        ("cat", "/iwasm: 1 cases"),
    ],
    ids=["hangs", "crashes", "reads"],
)
def test_a_host_that_tells_no_version_runs_the_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, said: str
) -> None:
    host = tmp_path / "iwasm"
    host.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then {asked}; else echo load_by_name 8; fi\n')
    host.chmod(host.stat().st_mode | stat.S_IXUSR)
    started = time.monotonic()
    case = "core/load_by_name/unknown"
    assert command.main(["--host", f"iwasm={host}", case, "--timeout", "1"]) == 0
    assert time.monotonic() - started < 30
    shown = capsys.readouterr().out
    assert said in shown
    assert re.search(r"^1 passed: 1 cases in \d+\.\d s$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (["iwasm=/nowhere/a", "iwasm=/nowhere/b"], "--host iwasm is given twice: write --host iwasm:LABEL=PATH"),
        (["iwasm:a=/nowhere/a", "iwasm:a=/nowhere/b"], "--host iwasm:a is given twice"),
        (["iwasm:=/nowhere/a"], "write NAME=PATH or NAME:LABEL=PATH"),
        (["nobody=/nowhere/a"], "write NAME=PATH or NAME:LABEL=PATH"),
        (["iwasm=/nowhere/a"], "--host iwasm: "),
        (["wasi-nn-library=/bin/true"], "/bin/true is no Python that has wasi-nn"),
    ],
)
def test_a_wrong_host_is_an_error_of_the_command_line(
    hosts: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([word for host in hosts for word in ("--host", host)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_two_hosts_of_one_kind_have_results_of_their_own(tmp_path: Path) -> None:
    hosts = []
    for label, errno in (("iwasm", 8), ("iwasm:old", 0)):
        host = tmp_path / f"host-{errno}"
        host.write_text(f"#!/bin/sh\necho load_by_name {errno}\n")
        host.chmod(host.stat().st_mode | stat.S_IXUSR)
        hosts += ["--host", f"{label}={host}"]
    results = tmp_path / "results.json"
    assert command.main([*hosts, "core/load_by_name/unknown", "--json", str(results)]) == 1
    read = json.loads(results.read_text())
    outputs = {label: host["cases"]["core/load_by_name/unknown"].get("output") for label, host in read.items()}
    assert outputs == {"iwasm": ["load_by_name 8"], "iwasm:old": ["load_by_name 0"]}


def _crashed(name: str, said: str) -> Result:
    return Result(SUITE[name], CRASHED, Outcome([], CRASH, said), command=f"host {name}.wasm")


def test_a_mistake_is_a_report_that_can_be_sent_as_it_is(tmp_path: Path) -> None:
    case = SUITE["core/load_by_name/unknown"]
    relu = MODELS / "openvino" / "relu"
    wrong = Result(case, FAILED, Outcome(["load_by_name 6"], "exit 0"), command="host x.wasm", models=[relu])
    page = report.page({"host": "host 1.2"}, {"host": [wrong]}, tmp_path / "page.md", "A note.")
    assert "\n\nA note.\n\n## By area" in page
    section = page.partition("### core/load_by_name/unknown\n")[2]
    assert "- **Host**: host 1.2\n" in section
    assert "- **Expected**: `load_by_name 8 (not_found)`\n" in section
    assert f'- **Rule**: {case.says} The specification says of `not_found`: "Graph not found."\n' in section
    assert "- **Seen**: `load_by_name 6 (unsupported_operation)`\n\n```console\n$ host x.wasm\n" in section
    assert f"```wat\n{case.guest.with_suffix('.wat').read_text().rstrip()}\n```\n" in section
    assert f"```xml\n{(relu / 'model.xml').read_text().rstrip()}\n```\n" in section
    assert "](" not in section, "no link leads to a place that is on this page's side only"


def test_a_crash_under_several_rules_has_a_row_for_each(tmp_path: Path) -> None:
    names = ("name-past-memory", "name-partly-past-memory", "not-utf8-ff", "empty-name-past-memory")
    results = [_crashed(f"core/load_by_name/{name}", "panicked at line 1") for name in names]
    other = _crashed("core/load_by_name/name-wraps-around", "panicked at line 2")
    page = page_of([*results, other], tmp_path)
    assert page.count("\n### core/") == 2
    rows = re.findall(r"^\| (.*) \| (.*) \| \[.*$", page.partition("| rule |")[2], re.MULTILINE)
    assert sorted(rows) == sorted(
        (SUITE[f"core/load_by_name/{name}"].says, expected)
        for name, expected in (
            ("name-past-memory", "trap"),
            ("not-utf8-ff", "load_by_name 1 or 8 (invalid_argument, not_found)"),
            ("empty-name-past-memory", "load_by_name 8 (not_found)"),
        )
    )
    assert page.count(" Whatever a guest does, the host itself goes on.\n") == 2


def test_a_difference_has_its_rule(tmp_path: Path) -> None:
    results = [
        Result(SUITE[f"core/load_by_name/{name}"], ACCEPTED, Outcome(["load_by_name 6"], "exit 0"))
        for name in ("path", "path-up", "empty")
    ]
    rows = re.findall(r"^\| core/load_by_name \| load_by_name 6 .*$", page_of(results, tmp_path), re.MULTILINE)
    assert [row.split(" | ")[3] for row in rows] == [SUITE[f"core/load_by_name/{n}"].says for n in ("path", "empty")]


def page_of(results: list[Result], folder: Path) -> str:
    """The page on results of a host."""
    return report.page({"host": "host 1.2"}, {"host": results}, folder / "page.md")


def test_the_note_on_the_version_of_wasmtime_is_of_the_pinned_one() -> None:
    assert f"`{wasmtime_setup.PACKAGE.replace('==', '` ')} of PyPI" in (
        (REPOSITORY / "docs" / "reference" / "conformance.md").read_text()
    )


def test_every_host_has_a_driver_that_makes_a_command(tmp_path: Path) -> None:
    assert {"wasi-nn", "wasmtime", "wasmedge", "iwasm", "wacs"} <= set(NAMES)
    for name in NAMES:
        host = driver_for(name, "host")
        graph = Graph("relu", host.encodings[0], tmp_path / "relu")
        assert any("any.wasm" in word for word in host.command(tmp_path / "any.wasm", [graph]))
        assert host.end(7, "") == "exit 7"


def test_a_driver_as_the_readme_says_runs_its_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = (HOME / "README.md").read_text().partition("## A host of your own\n")[2].partition("\n## ")[0]
    code, commands = (section.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "sh"))
    assert len(code.splitlines()) < 40
    monkeypatch.chdir(tmp_path)
    Path("myhost.py").write_text(code)
    program, *words = shlex.split(commands.replace("\\\n", " "))[2:]
    assert program == "conformance"
    place = words.index("./myhost.py=wasi-nn")
    words[place] = f"./myhost.py={sys.executable} -m wasi_nn"
    assert command.main([*words, "--json", "results.json"]) == 0
    assert "3 passed, 1 accepted: 4 cases in " in capsys.readouterr().out
    (read,) = json.loads(Path("results.json").read_text()).values()
    kinds = [case["output"][-1] for case in read["cases"].values()]
    assert kinds[1:3] == ["trap", "refused"]
    assert len({name.split("/")[0] for name in read["cases"]}) == 2


def test_cases_are_chosen_by_names_beginnings_and_patterns() -> None:
    def chosen(*patterns: str) -> list[str]:
        return [case.name for case in choose(SUITE.values(), patterns)]

    assert chosen() == list(SUITE)
    assert chosen("core/get_output/exact") == ["core/get_output/exact"]
    assert {name.split("/")[1] for name in chosen("core/get_output/")} == {"get_output"}
    assert all(name.startswith("core/types/u8") for name in chosen("core/types/u8*"))
    assert chosen("core/get") == []


def test_the_suite_installs_by_itself(tmp_path: Path) -> None:
    need("hatchling", "hatchling")
    folder = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    installed = subprocess.run([*pip, str(REPOSITORY / "conformance")], capture_output=True, text=True, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    environment = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
    listed = subprocess.run(
        [sys.executable, "-S", "-m", "conformance", "--list", "core/get_output"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "core/get_output/exact: " in listed.stdout
    assert len(list(folder.glob("conformance/cases/**/*.wasm"))) == len(SUITE)
