"""PyTorch models with several methods or programs, that share variables, and that learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import on_threads, refused
from conftest import need
from footprint import Footprint

need("torch", "'wasi-nn[pytorch]'")
need("sklearn", "scikit-learn")

import pytorch_models as models  # noqa: E402
import safetensors.numpy as safetensors  # noqa: E402
import torch  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import ErrorCode, Limits, LoadRules, NamedGraph, Registry, Session, TensorType, isolation  # noqa: E402
from wasi_nn.cli import main  # noqa: E402
from wasi_nn.process import forks  # noqa: E402

DIGITS = models.script(models.Digits())
METHODS = models.script(models.Methods())
ROWS = 100  # of a step of training
X3 = torch.ones(3)


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.fixture(scope="module", params=[False, True], ids=["in-process", "isolated"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param and isolation.unavailable():
        pytest.skip(isolation.unavailable())
    rules = LoadRules(isolate=request.param)
    return Registry({"digits": wasi_nn.load(DIGITS, rules=rules), "methods": wasi_nn.load(METHODS, rules=rules)})


class Learner:
    """A guest's calls on a model with the signatures `train` and `infer`."""

    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    split = 1200

    def __init__(self, session: Session) -> None:
        self.session = session
        self.graph = session.load_by_name("digits")
        signatures = [session.use_signature(self.graph, name) for name in ("train", "infer")]
        self.train, self.infer = map(session.init_execution_context, signatures)

    def learn(self, rounds: int) -> list[float]:
        """Train on all rows so often; returns the loss of each step."""
        losses = []
        for _ in range(rounds):
            for start in range(0, self.split, ROWS):
                rows = slice(start, start + ROWS)
                inputs = [("x", self.images[rows]), ("y", self.digits[rows])]
                losses += [float(loss) for _, loss in self.session.compute_named(self.train, inputs)]
        return losses

    def right(self) -> float:
        """The share of right answers for rows that the model never learnt from."""
        outputs = dict(self.session.compute_named(self.infer, [("x", self.images[self.split :])]))
        return float((outputs["digit"] == self.digits[self.split :]).mean())


def test_a_model_learns_to_read_digits(registry: Registry) -> None:
    with Session(registry) as session:
        learner = Learner(session)
        assert learner.right() < 0.2
        losses = learner.learn(30)
        assert losses[-1] < losses[0] / 4
        assert learner.right() > 0.9


def test_one_session_goes_on_where_another_stopped(registry: Registry) -> None:
    with Session(registry) as first:
        teacher = Learner(first)
        teacher.learn(2)
        saved = first.state_get(teacher.graph)
        losses, right = teacher.learn(2), teacher.right()
    with Session(registry) as second:
        learner = Learner(second)
        second.state_set(learner.graph, saved)
        assert second.state_get(learner.graph) == saved
        assert (learner.learn(2), learner.right()) == (losses, right)


def test_sessions_dont_see_each_others_training(registry: Registry) -> None:
    with Session(registry) as one, Session(registry) as other:
        learner, bystander = Learner(one), Learner(other)
        before = bystander.right(), other.state_get(bystander.graph)
        learner.learn(3)
        assert learner.right() > before[0]
        assert (bystander.right(), other.state_get(bystander.graph)) == before
        named = registry.get("digits").compute(Learner.images[Learner.split :])
        assert float((named["digit"] == Learner.digits[Learner.split :]).mean()) == before[0]


def test_a_state_has_the_names_and_values_of_the_state_dict(registry: Registry) -> None:
    with Session(registry) as session:
        learner = Learner(session)
        start = safetensors.load(session.state_get(learner.graph))
        expected = models.Digits().state_dict()
        assert start.keys() == expected.keys()
        for name, tensor in expected.items():
            assert start[name].tobytes() == tensor.numpy().tobytes()
        learner.learn(1)
        trained = safetensors.load(session.state_get(learner.graph))
        assert trained["steps"] == Learner.split // ROWS
        assert not np.array_equal(trained["hidden.weight"], start["hidden.weight"])


def test_a_network_of_torch_learns_the_same(registry: Registry) -> None:
    module: Any = models.Digits()
    with Session(registry) as session:
        learner = Learner(session)
        learner.learn(1)
        state = safetensors.load(session.state_get(learner.graph))
    for start in range(0, Learner.split, ROWS):
        rows = slice(start, start + ROWS)
        module.train(torch.from_numpy(Learner.images[rows]), torch.from_numpy(Learner.digits[rows]))
    for name, tensor in module.state_dict().items():
        np.testing.assert_allclose(state[name], tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_a_guest_without_the_extension_trains_in_its_context_alone() -> None:
    graph = wasi_nn.load(DIGITS, options={"signature": "train"})
    assert (graph.signature, graph.keeps_state) == ("train", True)
    inputs = {"x": Learner.images[:ROWS], "y": Learner.digits[:ROWS]}
    one, other = graph.init_execution_context(), graph.init_execution_context()
    losses = [float(one.compute_named(inputs)[0][1]) for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]
    assert float(other.compute_named(inputs)[0][1]) == losses[0] == graph.compute(inputs)["output"]


# Methods


def test_the_methods_that_are_offered() -> None:
    graph = wasi_nn.load(METHODS)
    assert (graph.signature, graph.signatures) == ("forward", ("add", "forward"))
    assert graph.metadata["signatures"] == "add, forward"
    assert wasi_nn.load(DIGITS).signature == "infer"
    added = wasi_nn.load(METHODS, options={"signature": "add"})
    assert [(info.name, info.optional) for info in added.inputs] == [("x", False), ("times", True)]
    for name in ("_helper", "takes_lists"):
        message = f"the model has no signature '{name}'; it has add, forward"
        refused(ErrorCode.INVALID_ARGUMENT, message, wasi_nn.load, METHODS, options={"signature": name})


def test_a_model_without_forward_runs_infer_or_else_its_first_method_by_name() -> None:
    class Two(torch.nn.Module):
        @torch.jit.export
        def second(self, x: torch.Tensor) -> torch.Tensor:
            return x + 2

        @torch.jit.export
        def first(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    graph = wasi_nn.load(models.script(Two()))
    assert (graph.signature, graph.compute({"x": f32(0)})["output"].tolist()) == ("first", [1])


def test_methods_share_the_variables_of_a_set_and_contexts_apart_have_their_own() -> None:
    graph = wasi_nn.load(METHODS)
    apart = graph.init_execution_context()
    sets = [graph.variables(), graph.variables()]
    shared = [[each.graph(name).init_execution_context() for name in ("add", "forward")] for each in sets]
    (add, look), (add_too, _) = shared
    assert [add.compute_named({"x": f32(x)})[0][1].tolist() for x in (1, 2)] == [[1], [3]]
    assert add.compute_named({"x": f32(1), "times": 4})[0][1].tolist() == [7]
    assert look.compute_named({"x": f32(0.5)})[0][1].tolist() == [7.5]
    assert apart.compute_named({"x": f32(0.5)})[0][1].tolist() == [0.5]
    assert add_too.compute_named({"x": f32(1)})[0][1].tolist() == [1]
    sets[0].set({"count": f32(20)})
    assert look.compute_named({"x": f32(0)})[0][1].tolist() == [20]
    assert [each.get()["count"].tolist() for each in sets] == [[20], [1]]


def test_what_a_set_gives_and_takes_shares_no_memory_with_it() -> None:
    variables = wasi_nn.load(METHODS).variables()
    add = variables.graph("add").init_execution_context()
    given = f32(5)
    variables.set({"count": given})
    given[0] = 50
    copy, (_, output) = variables.get()["count"], add.compute_named({"x": f32(0)})[0]
    copy[0] = output[0] = 70
    assert variables.get()["count"].tolist() == [5]


def test_a_set_goes_with_the_last_graph_or_context_that_has_it(registry: Registry) -> None:
    with Session(registry) as session:
        graph = session.load_by_name("methods")
        context = session.init_execution_context(session.use_signature(graph, "add"))
        assert session.used("model_bytes") == 4
        session.drop(graph)
        assert session.compute_named(context, [("x", f32(1))])[0][1].tolist() == [1]
    with Session(registry, limits=Limits(model_bytes=3)) as session:
        refused(ErrorCode.TOO_LARGE, "bytes of models", session.use_signature, session.load_by_name("methods"), "add")


def test_a_model_that_changes_nothing_has_no_variables() -> None:
    graph = wasi_nn.load(models.script(models.Net()))
    refused(ErrorCode.UNSUPPORTED_OPERATION, "no variables and no other signatures", graph.variables)
    with Session(Registry({"net": graph})) as session:
        refused(ErrorCode.UNSUPPORTED_OPERATION, "no variables", session.state_get, session.load_by_name("net"))


def test_a_model_of_several_programs_may_have_no_variables() -> None:
    graph = wasi_nn.load(models.package(a=(models.Relu(), X3), b=(models.Identity(), X3)))
    with Session(Registry({"m": graph})) as session:
        handle = session.load_by_name("m")
        context = session.init_execution_context(session.use_signature(handle, "b"))
        assert session.compute_named(context, [("x", f32(-1, 2, 3))])[0][1].tolist() == [-1, 2, 3]
        refused(ErrorCode.UNSUPPORTED_OPERATION, "the graph has no variables", session.state_get, handle)
        state = safetensors.save({"weight": f32(1)})
        refused(ErrorCode.INVALID_ARGUMENT, "no variable is named 'weight'", session.state_set, handle, state)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": f32(1)}, "no variable is named 'weight'; the graph's variables: 'steps', 'hidden.weight'"),
        ({"head.bias": np.zeros(10)}, r"variable 'head.bias' is f32\[10\], got f64\[10\]"),
        ({"head.bias": np.zeros(9, np.float32)}, r"variable 'head.bias' is f32\[10\], got f32\[9\]"),
    ],
)
def test_a_state_of_another_model_changes_nothing(registry: Registry, values: dict[str, Any], message: str) -> None:
    with Session(registry) as session:
        learner = Learner(session)
        before = session.state_get(learner.graph)
        state = safetensors.save({"hidden.bias": np.ones(32, np.float32), **values})
        refused(ErrorCode.INVALID_ARGUMENT, message, session.state_set, learner.graph, state)
        assert session.state_get(learner.graph) == before


@pytest.mark.parametrize("isolated", [False, True], ids=["in-process", "isolated"])
def test_a_set_takes_only_what_fits(isolated: bool) -> None:
    if isolated and isolation.unavailable():
        pytest.skip(isolation.unavailable())
    with wasi_nn.load(DIGITS, rules=LoadRules(isolate=isolated)) as graph:
        variables = graph.variables()
        bias = variables.get()["head.bias"]
        for values, message in (
            ({"head.bias": bias + 1, "weight": bias}, "no variable is named 'weight'"),
            (
                {"hidden.bias": np.ones(32, np.float32), "head.bias": bias.astype(np.float64)},
                r"is f32\[10\], got f64\[10\]",
            ),
            ({"head.bias": ["a"] * 10}, r"is f32\[10\], got str"),
            ([("head.bias", bias)], "values must be a mapping of names to arrays"),
        ):
            refused(ErrorCode.INVALID_ARGUMENT, message, variables.set, values)
        assert variables.get()["head.bias"].tolist() == bias.tolist()
        for name in ("predict", ""):
            refused(ErrorCode.NOT_FOUND, f"no signature is named '{name}'", variables.graph, name)


def test_programs_have_no_graph_of_another_signature() -> None:
    base = models.Base()
    variables = wasi_nn.load(models.package(add=(models.Adds(base), X3), look=(models.Looks(base), X3))).variables()
    refused(ErrorCode.NOT_FOUND, "no signature is named 'predict'", variables.graph, "predict")


def test_variables_that_numpy_lacks_cant_be_saved() -> None:
    class Complex(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turns", torch.zeros(2, dtype=torch.complex64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.turns.add_(1)  # type: ignore[operator]
            return x + self.turns.real  # type: ignore[operator]

    variables = wasi_nn.load(models.script(Complex())).variables()
    assert computed(variables, "forward", 1, 1) == [[2, 2]]
    assert computed(variables, "forward", 1, 1) == [[3, 3]]
    for call in (variables.get, variables.templates):
        refused(ErrorCode.UNSUPPORTED_OPERATION, "variable 'turns' is complex64", call)


def test_threads_that_compute_gradients_at_once_each_get_their_own() -> None:
    graph = wasi_nn.load(models.script(models.Gradients()))
    sets = graph.variables()

    def work(number: int) -> None:
        for own in (graph, sets.graph("forward")):
            context = own.init_execution_context()
            for _ in range(300):
                context.set_input(0, f32(*[number] * 4))
                context.compute()
                assert context.get_output(0).tolist() == [number] * 4

    on_threads(work, 4)
    assert sets.get() == {}


def test_threads_use_a_state_without_tensors_one_after_another() -> None:
    registry = Registry({"m": NamedGraph(wasi_nn.load(models.script(models.Tally())), share_variables=True)})

    def work(_: int) -> int:
        session = Session(registry)
        context = session.init_execution_context(session.load_by_name("m"))
        session.set_input(context, 0, f32(1))
        for _ in range(100):
            session.compute(context)
        return int(session.get_output(context, 0)[0])

    on_threads(work, 3)
    assert work(0) == 4 * 100 * 100


def test_threads_change_a_set_one_after_another() -> None:
    variables = wasi_nn.load(METHODS).variables()

    def work(_: int) -> None:
        context = variables.graph("add").init_execution_context()
        for _ in range(200):
            context.compute_named({"x": f32(1)})

    on_threads(work, 4)
    assert variables.get()["count"].tolist() == [800]


@pytest.mark.parametrize("kind", ["TorchScript", ".pt2"])
def test_variables_of_every_type_that_numpy_has(kind: str) -> None:
    module = models.Typed()
    graph = wasi_nn.load(models.script(module) if kind == "TorchScript" else models.export(module, X3))
    variables = graph.variables()
    context = variables.graph(graph.signature).init_execution_context()
    context.compute_named({"x": f32(1, 2, 3)})
    values = variables.get()
    assert values["of_bfloat16"].dtype == TensorType.BF16.dtype
    assert values["of_bfloat16"].astype(np.float32).tolist() == [[1.5] * 3] * 2
    assert (values["scalar"].shape, values["scalar"].item()) == ((), 1)
    numbers = np.arange(6).reshape(2, 3)
    new = {name: value if value.shape == () else numbers.astype(value.dtype) for name, value in values.items()}
    variables.set(new)
    again = variables.get()
    assert {name: (value.dtype, value.tolist()) for name, value in again.items()} == {
        name: (value.dtype, value.tolist()) for name, value in new.items()
    }
    assert {name for name, value in values.items() if TensorType.of(value.dtype) is None} == {
        "of_int8",
        "of_uint16",
        "of_bool",
    }


def test_a_tensor_that_is_an_attribute_is_a_variable() -> None:
    variables = wasi_nn.load(models.script(models.Remembering())).variables()
    context = variables.graph("forward").init_execution_context()
    for _ in range(2):
        context.compute_named({"x": f32(5)})
    assert variables.get()["sum"].tolist() == [10]
    variables.set({"sum": f32(1)})
    assert context.compute_named({"x": f32(5)})[0][1].tolist() == [6]


def test_a_variable_that_cant_be_set_leaves_all_as_they_are() -> None:
    class Overlapping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))
            self.register_buffer("same", torch.zeros(1).expand(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count.add_(1)  # type: ignore[operator]
            return x + self.same  # type: ignore[operator]

    variables = wasi_nn.load(models.export(Overlapping(), X3)).variables()
    values = {"count": f32(7), "same": f32(1, 2, 3)}
    refused(ErrorCode.UNSUPPORTED_OPERATION, "'same' can't be set", variables.set, values)
    assert variables.get()["count"].tolist() == [0]
    variables.set({"count": f32(7)})
    assert variables.get()["count"].tolist() == [7]


def test_a_variable_that_torch_cant_copy_is_an_error_of_the_runtime() -> None:
    class Leaving(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kept", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept = torch.zeros(4, device="meta")
            return x

    session = Session({"m": wasi_nn.load(models.script(Leaving()))})
    graph = session.load_by_name("m")
    state = session.state_get(graph)
    context = session.init_execution_context(graph)
    session.compute_named(context, [("x", f32(1))])
    refused(ErrorCode.RUNTIME_ERROR, "^the runtime failed: Cannot copy out of meta tensor", session.state_get, graph)
    assert len(session.compute_named(context, [("x", f32(1))])) == 1
    assert state


def test_a_variable_that_a_compute_made_larger_is_measured_before_it_is_copied() -> None:
    class Spreading(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kept", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept = torch.zeros(1).expand(1 << 24, 1 << 24)  # a petabyte, in four bytes of memory
            return x

    session = Session({"m": wasi_nn.load(models.script(Spreading()))})
    graph = session.load_by_name("m")
    session.state_get(graph)
    session.compute_named(session.init_execution_context(graph), [("x", f32(1))])
    refused(ErrorCode.TOO_LARGE, "1125899906842624 bytes of tensors", session.state_get, graph)


def test_a_set_is_of_the_process_that_made_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = registry.get("methods").variables()
    values = variables.get()
    monkeypatch.setattr(forks, "count", forks.count + 1)
    for call in (variables.get, variables.templates, lambda: variables.set(values)):
        refused(ErrorCode.RUNTIME_ERROR, "this set of variables was made in another process", call)


def test_the_history_of_gradients_doesnt_grow() -> None:
    size, computes = 1 << 18, 100  # each compute would keep 4 MiB or more
    graph = wasi_nn.load(models.script(models.Drifting(size)))
    x = np.ones(size, np.float32)
    for context in (graph.init_execution_context(), graph.variables().graph("forward").init_execution_context()):
        for _ in range(5):
            assert context.compute_named({"x": x})[0][1].tolist() == [1] * 4
        before = Footprint.now().memory
        for _ in range(computes):
            context.compute_named({"x": x})
        assert Footprint.now().memory - before < 100 << 20


# Untrusted models


def test_every_method_is_checked_whichever_is_run(tmp_path: Any) -> None:
    class Harmful(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

        @torch.jit.export
        def infer(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, self.path)
            return x

    harmful = models.script(Harmful(str(tmp_path / "written")))
    refused(ErrorCode.SECURITY, "aten::save, which reaches files", wasi_nn.load, harmful)
    (tmp_path / "model.pt").write_bytes(harmful)
    assert wasi_nn.load(tmp_path / "model.pt").signatures == ("forward", "infer")


def test_every_program_is_checked_whichever_is_run() -> None:
    archive = models.package(model=(models.Relu(), X3), other=(models.Relu(), X3))
    assert wasi_nn.load(archive).signature == "model"

    def changed(text: bytes) -> bytes:
        return text.replace(b"torch.ops.aten.relu.default", b"torch.ops.aten.from_file.default")

    harmful = models.tampered(archive, {"models/other.json": changed})
    refused(ErrorCode.SECURITY, "aten::from_file", wasi_nn.load, harmful)


# Exported programs


def computed(variables: Any, name: str, *values: float) -> Sequence[Any]:
    context = variables.graph(name).init_execution_context()
    return [array.tolist() for _, array in context.compute_named({"x": f32(*values)})]


def test_programs_of_one_module_share_their_variables() -> None:
    base = models.Base(2)
    graph = wasi_nn.load(models.package(add=(models.Adds(base), X3), look=(models.Looks(base), X3)))
    assert (graph.signature, graph.signatures, graph.metadata["signatures"]) == ("add", ("add", "look"), "add, look")
    variables = graph.variables()
    assert variables.get().keys() == {"base.linear.weight", "base.linear.bias", "base.count"}
    assert variables.nbytes == 4 * (6 + 2 + 1)
    assert computed(variables, "add", 1, 2, 3)[0] == [8]
    assert computed(variables, "look", 0, 0, 1) == [[8, 8, 9]]
    variables.set({"base.count": f32(-1)})
    assert computed(variables, "look", 0, 0, 0) == [[-1, -1, -1]]
    assert computed(graph.variables(), "look", 0, 0, 0) == [[2, 2, 2]]
    assert graph.compute({"x": f32(1, 1, 1)})["count"].tolist() == [5]


def test_programs_dont_share_variables_that_differ() -> None:
    one, other = models.Base(2), models.Base(3)
    archive = models.package(add=(models.Adds(one), X3), look=(models.Looks(other), X3))
    variables = wasi_nn.load(archive, options={"signature": "look"}).variables()
    values = variables.get()
    assert (values["base.count"].tolist(), values["look:base.count"].tolist()) == ([2], [3])
    computed(variables, "add", 1, 1, 1)
    assert computed(variables, "look", 0, 0, 0) == [[3, 3, 3]]
    variables.set({"look:base.count": f32(9)})
    assert computed(variables, "look", 0, 0, 0) == [[9, 9, 9]]
    assert variables.get()["base.count"].tolist() == [5]


def test_a_package_without_a_usual_name_runs_its_first_program() -> None:
    archive = models.package(b=(models.Relu(), X3), a=(models.Identity(), X3))
    graph = wasi_nn.load(archive)
    assert graph.compute({"x": f32(-1, 0, 1)})["output"].tolist() == [-1, 0, 1]
    message = "the model has no signature 'c'; it has a, b"
    refused(ErrorCode.INVALID_ARGUMENT, message, wasi_nn.load, archive, options={"signature": "c"})


def test_a_weight_of_two_names_stays_one() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = self.other = torch.nn.Parameter(torch.ones(3))

        @torch.jit.export
        def infer(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.one + self.other

        @torch.jit.export
        def train(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            gradient = torch.autograd.grad([self.infer(x).sum()], [self.one])[0]
            assert gradient is not None
            with torch.no_grad():
                self.one.sub_(gradient)
            return gradient

    variables = wasi_nn.load(models.script(Tied())).variables()
    for left in ([-2, -2, -2], [-5, -5, -5]):
        assert computed(variables, "train", 2, 2, 2) == [[3, 3, 3]]
        assert [value.tolist() for value in variables.get().values()] == [left, left]
    variables.set({"one": f32(7, 7, 7)})
    assert computed(variables, "infer", 1, 1, 1) == [[14, 14, 14]]


def test_inspect_says_how_to_choose_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits.pt").write_bytes(DIGITS)
    assert main(["inspect", str(tmp_path / "digits.pt")]) == 0
    text = capsys.readouterr().out
    assert "signatures  infer, train" in text
    assert "another signature: --option signature=SIGNATURE here" in text
    assert main(["inspect", "--option", "signature=train", str(tmp_path / "digits.pt")]) == 0
    assert "  1  y" in capsys.readouterr().out
