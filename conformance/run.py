"""Runs cases on a host."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.hosts.driver import CRASH, HANG, REFUSED, Driver, Graph, Outcome
from conformance.suite import HOME, MODELS, Case, matches

PASSED = "passed"
"""The output is as the rule says."""
ACCEPTED = "accepted"
"""The output is another accepted one: hosts differ here."""
FAILED = "failed"
CRASHED = "crashed"
HUNG = "hung"
UNSUPPORTED = "not supported"
"""The host lacks something that the case needs."""
STATUSES = (PASSED, ACCEPTED, FAILED, CRASHED, HUNG, UNSUPPORTED)


@dataclass(frozen=True)
class Result:
    """What became of a case on a host."""

    case: Case
    status: str
    outcome: Outcome | None = None
    missing: str = ""
    """What the host lacks, if the case isn't supported."""
    seconds: float = 0
    command: str = ""
    """The command that shows the outcome, in the folder above the suite's."""
    models: Sequence[Path] = ()
    """The folders of the models that the command names."""

    @property
    def bad(self) -> bool:
        """Whether the host does something that is neither right nor accepted."""
        return self.status in (FAILED, CRASHED, HUNG)


def run(case: Case, driver: Driver, timeout: float) -> Result:
    """Run a case."""
    missing = lacks(case, driver)
    if missing:
        return Result(case, UNSUPPORTED, None, missing)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-") as made:
        folder = Path(made).resolve()
        (folder / "run").mkdir()
        graphs = list(_graphs(case, driver, folder / "graphs"))
        outcome = driver.run(case.guest, graphs, folder / "run", timeout)
        lasting = _lasting(case, graphs)
        command = _command(case, driver, lasting)
    seconds = time.monotonic() - started
    found = status(case, outcome)
    missing = "an import" if found == UNSUPPORTED else ""
    return Result(case, found, outcome, missing, seconds, command, [graph.folder for graph in lasting])


def status(case: Case, outcome: Outcome) -> str:
    """What an outcome means."""
    if outcome.end in (CRASH, HANG):
        return CRASHED if outcome.end == CRASH else HUNG
    if matches(case.expect, outcome.shown):
        return PASSED
    if any(matches(each, outcome.shown) for each in case.accept):
        return ACCEPTED
    return UNSUPPORTED if outcome.end == REFUSED else FAILED


def lacks(case: Case, driver: Driver) -> str:
    """What a host lacks for a case; empty if nothing."""
    if case.abi not in driver.abis:
        return f"the interface {case.abi}"
    for encoding in case.encodings:
        if encoding not in driver.encodings:
            return f"models in {encoding}"
    for kind in case.types:
        if kind not in driver.types:
            return f"tensors of {kind}"
    if case.graphs and not driver.named:
        return "named graphs"
    for model in (case.graphs or {}).values():
        if _encoding(model, driver) is None:
            return f"the model {model} in an encoding of its own"
    return ""


def _encoding(model: str, driver: Driver) -> str | None:
    return next((each for each in driver.encodings if (MODELS / each / model).is_dir()), None)


def _graphs(case: Case, driver: Driver, folder: Path) -> Iterator[Graph]:
    """The named graphs of a case, each in a folder of its name."""
    for name, model in (case.graphs or {}).items():
        encoding = _encoding(model, driver)
        assert encoding
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(MODELS / encoding / model)
        yield Graph(name, encoding, folder / name)


def _lasting(case: Case, graphs: Sequence[Graph]) -> list[Graph]:
    """The named graphs of a case, with the models where they are."""
    models = case.graphs or {}
    return [replace(graph, folder=MODELS / graph.encoding / models[graph.name]) for graph in graphs]


def _command(case: Case, driver: Driver, graphs: Sequence[Graph]) -> str:
    """The command of a case."""
    shown = shlex.join(driver.command(case.guest, graphs))
    return shown.replace(str(HOME), HOME.name).replace(driver.words[0], Path(driver.words[0]).name, 1)


def run_all(
    cases: Iterable[Case],
    driver: Driver,
    *,
    jobs: int = 2,
    timeout: float = 60,
    done: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Run cases, some at a time. `done` is called with each result."""
    results = []
    try:
        with ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(lambda case: run(case, driver, timeout), cases):
                done(result)
                results.append(result)
    finally:
        driver.close()
    return results
