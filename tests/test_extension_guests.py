"""The guests in C that use extensions: `run_any`, which runs any model by its description, and `train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import onnx_models
import pytest
from conftest import C_GUESTS, need
from extension_graphs import Speller
from numpy_graphs import Counting, Described, Shouting, Trainable

import wasi_nn
from wasi_nn import Graph, Host, TensorInfo

F32 = np.dtype(np.float32)


def run(graph: Graph | bytes | Path, guest: str, folder: Path, *arguments: str, **settings: Any) -> list[str]:
    """Run a guest on a graph, in a folder; returns the lines that it prints, also on its standard error."""
    with Host({"net": graph}, cache=False, **settings) as host:
        result = host.run(
            C_GUESTS / f"{guest}.wasm", ["--graph", "net", *arguments], dirs={"/": folder}, capture_output=True
        )
    return [*result.stdout.decode().splitlines(), *result.stderr.decode().splitlines()]


def run_any(graph: Graph | bytes | Path, folder: Path, *arguments: str) -> list[str]:
    return run(graph, "run_any", folder, "--inputs", "/", *arguments)


# run_any


def test_a_model_is_run_on_files_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pack("<6f", 1, -2, 3, -4, 5, -6))
    assert run_any(onnx_models.relu(["batch", 2]), tmp_path) == [
        "onnx on onnxruntime (cpu)",
        "input x: f32[batch, 2]: 1 -2 3 -4 5 -6",
        "output y: f32[3, 2]: 1 0 3 0 5 0",
    ]


def test_inputs_without_a_file_are_zeros(tmp_path: Path) -> None:
    assert run_any(onnx_models.relu(["batch", 2]), tmp_path, "--dim", "batch=2") == [
        "onnx on onnxruntime (cpu)",
        "input x: f32[batch, 2], zeros: 0 0 0 0",
        "output y: f32[2, 2]: 0 0 0 0",
    ]
    without = run(onnx_models.relu(["batch", 2]), "run_any", tmp_path)
    assert without[1:] == ["input x: f32[batch, 2], zeros: 0 0", "output y: f32[1, 2]: 0 0"]


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "u1", "i4", "i8"])
def test_numbers_of_every_type(kind: str, tmp_path: Path) -> None:
    dtype = np.dtype(kind)
    (tmp_path / "x").write_bytes(np.arange(3, dtype=dtype).tobytes())
    info = TensorInfo("x", dtype, ("?",))
    name = {"f2": "f16", "f4": "f32", "f8": "f64", "u1": "u8", "i4": "i32", "i8": "i64"}[kind]
    numbers = "0x0000 0x3c00 0x4000" if kind == "f2" else "0 1 2"
    lines = run_any(Described([info], [info]), tmp_path)
    assert lines[1:] == [f"input x: {name}[?]: {numbers}", f"output x: {name}[3]: {numbers}"]


def test_dimensions_of_one_name_have_one_size(tmp_path: Path) -> None:
    infos = [TensorInfo("mask", F32, ("n",)), TensorInfo("a/b", F32, (1, "n")), TensorInfo("s", F32, ())]
    (tmp_path / "a_b").write_bytes(pack("<3f", 1, 2, 3))
    assert run_any(Described(infos, infos), tmp_path)[1:] == [
        "input a/b: f32[1, n]: 1 2 3",
        "input mask: f32[n], zeros: 0 0 0",
        "input s: f32[], zeros: 0",
        "output mask: f32[3]: 0 0 0",
        "output a/b: f32[1, 3]: 1 2 3",
        "output s: f32[]: 0",
    ]


def test_any_type_and_any_rank(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pack("<2f", 1, 2))
    graph = Described([TensorInfo("x", None, None), TensorInfo("more", F32, None, optional=True)], [])
    graph.outputs_vary = True
    graph.runner = lambda: _named  # type: ignore[method-assign]
    assert run_any(graph, tmp_path)[1:] == [
        "input x: any numbers [...]: 1 2",
        "output first: f32[2]: 1 2",
        "output second: f32[2]: 1 2",
    ]


def _named(inputs: Any, reuse: Any) -> Any:
    from wasi_nn.graph.outputs import Outputs

    return Outputs.named([("first", inputs[0].copy()), ("second", inputs[0].copy())])


def test_byte_strings_are_lines(tmp_path: Path) -> None:
    texts = [b'one "two"', b"", "\u00e9\tend".encode()]
    (tmp_path / "texts").write_bytes(b"\n".join(texts))
    assert run_any(Shouting(), tmp_path, "--save", "/")[1:] == [
        r'input texts: byte strings [n, ?]: "one \x22two\x22" "" "' + "\u00e9" + r'\x09end"',
        r'output shouts: byte strings [1, 3]: "ONE \x22TWO\x22" "" "' + "\u00e9" + r'\x09END"',
    ]
    assert (tmp_path / "shouts").read_bytes() == pack("<3I", 9, 9, 15) + b"".join(texts).upper()


def test_byte_strings_of_a_real_runtime(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("one\n\u00e9\n\n".encode())
    assert run_any(onnx_models.strings(), tmp_path)[1:] == [
        'input x: byte strings [n]: "one" "\u00e9" ""',
        'output y: byte strings [3]: "one" "\u00e9" ""',
    ]


def test_outputs_are_saved_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pack("<2f", 2, 3))
    (tmp_path / "b").write_bytes(pack("<2f", 5, 7))
    run_any(onnx_models.add_and_mul(), tmp_path, "--save", "/")
    written = {path.name: np.frombuffer(path.read_bytes(), F32).tolist() for path in tmp_path.iterdir()}
    assert [10, 21] in written.values()
    assert [7, 10] in written.values()


@pytest.mark.parametrize(
    ("graph", "arguments", "text"),
    [
        (
            Described([TensorInfo("x", np.dtype(np.int8), (1,))], []),
            [],
            "input x has elements that wasi-nn lacks: int8",
        ),
        (Trainable(), ["--signature", "serve"], "the model has no signature serve"),
        (Described([TensorInfo("short", F32, (2,))], []), [], "the file for input short has 12 bytes, which don't fit"),
        (Described([TensorInfo("short", F32, ("?", 2))], []), [], "the file for input short has 12 bytes"),
        (Counting(), ["--dim", "=3"], "--dim =3: it takes NAME=SIZE"),
        (Counting(), ["--dims", "3"], "no option --dims; usage: run_any "),
    ],
)
def test_mistakes_with_run_any(graph: Graph, arguments: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(12))
    assert text in run_any(graph, tmp_path, *arguments)[-1]


def test_a_language_model(tmp_path: Path) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_models

    (tmp_path / "prompt").write_bytes(b"ab")
    (tmp_path / "llm.gguf").write_bytes(ggml_models.tiny())
    lines = run_any(tmp_path / "llm.gguf", tmp_path)
    assert lines[0].startswith("ggml on ")
    assert lines[1].startswith("input prompt: u8[?]: 97 98")
    assert lines[2].startswith("output response: u8[")


@pytest.mark.parametrize("name", ["magika", "efficientnet", "basic_pitch", "basic_pitch_saved_model", "smollm2"])
def test_real_models(name: str, tmp_path: Path) -> None:
    for module, extra in (("onnxruntime", "onnx"), ("ai_edge_litert", "tflite"), ("tensorflow", "tensorflow")):
        need(module, f"'wasi-nn[{extra}]'")
    need("xllamacpp", "'wasi-nn[ggml]'")
    import run_any as demo

    model, inputs = demo.TASKS[name]()
    demo.written(inputs, tmp_path / "in")
    (tmp_path / "out").mkdir()
    lines = run(model, "run_any", tmp_path, "--inputs", "/in", "--save", "/out")
    graph = wasi_nn.load(model)
    assert lines[0].startswith(f"{graph.encoding.value} on {graph.runtime} ")
    shaped = {
        info.name: np.frombuffer(value, np.uint8)
        if isinstance(value, bytes)
        else value.reshape([dim if isinstance(dim, int) else 1 for dim in info.dims or ()])
        for info in graph.inputs
        if (value := inputs.get(info.name)) is not None
    }
    outputs = graph.compute(shaped)
    assert len(lines) == 1 + len(inputs) + len(outputs)
    for output, expected in outputs.items():
        got = (tmp_path / "out" / output).read_bytes()
        assert np.frombuffer(got, expected.dtype) == pytest.approx(expected.reshape(-1), rel=1e-4, abs=1e-5)


# stream


def test_pieces_are_printed_as_they_come(tmp_path: Path) -> None:
    graph = Speller()
    assert run(graph, "stream", tmp_path, "abc") == ["abc"]
    assert run(graph, "stream", tmp_path, "--pieces", "2", "abcd") == ["ab"]
    assert graph.closed == ["abc", "abcd"], "both sequences ended, the second one early"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ab?c"], "next_of_sequence"),
        (["--options", "{}", "abc"], "set_input"),
        ([], "usage: stream"),
        (["one", "two"], "no option two; usage: stream"),
    ],
)
def test_mistakes_with_stream(arguments: list[str], text: str, tmp_path: Path) -> None:
    assert text in run(Speller(), "stream", tmp_path, *arguments)[-1]


def test_a_graph_that_gives_no_pieces(tmp_path: Path) -> None:
    bytes_in_and_out = [TensorInfo.of_bytes("prompt")], [TensorInfo.of_bytes("response")]
    assert run(Described(*bytes_in_and_out), "stream", tmp_path, "a")[-1] == "begin_sequence: unsupported_operation"


# train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the features and labels of three kinds of points."""
    labels = np.random.default_rng(0).integers(0, 3, 120).astype(np.int32)
    features = np.random.default_rng(1).normal(np.eye(3, 4)[labels] * 3, 1).astype(np.float32)
    (tmp_path / "x").write_bytes(features.tobytes())
    (tmp_path / "y").write_bytes(labels.tobytes())
    return tmp_path


def train(graph: Graph | bytes | Path, folder: Path, *arguments: str) -> list[str]:
    return run(graph, "train", folder, "--features", "/x", "--labels", "/y", *arguments)


def percent(line: str) -> float:
    return float(line.rpartition(" ")[2].rstrip("%"))


def test_training_improves_the_accuracy(data: Path) -> None:
    before, first, last, after = train(Trainable(), data, "--epochs", "30", "--hold-out", "40", "--batch", "16")
    assert percent(before) < 50 < 85 < percent(after)
    assert float(first.split()[-1]) > float(last.split()[-1])


def test_training_goes_on_from_a_state(data: Path) -> None:
    *_, after, state = train(Trainable(), data, "--epochs", "10", "--to", "/state")
    assert state == f"state: {(data / 'state').stat().st_size} bytes in /state"
    before, *_ = train(Trainable(), data, "--epochs", "1", "--from", "/state")
    assert percent(before) == percent(after)
    from safetensors.numpy import load_file

    assert set(load_file(data / "state")) == {"weight", "bias"}


def _tflite(folder: Path) -> Path:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    need("ai_edge_litert", "'wasi-nn[tflite]'")
    import digits

    (folder / "digits.tflite").write_bytes(digits.tflite(digits.saved(folder / "digits")))
    return folder / "digits.tflite"


def _tensorflow(folder: Path) -> Path:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    import digits

    return digits.saved(folder / "digits")


def _torchscript(folder: Path) -> Path:
    need("torch", "'wasi-nn[pytorch]'")
    import pytorch_models

    (folder / "digits.pt").write_bytes(pytorch_models.script(pytorch_models.Digits()))
    return folder / "digits.pt"


@pytest.mark.parametrize("made", [_tflite, _tensorflow, _torchscript])
def test_one_guest_trains_a_model_of_each_runtime(made: Callable[[Path], Path], tmp_path: Path) -> None:
    need("sklearn", "scikit-learn")
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    (tmp_path / "x").write_bytes((x[order] / 16).astype(np.float32).tobytes())
    (tmp_path / "y").write_bytes(y[order].astype(np.int32).tobytes())
    model = made(tmp_path)
    lines = train(model, tmp_path, "--epochs", "8", "--batch", "32", "--hold-out", "400", "--to", "/state")
    assert percent(lines[0]) < 20
    assert percent(lines[3]) > 90
    again = train(model, tmp_path, "--epochs", "1", "--hold-out", "400", "--from", "/state")
    assert percent(again[0]) == percent(lines[3])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--train", "learn"], "the model has no signature learn"),
        (["--hold-out", "120"], "all 120 rows are held out"),
        (["--from", "/x"], "state_set: invalid_argument"),
        (["--from", "/none"], "/none: can't be opened"),
        (["--labels", "/short"], "7 labels don't fit 480 features"),
        (["--train", "infer"], "the signature to train takes 1 inputs, not 2"),
    ],
)
def test_mistakes_with_train(arguments: list[str], text: str, data: Path) -> None:
    (data / "short").write_bytes(bytes(28))
    assert text in train(Trainable(), data, *arguments)[-1]


def test_a_model_that_cannot_be_trained(data: Path) -> None:
    assert train(onnx_models.relu(), data)[-1] == "the model has no signature train"


@pytest.mark.parametrize(("guest", "extension"), [("run_any", "describe"), ("stream", "sequences"), ("train", "state")])
def test_the_guests_need_their_extensions(guest: str, extension: str, data: Path) -> None:
    from wasi_nn import GuestError
    from wasi_nn.session.policy import EXTENSIONS

    with pytest.raises(GuestError, match=f"{guest}.wasm imports {extension} of wasi-nn:ext"):
        run(Trainable(), guest, data, extensions=set(EXTENSIONS) - {extension})
