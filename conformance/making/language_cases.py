"""Cases of WasmEdge's functions for language models, on a model that continues the alphabet and ends after z."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.core_guest import ANY_ERROR, INVALID_ARGUMENT, INVALID_ENCODING, U8, WASMEDGE, CoreGuest, In

END_OF_SEQUENCE, CONTEXT_FULL, PROMPT_TOO_LONG = 100, 101, 102
AREA = "wasmedge/language_model"


def _guest(config: bytes = b"{}") -> CoreGuest:
    """A guest with a context on the model."""
    g = CoreGuest(functions=WASMEDGE)
    g.graphs["alphabet"] = "alphabet"
    name, config_at = g.data("name", b"alphabet"), g.data("config", config)
    g.call("load_by_name_with_config", name, 8, config_at, len(config), g.slot("graph"))
    g.init()
    return g


def _prompt(g: CoreGuest, text: bytes) -> None:
    g.set_input(0, [len(text)], text, U8)


def _piece(g: CoreGuest, expected: bytes, label: str = "piece") -> None:
    """Compute a piece, and print it."""
    g.call("compute_single", In(g.slot("context")))
    _read_piece(g, expected, label)


def _read_piece(g: CoreGuest, expected: bytes, label: str) -> None:
    buffer = g.buffer(16)
    g.call("get_output_single", In(g.slot("context")), 0, buffer, 16, g.slot("written"))
    g.say("written", In(g.slot("written")), len(expected))
    if expected:
        g.show(label, buffer, expected)


def cases() -> Iterator[Case]:
    """All of them."""
    g = _guest()
    _prompt(g, b"w")
    g.compute()
    g.get_output(b"xyz")
    yield case(f"{AREA}/compute", "compute gives the whole text; its end is no error.", g)
    g = _guest(b'{"n-predict": 2}')
    _prompt(g, b"abc")
    g.compute()
    g.get_output(b"de")
    yield case(f"{AREA}/configuration", "A configuration that comes with the name holds for the graph.", g)
    g = _guest()
    g.set_input(1, [16], b'{"n-predict": 2}', U8)
    _prompt(g, b"abc")
    g.compute()
    g.get_output(b"de")
    yield case(f"{AREA}/options", "Input 1 takes options as JSON.", g)
    for subject, options, best in (
        ("options-cut-short", b'{"n-predict"', INVALID_ENCODING),
        ("options-of-a-wrong-type", b'{"n-predict": "many"}', INVALID_ARGUMENT),
    ):
        g = _guest()
        g.set_input(1, [len(options)], options, U8, best=best, others=(ANY_ERROR,))
        yield case(f"{AREA}/{subject}", "Options that make no sense are an error. Hosts differ in the errno.", g)

    g = _guest()
    _prompt(g, b"x")
    _piece(g, b"y", "first")
    _piece(g, b"z", "second")
    g.call("compute_single", In(g.slot("context")), best=END_OF_SEQUENCE)
    g.get_output(b"yz")
    yield case(f"{AREA}/pieces", "compute_single gives the next piece, and end of sequence after the last one.", g)
    g = _guest()
    _prompt(g, b"x")
    _piece(g, b"y", "first")
    g.call("fini_single", In(g.slot("context")))
    _read_piece(g, b"", "nothing")
    _piece(g, b"y", "first again")
    yield case(f"{AREA}/fini_single", "fini_single forgets the sequence; the next one begins anew.", g)
    g = _guest()
    _prompt(g, b"x")
    _piece(g, b"y", "of x")
    _prompt(g, b"c")
    _piece(g, b"d", "of c")
    yield case(f"{AREA}/another-prompt", "A new prompt ends the sequence.", g)
    g = _guest()
    _read_piece(g, b"", "nothing")
    yield case(f"{AREA}/no-piece-yet", "Before the first piece, the piece is empty.", g)
    g = _guest()
    _prompt(g, b"x")
    _piece(g, b"y")
    g.call("unload", In(g.slot("graph")))
    _read_piece(g, b"y", "still")
    g.call("compute_single", In(g.slot("context")), best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    g.call("fini_single", In(g.slot("context")))
    yield case(f"{AREA}/unload", "After unload a context keeps its piece, and computes no more.", g)

    for function in ("compute", "compute_single"):
        g = _guest()
        _prompt(g, b"a" * 200)
        g.call(function, In(g.slot("context")), best=PROMPT_TOO_LONG, others=(ANY_ERROR,))
        yield case(f"{AREA}/prompt-too-long-{function}", "A prompt that the context can't hold is too long.", g)
    g = _guest()
    _prompt(g, b"a" * 120)
    g.compute(best=CONTEXT_FULL)
    buffer = g.buffer(64)
    g.call("get_output", In(g.slot("context")), 0, buffer, 64, g.slot("written"))
    g.show("begins with", buffer, b"bc")
    yield case(f"{AREA}/context-full", "Where the context is full, the text ends; what there is of it can be read.", g)
    g = _guest()
    _prompt(g, b"w")
    g.compute()
    buffer = g.buffer(256)
    g.call("get_output", In(g.slot("context")), 1, buffer, 256, g.slot("written"))
    g.say("has metadata", f"(i32.ne (i32.const 0) {In(g.slot('written'))})", 1)
    g.show("begins with", buffer, b"{")
    yield case(f"{AREA}/metadata", "Output 1 tells of the text, as JSON.", g)
    g = _guest()
    config = g.data("config", b'{"n-predict": 2}')
    g.call("load_by_name_with_config", g.place("name"), 8, config, 16, g.slot("graph2"))
    g.say("same handle", f"(i32.eq {In(g.slot('graph'))} {In(g.slot('graph2'))})", 1, (0,))
    yield case(f"{AREA}/name-twice", "Hosts differ: a name has one handle until its graph is unloaded, or several.", g)
