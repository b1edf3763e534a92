"""Cases of wasi:nn: computing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.making.case import TRAP, Case, Wanted, case
from conformance.making.component_guest import ANY_CODE, OK, ComponentGuest, Handle
from conformance.making.component_stateful import stateful
from conformance.making.component_stateless import stateless
from conformance.making.component_types import F32, INVALID, OCTOBER, RUNTIME, VERSIONS
from conformance.making.guest_text import f32
from conformance.making.rules import DROPPED, DROPPED_TWICE, NO_HANDLE, OTHER_RESOURCE, PASSED_ON, TYPE, Rule
from conformance.making.values import FLOATS, RELU, UNFIT_TENSORS, VALUES
from conformance.suite import TYPES


def mistake(
    name: str, says: str, g: ComponentGuest, named: Sequence[tuple[str, Handle]], best: Wanted = INVALID
) -> Case:
    """A case whose last input is a mistake: a host with set-input may notice in compute only."""
    g.run(named, best=best, others=(ANY_CODE,))
    accept = []
    if g.stateful:
        before = [line.of([line.best]) for line in g.lines[:-1]]
        g.call("compute", Handle(g.slot("context")), g.slot("nothing"), best=INVALID, others=("ok", ANY_CODE))
        accept.append([*before, "set-input ok", f"compute {ANY_CODE}"])
    return case(name, says + " Hosts differ in the code.", g, accept=accept)


def inference(version: str) -> Iterator[Case]:
    """Computing."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU, out_dims=[4], out_kind=F32)
    yield case(f"{area}/relu", "An output is a tensor with dimensions, a type and data.", g)
    g = ComponentGuest(version)
    g.context("two")
    a, b = g.tensor([2], F32, f32(3, 5), "a"), g.tensor([2], F32, f32(4, 10), "b")
    g.run([("a", a), ("b", b)])
    g.output(f32(12, 50), "product", 0, label="product")
    g.output(f32(7, 15), "sum", 1, label="sum")
    yield case(f"{area}/two", "Inputs and outputs are associated by their names.", g)
    g = ComponentGuest(version)
    g.context("zam")
    named = [(name, g.tensor([1], F32, f32(value), name)) for name, value in (("m", 4), ("a", 3), ("z", 2))]
    g.run(named)
    g.output(f32(234))
    yield case(f"{area}/odd-order", "Inputs are told apart by their names, in whatever order they come.", g)
    g = ComponentGuest(version)
    g.context("unicode")
    g.run([("größe", g.tensor([4], F32, FLOATS))])
    g.output(RELU, "模型 ☃")
    yield case(f"{area}/unicode-names", "The names of a model's tensors may have any characters.", g)
    g = ComponentGuest(version)
    g.context("numerals")
    named = [(name, g.tensor([1], F32, f32(value), f"n{name}")) for name, value in (("0", 3), ("1", 4), ("2", 2))]
    g.run(named)
    g.output(f32(234))
    yield case(f"{area}/names-of-digits", "The name 0 is that of the input called 0, not of the first one.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.run([("0", g.tensor([4], F32, FLOATS))], best="ok|0", others=(ANY_CODE,))
    yield case(f"{area}/index-as-name", "Hosts differ: a number may stand for the place of an input.", g)

    if version == OCTOBER:
        yield from stateless(version)
    else:
        yield from stateful(version)
    yield from mistakes(version)
    yield from lifetimes(version)


def mistakes(version: str) -> Iterator[Case]:
    """Inputs that don't fit."""
    area = f"{version}/inference"
    for subject, name in (
        ("unknown", "nobody"),
        ("empty", ""),
        ("other-case", "X"),
        ("with-nul", "x\0"),
        ("index-9", "9"),
    ):
        g = ComponentGuest(version)
        g.context("relu")
        yield mistake(
            f"{area}/input-{subject}",
            "A name that no input has is an invalid argument.",
            g,
            [(name, g.tensor([4], F32, FLOATS))],
        )
    for subject, dims, content, says in UNFIT_TENSORS:
        g = ComponentGuest(version)
        g.context("relu")
        yield mistake(f"{area}/{subject}", says, g, [("x", g.tensor(dims, F32, content))])
    for kind, name in enumerate(TYPES):
        if kind != F32:
            g = ComponentGuest(version)
            g.context("relu")
            tensor = g.tensor([4], kind, b"\1" * len(VALUES[name]))
            yield mistake(f"{area}/{name}-into-f32", TYPE, g, [("x", tensor)])
    g = ComponentGuest(version)
    g.context("pairs")
    g.run([("x", g.tensor([3], F32, f32(1, 2, 3)))], best=RUNTIME, others=(ANY_CODE,), late=True)
    g.run([("x", g.tensor([4], F32, f32(1, 2, 3, 4), "second"))])
    g.output(f32(1, 2, 3, 4), dims=[2, 2], kind=F32)
    yield case(
        f"{area}/fails-and-works-again",
        "A compute that the runtime refuses is a runtime error, and the context works on. Hosts differ in the code.",
        g,
    )


def lifetimes(version: str) -> Iterator[Case]:
    """State, and the lifetimes of contexts and tensors."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    g.load_by_name("two", "graph2")
    g.init("graph2", "context2")
    two = [(name, g.tensor([2], F32, f32(*values), name)) for name, values in (("a", (3, 5)), ("b", (4, 10)))]
    g.infer([4], F32, FLOATS, RELU)
    g.run(two, "context2")
    g.output(f32(7, 15), "sum", 1, "context2")
    yield case(f"{area}/graphs-in-turns", "Graphs and contexts may be used in turns.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.init(into="context")
    g.init(into="context2")
    g.run([("x", g.tensor([4], F32, f32(1, 1, 1, 1)))], "context")
    g.output(f32(1, 1, 1, 1), context="context", label="one")
    g.run([("x", g.tensor([4], F32, f32(2, 2, 2, 2), "second"))], "context2")
    g.output(f32(2, 2, 2, 2), context="context2", label="other")
    yield case(f"{area}/two-contexts", "Contexts of one graph don't share tensors.", g)
    g = ComponentGuest(version)
    g.context("relu")
    for value in (1, 2, 3):
        g.run([("x", g.tensor([4], F32, f32(value, -value, value, -value), f"t{value}"))])
        g.output(f32(value, 0, value, 0), label=f"of {value}")
    yield case(f"{area}/three-times", "A context computes as often as it is asked to.", g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    g.run([("nobody", handle)], best=INVALID, others=(ANY_CODE, OK))
    g.traps(f"(drop {g.code('tensor.ty', handle)})")
    accept = [["load-by-name ok", "init-execution-context ok", "set-input ok", f"compute {ANY_CODE}", TRAP]]
    yield case(
        f"{area}/tensor-is-passed-in-vain",
        PASSED_ON.saying("A tensor that is passed is gone also if the call fails. Hosts differ in the code."),
        g,
        accept=accept,
    )
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.do(g.drop("context", Handle(g.slot("context"))))
    g.show_tensor(Handle(g.slot("output")), [4], F32, RELU, "later")
    yield case(f"{area}/output-outlives-context", "An output lives on after its context was dropped.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.run([("x", Handle(g.slot("output")))])
    g.output(RELU, label="again")
    yield case(f"{area}/output-as-input", "An output may be passed as an input.", g)
    for subject, says in (
        ("context-dropped", DROPPED),
        ("context-handle-0", NO_HANDLE),
        ("graph-as-a-context", OTHER_RESOURCE),
    ):
        g = ComponentGuest(version)
        g.context("relu")
        tensor, context = g.tensor([4], F32, FLOATS), Handle(g.slot("context"))
        if says is DROPPED:
            g.do(g.drop("context", context))
        others: dict[Rule, Handle | int] = {NO_HANDLE: 0, OTHER_RESOURCE: Handle(g.slot("graph"))}
        inputs = () if g.stateful else (g.inputs([("x", tensor)]), 1)
        g.traps(g.code("compute", others.get(says, context), *inputs, g.slot("nothing")))
        yield case(f"{area}/{subject}", says, g)
    g = ComponentGuest(version)
    g.context("relu")
    g.do(g.drop("context", Handle(g.slot("context"))))
    g.traps(g.drop("context", Handle(g.slot("context"))))
    yield case(f"{area}/context-dropped-twice", DROPPED_TWICE, g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from inference(version)
