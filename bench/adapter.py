"""The cost of the adapter: inferences in a core guest, in the component that the adapter makes of it, and in a guest
that was written as a component, here and on Wasmtime's command.

    python -m bench.adapter

The guests are `guests/c/measure.wasm` and `guests/component/measure.wasm`, which time their own calls, on OpenVINO.
They take turns, each run in a process of its own, on one processor.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import adapted
import numpy as np

from bench import wasmtime_setup
from bench.peers import GUESTS, STEPS, Turn, models, turn

TURNS = 5


def main() -> None:
    """Print the table."""
    library, command, measured = wasmtime_setup.openvino_library(), wasmtime_setup.install(), models()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # also of the processes that this one starts
    core, component = GUESTS / "c" / "measure.wasm", GUESTS / "component" / "measure.wasm"
    print(
        f"| host, model | guest | {' | '.join(STEPS)} | all | ratio to the core module |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        guests = {"core module": core, "adapted": adapted.adapt(core, Path(scratch, "adapted.wasm"), {None: ["image"]})}
        guests["component"] = component
        for host in ("wasi-nn", "Wasmtime"):
            for model in measured:
                graph, name = f"openvino::{model.folder}", model.folder.name
                options = [f"--graph-option={name}:{option}" for option in ("precision=runtime", "threads=1")]
                line = [sys.executable, "-m", "wasi_nn", "run", "--nn-graph", graph, *options]
                if host == "Wasmtime":
                    line = [str(command), "run", "-S", "nn", "-S", f"nn-graph={graph}"]
                taken: dict[str, list[Turn]] = {kind: [] for kind in guests}
                for _ in range(TURNS):
                    for kind, guest in guests.items():
                        taken[kind].append(turn(line, guest, model, {"LD_LIBRARY_PATH": str(library)}))
                _print_rows(f"{host}, {model.title}", taken)


def _print_rows(title: str, taken: dict[str, list[Turn]]) -> None:
    """Print a row for each guest: the milliseconds of the best inference."""
    base = None
    for kind, turns in taken.items():
        rounds = 1e3 * np.concatenate([each.seconds for each in turns])
        whole = rounds.sum(axis=1).min()
        base = whole if base is None else base
        steps = " | ".join(f"{milliseconds:.3f}" for milliseconds in rounds.min(axis=0))
        print(f"| {title} | {kind} | {steps} | {whole:.3f} | {whole / base:.2f} |")


if __name__ == "__main__":
    main()
