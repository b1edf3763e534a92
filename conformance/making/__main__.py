"""Writes the models, the guests and cases.json: `python -m conformance.making`.

It needs the tools that make models (`pip install onnx openvino ai-edge-litert gguf`) and an assembler (`pip install
wasmtime`). The same tools write the same bytes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import wasmtime

from conformance.making import (
    component_extensions,
    component_graph,
    component_inference,
    component_names,
    component_resources,
    component_shapes,
    core_extensions,
    core_loading,
    core_names,
    core_running,
    core_streams,
    core_tensors,
    dialect_cases,
    language_cases,
)
from conformance.making.case import Case
from conformance.making.encodings import ENCODINGS
from conformance.making.language_model import alphabet
from conformance.making.models import MODELS
from conformance.making.variables_model import sums

HOME = Path(__file__).parent.parent
PARTS = (
    core_loading,
    core_names,
    core_tensors,
    core_running,
    component_resources,
    component_graph,
    component_names,
    component_inference,
    component_shapes,
    dialect_cases,
    language_cases,
    core_extensions,
    core_streams,
    component_extensions,
)


def all_cases() -> dict[str, Case]:
    """The cases by name."""
    cases: dict[str, Case] = {}
    for part in PARTS:
        for case in part.cases():
            assert case.name not in cases, case.name
            cases[case.name] = case
    return cases


def write_models(folder: Path) -> None:
    """Write each model in each encoding."""
    for name, model in MODELS.items():
        for encoding in model.encodings:
            place = folder / encoding / name
            place.mkdir(parents=True, exist_ok=True)
            for file, content in ENCODINGS[encoding](model).items():
                (place / file).write_bytes(content)
    for path, content in (("ggml/alphabet/model.gguf", alphabet()), ("tensorflowlite/sums/model.tflite", sums())):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(content)


def write_cases(folder: Path) -> None:
    """Write each guest as text and as a binary, and what is expected of it."""
    cases = all_cases()
    for name, case in cases.items():
        text = folder / f"{name}.wat"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(case.text)
        try:
            text.with_suffix(".wasm").write_bytes(wasmtime.wat2wasm(case.text))
        except wasmtime.WasmtimeError as error:
            sys.exit(f"{text}: {error}")
    data = {name: case.data() for name, case in cases.items()}
    (folder / "cases.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(cases)} cases")


def main() -> None:
    """Write everything, here or into another folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HOME
    for each in ("models", "cases"):
        shutil.rmtree(folder / each, ignore_errors=True)
    write_models(folder / "models")
    write_cases(folder / "cases")


if __name__ == "__main__":
    main()
