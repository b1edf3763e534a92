"""WasmEdge's dialect of the core ABI: its functions, the lifetimes of its handles, and its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack, unpack
from typing import Any

import ggml_models
import onnx_models as models
import pytest
from conftest import need
from core_guest import (
    BUILDERS,
    DATA,
    F32,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    NAME,
    NOT_FOUND,
    OUT,
    RUNTIME_ERROR,
    SUCCESS,
    TOO_LARGE,
    U8,
    UNSUPPORTED_OPERATION,
    CoreGuest,
)
from letters import (
    CONFIG,
    CONTEXT_FULL,
    END_OF_SEQUENCE,
    MODEL_NOT_FOUND,
    PROMPT_TOO_LONG,
    Letters,
    init,
    load,
    prompt,
    single,
)

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, Graph, GraphEncoding, NNError, backends
from wasi_nn.errors import EndOfSequence, ModelNotFound


class Gone:
    """A registry with a graph whose file is gone."""

    def get(self, name: str) -> Graph:
        if name == "gone":
            raise ModelNotFound("no model at gone.gguf")
        if name == "letters":
            return Letters()
        raise NNError(ErrorCode.NOT_FOUND, f"no graph is named {name!r}")


@pytest.fixture
def guest() -> Iterator[CoreGuest]:
    graphs: dict[str, Any] = {"letters": Letters(), "relu": models.relu(), "other": models.relu()}
    with wasi_nn.Session(graphs) as session:
        yield CoreGuest(session, dialect="wasmedge")


# Sequences


def test_a_sequence_comes_a_piece_at_a_time_and_ends(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert prompt(guest, context) == SUCCESS
    pieces = []
    while (errno := guest.call("compute_single", context)) == SUCCESS:
        pieces.append((single(guest, context), single(guest, context, 1)))
    assert errno == END_OF_SEQUENCE
    assert pieces == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert guest.call("compute_single", context) == SUCCESS, "and begins anew"
    assert single(guest, context) == b"a"


def test_a_new_prompt_begins_a_new_sequence(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert prompt(guest, context, b"abc") == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert prompt(guest, context, b"xyz") == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert single(guest, context) == b"x"


def test_the_whole_and_the_pieces_are_the_same(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert prompt(guest, context) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    whole = guest.get_output(context)
    pieces = b""
    while guest.call("compute_single", context) == SUCCESS:
        pieces += single(guest, context)
    assert pieces == whole == b"abc"


def test_fini_single_forgets_a_sequence(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert guest.call("fini_single", context) == SUCCESS
    assert prompt(guest, context) == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert guest.call("fini_single", context) == SUCCESS
    assert single(guest, context) == b""
    assert guest.call("compute_single", context) == SUCCESS
    assert single(guest, context) == b"a"


def test_a_context_that_is_full_and_a_prompt_that_is_too_long(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert prompt(guest, context, b"a!") == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert guest.call("compute_single", context) == CONTEXT_FULL
    assert prompt(guest, context, b"long") == SUCCESS
    assert guest.call("compute_single", context) == PROMPT_TOO_LONG
    assert guest.call("compute", context) == PROMPT_TOO_LONG


def test_pieces_before_any_input_and_of_graphs_that_have_none(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert guest.call("compute_single", context) == INVALID_ARGUMENT
    other = init(guest, load(guest, "relu"))
    assert guest.set_input(other, 0, [4], F32, bytes(16)) == SUCCESS
    assert guest.call("compute_single", other) == UNSUPPORTED_OPERATION


def test_a_piece_that_does_not_fit_its_buffer(guest: CoreGuest) -> None:
    context = init(guest, load(guest))
    assert prompt(guest, context) == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert guest.call("get_output_single", context, 0, DATA, 0, OUT) == TOO_LARGE
    assert guest.u32() == 1
    assert guest.call("get_output_single", context, 2, DATA, 64, OUT) == INVALID_ARGUMENT


# Names and configurations


def test_a_name_has_one_handle_as_long_as_it_is_loaded(guest: CoreGuest) -> None:
    graph = load(guest, config=b"capitals")
    assert load(guest) == load(guest, config=b"other") == graph
    assert guest.load_by_name("letters") == SUCCESS
    assert guest.u32() == graph
    assert load(guest, "relu") != graph
    assert guest.call("unload", graph) == SUCCESS
    assert load(guest) not in (graph, 0)


def test_a_configuration_takes_effect(guest: CoreGuest) -> None:
    context = init(guest, load(guest, config=b"capitals"))
    assert prompt(guest, context) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.get_output(context) == b"ABC"


def test_configurations_that_are_broken_or_not_wanted(guest: CoreGuest) -> None:
    guest.write(NAME, b"letters")
    guest.write(CONFIG, b"broken")
    assert guest.call("load_by_name_with_config", NAME, 7, CONFIG, 6, OUT) == INVALID_ENCODING
    guest.write(NAME, b"relu")
    assert guest.call("load_by_name_with_config", NAME, 4, CONFIG, 6, OUT) == UNSUPPORTED_OPERATION
    assert guest.call("load_by_name_with_config", NAME, 4, CONFIG, 0, OUT) == SUCCESS


def test_names_that_nothing_has_and_models_that_are_gone() -> None:
    with wasi_nn.Session(Gone()) as session:
        guest = CoreGuest(session, dialect="wasmedge")
        assert guest.load_by_name("nothing") == NOT_FOUND
        assert guest.load_by_name("gone") == MODEL_NOT_FOUND
    with wasi_nn.Session(Gone()) as session:
        assert CoreGuest(session).load_by_name("gone") == NOT_FOUND, "no number above 8 for the specification's guests"


@pytest.mark.parametrize(("name", "encoding"), [("model.gguf", "autodetect"), ("model", "ggml")])
def test_a_language_models_file_that_is_gone(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"soon gone")
    registry = wasi_nn.Registry({"gone": wasi_nn.NamedGraph(path, encoding)})
    path.unlink()
    with wasi_nn.Session(registry) as session:
        assert CoreGuest(session, dialect="wasmedge").load_by_name("gone") == MODEL_NOT_FOUND


# Lifetimes


@pytest.mark.parametrize(
    ("function", "errno"),
    [
        ("get_output", SUCCESS),
        ("get_output_single", SUCCESS),
        ("fini_single", SUCCESS),
        ("finalize_execution_context", SUCCESS),
        ("set_input", INVALID_ARGUMENT),
        ("compute", INVALID_ARGUMENT),
        ("compute_single", INVALID_ARGUMENT),
    ],
)
@pytest.mark.parametrize("how", ["unload", "finalize"])
def test_what_a_context_may_do_once_its_graph_is_unloaded_or_it_is_finalized(
    guest: CoreGuest, function: str, errno: int, how: str
) -> None:
    graph = load(guest)
    context = init(guest, graph)
    assert prompt(guest, context) == SUCCESS
    assert guest.call("compute_single", context) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    if how == "unload":
        assert guest.call("unload", graph) == SUCCESS
    else:
        assert guest.call("finalize_execution_context", context) == SUCCESS
        errno = INVALID_ARGUMENT
    guest.put_tensor([1], U8, b"xyz")
    arguments = {"set_input": (0, 64), "get_output": (0, DATA, 64, OUT), "get_output_single": (0, DATA, 64, OUT)}
    assert guest.call(function, context, *arguments.get(function, ())) == errno
    if function == "get_output" and errno == SUCCESS:
        assert guest.read(DATA, guest.u32()) == b"abc"


def test_handles_die_once_and_are_not_used_again(guest: CoreGuest) -> None:
    graph = load(guest)
    context = init(guest, graph)
    for function, handle in (("finalize_execution_context", context), ("unload", graph)):
        assert guest.call(function, handle) == SUCCESS
        assert guest.call(function, handle) == INVALID_ARGUMENT
    assert guest.call("init_execution_context", graph, OUT) == INVALID_ARGUMENT
    assert len({graph, context, load(guest), init(guest, load(guest))}) == 4


@pytest.mark.parametrize("function", ["unload", "finalize_execution_context", "compute_single", "fini_single"])
def test_handles_of_the_wrong_kind(guest: CoreGuest, function: str) -> None:
    graph = load(guest)
    context = init(guest, graph)
    wrong = context if function == "unload" else graph
    for handle in (wrong, 0, 99, 2**32 - 1):
        assert guest.call(function, handle) == INVALID_ARGUMENT
    assert guest.call("init_execution_context", graph, OUT) == SUCCESS, "nothing was given back"


def test_graphs_that_were_loaded_from_bytes_are_unloaded_too(guest: CoreGuest) -> None:
    assert guest.load(models.relu()) == SUCCESS
    graph = guest.u32()
    context = init(guest, graph)
    assert guest.set_input(context, 0, [4], F32, pack("<4f", 1, -1, 2, -2)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("unload", graph) == SUCCESS
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert unpack("<4f", guest.get_output(context)) == (1, 0, 2, 0)


# Numbers


def test_pointers_out_of_bounds_are_an_errno_and_nothing_happens(guest: CoreGuest) -> None:
    end = guest.memory.data_len(guest.store)
    graph = load(guest)
    context = init(guest, graph)
    held = guest.session.used("handles")
    for call in (
        ("load", end, 1, 1, 0, OUT),
        ("load", BUILDERS, 1, 1, 0, end - 3),
        ("load_by_name", end, 1, OUT),
        ("load_by_name_with_config", NAME, 0, end, 1, OUT),
        ("load_by_name_with_config", NAME, 0, 0, 0, end),
        ("init_execution_context", graph, end),
        ("set_input", context, 0, end - 19),
        ("get_output", context, 0, end, 1, OUT),
        ("get_output_single", context, 0, end, 1, OUT),
        ("get_output_single", context, 0, DATA, 1, end - 1),
    ):
        assert guest.call(*call) == INVALID_ARGUMENT, call
    assert guest.session.used("handles") == held


@pytest.mark.parametrize(("encoding", "errno"), [(5, SUCCESS), (1, SUCCESS), (257, SUCCESS), (15, 2), (255, 2)])
def test_encodings_of_the_specification(guest: CoreGuest, encoding: int, errno: int) -> None:
    assert guest.load(models.relu(), encoding=encoding) == errno


def test_ggml_has_a_number(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load(models.relu(), encoding=6) == UNSUPPORTED_OPERATION
    assert "this host loads ggml by name only" in caplog.text


@pytest.mark.parametrize(("encoding", "name"), [(7, "NeuralSpeed"), (9, "Whisper"), (12, "ChatTTS"), (14, "BitNet")])
def test_encodings_of_wasmedges_own_have_no_backend(
    guest: CoreGuest, encoding: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert guest.load(b"model", encoding=encoding) == INVALID_ENCODING
    assert f"graph encoding {encoding} ({name}) has no backend here" in caplog.text


def test_an_operator_may_have_a_backend_for_such_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    class ChatTts(wasi_nn.Backend):
        encoding = GraphEncoding.AUTODETECT
        extension_encoding = 12
        runtime = extra = "numpy"
        model_files: Sequence[str] = ()
        withstands_hostile_bytes = True

        def sniff(self, model: memoryview) -> bool:
            return False

        def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Any) -> Graph:
            assert not builders
            return Letters()

        def load_path(self, *_: object) -> Graph:
            raise NotImplementedError

    monkeypatch.setattr(backends, "added", lambda: (ChatTts(),))
    with wasi_nn.Session() as session:
        guest = CoreGuest(session, dialect="wasmedge")
        assert guest.call("load", 4, 0, 12, 0, OUT) == SUCCESS
        context = init(guest, guest.u32())
        assert prompt(guest, context, b"hello") == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert guest.get_output(context) == b"hello"
    monkeypatch.setattr(ChatTts, "withstands_hostile_bytes", False)
    with wasi_nn.Session() as session:
        assert CoreGuest(session, dialect="wasmedge").call("load", 4, 0, 12, 0, OUT) == UNSUPPORTED_OPERATION


def test_a_runtime_that_fails_has_the_specifications_number(guest: CoreGuest) -> None:
    assert guest.load(b"\x08\x08no model", encoding=1) == RUNTIME_ERROR
    assert EndOfSequence("it is over").code is ErrorCode.RUNTIME_ERROR


def test_options_that_do_not_fit_are_refused_when_they_are_set() -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    with wasi_nn.Session({"tiny": ggml_models.tiny()}) as session:
        guest = CoreGuest(session, dialect="wasmedge")
        context = init(guest, load(guest, "tiny", b'{"n-predict": 4, "temp": 0}'))
        assert prompt(guest, context, b"hello") == SUCCESS
        for options, errno in ((b"{", INVALID_ENCODING), (b'{"temp": "hot"}', INVALID_ARGUMENT), (b"{}", SUCCESS)):
            assert guest.set_input(context, 1, [1], U8, options) == errno
        assert guest.call("get_output", context, 1, DATA, 256, OUT) == SUCCESS, "before it is computed"
        assert b'"input_tokens": ' in guest.read(DATA, guest.u32())
        assert guest.call("compute", context) == SUCCESS
        whole, pieces = guest.get_output(context), b""
        while (errno := guest.call("compute_single", context)) == SUCCESS:
            pieces += single(guest, context)
        assert (errno, pieces) == (END_OF_SEQUENCE, whole)
        assert guest.set_input(context, 1, [1], U8, b'{"n-predict": -1, "ignore-eos": true}') == SUCCESS
        assert guest.call("compute", context) == CONTEXT_FULL
        assert len(guest.get_output(context)) > len(whole), "and can be read"
        assert prompt(guest, context, b"word " * 1000) == SUCCESS
        assert guest.call("compute", context) == PROMPT_TOO_LONG


def test_two_chats_on_one_model_do_not_see_each_other() -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    with wasi_nn.Session({"tiny": ggml_models.tiny()}) as session:
        guest = CoreGuest(session, dialect="wasmedge")
        graph = load(guest, "tiny", b'{"n-predict": 12, "temp": 0}')
        contexts = [init(guest, graph), init(guest, graph)]
        alone = []
        for context, text in zip(contexts, (b"the wasm", b"a of in"), strict=True):
            assert prompt(guest, context, text) == SUCCESS
            assert guest.call("compute", context) == SUCCESS
            alone.append(guest.get_output(context))
        together = [b"", b""]
        for _ in range(12):
            for place, context in enumerate(contexts):
                if guest.call("compute_single", context) == SUCCESS:
                    together[place] += single(guest, context)
        assert together == alone
