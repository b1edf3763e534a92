"""Cases of the functions set-input, compute and get-output of the first two versions of wasi:nn."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, OK, PLACES, ComponentGuest, Handle
from conformance.making.component_types import F32, INVALID, RUNTIME
from conformance.making.guest_text import PAGE, f32
from conformance.making.rules import END_OF_MEMORY_STRING, NO_TENSOR, NOT_UTF8, PASSED_ON, RESULT, STRING
from conformance.making.values import FLOATS, NO_NAMES, RELU


def stateful(version: str) -> Iterator[Case]:
    """The functions set-input, compute and get-output of the first two versions."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"), best=f"{INVALID}|{RUNTIME}", others=(OK, ANY_CODE))
    yield case(
        f"{area}/compute-before-set-input",
        "Hosts differ: to compute before the input is set is an error, or computes with anything.",
        g,
    )
    g = ComponentGuest(version)
    g.context("constant")
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"))
    g.output(f32(5, 7))
    yield case(f"{area}/no-inputs", "A model may have no inputs.", g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    g.set_input("x", handle)
    g.traps(f"(drop {g.code('tensor.ty', handle)})")
    yield case(f"{area}/tensor-is-passed", PASSED_ON, g)
    g = ComponentGuest(version)
    g.context("two")
    g.set_input("a", g.tensor([2], F32, f32(2, 3)))
    for value in (1, 4):
        g.run([("b", g.tensor([2], F32, f32(value, value), f"t{value}"))])
        g.output(f32(2 * value, 3 * value), "product", label=f"times {value}")
    yield case(f"{area}/inputs-stay-set", "An input stays set while another one changes.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.output(RELU, label="again")
    yield case(f"{area}/output-twice", "An output may be read as often as the guest likes.", g)
    for subject, name in (("unknown", "nobody"), ("empty", ""), ("index-9", "9"), ("with-nul", "y\0")):
        g = ComponentGuest(version)
        g.context("relu")
        g.infer([4], F32, FLOATS, RELU)
        g.get_output(name, best=INVALID, others=(ANY_CODE,))
        yield case(
            f"{area}/output-{subject}",
            "A name that no output has is an invalid argument. Hosts differ in the code.",
            g,
        )
    g = ComponentGuest(version)
    g.context("relu")
    g.get_output("y", best=RUNTIME, others=(OK, ANY_CODE))
    yield case(
        f"{area}/output-before-compute",
        "Hosts differ: before a compute there is no output, or one with anything in it.",
        g,
    )
    g = ComponentGuest(version)
    g.context("two")
    g.run([("a", g.tensor([2], F32, f32(1, 2)))], best=f"{INVALID}|{RUNTIME}", others=(OK, ANY_CODE), late=True)
    yield case(
        f"{area}/input-missing",
        "Hosts differ: without an input that the model needs, compute fails, or computes with anything.",
        g,
    )
    g = ComponentGuest(version)
    g.context("relu")
    first, second = g.tensor([4], F32, f32(9, 9, 9, 9), "first"), g.tensor([4], F32, FLOATS, "second")
    g.run([("x", first), ("x", second)])
    g.output(RELU)
    yield case(f"{area}/name-twice", "The last tensor that an input was set to counts.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.set_input("x", g.tensor([4], F32, FLOATS))
    g.set_input("nobody", g.tensor([4], F32, f32(9, 9, 9, 9), "second"), best=INVALID, others=(ANY_CODE,))
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"))
    g.output(RELU)
    yield case(f"{area}/failure-changes-nothing", "A failed set-input leaves the inputs as they were.", g)
    g = ComponentGuest(version)
    g.context("pairs")
    g.run([("x", g.tensor([2], F32, f32(1, 2)))])
    g.set_input("x", g.tensor([3], F32, f32(1, 2, 3), "second"), others=(ANY_CODE,))
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"), best=RUNTIME, others=(OK, ANY_CODE))
    g.get_output("y", best=RUNTIME, others=(OK, ANY_CODE))
    says = "Hosts differ: after a failed compute there are no outputs, or those of the last success."
    yield case(f"{area}/no-output-after-failure", says, g)
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.set_input("x", g.tensor([4], F32, f32(5, 6, 7, 8), "second"))
    g.get_output("y", others=(ANY_CODE,))
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"))
    g.output(f32(5, 6, 7, 8))
    says = "Hosts differ: between set-input and compute there is the last compute's output, or none."
    yield case(f"{area}/output-after-set-input", says, g)
    g = ComponentGuest(version)
    g.context("wide")
    g.run([("x", g.tensor([1], F32, f32(1)))])
    for index in (11, 0, 2, 10, 1):
        g.output(f32(1 + index), f"y{index}", label=f"y{index}")
    yield case(f"{area}/outputs-have-names", "An output is told by its name, in whatever order they are read.", g)
    yield from _places(version)


def _places(version: str) -> Iterator[Case]:
    """Where names and results lie, and handles of other things."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    tensor = g.tensor([4], F32, FLOATS)
    name = g.data("name", b"x", "at the very end of the memory", at=PAGE - 1)
    g.call("set-input", Handle(g.slot("context")), name, 1, tensor, g.slot("nothing"))
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"))
    g.output(RELU)
    yield case(f"{area}/name-at-end-of-memory", END_OF_MEMORY_STRING, g)
    outside = [("past-memory", PAGE, b"x", STRING), ("wraps-around", 0xFFFFFFFE, b"four", STRING)]
    for subject, at, content, says in (*outside, *((f"not-utf8-{it}", None, name, NOT_UTF8) for it, name in NO_NAMES)):
        g = ComponentGuest(version)
        g.context("relu")
        tensor = g.tensor([4], F32, FLOATS)
        place = g.data("name", content) if at is None else at
        g.traps(g.code("set-input", Handle(g.slot("context")), place, len(content), tensor, g.slot("nothing")))
        yield case(f"{area}/set-input-name-{subject}", says, g)
        g = ComponentGuest(version)
        g.context("relu")
        place = g.data("name", content) if at is None else at
        g.traps(g.code("get-output", Handle(g.slot("context")), place, len(content), g.slot("output")))
        yield case(f"{area}/get-output-name-{subject}", says, g)
    for subject, result in PLACES:
        g = ComponentGuest(version)
        g.context("relu")
        tensor = g.tensor([4], F32, FLOATS)
        g.traps(g.code("set-input", Handle(g.slot("context")), *g.text_at("x"), tensor, result))
        yield case(f"{area}/set-input-result-{subject}", RESULT, g)
        g = ComponentGuest(version)
        g.context("relu")
        g.set_input("x", g.tensor([4], F32, FLOATS))
        g.traps(g.code("compute", Handle(g.slot("context")), result))
        yield case(f"{area}/compute-result-{subject}", RESULT, g)
        g = ComponentGuest(version)
        g.context("relu")
        g.infer([4], F32, FLOATS, RELU)
        g.traps(g.code("get-output", Handle(g.slot("context")), *g.text_at("y"), result))
        yield case(f"{area}/get-output-result-{subject}", RESULT, g)
    for subject, graph in (("0", False), ("of-a-graph", True)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = Handle(g.slot("graph")) if graph else 0
        g.traps(g.code("set-input", Handle(g.slot("context")), *g.text_at("x"), handle, g.slot("nothing")))
        yield case(f"{area}/set-input-tensor-{subject}", NO_TENSOR, g)
