"""Components that the adapter makes of core guests, and of the core guests of the conformance suite.

python tests/support/adapted.py HOST=PATH [CASE]...     # the suite's core cases, adapted, on one of its hosts
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import wasi_nn
from wasi_nn.abi.wasm_binary import module_imports
from wasi_nn.cli import adapter

sys.path.append(str(Path(__file__).parents[2]))
sys.path.append(str(Path(__file__).parents[2] / "tools"))

from sdk_languages import building

REPOSITORY = Path(__file__).parents[2]
GUESTS = REPOSITORY / "guests"
Names = Mapping[str | None, Sequence[str]]


def adapt(module: Path, built: Path, names: Names | None = None, *, describes: bool = False) -> Path:
    """Make a component of a core guest, with the names of its inputs, or one that asks for them if it `describes`.
    Gives the built file."""
    content = module.read_bytes()
    imported = {name for name, _ in module_imports(content)}
    with adapter.adapter_with(GUESTS, names or {}, describes=describes) as path:
        adapters = {"wasi_ephemeral_nn": path, adapter.PREVIEW_1: building.adapter()}
        adapter.componentize(content, {name: path for name, path in adapters.items() if name in imported}, built)
    return built


@cache
def input_names(model: Path) -> list[str]:
    """The names of a model's inputs."""
    return [it.name for it in wasi_nn.load(model).inputs]


@cache
def scratch() -> Path:
    """A folder for built files, which is removed at the end of the process."""
    folder = tempfile.TemporaryDirectory()
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def main(arguments: Sequence[str]) -> None:
    """Run the suite's core cases as adapted guests, and print those that differ from the rule."""
    from conformance import report
    from conformance.hosts import driver_for
    from conformance.hosts.driver import REFUSED, Driver, Graph, Outcome
    from conformance.run import PASSED, run_all
    from conformance.suite import CASES, all_cases, choose
    from wasi_nn.errors import GuestError

    name, _, path = arguments[0].partition("=")
    host = driver_for(name, path)
    run = host.run

    def run_adapted(guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        built = scratch() / str(guest.relative_to(CASES)).replace("/", "-")
        try:
            names: dict[str | None, Sequence[str]] = {}
            if name == "wasmtime":  # where OpenVINO's models have no indexes; those of guests' bytes have an input x
                names = {None: ["x"], **{graph.name: input_names(graph.folder.resolve()) for graph in graphs}}
            return run(adapt(guest, built, names), graphs, folder, timeout)
        except GuestError as error:
            return Outcome([], REFUSED, str(error))

    host.run = run_adapted  # type: ignore[method-assign]
    assert isinstance(host, Driver)
    started = time.monotonic()
    results = run_all(choose(all_cases().values(), arguments[1:] or ["core"]), host)
    for result in results:
        if result.status != PASSED and result.outcome is not None:
            print(
                f"{result.status:9} {result.case.name}: {' '.join(result.outcome.shown[-1:])}; {result.case.expect[-1]}"
            )
    print(report.summary(results, time.monotonic() - started))


if __name__ == "__main__":
    main(sys.argv[1:])
