"""The conformance suite finds deliberate faults of this host."""

from __future__ import annotations

import faulty_extensions  # noqa: F401  registers its faults
import here
import pytest
from conftest import need
from faulty_hosts import FAULTS
from here import Here

from conformance import report
from conformance.run import ACCEPTED, PASSED, Result, run_all
from conformance.suite import all_cases, choose

for module in ("onnxruntime", "openvino", "ai_edge_litert", "xllamacpp"):
    need(module, "'wasi-nn[all]'")

SUITE = all_cases()
pytestmark = pytest.mark.usefixtures("one_llama_thread")
compiled_here = here.compiled_here


HOSTS_DIFFER = {
    "a_buffer_too_small_is_an_invalid_argument": "the specification has too_large for graphs only, in words",
    "the_size_that_an_output_needs_is_never_written": "the specification gives a failed call no result",
    "outputs_stay_after_a_failed_compute": "the specification doesn't say what a failed compute leaves",
}
"""The faults that aren't wrong by the specification, each with the reason. The suite says that hosts differ."""


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 20


def test_nearly_all_faults_are_wrong_by_the_specification() -> None:
    assert set(HOSTS_DIFFER) < set(FAULTS)
    assert len(FAULTS) - len(HOSTS_DIFFER) >= 33


def test_there_is_a_fault_of_every_extension() -> None:
    areas = {(case.abi, case.area) for case in SUITE.values() if case.abi.endswith("-ext")}
    found = {tuple(pattern.split("/")[:2]) for pattern, _ in FAULTS.values()}
    assert areas - found == {("core-ext", "describe_output")}  # of the same interface as describe


def results_of(*patterns: str) -> list[Result]:
    """What this host does in the cases of some patterns."""
    return run_all(choose(SUITE.values(), patterns), Here(isolate=False), jobs=1)


def test_nothing_is_found_where_there_is_no_fault() -> None:
    results = results_of(*{pattern for pattern, _ in FAULTS.values()})
    assert [report.explained(result) for result in results if result.status != PASSED] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, apply = FAULTS[name]
    apply(monkeypatch)
    results = results_of(pattern)
    if name in HOSTS_DIFFER:
        assert {result.status for result in results} == {PASSED, ACCEPTED}
    else:
        assert [result.case.name for result in results if result.bad], f"no case of {pattern} finds it"
