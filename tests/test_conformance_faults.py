"""The conformance suite finds deliberate faults of this host."""

from __future__ import annotations

import pytest
from conftest import need
from faulty_hosts import FAULTS
from here import Here

from conformance import report
from conformance.run import PASSED, run_all
from conformance.suite import Case, all_cases, choose

for module in ("onnxruntime", "ai_edge_litert", "xllamacpp"):
    need(module, "'wasi-nn[all]'")

SUITE = all_cases()


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 20


def test_there_is_a_fault_of_every_extension() -> None:
    areas = {(case.abi, case.area) for case in SUITE.values() if case.abi.endswith("-ext")}
    found = {tuple(pattern.split("/")[:2]) for pattern, _ in FAULTS.values()}
    assert areas - found == {("core-ext", "describe_output")}  # of the same interface as describe


def cases_of(*patterns: str) -> list[Case]:
    """The cases of some patterns, without those that need a worker for each guest."""
    return [case for case in choose(SUITE.values(), patterns) if "openvino" not in case.encodings]


def test_nothing_is_found_where_there_is_no_fault() -> None:
    results = run_all(cases_of(*{pattern for pattern, _ in FAULTS.values()}), Here(), jobs=1)
    assert [report.explained(result) for result in results if result.status != PASSED] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, apply = FAULTS[name]
    cases = cases_of(pattern)
    apply(monkeypatch)
    results = run_all(cases, Here(), jobs=1)
    assert [result.case.name for result in results if result.status != PASSED], f"no case of {pattern} finds it"
