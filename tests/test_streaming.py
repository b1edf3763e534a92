"""Outputs piece by piece: the rules for all graphs, tested with graphs in Python, and the texts of GGML graphs."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import models as real_models
import numpy as np
import pytest
from checks import on_threads, refused
from conftest import SUPPORT, need

import wasi_nn
from wasi_nn import ErrorCode, ExecutionContext, ExecutionTarget, Graph, NNError, TensorInfo
from wasi_nn.errors import ContextFull, EndOfSequence, ModelNotFound, PromptTooLong
from wasi_nn.graph.outputs import Outputs

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402

from wasi_nn.backends.ggml import backend as ggml  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_llama_thread")

ROOM = 1 << 17
PROMPTS = ("hello", "AB", "another one")


def text_of(array: Any) -> str:
    return bytes(array).decode()


def step(context: ExecutionContext) -> str:
    """The next piece."""
    context.compute_single()
    return text_of(context.single_output_bytes(0))


def pieces_of(context: ExecutionContext) -> list[str]:
    """The remaining pieces of the current sequence, or all pieces of a new one."""
    pieces = []
    while True:
        try:
            pieces.append(step(context))
        except EndOfSequence:
            return pieces


def metadata(context: ExecutionContext) -> tuple[int, int]:
    """The numbers of input tokens and of output tokens so far."""
    counts = json.loads(bytes(context.single_output_bytes(1)))
    return counts["input_tokens"], counts["output_tokens"]


# Any graph


class Speller(Graph):
    """Spells its input, one letter per piece, and counts the letters. `?` is an error; at `!`, the context is full."""

    def __init__(self) -> None:
        super().__init__([TensorInfo.of_bytes("word")], [TensorInfo.of_bytes("word"), TensorInfo.of_bytes("count")])
        self.closed: list[str] = []

    def runner(self) -> SpellingRunner:
        return SpellingRunner(self)


class SpellingRunner:
    def __init__(self, graph: Speller) -> None:
        self.graph = graph

    def __call__(self, inputs: Sequence[Any], _: Sequence[Any] | None) -> Sequence[Any]:
        word = text_of(inputs[0]).partition("!")[0]
        outputs = [array_of(word), array_of(str(len(word)))]
        return Outputs(outputs, context_full=b"!" in bytes(inputs[0]))

    def steps(self, inputs: Sequence[Any]) -> Generator[Sequence[Any], None, Sequence[Any]]:
        word = text_of(inputs[0])
        try:
            for count, letter in enumerate(word.partition("!")[0], 1):
                if letter == "?":
                    raise ArithmeticError("what?")
                yield [array_of(letter), array_of(str(count))]
            return self(inputs, None)
        finally:
            self.graph.closed.append(word)

    def output_before_compute(self, index: int, inputs: Sequence[Any]) -> Any:
        return array_of("0") if index == 1 and inputs[0] is not None else None


class Plain(Graph):
    """The output is the input, all at once."""

    encoding = wasi_nn.GraphEncoding.ONNX

    def __init__(self) -> None:
        super().__init__([TensorInfo.of_bytes("x")], [TensorInfo.of_bytes("y")])

    def runner(self) -> Any:
        return lambda inputs, _: [inputs[0].copy()]


def array_of(text: str) -> Any:
    return np.frombuffer(bytearray(text.encode()), np.uint8)


@pytest.fixture
def speller() -> Speller:
    return Speller()


@pytest.fixture
def spelling(speller: Speller) -> ExecutionContext:
    context = speller.init_execution_context()
    context.set_input(0, b"abc")
    return context


def test_a_sequence_gives_its_pieces_and_ends(spelling: ExecutionContext) -> None:
    assert [step(spelling), step(spelling)] == ["a", "b"]
    assert text_of(spelling.single_output_bytes(1)) == "2"
    assert step(spelling) == "c"
    refused(ErrorCode.RUNTIME_ERROR, "the sequence is complete", spelling.compute_single)
    assert pieces_of(spelling) == ["a", "b", "c"], "the next call begins anew"


def test_the_whole_of_a_complete_sequence_is_the_output(spelling: ExecutionContext) -> None:
    assert step(spelling) == "a"
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", spelling.output_bytes, 0)
    assert text_of(spelling.output_bytes(1)) == "1", "the count can be read during the sequence"
    assert pieces_of(spelling) == ["b", "c"]
    assert [text_of(spelling.get_output(index)) for index in (0, 1)] == ["abc", "3"]
    assert [text_of(spelling.single_output_bytes(index)) for index in (0, 1)] == ["", "3"]
    assert not spelling.context_full


def test_a_sequence_may_end_where_the_context_is_full(spelling: ExecutionContext) -> None:
    spelling.set_input(0, b"ab!c")
    assert [step(spelling), step(spelling)] == ["a", "b"]
    with pytest.raises(ContextFull) as full:
        spelling.compute_single()
    assert full.value.code is ErrorCode.TOO_LARGE
    assert spelling.context_full
    assert text_of(spelling.output_bytes(0)) == "ab"
    assert step(spelling) == "a"
    assert not spelling.context_full


def test_a_compute_may_end_where_the_context_is_full(spelling: ExecutionContext) -> None:
    assert not spelling.context_full
    spelling.set_input(0, b"ab!c")
    spelling.compute()
    assert spelling.context_full
    assert text_of(spelling.output_bytes(0)) == "ab"
    spelling.set_input(0, b"abc")
    spelling.compute()
    assert not spelling.context_full


def test_pieces_can_be_gone_through(spelling: ExecutionContext, speller: Speller) -> None:
    assert step(spelling) == "a"
    assert [text_of(piece) for piece in spelling.pieces()] == ["a", "b", "c"], "a new sequence"
    assert text_of(spelling.get_output(0)) == "abc"
    for piece in spelling.pieces():
        assert text_of(piece) == "a"
        break
    assert speller.closed == ["abc"] * 3
    spelling.set_input(0, b"ab!c")
    assert [text_of(piece) for piece in spelling.pieces()] == ["a", "b"]
    assert spelling.context_full
    spelling.set_input(0, b"a?")
    pieces = spelling.pieces()
    assert text_of(next(pieces)) == "a"
    refused(ErrorCode.RUNTIME_ERROR, "what?", next, pieces)


def test_new_inputs_end_a_sequence(spelling: ExecutionContext, speller: Speller) -> None:
    assert [step(spelling), step(spelling)] == ["a", "b"]
    spelling.set_input(0, b"xyz")
    assert speller.closed == ["abc"]
    assert text_of(spelling.single_output_bytes(0)) == "", "the sequence's piece is gone too"
    assert pieces_of(spelling) == ["x", "y", "z"]


def test_new_inputs_of_the_same_size_are_not_seen_by_the_sequence_before(spelling: ExecutionContext) -> None:
    assert step(spelling) == "a"
    spelling.write_input(0, np.dtype(np.uint8), (3,), memoryview(b"xyz"))
    assert step(spelling) == "x"


def test_inputs_that_are_refused_leave_a_sequence_as_it_is(spelling: ExecutionContext) -> None:
    assert step(spelling) == "a"
    refused(ErrorCode.INVALID_ARGUMENT, "no input", spelling.set_input, 1, b"xyz")
    assert step(spelling) == "b"


def test_a_compute_ends_a_sequence(spelling: ExecutionContext, speller: Speller) -> None:
    assert step(spelling) == "a"
    spelling.compute()
    assert speller.closed == ["abc"]
    assert text_of(spelling.output_bytes(0)) == "abc"
    assert text_of(spelling.single_output_bytes(0)) == ""
    assert step(spelling) == "a"


def test_fini_single_ends_and_forgets(spelling: ExecutionContext, speller: Speller) -> None:
    spelling.fini_single()
    assert step(spelling) == "a"
    spelling.fini_single()
    assert speller.closed == ["abc"]
    assert text_of(spelling.single_output_bytes(0)) == ""
    assert pieces_of(spelling) == ["a", "b", "c"]
    spelling.fini_single()
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", spelling.output_bytes, 0)


def test_fini_single_leaves_what_compute_gave(spelling: ExecutionContext) -> None:
    spelling.compute()
    spelling.fini_single()
    assert text_of(spelling.output_bytes(0)) == "abc"


def test_an_error_ends_a_sequence(spelling: ExecutionContext) -> None:
    spelling.set_input(0, b"a?")
    for _ in range(2):
        assert step(spelling) == "a"
        refused(ErrorCode.RUNTIME_ERROR, "the runtime failed: what\\?", spelling.compute_single)
        assert text_of(spelling.single_output_bytes(0)) == ""


def test_a_sequence_needs_its_inputs(speller: Speller) -> None:
    context = speller.init_execution_context()
    refused(ErrorCode.INVALID_ARGUMENT, "call set_input for 'word'", context.compute_single)
    assert bytes(context.single_output_bytes(0)) == bytes(context.single_output_bytes(1)) == b""


@pytest.mark.parametrize("index", [2, -1, 1 << 31])
def test_outputs_of_a_sequence_that_do_not_exist(spelling: ExecutionContext, index: int) -> None:
    for _ in range(2):
        refused(ErrorCode.INVALID_ARGUMENT, "no output has index", spelling.single_output_bytes, index)
        refused(ErrorCode.INVALID_ARGUMENT, "no output has index", spelling.output_bytes, index)
        spelling.compute_single()


def test_an_output_that_is_known_before_a_compute(spelling: ExecutionContext) -> None:
    for _ in range(2):
        assert text_of(spelling.output_bytes(1)) == text_of(spelling.get_output("count")) == "0"
        assert text_of(spelling.single_output_bytes(1)) == "0"
        spelling.compute()
        assert text_of(spelling.output_bytes(1)) == text_of(spelling.get_output("count")) == "3"
        spelling.set_input(0, b"abc")


def test_a_context_that_is_dropped_ends_its_sequence(spelling: ExecutionContext, speller: Speller) -> None:
    context = speller.init_execution_context()
    context.set_input(0, b"xyz")
    assert step(context) == "x"
    del context
    gc.collect()
    assert speller.closed == ["xyz"]


def test_a_graph_without_pieces() -> None:
    context = Plain().init_execution_context()
    context.set_input(0, b"x")
    refused(ErrorCode.UNSUPPORTED_OPERATION, "graphs of onnx give their outputs all at once", context.compute_single)
    context.fini_single()
    context.compute()
    assert bytes(context.output_bytes(0)) == b"x"
    assert bytes(context.single_output_bytes(0)) == b""


def test_a_graph_without_configurations() -> None:
    graph = Plain()
    assert graph.configured(memoryview(b"")) is graph
    refused(ErrorCode.UNSUPPORTED_OPERATION, "graphs of onnx take no configuration", graph.configured, memoryview(b"x"))


# GGML


@pytest.fixture(scope="module")
def graph() -> Graph:
    return wasi_nn.load(models.steady(), options={"n-predict": 100, "ignore-eos": True})


@pytest.fixture(scope="module")
def grammatical() -> Graph:
    """A graph that takes grammars from guests."""
    return wasi_nn.load(models.tiny(), options={"allow-grammar": True})


@pytest.fixture(scope="module")
def roomy() -> Graph:
    """A graph whose texts take minutes unless they are ended."""
    return long_winded()


def long_winded() -> Graph:
    model = models.steady(**{"llama.context_length": ROOM})
    return wasi_nn.load(model, options={"ignore-eos": True, "ctx-size": ROOM, "max-unread": 64})


def prompted(graph: Graph, prompt: str = PROMPTS[0], **options: Any) -> ExecutionContext:
    """A context with a prompt. Options have `_` for `-`."""
    context = graph.init_execution_context()
    context.set_input(0, prompt.encode())
    if options:
        context.set_input(1, json.dumps({name.replace("_", "-"): value for name, value in options.items()}))
    return context


def computed(graph: Graph, prompt: str = PROMPTS[0], **options: Any) -> str:
    """The text of one compute."""
    context = prompted(graph, prompt, **options)
    context.compute()
    return text_of(context.output_bytes(0))


def writers() -> list[threading.Thread]:
    """The threads that generate texts now."""
    return [thread for thread in threading.enumerate() if thread.name == "wasi-nn ggml"]


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether the condition holds within so many seconds."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


@pytest.mark.parametrize("options", [{}, {"temp": 0}, {"seed": 5}, {"repeat_penalty": 2, "n_predict": 30}])
def test_the_pieces_are_the_text_that_compute_gives(graph: Graph, options: dict[str, Any]) -> None:
    context = prompted(graph, **options)
    pieces = pieces_of(context)
    assert "".join(pieces) == text_of(context.output_bytes(0)) == computed(graph, **options)
    assert len(pieces) == options.get("n_predict", 100), "a piece is a token"


def test_every_piece_is_counted(graph: Graph) -> None:
    context = prompted(graph, "AB", n_predict=5)
    counts = []
    for _ in range(5):
        context.compute_single()
        counts.append(metadata(context))
    assert counts == [(3, number) for number in range(1, 6)]
    with pytest.raises(EndOfSequence):
        context.compute_single()
    assert metadata(context) == (3, 5)


def test_characters_of_several_tokens_come_with_the_last_of_them(grammatical: Graph) -> None:
    context = prompted(grammatical, grammar='root ::= "日é!"')
    assert pieces_of(context) == ["", "", "日", "", "é", "!"]
    assert metadata(context)[1] == 7, "the end of the text is a token, but no piece"
    assert text_of(context.output_bytes(0)) == "日é!"


def test_a_character_that_is_cut_off_is_counted(grammatical: Graph) -> None:
    context = prompted(grammatical, grammar='root ::= "日本"', n_predict=4)
    assert pieces_of(context) == ["", "", "日", ""]
    assert metadata(context)[1] == 4


def test_no_pieces_are_asked_for(graph: Graph) -> None:
    context = prompted(graph, n_predict=0)
    assert pieces_of(context) == []
    assert metadata(context) == (6, 0)


def test_the_reverse_prompt_is_left_to_the_guest(graph: Graph) -> None:
    whole = computed(graph, temp=0)
    stop = next(character for character in whole[1:] if character.isascii())
    assert computed(graph, temp=0, reverse_prompt=stop) == whole[: whole.index(stop)]
    assert "".join(pieces_of(prompted(graph, temp=0, reverse_prompt=stop))) == whole


def test_the_end_of_the_context(graph: Graph) -> None:
    context = prompted(graph, n_predict=-1)
    count = 0
    while count < models.CONTEXT - 6:
        context.compute_single()
        count += 1
    with pytest.raises(ContextFull):
        context.compute_single()
    assert context.context_full
    assert metadata(context) == (6, count)
    again = prompted(graph, n_predict=-1)
    again.compute()
    assert again.context_full
    assert bytes(again.output_bytes(0)) == bytes(context.output_bytes(0))


def test_a_limit_that_just_fits_the_context_is_no_end_of_it(graph: Graph) -> None:
    context = prompted(graph, n_predict=models.CONTEXT - 6)
    assert len(pieces_of(context)) == models.CONTEXT - 6
    assert not context.context_full
    context.compute()
    assert not context.context_full


def test_a_prompt_that_is_too_long(graph: Graph) -> None:
    context = prompted(graph, "X" * 300)
    assert metadata(context) == (301, 0), "its tokens are counted all the same"
    for _ in range(2):
        with pytest.raises(PromptTooLong, match="has 301 tokens, and the context only 256"):
            context.compute_single()
    context.set_input(0, PROMPTS[0])
    assert "".join(pieces_of(context)) == computed(graph)


def test_a_new_prompt_in_the_middle(graph: Graph) -> None:
    context = prompted(graph, PROMPTS[0])
    for _ in range(3):
        context.compute_single()
    context.set_input(0, PROMPTS[1])
    assert "".join(pieces_of(context)) == computed(graph, PROMPTS[1])


def test_new_options_in_the_middle(graph: Graph) -> None:
    context = prompted(graph)
    step(context)
    context.set_input(1, b'{"temp": 0, "n-predict": 9}')
    assert "".join(pieces_of(context)) == computed(graph, temp=0, n_predict=9)


@pytest.mark.parametrize("options", [{}, {"embedding": True}, {"ctx_size": 100}])
@pytest.mark.parametrize(("prompt", "tokens"), [("hello", 6), ("", 1), ("A\0B", 4), ("日", 4)])
def test_the_prompts_tokens_are_counted_before_a_compute(
    graph: Graph, options: dict[str, Any], prompt: str, tokens: int
) -> None:
    context = prompted(graph, prompt, **options)
    counts = json.loads(bytes(context.output_bytes(1)))
    assert (counts["input_tokens"], counts["output_tokens"]) == metadata(context) == (tokens, 0)
    context.compute()
    assert json.loads(bytes(context.output_bytes(1))) == counts | {"output_tokens": metadata(context)[1]}


def test_without_a_prompt_there_is_no_metadata(graph: Graph) -> None:
    context = graph.init_execution_context()
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", context.output_bytes, 1)
    assert bytes(context.single_output_bytes(1)) == b""


def test_hostile_inputs_are_errors_wherever_they_are_noticed(graph: Graph) -> None:
    context = prompted(graph)
    context.set_input(0, b"ab\xff")
    for call in (context.compute_single, context.compute):
        refused(ErrorCode.INVALID_ARGUMENT, "isn't UTF-8", call)
    refused(ErrorCode.INVALID_ARGUMENT, "isn't UTF-8", context.output_bytes, 1)
    context.set_input(0, b"X" * 10_000_000)
    refused(ErrorCode.TOO_LARGE, "can't fit", context.compute_single)
    refused(ErrorCode.INVALID_ENCODING, "aren't JSON", context.set_input, 1, b"{")


def test_an_embedding_has_no_pieces(graph: Graph) -> None:
    refused(ErrorCode.UNSUPPORTED_OPERATION, "all at once", prompted(graph, embedding=True).compute_single)


def test_a_json_schema_that_cant_be_used(graph: Graph) -> None:
    context = prompted(graph, json_schema='{"type": "strange"}', n_predict=8)
    with pytest.raises(NNError, match="didn't follow the JSON schema"):
        pieces_of(context)


@pytest.mark.parametrize("options", [{}, {"temp": 0}])
def test_sequences_in_turns_give_what_each_gives_alone(graph: Graph, options: dict[str, Any]) -> None:
    contexts = {prompt: prompted(graph, prompt, **options) for prompt in PROMPTS}
    texts = dict.fromkeys(PROMPTS, "")
    for _ in range(100):
        for prompt, context in contexts.items():
            texts[prompt] += step(context)
    assert texts == {prompt: computed(graph, prompt, **options) for prompt in PROMPTS}


def test_a_sequence_with_a_random_seed_stays_the_same_text(roomy: Graph) -> None:
    context = prompted(roomy, seed=-1, n_predict=100)
    pieces = [step(context)]
    for _ in range(3):
        computed(roomy, PROMPTS[1], n_predict=5)
        pieces += [step(context) for _ in range(20)]
    pieces += pieces_of(context)
    assert len(pieces) == 100
    assert "".join(pieces) == text_of(context.output_bytes(0))


def test_a_text_that_nobody_reads_holds_no_one_up(roomy: Graph) -> None:
    expected = computed(roomy, PROMPTS[1], n_predict=9)
    left = prompted(roomy)
    begun = [step(left) for _ in range(5)]
    context = prompted(roomy, PROMPTS[1], n_predict=9)
    assert metadata(context) == (3, 0)
    assert "".join(pieces_of(context)) == computed(roomy, PROMPTS[1], n_predict=9) == expected
    begun += [step(left) for _ in range(45)]
    assert "".join(begun) == computed(roomy, n_predict=50)


def test_any_order_of_calls_on_one_thread(graph: Graph) -> None:
    chance = random.Random(1)
    alone = {prompt: pieces_of(prompted(graph, prompt)) for prompt in PROMPTS}
    contexts = [prompted(graph) for _ in range(4)]
    prompts, counts = [PROMPTS[0]] * 4, [0] * 4
    for _ in range(250):
        number = chance.randrange(4)
        context = contexts[number]
        for _ in range(chance.choice([0, 1, 30])):
            if counts[number] == 100:
                break
            assert step(context) == alone[prompts[number]][counts[number]]
            counts[number] += 1
        what = chance.randrange(8)
        if what == 0:
            prompts[number], counts[number] = chance.choice(PROMPTS), 0
            context.set_input(0, prompts[number])
        elif what == 1:
            context.compute()
            assert text_of(context.output_bytes(0)) == "".join(alone[prompts[number]])
            counts[number] = 0
        elif what == 2 or counts[number] == 100:
            context.fini_single()
            counts[number] = 0
        elif what == 3:
            contexts[number], counts[number] = prompted(graph, prompts[number]), 0


def test_sequences_on_several_threads(roomy: Graph) -> None:
    expected = [computed(roomy, f"prompt {number}", n_predict=40) for number in range(4)]
    left = prompted(roomy)
    step(left)

    def work(number: int) -> None:
        for _ in range(3):
            assert "".join(pieces_of(prompted(roomy, f"prompt {number}", n_predict=40))) == expected[number]

    on_threads(work, 4)


def test_many_sequences_that_nobody_ends_take_a_thread_for_each_slot(roomy: Graph) -> None:
    contexts = [prompted(roomy) for _ in range(30)]
    for context in contexts:
        context.compute_single()
        assert len(writers()) <= 8, "four that write, and some that end"
    for context in contexts:
        context.fini_single()
    assert eventually(lambda: not writers())


def test_too_many_sequences_are_refused(graph: Graph) -> None:
    contexts = [prompted(graph, n_predict=2) for _ in range(65)]
    for context in contexts[:64]:
        context.compute_single()
    refused(ErrorCode.TOO_LARGE, "64 sequences of this model are under way", contexts[64].compute_single)
    contexts[64].compute()
    contexts[0].fini_single()
    assert len(pieces_of(contexts[64])) == 2
    assert len(pieces_of(contexts[1])) == 1, "the others go on"


def test_a_dropped_context_leaves_nothing() -> None:
    graph = long_winded()
    assert isinstance(graph, ggml.GgmlGraph)
    engine = weakref.ref(graph.default_engine)
    context = prompted(graph)
    cycle: list[Any] = [context]
    cycle.append(cycle)
    step(context)
    del context, cycle, graph
    gc.collect()
    assert eventually(lambda: not writers() and engine() is None)


UNDER_WAY = """
import ggml_models, wasi_nn
model = ggml_models.tiny(**{"llama.context_length": 1 << 17})
graph = wasi_nn.load(model, options={"ignore-eos": True, "ctx-size": 1 << 17})
context = graph.init_execution_context()
context.set_input(0, b"hello")
context.compute_single()
"""


def test_the_interpreter_ends_with_a_sequence_under_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_WAY], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(SUPPORT)}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_configuration_is_below_the_options_of_a_context(graph: Graph) -> None:
    assert isinstance(graph, ggml.GgmlGraph)
    configured = graph.configured(memoryview(b'{"temp": 0, "n-predict": 7}'))
    assert (configured.runtime, configured.device) == (graph.runtime, "cpu")
    assert computed(configured) == computed(graph, temp=0, n_predict=7)
    assert computed(configured, n_predict=9) == computed(graph, temp=0, n_predict=9)
    assert computed(configured.configured(memoryview(b'{"n-predict": 3}'))) == computed(graph, temp=0, n_predict=3)
    assert computed(graph) != computed(configured), "the graph itself stays as it is"
    assert graph.engine_count == 1, "and they share the model"


def test_a_configuration_may_have_the_model_loaded_otherwise(graph: Graph) -> None:
    assert isinstance(graph, ggml.GgmlGraph)
    configured = graph.configured(memoryview(b'{"ctx-size": 50, "n-predict": -1}'))
    assert graph.engine_count == 2
    context = prompted(configured)
    context.compute()
    assert context.context_full
    del configured, context
    assert graph.engine_count == 1


def test_a_configured_graph_outlives_the_other() -> None:
    configured = wasi_nn.load(models.tiny()).configured(memoryview(b'{"n-predict": 5}'))
    gc.collect()
    assert len(pieces_of(prompted(configured, ctx_size=100, ignore_eos=True))) == 5


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (b"{", "invalid-encoding"),
        (b"[]", "invalid-encoding"),
        (b'{"temp": "0"}', "invalid-argument"),
        (b'{"ctx-size": 257}', "too-large"),
        (b'{"mmproj": "/etc/passwd"}', "security"),
    ],
)
def test_configurations_that_are_refused(graph: Graph, config: bytes, code: str) -> None:
    refused(ErrorCode(code), ".", graph.configured, memoryview(config))
    assert graph.configured(memoryview(b"")) is graph


def test_a_model_whose_file_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no model at"):
        ggml.GgmlBackend().load_path(tmp_path / "gone.gguf", ExecutionTarget.CPU, {})


def test_a_real_model_writes_the_same_in_pieces() -> None:
    graph = wasi_nn.load(real_models.smollm2(), options={"temp": 0, "n-predict": 12, "ctx-size": 512})
    context = prompted(graph, "The capital of France is")
    assert metadata(context) == (5, 0)
    pieces = pieces_of(context)
    assert "Paris" in "".join(pieces)
    assert "".join(pieces) == computed(graph, "The capital of France is")
