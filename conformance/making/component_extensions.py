"""Cases of wasi-nn:ext, the extensions for components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, At, ComponentGuest, Handle
from conformance.making.component_types import CODE, INVALID, OCTOBER, U8
from conformance.making.core_extensions import AT_FIRST, STATES, state_of
from conformance.making.core_streams import packed
from conformance.making.descriptions import DESCRIBED, byte, item, tell_dims, tell_host, tell_tensor, word
from conformance.making.guest_text import PAGE, Place, f32, u32
from conformance.making.rules import DROPPED, LIST, NOT_UTF8, STRING
from conformance.making.values import FLOATS, RELU
from conformance.suite import TYPES

ABI = "component-ext"
MAX_STRINGS = 1048576
NOT_FOUND, UNSUPPORTED = CODE["not-found"], CODE["unsupported-operation"]


def _describe(g: ComponentGuest, graph: str = "graph") -> str:
    """Describe a graph, and give the address of the record."""
    result = g.data("description", bytes(68), "a result: a graph's description, or an error")
    g.call("describe", Handle(g.slot(graph)), result)
    return f"(i32.add {result} (i32.const 4))"


def describe() -> Iterator[Case]:
    """What a graph is."""
    area = f"{ABI}/describe"
    for model, inputs, outputs, dims, says in DESCRIBED:
        g = ComponentGuest(OCTOBER)
        g.load_by_name(model)
        record = _describe(g)
        tell_host(g, record)
        g.say("inputs", word(record, 40), len(inputs))
        g.say("declares outputs", byte(record, 44), 1)
        g.say("outputs", word(record, 52), len(outputs))
        for offset, names in ((36, inputs), (48, outputs)):
            for index, name in enumerate(names):
                tell_tensor(g, item(record, offset, index, 36), name, TYPES.index("f32"), dims)
        yield case(f"{area}/{model}", says, g)
    for kind in ("f64", "u8", "bf16", "i64"):
        g = ComponentGuest(OCTOBER)
        g.load_by_name(kind)
        tell_tensor(g, item(_describe(g), 36, 0, 36), "x", TYPES.index(kind), [4])
        yield case(f"{area}/{kind}", "Element types are those of wasi:nn.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("strings")
    tensor = item(_describe(g), 36, 0, 36)
    g.say("kind", byte(tensor, 8), 1)
    tell_dims(g, tensor, [None])
    yield case(f"{area}/strings", "Byte strings have an element type of their own.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    record = _describe(g)
    for index, name in enumerate(("get", "increase")):
        signature = item(record, 28, index, 8)
        g.show_text("signature", word(signature), word(signature, 4), name)
    g.show_text("runs", word(record, 20), word(record, 24), "get")
    yield case(f"{area}/signatures", "A description has the names of all signatures, and of the one that runs.", g)
    yield _dropped("describe", "graph")


def _dropped(function: str, kind: str) -> Case:
    """A case of a function on a handle that was dropped, after a call that succeeds."""
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    graph, result = Handle(g.slot("graph")), g.data("result", bytes(68))
    name, size = g.text_at("increase")
    state = g.data("state", state_of())
    arguments: dict[str, tuple[Any, ...]] = {
        "describe": (graph, result),
        "use-signature": (graph, name, size, result),
        "state-get": (graph, result),
        "state-set": (graph, state, len(state_of()), result),
    }
    g.call(function, *arguments[function])
    g.do(g.drop("graph", graph))
    g.traps(g.code(function, *arguments[function]))
    area = {"describe": "describe", "use-signature": "signatures"}.get(function, "state")
    subject = "dropped" if area != "state" else f"{function}-dropped"
    return case(f"{ABI}/{area}/{subject}", DROPPED, g)


def signatures() -> Iterator[Case]:
    """Models with several entry points."""
    area = f"{ABI}/signatures"

    def use(g: ComponentGuest, name: str, **expected: Any) -> None:
        place, size = g.text_at(name)
        g.call("use-signature", Handle(g.slot("graph")), place, size, g.slot("other"), **expected)

    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    g.init("other")
    g.infer([2], TYPES.index("f32"), f32(1, 2), f32(11, 22))
    yield case(f"{area}/works", "A signature of a model is a graph of its own.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    g.init("other", "adding")
    g.init(into="reading")
    g.infer([2], TYPES.index("f32"), f32(1, 2), f32(11, 22), "adding")
    g.run([], "reading")
    g.output(f32(11, 22), label="read")
    yield case(f"{area}/one-set", "Contexts on the graphs of a model's signatures share one set of variables.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    record = _describe(g, "other")
    g.show_text("runs", word(record, 20), word(record, 24), "increase")
    g.say("inputs", word(record, 40), 1)
    g.say("outputs", word(record, 52), 1)
    yield case(f"{area}/description", "The description of a signature's graph has the inputs of the signature.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    place = g.data("name", b"\xff")
    g.traps(g.code("use-signature", Handle(g.slot("graph")), place, 1, g.slot("other")))
    yield case(f"{area}/not-utf8", NOT_UTF8, g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.init("other")
    g.infer([2], TYPES.index("f32"), f32(1, 2), f32(11, 22))
    yield case(f"{area}/graph-dropped", "A signature's graph lives on after the graph that gave it was dropped.", g)
    for subject, model, name in (
        ("unknown", "sums", "nobody"),
        ("other-case", "sums", "Increase"),
        ("with-nul", "sums", "increase\0"),
        ("empty", "sums", ""),
        ("long", "sums", "a" * 5000),
        ("of-a-model-without", "relu", "increase"),
    ):
        g = ComponentGuest(OCTOBER)
        g.load_by_name(model)
        use(g, name, best=NOT_FOUND)
        yield case(f"{area}/{subject}", "A name that no signature has is not found.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    use(g, "increase")
    g.traps(g.code("use-signature", Handle(g.slot("graph")), PAGE - 2, 3, g.slot("other")))
    yield case(f"{area}/name-past-memory", STRING, g)
    yield _dropped("use-signature", "graph")


def state() -> Iterator[Case]:
    """Saving and setting variables."""
    area = f"{ABI}/state"

    def put(g: ComponentGuest, content: bytes, **expected: Any) -> None:
        g.call("state-set", Handle(g.slot("graph")), g.data("state", content), len(content), g.slot("set"), **expected)

    def read(g: ComponentGuest, total: bytes, context: str = "context", graph: str = "graph") -> None:
        g.init(graph, context)
        g.run([], context)
        g.output(total)

    three = state_of(sum=("F32", [2], f32(3, 4)))
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    got = g.slot("state")
    g.call("state-get", Handle(g.slot("graph")), got)
    g.show("ends with", f"(i32.sub (i32.add {At(got, 4)} {At(got, 8)}) (i32.const 8))", 8, AT_FIRST)
    put(g, three)
    g.call("state-set", Handle(g.slot("graph")), At(got, 4), At(got, 8), g.slot("set"))
    read(g, AT_FIRST)
    yield case(f"{area}/there-and-back", "A state that was given can be set again.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    put(g, three)
    read(g, f32(3, 4))
    yield case(f"{area}/set", "A state is a safetensors file of all variables, by their names.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    put(g, state_of())
    read(g, AT_FIRST)
    yield case(f"{area}/of-nothing", "To set a state changes only those variables that it has.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    g.init(into="before")
    put(g, three)
    g.run([], "before")
    g.output(AT_FIRST, label="before")
    read(g, f32(3, 4))
    yield case(f"{area}/contexts-before", "A context that was made before the first call keeps its own variables.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    g.load_by_name("sums", "another")
    put(g, three)
    read(g, AT_FIRST, "context2", "another")
    yield case(f"{area}/another-handle", "Another handle of the same model has another set of variables.", g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("sums")
    put(g, state_of())
    g.traps(g.code("state-set", Handle(g.slot("graph")), PAGE - 4, 8, g.slot("set")))
    yield case(f"{area}/set-past-memory", LIST, g)
    for subject, (content, says) in STATES.items():
        g = ComponentGuest(OCTOBER)
        g.load_by_name("sums")
        put(g, content, best=INVALID)
        read(g, AT_FIRST)
        yield case(f"{area}/{subject}", says, g)
    g = ComponentGuest(OCTOBER)
    g.load_by_name("relu")
    g.call("state-get", Handle(g.slot("graph")), g.slot("state"), best=UNSUPPORTED)
    put(g, state_of(), best=UNSUPPORTED)
    yield case(f"{area}/without-variables", "A graph without variables has no state.", g)
    for function in ("state-get", "state-set"):
        yield _dropped(function, "graph")


def sequences() -> Iterator[Case]:
    """Outputs piece by piece, on a model that continues the alphabet."""
    area = f"{ABI}/sequences"

    def begin(
        g: ComponentGuest, text: bytes, into: str = "sequence", context: str = "context", **expected: Any
    ) -> None:
        g.types["u8"] = None
        tensor = g.tensor([len(text)], U8, text)
        g.call("begin", Handle(g.slot(context)), g.inputs([("prompt", tensor)]), 1, g.slot(into), **expected)

    def step(g: ComponentGuest, more: int, sequence: str = "sequence") -> Place:
        result = g.slot("piece")
        g.call("next", Handle(g.slot(sequence)), result)
        g.say("more", byte(result, 4), more)
        return result

    def piece(g: ComponentGuest, content: bytes, sequence: str = "sequence") -> None:
        first, data = At(step(g, 1, sequence), 8), g.slot("part")
        g.do(g.code("tensor.data", At(first, 8), data))
        g.show("piece", str(At(data)), str(At(data, 4)), content)

    def refuses_next(g: ComponentGuest) -> None:
        g.call("next", Handle(g.slot("sequence")), g.slot("piece"), best=INVALID)

    def begun(text: bytes) -> ComponentGuest:
        g = ComponentGuest(OCTOBER)
        g.context("alphabet")
        begin(g, text)
        return g

    g = begun(b"x")
    piece(g, b"y")
    piece(g, b"z")
    step(g, 0)
    step(g, 0)
    yield case(f"{area}/pieces", "A sequence gives its outputs piece by piece, and none after the last one.", g)
    g = begun(b"a")
    piece(g, b"b")
    begin(g, b"m", "second")
    refuses_next(g)
    piece(g, b"n", "second")
    yield case(f"{area}/another", "A context has one sequence at a time: another one ends it.", g)
    g = begun(b"a")
    piece(g, b"b")
    tensor = g.tensor([1], U8, b"y")
    g.run([("prompt", tensor)])
    refuses_next(g)
    yield case(f"{area}/compute", "A compute ends the sequence of its context.", g)
    g = begun(b"a")
    g.init(into="context2")
    begin(g, b"m", "second", "context2")
    piece(g, b"b")
    piece(g, b"n", "second")
    piece(g, b"c")
    yield case(f"{area}/two-contexts", "Each context has a sequence of its own.", g)
    g = begun(b"a")
    piece(g, b"b")
    g.do(g.drop("context", Handle(g.slot("context"))))
    piece(g, b"c")
    yield case(f"{area}/context-dropped", "A sequence lives on after its context was dropped.", g)
    g = begun(b"a")
    piece(g, b"b")
    g.do(g.drop("sequence", Handle(g.slot("sequence"))))
    begin(g, b"m")
    piece(g, b"n")
    yield case(f"{area}/dropped", "Dropping a sequence ends it, and the context begins another one.", g)
    g = begun(b"a")
    piece(g, b"b")
    g.do(g.drop("sequence", Handle(g.slot("sequence"))))
    g.traps(g.code("next", Handle(g.slot("sequence")), g.slot("piece")))
    yield case(f"{area}/next-of-a-dropped-one", DROPPED, g)
    g = ComponentGuest(OCTOBER)
    g.context("relu")
    inputs = g.inputs([("x", g.tensor([4], TYPES.index("f32"), FLOATS))])
    g.call("begin", Handle(g.slot("context")), inputs, 1, g.slot("sequence"), best=UNSUPPORTED)
    g.infer([4], TYPES.index("f32"), FLOATS, RELU)
    yield case(f"{area}/of-no-language-model", "Graphs that give their outputs at once have no sequences.", g)
    g = ComponentGuest(OCTOBER)
    g.context("alphabet")
    begun_with = (Handle(g.slot("context")), g.inputs([]), 0, g.slot("sequence"))
    g.call("begin", *begun_with, best=INVALID, others=(ANY_CODE,))
    yield case(f"{area}/without-input", "A sequence begins on inputs. Hosts differ in the code.", g)


def byte_strings() -> Iterator[Case]:
    """Tensors of strings."""
    area = f"{ABI}/byte-strings"

    def new(g: ComponentGuest, dims: Sequence[int], strings: Sequence[bytes], **expected: Any) -> Handle:
        array = b""
        for string in strings:
            array += u32(g.data("string", string).at, len(string))
        dims_at, at = g.data("dims", u32(*dims)), g.data("strings", array, "each string's bytes, and their number")
        g.call("new", dims_at, len(dims), at, len(strings), g.slot("made"), **expected)
        return Handle(g.slot("made"))

    def tell(g: ComponentGuest, tensor: Handle, strings: Sequence[bytes]) -> None:
        result = g.slot("strings-of")
        g.call("strings", tensor, result)
        g.say("count", str(At(result, 8)), len(strings))
        for index, string in enumerate(strings):
            pair = At(result, 4)
            g.show("string", str(At(pair, 8 * index)), str(At(pair, 8 * index + 4)), string)

    def run(g: ComponentGuest, tensor: Handle) -> Handle:
        g.run([("x", tensor)])
        output = g.slot("output")
        g.do(f"(i32.store offset=4 {output} {At(At(g.slot('outputs'), 4), 8)})")
        return Handle(output)

    for subject, dims, strings, says in (
        ("works", [2], (b"ab", b"c"), "A compute takes and gives tensors of strings."),
        ("empty-strings", [3], (b"", b"a", b""), "Strings may be empty."),
        ("none", [0], (), "A dimension may be 0."),
    ):
        g = ComponentGuest(OCTOBER)
        g.context("strings")
        tell(g, run(g, new(g, dims, strings)), strings)
        yield case(f"{area}/{subject}", says, g)
    g = ComponentGuest(OCTOBER)
    tensor = new(g, [2, 1], (b"ab", b"c"))
    g.show_tensor(tensor, [2, 1], U8, packed(b"ab", b"c"))
    tell(g, tensor, (b"ab", b"c"))
    yield case(
        f"{area}/as-bytes", "The type of such a tensor is u8; its data are the ends of the strings, and all bytes.", g
    )
    g = ComponentGuest(OCTOBER)
    any_bytes = (b"\xff", b"\0", b"\xed\xa0\x80")
    tell(g, new(g, [3], any_bytes), any_bytes)
    yield case(f"{area}/any-bytes", "Strings have any bytes.", g)
    for subject, dims, strings in (("too-few", [3], (b"a", b"b")), ("too-many", [1], (b"a", b"b"))):
        g = ComponentGuest(OCTOBER)
        new(g, dims, strings, best=INVALID)
        yield case(f"{area}/{subject}", "There are as many strings as the dimensions say.", g)
    g = ComponentGuest(OCTOBER, pages=1 + 8 * (MAX_STRINGS + 8192) // PAGE)
    new(g, [1], (b"a",))
    dims = g.data("dims", u32(MAX_STRINGS + 1))
    g.call("new", dims, 1, PAGE, MAX_STRINGS + 1, g.slot("made"), best=CODE["too-large"])
    yield case(f"{area}/above-the-limit", "A tensor has 1,048,576 strings at most.", g)
    g = ComponentGuest(OCTOBER)
    g.call("strings", g.tensor([7], U8, packed(b"abc")), g.slot("strings-of"), best=INVALID)
    yield case(f"{area}/of-numbers", "A tensor of numbers has no strings.", g)
    g = ComponentGuest(OCTOBER)
    g.context("relu")
    tensor = new(g, [4], (b"a", b"b", b"c", b"d"))
    g.run([("x", tensor)], best=INVALID)
    yield case(f"{area}/into-numbers", "An input of numbers takes no strings.", g)
    g = ComponentGuest(OCTOBER)
    new(g, [1], (b"a",))
    dims = g.data("dims", u32(1))
    g.traps(g.code("new", dims, 1, PAGE - 4, 1, g.slot("made")))
    yield case(f"{area}/past-memory", LIST, g)
    g = ComponentGuest(OCTOBER)
    g.context("strings")
    tensor = new(g, [1, 2], (b"a", b"b"))
    g.run([("x", tensor)], best=INVALID)
    yield case(f"{area}/rank-too-high", "The number of dimensions must be the graph's.", g)
    g = ComponentGuest(OCTOBER)
    tensor = new(g, [1], (b"a",))
    tell(g, tensor, (b"a",))
    g.do(g.drop("tensor", tensor))
    g.traps(g.code("strings", tensor, g.slot("strings-of")))
    yield case(f"{area}/dropped", DROPPED, g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from describe()
    yield from signatures()
    yield from state()
    yield from sequences()
    yield from byte_strings()
