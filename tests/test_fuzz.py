"""Each seed of the fuzzer, and each input that once broke something, run once without the fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import TARGETS, committed, target

INPUTS = [
    pytest.param(name, file, id=f"{name}-{file.parent.parent.name}-{file.name}")
    for name in TARGETS
    for file in committed(name)
]


@pytest.mark.parametrize(("name", "file"), INPUTS)
def test_an_input_does_no_harm(name: str, file: Path) -> None:
    target(name).run(file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_seeds(name: str) -> None:
    assert committed(name)
