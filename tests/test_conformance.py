"""The conformance suite: this host and Wasmtime in all cases, the page on them, and the cases themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import here
import pytest
from conftest import REPOSITORY, need
from here import Here
from wit_items import wit_items

import wasi_nn
from bench import wasmtime_setup
from conformance import report
from conformance.hosts import driver_for, wasi_nn as wasi_nn_command
from conformance.hosts.driver import TRAP
from conformance.making.component_types import OCTOBER, VERSIONS
from conformance.making.core_guest import EXTENSIONS, SPEC, WAMR, WASMEDGE
from conformance.making.extension_types import EXTENSIONS as COMPONENT_EXTENSIONS
from conformance.run import HUNG, PASSED, UNSUPPORTED, Result, run, run_all
from conformance.specification import ITEMS, exists
from conformance.suite import CASES, HOME, MODELS, Case, all_cases, choose
from conformance.words import CODES, ERRNOS, in_words
from wasi_nn import LoadRules, Registry
from wasi_nn.isolation import unavailable

for module in ("onnxruntime", "openvino", "ai_edge_litert", "xllamacpp"):
    need(module, "'wasi-nn[all]'")

SUITE = all_cases()
JOBS = min(len(os.sched_getaffinity(0)), 2)


pytestmark = pytest.mark.usefixtures("one_llama_thread")
compiled_here = here.compiled_here


@pytest.fixture(scope="module")
def ours(one_llama_thread: None) -> dict[str, Result]:
    """What this host does in all cases, without a worker for each model of OpenVINO from a guest's bytes."""
    results = run_all(SUITE.values(), Here(isolate=False), jobs=1)
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


def test_this_host_passes_every_case_of_models_from_bytes_in_isolation() -> None:
    if unavailable() and not os.environ.get("CI"):
        pytest.skip(f"graphs can't be isolated here: {unavailable()}")
    cases = [*choose(SUITE.values(), ["core/load/openvino-*", f"{OCTOBER}/graph/load-openvino"])]
    results = run_all(cases, driver_for("wasi-nn-library", sys.executable), jobs=1)
    assert [report.explained(result) for result in results if result.status != PASSED] == []


@pytest.mark.parametrize(("encoding", "isolate"), [("openvino", False), ("tensorflowlite", False), ("onnx", True)])
def test_this_host_passes_every_case_of_a_named_graph(encoding: str, isolate: bool) -> None:
    if isolate and unavailable() and not os.environ.get("CI"):
        pytest.skip(f"graphs can't be isolated here: {unavailable()}")
    made = {path.name for path in (MODELS / encoding).iterdir()}
    cases = [case for case in SUITE.values() if case.graphs and set(case.graphs.values()) <= made]
    models = {name: MODELS / encoding / model for case in cases for name, model in (case.graphs or {}).items()}
    loaded = {model: wasi_nn.load(model, rules=LoadRules(isolate=isolate)) for model in set(models.values())}
    with Registry({name: loaded[model] for name, model in models.items()}) as registry, wasi_nn.Host(registry) as host:
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
        monkeypatch.setattr(by_the_command, "lasting", ())
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


def test_the_versions_have_the_same_cases() -> None:
    """The same areas and subjects, but for those of functions that the others lack."""
    of = {version: {name.partition("/")[2] for name in SUITE if name.startswith(version)} for version in VERSIONS}
    june, august, october = of.values()
    assert june - august == {name for name in june if re.match("errors/(made-|code-9|data-not-utf8)", name)}
    assert august <= june
    stateful = re.compile(
        "inference/(set-input-|compute-|get-output-|output-|inputs-stay-set|tensor-is-passed$|.*failure)"
    )
    assert {name for name in august - october if not stateful.match(name)} == set()
    stateless = re.compile("inference/(list-|result-|name-|tensor-|empty-list|no-state|input-too-many)")
    assert {name for name in october - august if not stateless.match(name)} == set()
    assert min(len(each) for each in of.values()) > 300


def test_core_modules_and_components_have_the_same_rules() -> None:
    """What a model, a name or a tensor must be is tested in both."""
    core = {name for name in SUITE if name.startswith("core/")}
    for version in VERSIONS:
        for ours, theirs in (("load_by_name/", "graph/name-"), ("load/", "graph/load-"), ("set_input/", "inference/")):
            subjects = {name.removeprefix(f"core/{ours}") for name in core if name.startswith(f"core/{ours}")}
            known = {
                name.removeprefix(f"{version}/{theirs}") for name in SUITE if name.startswith(f"{version}/{theirs}")
            }
            lacking = {it for it in subjects - known if not re.search(_OF_CORE_MODULES, it)}
            assert lacking == set(), (version, ours)


_OF_CORE_MODULES = (
    # the errno lies in no memory, handles are of one kind, and tensors are records with numbers for indexes
    "out-pointer|handle|context-|index-|tensor-|padding|one-record|before-load|type-|by-its-old-number|three-"
    # which component guests have under other names, or in other areas
    "|^works|-works|^twice|^50-|^name-|^utf8-decomposed|target-|encoding-|unaligned|large-model|empty-name|^data-|^dims-"
    "|number-of-dims|autodetect-garbage|may-change-after|failure-changes"
)


def test_every_case_has_its_places_in_the_specification() -> None:
    for case in SUITE.values():
        assert case.source, case.name
        assert [each for each in case.source if not exists(case.abi, each)] == [], case.name
        told = {
            word for line in case.expect for word in in_words(line, case.abi).partition(" (")[2].rstrip(")").split(", ")
        }
        codes, errnos = ({f"error-code.{it}" for it in CODES}, {f"$nn_errno.${it}" for it in ERRNOS[1:]})
        for each in case.source:
            item = each.partition(": ")[2]
            if item in codes | errnos:  # an error is named only where it is expected
                assert item.rpartition(".")[2].removeprefix("$") in told, case.name


def test_the_items_are_those_of_the_specification() -> None:
    wit = REPOSITORY / "guests" / "wit"
    for version in VERSIONS:
        assert ITEMS[version]["wasi-nn.wit"] == wit_items(wit / version / "deps" / "wasi-nn.wit")
    assert ITEMS["component-ext"]["wasi-nn-ext.wit"] == wit_items(REPOSITORY / "guests" / "bridge" / "wasi-nn-ext.wit")
    table = (REPOSITORY / "docs" / "reference" / "extensions.md").read_text().partition("| function | interface |")[2]
    assert ITEMS["core-ext"]["extensions.md"] == set(
        re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    )
    assert set(SPEC) < ITEMS["core"]["wasi-nn.witx"]
    assert ITEMS["wasmedge"]["wasinnmodule.cpp"] == {*WASMEDGE} - {*SPEC}
    assert ITEMS["wamr"]["wasi_nn.c"] == {*WAMR}
    for kind, before in ((wasi_nn.TensorType, "$tensor_type.$"), (wasi_nn.ExecutionTarget, "$execution_target.$")):
        items = {item.removeprefix(before) for item in ITEMS["core"]["wasi-nn.witx"] if item.startswith(before)}
        assert items <= {str(member.value) for member in kind}


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
