"""The cost of an item in `wasi-nn map` and `map_guests`, compared with a shell's loop of `wasi-nn run` and with a loop
of `Host.run`. The guest is `infer`, and the models a tiny one and one whose computes take some tens of milliseconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx_models

import wasi_nn
from bench.ratios import best, ratio, side_by_side

WASI_NN = Path(sys.executable).with_name("wasi-nn")
GUEST = Path(__file__).parent.parent / "guests" / "c" / "infer.wasm"
ITEMS, ROUNDS = 20, 5
SIZE = 384  # of the square matrices of the larger model


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {
            "tiny": (onnx_models.relu(), "4"),
            "large": (onnx_models.matrix_power(4, SIZE), f"{SIZE}x{SIZE}"),
        }
        for model, (content, dims) in models.items():
            (folder / f"{model}.onnx").write_bytes(content)
            shape = [int(dim) for dim in dims.split("x")]
            array = np.full(shape, 1e-3, np.float32)
            for number in range(ITEMS):
                (folder / f"{model}-{number}.bin").write_bytes(array.tobytes())
        commands(folder)
        loops(folder, {model: dims for model, (_, dims) in models.items()})


def commands(folder: Path) -> None:
    """A loop of a shell, and the command over the same files."""
    graph = f"--graph net={folder}/tiny.onnx --graph-option net:threads=1"
    files = f"{folder}/tiny-*.bin"
    loop = (
        f"for file in {files}; do {WASI_NN} run {graph} --dir {folder}::/item:ro {GUEST} "
        '--graph net "f32:4:/item/${file##*/}" --output f32; done'
    )
    mapped = f"{WASI_NN} map --quiet {graph} {GUEST} {files} --jobs {{}} -- --graph net f32:4:{{{{}}}} --output f32"
    calls = {
        "a loop of `wasi-nn run`": loop,
        "`wasi-nn map --jobs 1`": mapped.format(1),
        "`wasi-nn map --jobs 2`": mapped.format(2),
    }
    times = side_by_side({name: shell(text) for name, text in calls.items()}, ROUNDS)
    base = next(iter(times.values()))
    print("\n| a tiny model | for each item | ratio |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {1e3 * best(taken) / ITEMS:.1f} ms | {ratio(taken, base)} |")


def shell(text: str) -> Callable[[], object]:
    """A call of a shell."""
    return lambda: subprocess.run(["sh", "-c", text], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def loops(folder: Path, dims: dict[str, str]) -> None:
    """Loops of Python in one process, with the models loaded before."""
    named = {name: wasi_nn.NamedGraph(folder / f"{name}.onnx", options={"threads": 1}) for name in dims}
    print("\n| way | for each item, by the clock | processor time | ratio of the clock |\n|---|---|---|---|")
    with wasi_nn.Host(named) as host:
        guest = host.compile(GUEST)
        for name, shape in dims.items():
            paths = sorted(folder.glob(f"{name}-*.bin"))
            args = ["--graph", name, "--repeat", "1" if name == "tiny" else "5", f"f32:{shape}:{{}}", "--output", "f32"]
            here = {"/item": wasi_nn.Directory(folder, read_only=True)}

            def plain(
                paths: list[Path] = paths, args: list[str] = args, here: dict[str, wasi_nn.Directory] = here
            ) -> None:
                for path in paths:
                    given = [text.replace("{}", f"/item/{path.name}") for text in args]
                    host.run(guest, given, dirs=here, capture_output=True)

            def mapped(jobs: int, paths: list[Path] = paths, args: list[str] = args) -> None:
                assert all(it.ok for it in wasi_nn.map_guests(host, guest, paths, args, jobs=jobs))

            calls: dict[str, Callable[[], object]] = {
                "a loop of `Host.run`": plain,
                "`map_guests`, jobs=1": partial(mapped, 1),
                "`map_guests`, jobs=2": partial(mapped, 2),
            }
            processor: dict[str, list[float]] = {}
            times = side_by_side(
                {key: counted(call, processor.setdefault(key, [])) for key, call in calls.items()}, ROUNDS
            )
            base = next(iter(times.values()))
            for key, taken in times.items():
                clock, work = (1e3 * best(part) / ITEMS for part in (taken, processor[key]))
                print(f"| {name}: {key} | {clock:.2f} ms | {work:.2f} ms | {ratio(taken, base)} |")


def counted(call: Callable[[], object], times: list[float]) -> Callable[[], object]:
    """Wrap a call: it also notes the processor time that it takes in this process."""

    def timed() -> None:
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)

    return timed


if __name__ == "__main__":
    main()
