"""The examples of the SDKs on Wasmtime's command, which is another host of wasi-nn: the same guests, as core modules
and as components, with OpenVINO's models. A list has the differences."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import classifiers
import file_types
import models as real_models
import pytest
import sdk_guests
from conftest import need
from sdk_languages.language import Guest

from bench import wasmtime_setup

need("openvino", "'wasi-nn[openvino]'")

OTHERWISE = {
    "core": {
        "unknown name": "unsupported-operation, with a message: true",
        "no inputs": "success",  # it computes on zeros
        "wrong type": "runtime-error",
        "no output yet": "success",
        "no such output": "runtime-error",
        "small buffer": "too-large, 0 bytes needed",  # it writes no size
    },
    "component": {"no inputs": "success", "wrong type": "runtime-error"},
}
"""What `tour` says on Wasmtime that it doesn't say here."""

LACKS = {
    "wasmedge": "functions of WasmEdge, in the build for these",
    "extensions": "functions or interfaces of wasi-nn:ext: descriptions, signatures, variables, strings, sequences",
    "chat": "functions or interfaces of wasi-nn:ext: sequences",
}
"""What Wasmtime lacks of the imports of an ABI or a program."""

CANT_RUN = {
    guest: LACKS[guest.abi if guest.abi in LACKS else guest.program]
    for guest in sorted(sdk_guests.GUESTS, key=str)
    if guest.abi in LACKS or guest.program in LACKS
}
"""Guests that can't run on Wasmtime, each with what Wasmtime lacks of its imports. All others run here."""

Run = Callable[[Guest, Sequence[str], Sequence[Path], Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a guest on Wasmtime, with these folders of OpenVINO's models as graphs and a folder as its own."""
    command = wasmtime_setup.installed()
    if command is None:
        message = "Wasmtime isn't installed: `make test` installs it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    environment = os.environ | {"LD_LIBRARY_PATH": str(wasmtime_setup.openvino_library())}
    cache = tmp_path_factory.mktemp("cache")
    settings = cache / "cache.toml"  # outside of the cache, where Wasmtime removes what it doesn't know
    settings.write_text(f'[cache]\ndirectory = "{cache / "compiled"}"\n')
    large = ["-C", "cache", "-C", f"cache-config={settings}", "-O", "opt-level=0"]
    large += ["-O", "regalloc-algorithm=single-pass"]

    def run_guest(
        guest: Guest, arguments: Sequence[str], graphs: Sequence[Path], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        options = [it for graph in graphs for it in ("-S", f"nn-graph=openvino::{graph}")]
        line = [str(command), "run", "-S", "nn", *options, "--dir", f"{directory}::.", "--argv0", guest.program]
        line += [] if guest.committed else large  # compiled in half the time, and once where several are in one file
        line.append(str(sdk_guests.path_of(guest)))
        return subprocess.run([*line, *arguments], env=environment, capture_output=True, text=True)

    return run_guest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of `tour`, each in a folder of its name."""
    import openvino as ov
    from openvino import opset13 as ops

    folder = tmp_path_factory.mktemp("models")

    def save(name: str, types: dict[str, str], operation: Callable[[object], object] = lambda it: it) -> None:
        size = 4 if name == "relu" else 2
        inputs = [ops.parameter([size], getattr(ov.Type, kind), name=it) for it, kind in types.items()]
        for tensor, it in zip(inputs, types, strict=True):
            tensor.output(0).set_names({it})
        model = ov.Model([ops.result(operation(it)) for it in inputs], inputs, name)
        (folder / name).mkdir()
        ov.save_model(model, folder / name / "model.xml", compress_to_fp16=False)

    save("types", {name: name for name in sdk_guests.TYPES})
    save("bf16", {"x": "bf16"})
    save("relu", {"x": "f32"}, ops.relu)
    return folder


@pytest.mark.parametrize("guest", sdk_guests.named("tour", ["core", "component"]), ids=str)
def test_arrays_of_every_type_and_a_model_from_bytes(guest: Guest, run: Run, folder: Path) -> None:
    arguments = ["openvino", "relu/model.xml", "relu/model.bin"]
    ran = run(guest, arguments, [folder / "types", folder / "bf16"], folder)
    lines = [line.partition(": ") for line in sdk_guests.expected(guest).splitlines()]
    expected = [f"{what}: {OTHERWISE[guest.abi].get(what, answer)}" for what, _, answer in lines]
    assert (ran.returncode, ran.stdout.splitlines()) == (0, expected), ran.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "'wasi-nn[pytorch]'")
    return sdk_guests.photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def scores(pictures: Path) -> dict[str, dict[str, float]]:
    """ONNX Runtime's scores of the labels of each picture."""
    labels = (pictures / "labels.txt").read_text().splitlines()
    found: dict[str, dict[str, float]] = {}
    for name, values in sdk_guests.scores_of(pictures).items():
        by_score = sorted(zip(labels, values.tolist(), strict=True), key=lambda it: it[1])
        found[name] = dict(by_score)  # of labels that are there twice, the better one
    return found


@pytest.fixture(scope="module")
def precision() -> float:
    """By how much OpenVINO's scores of these pictures may differ from those in f32: nothing that shows, unless it
    computes in a lower precision, as it does on some processors."""
    import openvino as ov

    compiled = ov.Core().compile_model(classifiers.classifier("openvino") / "model.xml", "CPU")
    is_exact = compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    return 0.001 if is_exact else 0.35  # bf16 changes their scores by 0.16


@pytest.mark.parametrize("guest", sdk_guests.named("classify"), ids=str)
def test_photographs_have_the_same_five_best_labels_in_the_same_order(
    guest: Guest, run: Run, pictures: Path, scores: dict[str, dict[str, float]], precision: float
) -> None:
    network = classifiers.classifier("openvino")
    ran = run(guest, [network.name, "image", "labels.txt", *sdk_guests.PHOTOGRAPHS], [network], pictures)
    assert ran.returncode == 0, ran.stderr
    said = labels_said(ran.stdout)
    assert list(said) == list(scores)
    for picture, labels in said.items():
        assert is_order_of(labels, scores[picture], precision), f"{picture}: {labels}"


def labels_said(output: str) -> dict[str, list[str]]:
    """The labels of each picture, the best one first."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith(" "):
            found[next(reversed(found))].append(line.partition("%  ")[2])
        else:
            found[line] = []
    return found


def is_order_of(labels: Sequence[str], scores: Mapping[str, float], precision: float) -> bool:
    """Whether these are the five best labels, in their order. Two labels whose scores differ by no more than the
    precision may change places."""
    best = sorted(scores.values(), reverse=True)[:5]
    own = [scores.get(label, -math.inf) for label in labels]
    is_best = len(own) == 5 and all(it >= other - precision for it, other in zip(own, best, strict=True))
    return is_best and len(set(labels)) == 5 and all(a >= b - precision for a, b in combinations(own, 2))


def test_another_order_is_noticed() -> None:
    scores = {"a": 9.0, "b": 8.9, "c": 5.0, "d": 4.0, "e": 3.0, "f": 2.95, "g": 1.0}
    assert is_order_of("abcde", scores, 0.001)
    assert not is_order_of("bacde", scores, 0.001)
    assert is_order_of("bacdf", scores, 0.35)
    for labels in ("abcd", "abced", "abcdg", "abdce", "aacde", "abcdefg", "abcdz"):
        assert not is_order_of(labels, scores, 0.35), labels


@pytest.fixture(scope="module")
def magika(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Magika's model for OpenVINO, in a folder of its name."""
    import openvino as ov

    model = ov.convert_model(real_models.magika().model)
    model.reshape([1, 2048])
    folder = tmp_path_factory.mktemp("identify") / "magika"
    folder.mkdir()
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder


@pytest.mark.parametrize("guest", sdk_guests.named("identify"), ids=str)
def test_the_types_of_files_are_told(guest: Guest, run: Run, magika: Path, typed_files: Path, told_types: str) -> None:
    ran = run(guest, ["magika", "labels.txt", *file_types.FILES], [magika], typed_files)
    assert ran.returncode == 0, ran.stderr
    assert _labels(ran.stdout) == _labels(told_types)


def _labels(said: str) -> list[str]:
    """The lines without the percents: OpenVINO may compute in a lower precision."""
    return [line.rpartition(", ")[0] or line for line in said.splitlines()]


def test_every_guest_runs_or_is_listed() -> None:
    run_here = {guest for program in ("tour", "classify") for guest in sdk_guests.named(program, ["core", "component"])}
    run_here |= set(sdk_guests.named("identify"))
    assert run_here.isdisjoint(CANT_RUN)
    assert {str(guest) for guest in sdk_guests.GUESTS} == {str(guest) for guest in run_here | set(CANT_RUN)}


@pytest.mark.parametrize("guest", [guest for guest in CANT_RUN if guest.committed], ids=str)
def test_guests_with_functions_that_wasmtime_lacks_are_refused(guest: Guest, run: Run, folder: Path) -> None:
    """Wasmtime compiles a guest before it looks at its imports: the guests that aren't committed are large, and only
    listed."""
    ran = run(guest, [], [folder / "types"], folder)
    assert ran.returncode != 0
    assert ran.stdout == "", "it isn't even started"
