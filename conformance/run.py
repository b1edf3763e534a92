"""Runs cases on a host."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Lock

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


class Folders:
    """The folders of a run on a host: links to models by the names of graphs, and empty folders in which guests run. A
    folder that a guest leaves empty serves the next one. Safe to use from several threads."""

    def __init__(self) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="conformance-")
        self._home = Path(self._made.name).resolve()
        self._idle: LifoQueue[Path] = LifoQueue()
        self._lock = Lock()

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.cleanup()

    def graph(self, name: str, encoding: str, model: str) -> Graph:
        """A named graph, in a folder of its name."""
        folder = self._home / f"{encoding}-{model}" / name
        with self._lock:
            if not folder.is_symlink():
                folder.parent.mkdir(exist_ok=True)
                folder.symlink_to(MODELS / encoding / model)
        return Graph(name, encoding, folder)

    @contextmanager
    def empty(self) -> Iterator[Path]:
        """An empty folder."""
        try:
            folder = self._idle.get_nowait()
        except Empty:
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._home))
        yield folder
        if not os.listdir(folder):
            self._idle.put(folder)


def run(case: Case, driver: Driver, timeout: float, folders: Folders | None = None) -> Result:
    """Run a case."""
    if folders is None:
        with Folders() as made:
            return run(case, driver, timeout, made)
    missing = lacks(case, driver)
    if missing:
        return Result(case, UNSUPPORTED, None, missing)
    started = time.monotonic()
    graphs = [folders.graph(name, encoding, model) for name, encoding, model in _graphs(case, driver)]
    with folders.empty() as folder:
        outcome = driver.run(case.guest, graphs, folder, timeout)
    seconds = time.monotonic() - started
    found = status(case, outcome)
    missing = "an import" if found == UNSUPPORTED else ""
    lasting = [Graph(name, encoding, MODELS / encoding / model) for name, encoding, model in _graphs(case, driver)]
    return Result(
        case, found, outcome, missing, seconds, _command(case, driver, lasting), [graph.folder for graph in lasting]
    )


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


def _graphs(case: Case, driver: Driver) -> Iterator[tuple[str, str, str]]:
    """The named graphs of a case: the name, the encoding and the model of each."""
    for name, model in (case.graphs or {}).items():
        encoding = _encoding(model, driver)
        assert encoding
        yield name, encoding, model


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
        with Folders() as folders, ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(lambda case: run(case, driver, timeout, folders), cases):
                done(result)
                results.append(result)
    finally:
        driver.close()
    return results
