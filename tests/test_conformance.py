"""The conformance suite: this host and Wasmtime in all cases, the faults that it finds, and its page on a host."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, need
from here import Here

import wasi_nn
from bench import wasmtime_setup
from conformance import __main__ as command, report
from conformance.hosts import NAMES, driver_for, wasi_nn as wasi_nn_command
from conformance.hosts.driver import CRASH, HANG, TRAP, Driver, Graph, Outcome
from conformance.making.component_types import VERSIONS
from conformance.making.core_guest import EXTENSIONS
from conformance.making.extension_types import EXTENSIONS as COMPONENT_EXTENSIONS
from conformance.run import ACCEPTED, CRASHED, FAILED, HUNG, PASSED, UNSUPPORTED, Result, run, run_all
from conformance.suite import CASES, HOME, MODELS, Case, all_cases, choose, matches
from conformance.words import CODES, ERRNOS, in_words
from wasi_nn import LoadRules, Registry
from wasi_nn.isolation import unavailable

for module in ("onnxruntime", "openvino", "ai_edge_litert", "xllamacpp"):
    need(module, "'wasi-nn[all]'")

SUITE = all_cases()
JOBS = min(len(os.sched_getaffinity(0)), 2)


@pytest.fixture(scope="module")
def ours() -> dict[str, Result]:
    """This host's results in all cases."""
    results = run_all(SUITE.values(), driver_for("wasi-nn-library", sys.executable), jobs=JOBS)
    return {result.case.name: result for result in results}


@pytest.fixture(scope="module")
def wasmtimes(request: pytest.FixtureRequest) -> dict[str, Result]:
    """Wasmtime's results in all cases."""
    path = wasmtime_setup.installed()
    if path is None:
        message = "Wasmtime isn't installed: `make test` installs it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENVINO_LIBRARY_PATH", str(wasmtime_setup.openvino_library()))
        results = run_all(SUITE.values(), driver_for("wasmtime", str(path)), jobs=JOBS)
    return {result.case.name: result for result in results}


# The hosts


@pytest.mark.timeout(600)
def test_this_host_passes_every_case(ours: dict[str, Result]) -> None:
    bad = [report.explained(result) for result in ours.values() if result.bad]
    assert not bad, "\n".join(bad)
    otherwise = {name for name, result in ours.items() if result.status != PASSED}
    assert otherwise == {"core/memory/not-exported"}, "this host refuses to run such a module"


@pytest.mark.parametrize(("encoding", "isolate"), [("openvino", False), ("tensorflowlite", False), ("onnx", True)])
def test_this_host_passes_every_case_of_a_named_graph(encoding: str, isolate: bool) -> None:
    if isolate and unavailable() and not os.environ.get("CI"):
        pytest.skip(f"graphs can't be isolated here: {unavailable()}")
    made = {path.name for path in (MODELS / encoding).iterdir()}
    cases = [case for case in SUITE.values() if case.graphs and set(case.graphs.values()) <= made]
    models = {name: MODELS / encoding / model for case in cases for name, model in (case.graphs or {}).items()}
    registry = Registry(models, rules=LoadRules(isolate=isolate))
    with registry, wasi_nn.Host(registry) as host:
        driver = Here(host)
        driver.encodings = [encoding]
        results = run_all(cases, driver, jobs=1)
    otherwise = [result for result in results if result.status != PASSED]
    assert [result.case.name for result in otherwise] == ["core/memory/not-exported"], [
        report.explained(result) for result in otherwise
    ]


@pytest.fixture(scope="module")
def by_the_command() -> Iterator[wasi_nn_command.Driver]:
    """This host's command."""
    host = wasi_nn_command.Driver(f"{sys.executable} -m wasi_nn")
    yield host
    host.close()


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize(
    "name", ["core/get_output/exact", "core/get_output/buffer-past-memory", "core/memory/not-exported"]
)
def test_the_command_of_this_host_does_the_same(
    by_the_command: wasi_nn_command.Driver, name: str, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not forks:
        monkeypatch.setattr(by_the_command, "python", ())
    by_command, by_library = (run(SUITE[name], each, 60) for each in (by_the_command, Here()))
    assert by_command.outcome is not None
    assert by_library.outcome is not None
    assert (by_command.status, by_command.outcome.shown) == (by_library.status, by_library.outcome.shown)


@pytest.mark.timeout(600)
def test_wasmtime_runs_the_suite_to_its_end(wasmtimes: dict[str, Result]) -> None:
    assert len(wasmtimes) == len(SUITE)
    assert wasmtimes["core/get_output/exact"].status == PASSED
    assert wasmtimes["2024-10-28/inference/relu"].status == PASSED
    assert wasmtimes["2024-06-25/inference/relu"].status == UNSUPPORTED
    assert wasmtimes["core/load/onnx-works"].status == UNSUPPORTED
    assert not [name for name, result in wasmtimes.items() if result.status == HUNG]


@pytest.mark.timeout(600)
def test_the_page_says_what_the_hosts_do(ours: dict[str, Result], wasmtimes: dict[str, Result]) -> None:
    if os.environ.get("WASMTIME"):
        pytest.skip("the page is of the pinned Wasmtime")
    at = REPOSITORY / "docs" / "reference" / "conformance.md"
    results = {"wasi-nn-library": list(ours.values()), "wasmtime": list(wasmtimes.values())}
    page = report.page({"wasi-nn-library": "", "wasmtime": ""}, results, at)

    def of_this_host(text: str) -> list[str]:
        """The page's lines on this host. What Wasmtime does depends on the machine too, such as its processors."""
        rows, _, rest = text.partition("## By area")[2].partition("## Wrong in wasmtime")
        assert rest
        return [
            line.rpartition("|")[0].rpartition("|")[0] if line.startswith("|") else line for line in rows.splitlines()
        ]

    assert of_this_host(page) == of_this_host(at.read_text()), "make conformance writes it anew"
    wrong = at.read_text().partition("## Wrong in wasmtime")[2].partition("\n## ")[0]
    shown = re.findall(r"^### (.*)$", wrong, re.MULTILINE)
    assert shown
    assert [name for name in shown if not wasmtimes[name].bad] == [], "make conformance writes it anew"


# The suite


def test_the_cases_are_as_they_are_made(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "conformance.making", str(tmp_path)], cwd=REPOSITORY, check=True)
    for made, committed in ((tmp_path / "cases", CASES), (tmp_path / "models", MODELS)):
        files = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
        assert files == {path.relative_to(committed) for path in committed.rglob("*") if path.is_file()}
        assert [name for name in files if (made / name).read_bytes() != (committed / name).read_bytes()] == []


def test_there_are_cases_of_every_function_and_errno() -> None:
    assert len(SUITE) >= 250
    areas = {(case.abi, case.area) for case in SUITE.values()}
    functions = ("load", "load_by_name", "init_execution_context", "set_input", "compute", "get_output")
    assert {("core", function) for function in functions} <= areas
    expected = {line for case in SUITE.values() if case.abi == "core" for line in case.expect}
    for errno in (1, 2, 5, 7, 8):
        assert any(re.search(rf" {errno}$", line) for line in expected), f"no case expects errno {errno}"
    for case in SUITE.values():
        assert case.says.endswith(".")
        assert ("differ" in case.says) >= bool(case.accept), f"{case.name} doesn't say that hosts differ"


def test_the_errors_without_a_case_are_those_that_the_readme_lists() -> None:
    table = (HOME / "README.md").read_text().partition("## Errors without a case")[2].partition("\n## ")[0]
    for interface, abis, words in (("core", ("core",), ERRNOS), ("wasi:nn", VERSIONS, CODES)):
        told = [in_words(line, case.abi) for case in SUITE.values() if case.abi in abis for line in case.expect]
        expected = {word for line in told for word in line.partition(" (")[2].rstrip(")").split(", ")}
        listed = set(re.findall(rf"^\| `{interface}` \| (?:\d )?`([\w-]+)`", table, re.MULTILINE))
        assert set(words) - expected == listed


def test_a_host_without_the_extensions_passes_no_case_of_theirs() -> None:
    cases = [case for case in SUITE.values() if case.abi.endswith("-ext")]
    assert len({case.area for case in cases if case.abi == "component-ext"}) == 5
    models = {name: MODELS / encoding / model for case in cases for name, model, encoding in _models_of(case)}
    with wasi_nn.Host(models, extensions=False) as host:
        results = run_all(cases, Here(host), jobs=1)
    assert {result.status for result in results} == {UNSUPPORTED}


def _models_of(case: Case) -> Iterator[tuple[str, str, str]]:
    """The named graphs of a case, each with its model and the first encoding that has it."""
    for name, model in (case.graphs or {}).items():
        yield name, model, next(each for each in Here.encodings if (MODELS / each / model).is_dir())


def test_a_missing_import_that_traps_passes_no_case_of_the_extensions() -> None:
    """A host may make traps of all imports that it lacks."""
    with_result = re.compile(rf"^({'|'.join([*EXTENSIONS, *COMPONENT_EXTENSIONS])}) (0|ok)$")
    for case in SUITE.values():
        if case.abi.endswith("-ext") and case.expect[-1] == TRAP:
            assert any(with_result.match(line) for line in case.expect), case.name


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

    def command(self, guest: Path, graphs: object) -> list[str]:
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
        assert host.run(loop, [], tmp_path, 3).end == HANG
        assert run(CASE, host, 60).status == PASSED
        assert isinstance(host, wasi_nn_command.Driver)
        worker = host.idle.queue[0]
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
        host = wasi_nn_command.Driver(str(script))
        assert [*host.python] == python
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


def test_the_driver_in_the_readme_is_complete(tmp_path: Path) -> None:
    code = (HOME / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    module: dict[str, Any] = {}
    exec(code, module)
    host = tmp_path / "myhost"
    host.write_text('#!/bin/sh\n[ "$1" = run ] && [ -e "${2#--graph=relu:onnx:}" ] && echo load_by_name 8\n')
    host.chmod(host.stat().st_mode | stat.S_IXUSR)
    assert run(CASE, module["Driver"](str(host)), 60).status == PASSED


def test_cases_are_chosen_by_names_beginnings_and_patterns() -> None:
    def chosen(*patterns: str) -> list[str]:
        return [case.name for case in choose(SUITE.values(), patterns)]

    assert chosen() == list(SUITE)
    assert chosen("core/get_output/exact") == ["core/get_output/exact"]
    assert {name.split("/")[1] for name in chosen("core/get_output/")} == {"get_output"}
    assert all(name.startswith("core/types/u8") for name in chosen("core/types/u8*"))
    assert chosen("core/get") == []


def test_the_suite_installs_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    installed = subprocess.run([*pip, str(REPOSITORY / "conformance")], capture_output=True, text=True, cwd=tmp_path)
    if "Could not find a version" in installed.stderr and not os.environ.get("CI"):
        pytest.skip("pip finds no hatchling, with which the suite is built")
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
