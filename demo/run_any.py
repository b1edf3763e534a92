"""`make demo-any`: one guest runs five real models of four encodings. It was written for none of them.

The guest is `guests/c/run_any.c`: it asks the host what the inputs and outputs of a graph are, reads each input from
the file of its name, and prints all tensors. This program makes the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import models
import numpy as np

from demo import FOLDER, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE, SAMPLES = 22050, 43844  # the input of Basic Pitch: two seconds of sound

Inputs = Mapping[str, "bytes | NDArray[np.generic]"]


def file_type() -> tuple[Path, Inputs]:
    """Magika, on the beginning and the end of a Python file, each filled up to 1024 bytes with 256."""
    content = np.frombuffer(Path(__file__).read_bytes().strip(), np.uint8).astype(np.int32)
    ends = np.full(2048, 256, np.int32)
    ends[: len(content[:1024])] = content[:1024]
    ends[2048 - len(content[-1024:]) :] = content[-1024:]
    return models.magika().model, {"bytes": ends}


def photograph() -> tuple[Path, Inputs]:
    """EfficientNet-Lite0, on the middle of a photograph of a cat."""
    from PIL import Image

    with Image.open(models.photographs()["chelsea"]) as picture:
        pixels = np.asarray(picture.resize((224, 224)), np.float32)
    return models.efficientnet().model, {"image": ((pixels - 127) / 128).transpose(2, 0, 1).copy()}


def sound() -> NDArray[np.float32]:
    """The note A for two seconds, which is key 48 of a piano."""
    return np.sin(2 * np.pi * 440 * np.arange(SAMPLES) / RATE).astype(np.float32)


def notes() -> tuple[Path, Inputs]:
    """Basic Pitch as TensorFlow Lite, on a note."""
    return models.basic_pitch()[1], {"input_2": sound()}


def notes_of_tensorflow() -> tuple[Path, Inputs]:
    """The same network as a SavedModel."""
    return models.basic_pitch_saved_model(), {"input_2": sound()}


def text() -> tuple[Path, Inputs]:
    """SmolLM2, on the beginning of a text."""
    return models.smollm2(), {"prompt": b"The capital of France is", "options": b'{"n-predict": 8, "temp": 0}'}


TASKS: Mapping[str, Callable[[], tuple[Path, Inputs]]] = {
    "magika": file_type,
    "efficientnet": photograph,
    "basic_pitch": notes,
    "basic_pitch_saved_model": notes_of_tensorflow,
    "smollm2": text,
}
"""For each model: its file or folder, and its inputs by name."""


def written(inputs: Inputs, folder: Path) -> Path:
    """Write each input into a file of its name; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in inputs.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else value.tobytes())
    return folder


def main() -> None:
    """Run the demo."""
    for name, task in TASKS.items():
        print((task.__doc__ or "").splitlines()[0])
        model, inputs = task()
        folder = written(inputs, models.BUILD / "run_any" / name).relative_to(FOLDER)
        graph = f"{name}={model.relative_to(FOLDER)}"
        run("--graph", graph, "--dir", f"{folder}::/", "guests/c/run_any.wasm", "--graph", name, "--inputs", "/")


if __name__ == "__main__":
    main()
