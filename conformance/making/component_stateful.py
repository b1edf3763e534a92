"""Cases of the functions set-input, compute and get-output of the first two versions of wasi:nn."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, OK, ComponentGuest, Handle
from conformance.making.component_types import (
    F32,
)
from conformance.making.component_values import FLOATS, INVALID, RELU, RUNTIME
from conformance.making.guest_text import PAGE, f32


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
    place, size = g.text_at("x")
    g.call("set-input", Handle(g.slot("context")), place, size, handle, g.slot("nothing"))
    g.traps(f"(drop {g.code('tensor.ty', handle)})")
    yield case(
        f"{area}/tensor-is-passed", "A tensor that is passed belongs to the host: the guest's handle is gone.", g
    )
    g = ComponentGuest(version)
    g.context("two")
    place, size = g.text_at("a")
    handle = g.tensor([2], F32, f32(2, 3))
    g.call("set-input", Handle(g.slot("context")), place, size, handle, g.slot("nothing"))
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
        place, size = g.text_at(name)
        g.call("get-output", Handle(g.slot("context")), place, size, g.slot("output"), best=INVALID, others=(ANY_CODE,))
        yield case(
            f"{area}/output-{subject}",
            "A name that no output has is an invalid argument. Hosts differ in the code.",
            g,
        )
    g = ComponentGuest(version)
    g.context("relu")
    place, size = g.text_at("y")
    g.call("get-output", Handle(g.slot("context")), place, size, g.slot("output"), best=RUNTIME, others=(OK, ANY_CODE))
    yield case(
        f"{area}/output-before-compute",
        "Hosts differ: before a compute there is no output, or one with anything in it.",
        g,
    )
    for subject, at, size in (("past-memory", PAGE, 1), ("wraps-around", 0xFFFFFFFE, 4)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        g.traps(g.code("set-input", Handle(g.slot("context")), at, size, handle, g.slot("nothing")))
        yield case(f"{area}/set-input-name-{subject}", "A string out of bounds traps.", g)
        g = ComponentGuest(version)
        g.context("relu")
        g.traps(g.code("get-output", Handle(g.slot("context")), at, size, g.slot("output")))
        yield case(f"{area}/get-output-name-{subject}", "A string out of bounds traps.", g)
    g = ComponentGuest(version)
    g.context("relu")
    place, size = g.text_at("x")
    g.traps(g.code("set-input", Handle(g.slot("context")), place, size, 0, g.slot("nothing")))
    yield case(f"{area}/set-input-tensor-0", "A number that isn't a handle traps.", g)
