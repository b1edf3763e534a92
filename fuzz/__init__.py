"""Fuzzing: generated hostile inputs for the code that reads bytes of guests, models and workers.

    python -m fuzz                     each target for a minute (`make fuzz`)
    python -m fuzz --seconds 600 gguf  one for longer (`make fuzz SECONDS=600 TARGET=gguf`)

A target is a module here with a function `run(data)`, which raises an error only if it finds a bug. `data` is at most
`MAX_SIZE` bytes. A target may have a function `mutate`, which changes an input but keeps its structure. The inputs of a
target:

    corpus/<target>/       seeds, made and explained by `seeds.py`; committed
    regressions/<target>/  inputs that once broke something; committed, and never removed
    build/fuzz/<target>/   results of runs: new inputs, a log, and in `finds/` the inputs that broke something

`tests/test_fuzz.py` runs the committed inputs as plain tests, without the fuzzer. A find goes into `regressions`, under
a name that describes the input. Only `engine` imports the fuzzer.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "fuzz"

TARGETS = (
    "core_abi",
    "component_abi",
    "components",
    "sniffers",
    "onnx_model",
    "tflite_model",
    "gguf",
    "ggml_options",
    "archives",
    "pytorch_archive",
    "graphs_file",
    "worker_messages",
    "state_files",
    "traces",
    "remote_answers",
)

Mutator = Callable[[bytes, int], bytes]
"""Changes bytes at random. Its arguments are the bytes and the most bytes of its result."""


class Target(Protocol):
    """The module of a target. It may also have a function `mutate(data, max_size, seed, change)`, where `change` is a
    `Mutator` that ignores structure."""

    MAX_SIZE: int

    def run(self, data: bytes) -> None:
        """Run the tested code on one input."""


def target(name: str) -> Target:
    """The module of a target."""
    return cast(Target, import_module(f"{__name__}.{name}"))


def committed(name: str) -> list[Path]:
    """The files of a target's seeds and regressions."""
    folders = (HERE / kind / name for kind in ("corpus", "regressions"))
    return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir())
