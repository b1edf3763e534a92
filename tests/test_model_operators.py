"""The operators of models, counted without their runtimes. Other files have those of TensorFlow and PyTorch."""

from __future__ import annotations

import ast
import io
import json
import zipfile
from pathlib import Path

import ggml_models
import onnx_models as models
import pytest
import tflite_models
from conftest import need
from onnx import helper

from wasi_nn import TensorType, cli as commands
from wasi_nn.backends.onnx.operator_counts import onnx_operators
from wasi_nn.backends.openvino.operator_counts import openvino_operators
from wasi_nn.backends.pytorch.operator_counts import pytorch_operators
from wasi_nn.backends.tflite.operator_counts import _NAMES
from wasi_nn.loading.model_operators import operators_of

TINY = Path(commands.__file__).parent / "tiny_models" / "relu.pt"
NETWORK = b"""<?xml version="1.0"?>
<net name="n" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"/>
<layer id="1" name="loop" type="Loop" version="opset5"><body><layers>
<layer id="0" name="y" type="ReLU" version="opset1"/><layer id="1" name="z" type="Own" version="extension"/>
</layers></body></layer></layers></net>"""


def counted(folder: Path, model: bytes) -> dict[str, int] | None:
    (folder / "model").write_bytes(model)
    operators = operators_of(folder / "model")
    return None if operators is None else dict(operators.counts)


def test_operators_of_onnx(tmp_path: Path) -> None:
    counts = counted(tmp_path, models.loop()) or {}
    assert counts.pop("Loop") == 1
    assert counts  # those of its body
    own = helper.make_node("Fused", ["x"], ["y"], domain="com.example")
    graph = helper.make_graph([own], "g", [], [])
    model = helper.make_model(graph).SerializeToString()
    assert onnx_operators(memoryview(model)) == {"com.example::Fused": 1}
    assert counted(tmp_path, models.add_and_mul()) == {"Add": 1, "Mul": 1}


def test_operators_of_tflite(tmp_path: Path) -> None:
    assert counted(tmp_path, tflite_models.relu()) == {"RELU": 1}
    assert sum((counted(tmp_path, tflite_models.identity(TensorType.F32)) or {}).values()) == 1


def test_the_names_of_tflites_operators_are_those_of_its_schema() -> None:
    need("ai_edge_litert", "'wasi-nn[tflite]'")
    import importlib.util

    found = importlib.util.find_spec("ai_edge_litert.schema_py_generated")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    (built_in,) = [it for it in tree.body if isinstance(it, ast.ClassDef) and it.name == "BuiltinOperator"]
    numbers = {
        assign.targets[0].id: assign.value.value
        for assign in built_in.body
        if isinstance(assign, ast.Assign)
        and isinstance(assign.targets[0], ast.Name)
        and isinstance(assign.value, ast.Constant)
    }
    assert {name: number for number, name in enumerate(_NAMES)} == {
        name: number for name, number in numbers.items() if isinstance(number, int) and number < len(_NAMES)
    }


def test_operators_of_openvino(tmp_path: Path) -> None:
    assert counted(tmp_path, NETWORK) == {"Loop": 1, "Parameter": 1, "ReLU": 1, "extension::Own": 1}
    bomb = NETWORK.replace(b"<net ", b'<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><net ', 1)
    with pytest.raises(ValueError, match="it defines entities"):
        openvino_operators(memoryview(bomb))


def test_a_network_with_an_endless_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="a tag of it has more than 8388608 bytes"):
        openvino_operators(memoryview(b'<net><layer type="' + b"a" * (10 << 20) + b'"/></net>'))


def test_names_without_calls_are_passed_over_in_one_go() -> None:
    """A search that begins anew at each part would take hours."""
    made, tiny = io.BytesIO(), zipfile.ZipFile(TINY)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in tiny.namelist():
            archive.writestr(name, tiny.read(name))
        folder = tiny.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/code/more.py", "torch." * 1_000_000 + "x\ntorch.x.abs(ops)")
    counts = pytorch_operators(memoryview(made.getvalue()))
    assert counts is not None
    assert (counts["torch.x.abs"], counts["torch.relu"]) == (1, 1)


def test_types_of_tensors_of_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(ggml_models.tiny())
    operators = operators_of(tmp_path / "model.gguf")
    assert operators is not None
    assert (operators.noun, operators.key, dict(operators.counts)) == ("types of tensors", "tensor_types", {"F32": 21})
    assert operators.header["general.architecture"] == "llama"
    assert operators.header["tokenizer.ggml.tokens"] == "290 elements"


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"no model",
        b"TFL3" * 9,
        NETWORK[:-40],
        models.relu()[:-9],
        tflite_models.relu()[:90],
        ggml_models.tiny()[:999],
        b"PK\x03\x04" + bytes(99),
        NETWORK.replace(b"type=", b"typo="),
        NETWORK.replace(b"?>", b' encoding="hex"?>'),
    ],
    ids=["empty", "text", "mark", "xml", "onnx", "tflite", "gguf", "zip", "no types", "encoding"],
)
def test_a_damaged_model_has_no_operators(tmp_path: Path, model: bytes) -> None:
    counts = counted(tmp_path, model)
    assert counts is None or set(counts) <= {"", "extension::", "Relu"}


def test_branches_in_branches_are_counted_and_many_fields_are_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(25):  # protobuf reads 100 levels, and each of these has three
        graph = helper.make_graph([node], "g", [], [])
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph)
    deep = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    assert onnx_operators(memoryview(deep)) == {"If": 25, "Relu": 1}
    head = helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()
    with pytest.raises(ValueError, match="too many fields"):
        onnx_operators(memoryview(head + b"\x08\x08" * 1_000_001))


def test_inspect_shows_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.onnx").write_bytes(models.add_and_mul())
    assert commands.main(["inspect", "net.onnx"]) == 0
    assert capsys.readouterr().out.endswith("operators\n  Add 1, Mul 1\n")
    assert commands.main(["inspect", "--json", "net.onnx"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"] == {"Add": 1, "Mul": 1}
    assert commands.main(["inspect", "--json", "--html", "x.html", "net.onnx"]) == 2
