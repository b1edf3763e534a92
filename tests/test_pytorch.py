"""The PyTorch backend: both formats, inputs and outputs of all kinds, memory that tensors share, and harmful models."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import pack, unpack
from typing import Any

import numpy as np
import pytest
from checks import gives_each_thread_its_own, on_threads, refused, survives_damage
from conftest import need
from core_guest import F32, NOT_FOUND, SUCCESS, CoreGuest

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, LoadRules, NNError, TargetUnavailable, TensorType

need("torch", "'wasi-nn[pytorch]'")

import pytorch_models as models  # noqa: E402
import torch  # noqa: E402

from wasi_nn.backends import choose_device  # noqa: E402
from wasi_nn.backends.pytorch.backend import PyTorchBackend, as_devices  # noqa: E402
from wasi_nn.backends.pytorch.operator_counts import pytorch_operators  # noqa: E402
from wasi_nn.backends.pytorch.tensors import as_tensor  # noqa: E402

PYTORCH = 3
SOME = torch.ones(4)
SAVE: Mapping[str, Callable[[torch.nn.Module], bytes]] = {
    "TorchScript": models.script,
    "exported program": lambda module: models.export(module, SOME.clone()),
}
both = pytest.mark.parametrize("kind", SAVE)
RELU = {kind: save(models.Relu()) for kind, save in SAVE.items()}


def f32(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


# Loading


@both
def test_a_model_from_bytes_from_a_file_and_from_a_directory(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model.pt").write_bytes(RELU[kind])
    (tmp_path / "named.zip").write_bytes(RELU[kind])
    for source in (RELU[kind], tmp_path / "model.pt", tmp_path, tmp_path / "named.zip"):
        graph = wasi_nn.load(source)
        assert (graph.encoding.value, graph.runtime, graph.device) == ("pytorch", "torch", "cpu")
        assert graph.metadata["kind"] == kind
        assert graph.compute({"x": f32(1, -1, 2, -2)})["output"].tolist() == [1, 0, 2, 0]


def test_an_exported_program_says_which_torch_made_it() -> None:
    assert wasi_nn.load(RELU["exported program"]).metadata["torch"] == torch.__version__


def test_operators_are_counted_without_torch() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.ReLU())
    script = pytorch_operators(memoryview(models.script(module, torch.zeros(1, 2))))
    assert script is not None
    assert (script["torch.linear"], script["torch.relu"]) == (1, 2)
    exported = models.export(module, torch.zeros(1, 2))
    assert pytorch_operators(memoryview(exported)) == {"aten.linear.default": 1, "aten.relu.default": 2}
    assert pytorch_operators(memoryview(b"no model")) is None
    broken = models.tampered(exported, {"models/model.json": b"[" * 100_000})
    with pytest.raises((ValueError, RecursionError)):
        pytorch_operators(memoryview(broken))


def test_a_directory_with_an_exported_program(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(RELU["exported program"])
    assert wasi_nn.load(tmp_path).metadata["kind"] == "exported program"


@both
def test_a_model_is_told_by_its_content(kind: str) -> None:
    assert PyTorchBackend().sniff(memoryview(RELU[kind]))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("code/readme", "")
    for content in (b"", b"PK\x03\x04", other.getvalue(), RELU[kind][:-30]):
        assert not PyTorchBackend().sniff(memoryview(content))


def test_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    checkpoint = io.BytesIO()
    torch.save(models.Net().state_dict(), checkpoint)
    (tmp_path / "model.pt").write_bytes(checkpoint.getvalue())
    for source in (checkpoint.getvalue(), tmp_path / "model.pt"):
        refused(
            ErrorCode.RUNTIME_ERROR,
            "neither TorchScript nor an exported program but a checkpoint",
            wasi_nn.load,
            source,
        )


def test_a_package_of_native_code_is_refused(tmp_path: Path) -> None:
    package = models.tampered(RELU["exported program"], {"data/aotinductor/model/model.so": b"\x7fELF"})
    (tmp_path / "model.pt2").write_bytes(package)
    for source in (package, tmp_path / "model.pt2"):
        refused(ErrorCode.SECURITY, "AOTInductor package, which is native code", wasi_nn.load, source)


@pytest.mark.parametrize("content", [b"", b"no model", RELU["TorchScript"][:60], RELU["TorchScript"][:-40]])
def test_what_is_no_model(content: bytes) -> None:
    refused(
        ErrorCode.RUNTIME_ERROR,
        "neither a TorchScript archive nor|is empty|cut short",
        wasi_nn.load,
        content,
        "pytorch",
    )


def test_a_module_that_has_nothing_to_run() -> None:
    class Empty(torch.nn.Module):
        @torch.jit.export
        def _other(self, x: torch.Tensor) -> torch.Tensor:
            return x

    refused(ErrorCode.UNSUPPORTED_OPERATION, "no method 'forward'", wasi_nn.load, models.script(Empty()))


def test_builders_too_many() -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "one builder", wasi_nn.load, [RELU["TorchScript"]] * 2, "pytorch")


# Inputs


@both
@pytest.mark.parametrize("name", ["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"])
def test_every_type_that_torch_and_numpy_have(kind: str, name: str) -> None:
    check_identity(kind, np.dtype(name))


@both
@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64"])
def test_every_unsigned_type_that_torch_and_numpy_have(kind: str, name: str) -> None:
    check_identity(kind, np.dtype(name))


@both
def test_bf16_in_and_out(kind: str) -> None:
    check_identity(kind, TensorType.BF16.dtype)


def check_identity(kind: str, dtype: np.dtype[Any]) -> None:
    archive = (
        models.script(models.Identity())
        if kind == "TorchScript"
        else models.export(models.Identity(), torch.ones(4).to(getattr(torch, dtype.name)))
    )
    graph = wasi_nn.load(archive)
    values = np.array([0, 1, 2, 100]).astype(dtype)
    output = graph.compute({"x": values})["output"]
    assert (output.dtype, output.tobytes()) == (dtype, values.tobytes())
    declared = None if kind == "TorchScript" else dtype
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == declared


@pytest.mark.parametrize("dtype", [np.float32, TensorType.BF16.dtype])
@pytest.mark.parametrize("writable", [True, False])
def test_an_input_is_read_where_it_is(dtype: Any, writable: bool) -> None:
    array = np.ones((2, 3), dtype)
    array.flags.writeable = writable
    tensor = as_tensor(array, "cpu", copy=False)
    assert (tensor.data_ptr(), tuple(tensor.shape), tensor.sum().item()) == (array.ctypes.data, (2, 3), 6)
    assert as_tensor(array, "cpu", copy=True).data_ptr() != array.ctypes.data


@pytest.mark.parametrize("array", [np.ones(4, np.complex64), np.array(["text"] * 4)])
def test_types_that_there_are_no_tensors_of(array: Any) -> None:
    graph = wasi_nn.load(RELU["TorchScript"])
    refused(ErrorCode.UNSUPPORTED_OPERATION, "torch has no tensors of", graph.compute, {"x": array})


@both
def test_outputs_that_there_are_no_tensors_of(kind: str) -> None:
    class Complex(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.complex(x, x)

    graph = wasi_nn.load(SAVE[kind](Complex()))
    refused(ErrorCode.UNSUPPORTED_OPERATION, "'output' is complex64", graph.compute, {"x": f32(1, 2, 3, 4)})


def test_scalars_and_dims_of_any_rank() -> None:
    graph = wasi_nn.load(RELU["TorchScript"])
    assert (graph.inputs[0].dims, str(graph.inputs[0])) == (None, "x: any[...]")
    for dims in ((), (0,), (1, 2, 3), (1,) * 10):
        assert graph.compute({"x": np.ones(dims, np.float32)})["output"].shape == dims


def test_arguments_that_are_numbers_tuples_or_absent() -> None:
    graph = wasi_nn.load(models.script(models.Arguments()))
    described = [(str(info), info.optional) for info in graph.inputs]
    assert described == [
        ("x: any[...]", False),
        ("times: i64[]", False),
        ("state.0: any[...]", True),
        ("state.1: any[...]", True),
        ("plus: f64[]", True),
        ("negate: bool[]", True),
        ("other: any[...]", True),
    ]
    tensors: dict[str, Any] = {"x": f32(1), "times": np.array([3])}
    assert graph.compute(tensors)["output"].tolist() == [3.5]
    tensors |= {"plus": np.array(1.0), "negate": np.array([True]), "state.0": f32(10), "state.1": f32(2), "6": f32(100)}
    assert graph.compute(tensors)["output"].tolist() == [-112]
    del tensors["state.1"]
    refused(ErrorCode.INVALID_ARGUMENT, "input 'state' has several parts: set all", graph.compute, tensors)
    tensors["times"] = f32(3)
    refused(ErrorCode.INVALID_ARGUMENT, "'times' is i64, got f32", graph.compute, tensors)


def test_an_argument_that_cant_be_given_is_refused_when_it_must_be() -> None:
    class Many(torch.nn.Module):
        def forward(self, many: list[torch.Tensor]) -> torch.Tensor:
            return many[0]

    refused(ErrorCode.UNSUPPORTED_OPERATION, r"List\[Tensor\] for 'many'", wasi_nn.load, models.script(Many()))


def test_numbers_in_lists_come_from_vectors() -> None:
    class Viewed(torch.nn.Module):
        def forward(self, x: torch.Tensor, dims: list[int]) -> torch.Tensor:
            return x.view(dims)

    graph = wasi_nn.load(models.script(Viewed()))
    assert str(graph.inputs[1]) == "dims: i64[?]"
    assert graph.compute({"x": f32(1, 2, 3, 4), "dims": np.array([2, 2])})["output"].shape == (2, 2)


def test_the_dims_of_an_exported_program() -> None:
    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor, more: dict[str, Any], scale: float = 2.0) -> torch.Tensor:
            return torch.cat([x, more["y"][0]]) * scale

    rows = torch.export.Dim("rows", min=2, max=8)
    arguments = (torch.ones(4, 3), {"y": [torch.ones(5, 3)]})
    dims = {"x": {0: rows}, "more": {"y": [{0: rows + 1}]}}
    graph = wasi_nn.load(models.export(Two(), *arguments, dynamic_shapes=dims))
    first, second = graph.inputs
    assert (first.name, second.name) == ("x", "more_y_0")
    assert first.dims
    assert second.dims
    assert first.dims[1] == second.dims[1] == 3
    assert second.dims[0] == f"{first.dims[0]} + 1"
    tensors = {"x": np.ones((3, 3), np.float32), "1": np.ones((4, 3), np.float32)}
    assert graph.compute(tensors)["output"].tolist() == np.full((7, 3), 2).tolist()
    tensors["1"] = np.ones((5, 3), np.float32)
    refused(ErrorCode.INVALID_ARGUMENT, "inputs don't fit the exported program: Guard failed", graph.compute, tensors)
    tensors = {"x": np.ones((30, 3), np.float32), "1": np.ones((31, 3), np.float32)}
    refused(ErrorCode.INVALID_ARGUMENT, r"Guard failed: .*size\(\)\[0\] <=", graph.compute, tensors)


@pytest.mark.parametrize("shape", [(2, 5), (3,), ()])
def test_dims_that_a_torchscript_model_fails_at_are_told_on_one_short_line(shape: tuple[int, ...]) -> None:
    graph = wasi_nn.load(models.script(models.Net()))
    with pytest.raises(NNError, match="the runtime failed: ") as caught:
        graph.compute({"image": np.ones(shape, np.float32)})
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 300


# Outputs


@both
def test_outputs_in_tuples_are_numbered_and_numbers_are_scalars(kind: str) -> None:
    graph = wasi_nn.load(SAVE[kind](models.Pair()))
    names = ["output.0", "output.1.0", "output.1.1", "output.2", "output.3"]
    assert [info.name for info in graph.outputs] == names
    outputs = graph.compute({"x": f32(1, 2, 3, 4)})
    assert list(outputs) == names
    assert outputs["output.1.0"].tolist() == [3, 4, 5, 6]
    plain = [outputs[name] for name in names[2:]]
    assert [(array.dtype.name, array.shape, array.item()) for array in plain] == [
        ("int64", (), 1),
        ("float64", (), 0.5),
        ("bool", (), True),
    ]


def test_what_a_torchscript_model_doesnt_say_of_its_outputs() -> None:
    graph = wasi_nn.load(models.script(models.Dict()))
    assert (graph.outputs, graph.outputs_vary) == ((), True)
    outputs = graph.compute({"x": f32(1)})
    assert {name: array.tolist() for name, array in outputs.items()} == {"one": [2], "two": [3]}


def test_nested_outputs_of_an_exported_program() -> None:
    graph = wasi_nn.load(models.export(models.Nested(), SOME))
    described = [str(info) for info in graph.outputs]
    assert described == ["a: f32[4]", "b.0: f32[4]", "b.1.c: f32[4]", "n: i64[]"]
    outputs = graph.compute({"x": f32(0, 0, 0, 0)})
    assert [float(array.flat[0]) for array in outputs.values()] == [1, 2, 3, 4]


@both
def test_results_are_torchs_bit_for_bit(kind: str) -> None:
    image = torch.rand(2, 3, 16, 16)
    archive = models.script(models.Net()) if kind == "TorchScript" else models.export(models.Net(), image)
    with torch.inference_mode():
        expected = models.Net().eval()(image).numpy()
    actual = wasi_nn.load(archive).compute({"image": image.numpy()})["output"]
    assert actual.tobytes() == expected.tobytes()
    assert actual.sum() == pytest.approx(2)


def test_a_traced_model() -> None:
    image = torch.rand(1, 3, 16, 16)
    graph = wasi_nn.load(models.script(models.Net(), image))
    with torch.inference_mode():
        assert (
            graph.compute({"image": image.numpy()})["output"].tobytes() == models.Net().eval()(image).numpy().tobytes()
        )


# Memory


@both
def test_outputs_share_no_memory_with_anything(kind: str) -> None:
    module = models.Sharing()
    graph = wasi_nn.load(models.script(module) if kind == "TorchScript" else models.export(module, torch.ones(3)))
    context = graph.init_execution_context()
    for _ in range(4):  # TorchScript optimises a model and folds constants in its first runs
        fed = f32(1, 1, 1)
        outputs = list(graph.compute({"x": fed}).values())
        context.set_input(0, fed)
        context.compute()
        expected = [array.tolist() for array in outputs]
        assert expected == [[1] * 3, [1] * 2, [1] * 3, [1] * 3, [1] * 3, [2, 4, 6], [2] * 3, [2] * 3, [2] * 2]
        for place, array in enumerate(outputs):
            array[:] = 50 + place
        assert [array[0] for array in outputs] == list(range(50, 59))
        assert fed.tolist() == [1, 1, 1]
        assert [context.get_output(index).tolist() for index in range(9)] == expected


@both
def test_outputs_stay_what_they_are(kind: str) -> None:
    graph = wasi_nn.load(RELU[kind])
    context = graph.init_execution_context()
    kept = [context.compute_named([("x", np.full(4, number, np.float32))])[0][1] for number in range(4)]
    assert [array.tolist() for array in kept] == [[number] * 4 for number in range(4)]


@both
@pytest.mark.parametrize("module", [models.InPlace, models.HiddenInPlace])
def test_inputs_stay_what_they_are_though_a_model_writes_to_them(kind: str, module: type[torch.nn.Module]) -> None:
    graph = wasi_nn.load(SAVE[kind](module()))
    context = graph.init_execution_context()
    context.set_input(0, f32(-1, 2, -3, 4))
    results = []
    for _ in range(4):
        context.compute()
        results.append(context.get_output(0).tolist())
    assert results == [results[0]] * 4
    array = f32(-1, 2, -3, 4)
    array.flags.writeable = False
    assert graph.compute({"x": array})["output"].tolist() == results[0]
    assert array.tolist() == [-1, 2, -3, 4]


@both
def test_each_context_has_a_state_of_its_own(kind: str) -> None:
    graph = wasi_nn.load(SAVE[kind](models.Counter()))
    one, other = graph.init_execution_context(), graph.init_execution_context()
    for context in (one, one, other, one, other):
        context.set_input(0, f32(0, 0, 0, 0))
        context.compute()
    assert (one.get_output(0).tolist(), other.get_output(0).tolist()) == ([3] * 4, [2] * 4)
    assert graph.compute({"x": f32(0, 0, 0, 0)})["output"].tolist() == [1] * 4


def test_state_in_an_attribute() -> None:
    graph = wasi_nn.load(models.script(models.Remembering()))
    one, other = graph.init_execution_context(), graph.init_execution_context()
    for context in (one, one, other):
        outputs = context.compute_named([("x", f32(5))])
        outputs[0][1][:] = 1000
    assert [context.compute_named([("x", f32(5))])[0][1].tolist() for context in (one, other)] == [[15], [10]]


def test_a_network_that_only_learns_in_training_keeps_no_state() -> None:
    graph = wasi_nn.load(models.script(models.Net()))
    assert not graph.keeps_state


@both
def test_one_graph_on_several_threads(kind: str) -> None:
    gives_each_thread_its_own(wasi_nn.load(RELU[kind]), 4, times=100)


@both
def test_models_are_loaded_on_several_threads(kind: str) -> None:
    on_threads(lambda _: [wasi_nn.load(RELU[kind]) for _ in range(3)], 4)


# Devices and options


def test_the_device_is_chosen_by_target_and_by_what_is_there() -> None:
    here = as_devices({"cuda": 2, "xpu": 1})
    for target, name, chosen in (
        (ExecutionTarget.CPU, None, "cpu"),
        (ExecutionTarget.GPU, None, "cuda:0"),
        (ExecutionTarget.CPU, "cuda:1", "cuda:1"),
        (ExecutionTarget.GPU, "cpu", "cpu"),
        (ExecutionTarget.GPU, "xpu", "xpu:0"),
    ):
        assert choose_device(here, target, "torch", name).name == chosen
    assert choose_device(as_devices({"mps": 1}), ExecutionTarget.GPU, "torch").name == "mps:0"
    for name in ("cuda:2", "mps"):
        with pytest.raises(TargetUnavailable, match=f"no device {name} here .it has cpu, cuda:0, cuda:1, xpu:0"):
            choose_device(here, ExecutionTarget.GPU, "torch", name)
    for target in (ExecutionTarget.GPU, ExecutionTarget.TPU):
        with pytest.raises(TargetUnavailable, match=f"no device for {target.value} here .it has cpu"):
            choose_device(as_devices({}), target, "torch")


def test_the_cpu_is_always_there() -> None:
    assert PyTorchBackend().devices()[ExecutionTarget.CPU] == "cpu"
    refused(ErrorCode.UNSUPPORTED_OPERATION, "no device for tpu", wasi_nn.load, RELU["TorchScript"], target="tpu")
    assert wasi_nn.load(RELU["TorchScript"], target="tpu", rules=LoadRules("cpu")).device == "cpu"


@pytest.mark.parametrize("options", [{"threads": 1}, {"device": 1}, {"device": "gpu"}, {"device": "cuda:"}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "option|no device", wasi_nn.load, RELU["TorchScript"], options=options)


# Guests


@both
def test_a_guest_brings_its_model_where_it_may(kind: str) -> None:
    with wasi_nn.Session(allow_load=["pytorch"]) as session:
        guest = CoreGuest(session)
        assert guest.load(RELU[kind], encoding=PYTORCH) == SUCCESS
        guest.check_relu(guest.u32())


@both
def test_a_guest_brings_no_model_by_default(kind: str) -> None:
    with wasi_nn.Session() as session:
        assert CoreGuest(session).load(RELU[kind], encoding=PYTORCH) != SUCCESS
        view = [memoryview(RELU[kind])]
        refused(
            ErrorCode.SECURITY,
            "pytorch by name only",
            session.load,
            view,
            wasi_nn.GraphEncoding.PYTORCH,
            ExecutionTarget.CPU,
        )


def test_a_guest_loads_a_model_by_name(write: Callable[[str, bytes], Path]) -> None:
    with wasi_nn.Session({"relu": write("relu.pt", RELU["TorchScript"])}) as session:
        guest = CoreGuest(session)
        context = guest.context("relu")
        assert guest.set_input(context, 0, [4], F32, pack("<4f", 1, -1, 2, -2)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert unpack("<4f", guest.get_output(context)) == (1, 0, 2, 0)
        assert guest.load_by_name("other") == NOT_FOUND


# TorchScript that would do harm


def with_code(code: str) -> bytes:
    """The TorchScript archive of `Relu` with this code in place of `torch.relu(x)`."""
    return models.tampered(
        RELU["TorchScript"], {"pytorch_models.py": lambda old: old.replace(b"torch.relu(x)", code.encode())}
    )


def test_code_that_writes_a_file_is_refused(tmp_path: Path) -> None:
    written = tmp_path / "written"
    model = models.script(models.Saves(str(written)))
    refused(ErrorCode.SECURITY, "aten::save, which reaches files", wasi_nn.load, model)
    assert not written.exists()


def test_code_that_writes_a_file_runs_if_it_is_the_operators_own(
    write: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    path = write("model.pt", models.script(models.Saves(str(tmp_path / "written"))))
    wasi_nn.load(path).compute({"x": f32(1)})
    assert (tmp_path / "written").exists(), "without the refusal, the code would write the file"


def test_code_that_writes_a_file_while_it_is_loaded_is_refused_before(tmp_path: Path) -> None:
    written = tmp_path / "written"
    model = models.script(models.SavesOnLoad(str(written)))
    written.unlink(missing_ok=True)
    refused(ErrorCode.SECURITY, "aten::save, which reaches files", wasi_nn.load, model)
    assert not written.exists()
    (tmp_path / "model.pt").write_bytes(model)
    wasi_nn.load(tmp_path / "model.pt")
    assert written.exists(), "torch would have run it"


def test_code_that_maps_a_file_is_refused() -> None:
    refused(ErrorCode.SECURITY, "aten::from_file, which reaches files", wasi_nn.load, models.script(models.Maps()))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('torch . save(x, "written")', "aten::save"),
        ('torch.\\\n  save(x, "written")', "continues a line"),
        ('(torch).save(x, "written")', "'torch' alone"),
        ('getattr(torch, "save")(x, "written")', "'torch' alone"),
        ('ops.aten.save(x, "written")', "aten::save"),
        ("ops.c10d.barrier(x)", "c10d::barrier"),
        ('getattr(ops, "aten").save(x, "written")', "'ops' alone"),
        ('"""" """ + torch.save(x, "written")', "strings over several lines"),
        ("__torch__.torch.classes.dist_rpc.WorkerInfo(x)", "torch.classes.dist_rpc"),
        ("torch._sparse_coo_tensor_unsafe(x, x, [1])", "doesn't check"),
    ],
)
def test_code_that_tries_to_hide_is_refused(
    code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(ErrorCode.SECURITY, why, wasi_nn.load, with_code(code))
    assert not list(tmp_path.iterdir())


def test_a_string_or_a_comment_with_such_words_is_no_harm() -> None:
    graph = wasi_nn.load(with_code('torch.relu(x) # torch.save\n    print("torch.save(x)")'))
    assert graph.compute({"x": f32(-1)})["output"].tolist() == [0]


def test_weights_that_would_reach_behind_the_archive_are_refused() -> None:
    module = torch.nn.Linear(300, 1)
    larger = models.tampered(models.script(module), {"/data.pkl": lambda old: old.replace(b"M\x2c\x01", b"M\x00\x40")})
    refused(ErrorCode.SECURITY, "weights that are larger than their stored bytes", wasi_nn.load, larger)


def test_objects_of_native_classes_are_refused() -> None:
    data = b"\x80\x02c__torch__.torch.classes.dist_rpc\nWorkerInfo\n)\x81."
    model = models.tampered(RELU["TorchScript"], {"/data.pkl": data})
    refused(ErrorCode.SECURITY, "torch.classes.dist_rpc", wasi_nn.load, model)


def test_a_pickle_that_asks_for_absurd_memory_is_refused() -> None:
    model = models.tampered(RELU["TorchScript"], {"/data.pkl": b"\x80\x02Nr\xff\xff\xff\x7f."})
    refused(ErrorCode.SECURITY, "would allocate memory", wasi_nn.load, model)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_a_pickle_in_place_of_a_modules_data_runs_nothing(tmp_path: Path) -> None:
    model = models.tampered(RELU["TorchScript"], {"/data.pkl": pickle.dumps(Evil(tmp_path / "written"), 2)})
    (tmp_path / "model.pt").write_bytes(model)
    for source in (model, tmp_path / "model.pt"):
        with pytest.raises(NNError):
            wasi_nn.load(source)
    assert not (tmp_path / "written").exists()


@both
@pytest.mark.parametrize("entry", ["extra/zeros", ".data/version"])
def test_an_archive_that_unpacks_to_too_much_is_refused(kind: str, entry: str) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(RELU[kind])) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if not name.endswith(entry):
                new.writestr(name, old.read(name))
        new.writestr(f"{old.namelist()[0].partition('/')[0]}/{entry}", bytes(50_000_000))
    assert len(bomb.getvalue()) < 200_000
    refused(ErrorCode.SECURITY, "unpacks to more than", wasi_nn.load, bomb.getvalue())


@both
def test_an_archive_with_two_entries_of_a_name_is_refused(kind: str) -> None:
    model = io.BytesIO(RELU[kind])
    with zipfile.ZipFile(model, "a") as archive:
        root, _, name = archive.namelist()[0].partition("/")
        archive.writestr(f"{root}/{name.upper()}", b"")
    refused(ErrorCode.SECURITY, "entries of its archive have the same name", wasi_nn.load, model.getvalue())


# Exported programs that would do harm


def test_expressions_are_arithmetic_or_refused(tmp_path: Path) -> None:
    written = tmp_path / "written"
    rows = torch.export.Dim("rows", min=2, max=8)
    model = models.export(models.Relu(), torch.ones(4), dynamic_shapes={"x": {0: rows}})
    wasi_nn.load(model)
    evil = f"__import__('os').mkdir({str(written)!r})"

    def change(program: Any) -> None:
        program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = evil

    changed = models.with_program(model, change)
    refused(ErrorCode.SECURITY, "no plain arithmetic", wasi_nn.load, changed)
    assert not written.exists()
    (tmp_path / "model.pt2").write_bytes(changed)
    with pytest.raises(NNError):
        wasi_nn.load(tmp_path / "model.pt2")
    assert written.exists(), "torch would have run it"


def in_nodes(key: str, value: Any) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0][key] = value

    return change


def in_program(key: str, value: Any) -> Callable[[Any], None]:
    return lambda program: program.update({key: value})


def in_signature(program: Any) -> None:
    in_spec = '[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = in_spec


def renamed(name: str) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = name

    return change


def with_string(program: Any) -> None:
    program["graph_module"]["graph"]["inputs"][0] = {"as_string": "' or __import__('os').mkdir('written') or '"}


def hidden(program: Any) -> None:
    values = program["graph_module"]["graph"]["tensor_values"]
    values["metadata"] = {**values["x"], "sizes": [{"as_expr": {"expr_str": "print(1)", "hint": None}}]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (in_program("guards_code", ["__import__('os').system('touch written')"]), "no plain arithmetic"),
        (in_program("guards_code", ["L['x'].numpy()"]), "no plain arithmetic"),
        (in_program("guards_code", ["1, 2"]), "no plain arithmetic"),
        (in_program("range_constraints", {"9**9**9**9": {"min_val": 0, "max_val": 1}}), "no plain arithmetic"),
        (in_program("range_constraints", {"u999999999": {"min_val": 0, "max_val": 1}}), "no plain arithmetic"),
        (in_nodes("target", "torch.os.system"), "isn't a known operator"),
        (in_nodes("target", "torch.ops.aten.from_file.default"), "reaches files"),
        (in_nodes("target", "torch.ops.aten.name.format"), "isn't a known operator"),
        (in_nodes("target", "torch.ops.load_library"), "isn't a known operator"),
        (in_nodes("target", "_operator.methodcaller"), "isn't a known operator"),
        (in_nodes("name", "x\n    import os"), "no plain name"),
        (in_nodes("inputs", [{"name": "x", "arg": {"as_custom_obj": {"name": "x", "class_fqn": "y"}}}]), "custom obj"),
        (renamed("x=print(1)"), "no plain name"),
        (renamed("torch.save"), "no plain name"),
        (with_string, "no plain text"),
        (hidden, "no plain arithmetic"),
        (in_signature, "have the type 'collections.defaultdict'"),
    ],
)
def test_texts_that_torch_would_evaluate_are_plain_or_refused(
    change: Callable[[Any], None], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(ErrorCode.SECURITY, why, wasi_nn.load, models.with_program(RELU["exported program"], change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entry", ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"])
@pytest.mark.parametrize("upper", [False, True])
def test_pickled_objects_are_refused_whoever_a_program_is_from(entry: str, upper: bool, tmp_path: Path) -> None:
    pickled = io.BytesIO()
    torch.save(Evil(tmp_path / "written"), pickled)
    model = models.tampered(RELU["exported program"], {entry: pickled.getvalue()})
    if upper:
        model = model.replace(entry.encode(), entry.upper().encode())
    (tmp_path / "model.pt2").write_bytes(model)
    for source in (model, tmp_path / "model.pt2"):
        refused(
            ErrorCode.SECURITY, "which has objects other than tensors, and torch would unpickle", wasi_nn.load, source
        )
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    "payload", [{"use_pickle": True}, {"path_name": "opaque_obj_0"}, {"path_name": "custom_obj_0"}]
)
def test_pickled_constants_are_refused_whoever_a_program_is_from(payload: dict[str, Any], tmp_path: Path) -> None:
    config = {"config": {"it": {"path_name": "tensor_0", "is_param": False, "use_pickle": False, **payload}}}
    path = payload.get("path_name", "tensor_0")
    changes = {
        "data/constants/model_constants_config.json": json.dumps(config).encode(),
        f"data/constants/{path}": pickle.dumps(Evil(tmp_path / "written")),
    }
    model = models.tampered(RELU["exported program"], changes)
    (tmp_path / "model.pt2").write_bytes(model)
    for source in (model, tmp_path / "model.pt2"):
        refused(ErrorCode.SECURITY, "which is a pickled object", wasi_nn.load, source)
    assert not (tmp_path / "written").exists()


# Damage


@both
def test_models_that_are_damaged_anywhere_harm_nobody(kind: str) -> None:
    image = np.ones((1, 3, 8, 8), np.float32)
    model = (
        models.script(models.Net()) if kind == "TorchScript" else models.export(models.Net(), torch.ones(1, 3, 8, 8))
    )

    def load_and_compute(damaged: bytes) -> None:
        graph = wasi_nn.load(damaged, "pytorch")
        graph.compute({info.name: image for info in graph.inputs})

    survives_damage(model, 4, load_and_compute)
