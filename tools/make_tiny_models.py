"""Writes the models that `wasi-nn doctor` runs, one for each encoding: `python tools/make_tiny_models.py`.

Each computes max(x, 0), but for the language model, whose weights are all the same and so take no room.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "src" / "wasi_nn" / "cli" / "tiny_models"
sys.path[:0] = [str(REPOSITORY / "tests" / "support")]


def main() -> None:
    """Write the files."""
    import onnx_models
    import pytorch_models
    import tensorflow_models
    import tflite_models
    import torch

    FOLDER.mkdir(exist_ok=True)
    contents = {
        "relu.onnx": onnx_models.relu(),
        "relu.pb": tensorflow_models.relu(),
        "relu.pt": pytorch_models.script(torch.nn.ReLU()),
        "relu.tflite": tflite_models.relu(),
        "tiny.gguf.gz": gzip.compress(language_model(), mtime=0),
    }
    for name, content in contents.items():
        (FOLDER / name).write_bytes(content)


def language_model() -> bytes:
    """The language model of the tests, with 0.01 for each of its weights."""
    import ggml_models
    import numpy as np

    tensors = ggml_models._random_tensors()
    same = {name: np.full_like(weights, 0.01) for name, weights in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        ggml_models._write(path, {}, same)
        return path.read_bytes()


if __name__ == "__main__":
    main()
