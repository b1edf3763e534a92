"""Fuzzing: hostile bytes, as many and as odd as a machine can think of, against what reads a guest's or a model's.

    python -m fuzz                     each target for a minute (`make fuzz`)
    python -m fuzz --seconds 600 gguf  one for longer (`make fuzz SECONDS=600 TARGET=gguf`)

A target is a module here with a function `run(data)`, which raises only if something is wrong. What it may be given is
up to `MAX_SIZE` bytes; `mutate`, if it has one, changes an input in a way that keeps its structure. The inputs of a
target:

    corpus/<target>/       where fuzzing begins, made and explained by `seeds.py`; committed
    regressions/<target>/  what once broke something; committed, and never taken away
    build/fuzz/<target>/   what a run adds: its corpus, its log, and in `finds/` the inputs that broke something

`tests/test_fuzz.py` runs what is committed as plain tests, without the fuzzer. A find goes into `regressions`, under a
name that says what it broke. This package knows `wasi_nn`; only `engine` knows the fuzzer.
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
)

Mutator = Callable[[bytes, int], bytes]
"""Changes bytes at random into others of a size at most."""


class Target(Protocol):
    """What a target's module has. It may also have `mutate(data, max_size, seed, change)`, where `change` is a
    `Mutator` that knows no structure."""

    MAX_SIZE: int

    def run(self, data: bytes) -> None:
        """Feed one input to what is tested."""


def target(name: str) -> Target:
    """The module of a target."""
    return cast(Target, import_module(f"{__name__}.{name}"))


def committed(name: str) -> list[Path]:
    """The files of a target's seeds and regressions."""
    folders = (HERE / kind / name for kind in ("corpus", "regressions"))
    return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir())
