"""Several texts of a language model at once, in llama.cpp's slots, and the tokens that a slot has of its owner."""

from __future__ import annotations

import gc
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checks import in_time, on_threads, refused
from conftest import need
from isolated_programs import kill_worker_of

import wasi_nn
from wasi_nn import ErrorCode, ExecutionContext, Graph, Limits, LoadRules, Session
from wasi_nn.errors import ContextFull, EndOfSequence
from wasi_nn.isolation import Isolation

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402

from wasi_nn.backends.ggml import backend as ggml  # noqa: E402
from wasi_nn.backends.ggml.slots import Slot, Slots, Waiter  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_llama_thread")

ROOM = 1 << 14
PROMPT = "a conversation that begins so"
BRIEF = Limits(compute_time=0.5)


def load(**options: Any) -> Graph:
    """A graph of texts of eight tokens. Options have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return wasi_nn.load(models.steady(), options={"n-predict": 8, "ignore-eos": True, **named})


def endless(**options: Any) -> Graph:
    """A graph whose texts take minutes unless they are ended."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    model = models.steady(**{"llama.context_length": ROOM})
    return wasi_nn.load(model, options={"ignore-eos": True, "ctx-size": ROOM, **named})


def prompted(graph: Graph, prompt: str = PROMPT, **options: Any) -> ExecutionContext:
    context = graph.init_execution_context()
    context.set_input(0, prompt.encode())
    if options:
        context.set_input(1, json.dumps({name.replace("_", "-"): value for name, value in options.items()}))
    return context


def written(context: ExecutionContext, prompt: str | None = None) -> str:
    """The text that a context computes, after a new prompt if there is one."""
    if prompt is not None:
        context.set_input(0, prompt.encode())
    context.compute()
    return bytes(context.output_bytes(0)).decode()


def step(context: ExecutionContext) -> str:
    context.compute_single()
    return bytes(context.single_output_bytes(0)).decode()


def rest(context: ExecutionContext) -> str:
    """The remaining pieces."""
    text = ""
    while True:
        try:
            text += step(context)
        except (EndOfSequence, ContextFull):
            return text


def counted(graph: Graph, name: str) -> int:
    """One of llama.cpp's counts for a graph."""
    assert isinstance(graph, ggml.GgmlGraph)
    found = re.search(rf"^llamacpp:{name} (\d+)$", graph.default_engine.metrics, re.MULTILINE)
    assert found is not None
    return int(found[1])


def from_the_slot(graph: Graph, compute: Callable[[], object]) -> int:
    """The number of tokens of the prompt that a compute finds in its slot."""
    before = counted(graph, "prompt_tokens_cached_total")
    compute()
    return counted(graph, "prompt_tokens_cached_total") - before


def threads_of_texts() -> int:
    return sum(thread.name == "wasi-nn ggml" for thread in threading.enumerate())


def test_texts_are_written_at_once() -> None:
    graph = endless(n_parallel=3)
    contexts = [prompted(graph, f"prompt {number}") for number in range(3)]
    for context in contexts:
        step(context)
    assert threads_of_texts() == 3, "none of them has ended"
    for context in contexts:
        context.fini_single()


def test_texts_at_once_are_those_that_each_gives_alone() -> None:
    graph = load(n_predict=60)
    prompts = [f"prompt {number}" for number in range(8)]
    alone = {prompt: written(prompted(graph, prompt)) for prompt in prompts}
    together: dict[str, str] = {}

    def work(number: int) -> None:
        together[prompts[number]] = written(prompted(graph, prompts[number]))

    on_threads(work, 8)
    assert together == alone


def test_nothing_is_written_twice() -> None:
    graph = load(n_predict=60, n_parallel=2)
    contexts = [prompted(graph, f"prompt {number}") for number in range(5)]
    texts = [step(context) for context in contexts]
    for _ in range(10):
        texts = [text + step(context) for text, context in zip(texts, contexts, strict=True)]
    texts = [text + rest(context) for text, context in zip(texts, contexts, strict=True)]
    assert counted(graph, "tokens_predicted_total") == 5 * 60
    assert texts == [written(prompted(graph, f"prompt {number}")) for number in range(5)]


def test_a_text_that_finds_no_slot_waits_until_another_is_whole() -> None:
    graph = load(n_predict=100, n_parallel=1)
    first = prompted(graph, "first")
    begun = step(first)
    assert written(prompted(graph, "second"))
    assert begun + rest(first) == written(prompted(graph, "first"))


@pytest.mark.parametrize("wait", [ExecutionContext.compute, ExecutionContext.compute_single])
@pytest.mark.parametrize("isolate", [False, True])
def test_waiting_for_a_slot_ends_at_the_deadline(isolate: bool, wait: Any, isolation: None) -> None:
    model = models.steady(**{"llama.context_length": ROOM})
    options = {"ignore-eos": True, "ctx-size": ROOM, "n-parallel": 1}
    rules = LoadRules(isolate=Isolation(grace=60) if isolate else False)
    graph = wasi_nn.load(model, options=options, rules=rules)
    writing = prompted(graph)
    begun = step(writing)
    with Session({"llm": graph}, limits=BRIEF) as session:
        waiting = session.context(session.init_execution_context(session.load_by_name("llm", b"")))
        waiting.set_input(0, np.frombuffer(PROMPT.encode(), np.uint8))
        refused(ErrorCode.TIMEOUT, "took longer than 0.5 s", wait, waiting)
        refused(ErrorCode.TIMEOUT, "took longer than 0.5 s", waiting.output_bytes, 1)
        begun += step(writing)
        assert begun, "the other text goes on, in the same process"
        writing.fini_single()
        waiting.set_input(1, np.frombuffer(b'{"n-predict": 2}', np.uint8))
        assert in_time(lambda: written(waiting))


def test_a_text_that_nobody_reads_may_be_ended_for_others() -> None:
    graph = endless(n_parallel=1, max_unread=16)
    unread = prompted(graph)
    begun = [step(unread)]
    assert written(prompted(graph, "other", n_predict=5))

    def read() -> None:
        while True:
            begun.append(step(unread))

    refused(ErrorCode.TOO_LARGE, "16 tokens of it weren't read while other texts waited", read)
    beginning = "".join(begun)
    assert beginning == written(prompted(graph, n_predict=100))[: len(beginning)]
    assert len(written(prompted(graph, n_predict=50))) > 16, "a text that is read isn't ended"


def test_a_text_that_is_dropped_frees_its_slot() -> None:
    graph = endless(n_parallel=1)
    for _ in range(3):
        context = prompted(graph)
        step(context)
        del context
        gc.collect()
    assert written(prompted(graph, n_predict=3))


def test_many_contexts_that_are_never_read_to_the_end() -> None:
    graph = load(n_predict=20)
    contexts = [prompted(graph, f"prompt {number}") for number in range(60)]
    begun = [step(context) for context in contexts]
    assert begun[7] + rest(contexts[7]) == written(prompted(graph, "prompt 7"))
    del contexts
    gc.collect()
    for number in range(300):
        written(prompted(graph, str(number), n_predict=1))


def test_two_threads_on_one_context() -> None:
    context = prompted(load(n_predict=40))

    def work(_: int) -> None:
        for _ in range(5):
            context.compute()

    on_threads(work, 2)
    assert written(context) == written(prompted(context.graph))


# The tokens in a slot


def test_a_conversation_pays_only_for_what_is_new() -> None:
    graph = load()
    context = prompted(graph)
    first = written(context)
    tokens = len(PROMPT.encode()) - 10
    assert from_the_slot(graph, lambda: written(context, PROMPT + first + " and more")) > tokens
    assert from_the_slot(graph, lambda: written(context, PROMPT + " otherwise")) > tokens
    assert from_the_slot(graph, lambda: written(context, "something else")) <= 1, "only the beginning of a text"


def test_the_same_conversation_in_a_new_context_gives_the_same_text() -> None:
    graph = load(n_predict=30)
    context = prompted(graph)
    conversation = PROMPT
    for turn in range(4):
        conversation += f" {written(context, conversation)} {turn}"
        assert written(context, conversation) == written(prompted(graph, conversation))


@pytest.mark.parametrize("slots", [1, 4])
def test_a_context_gets_nothing_of_another_ones_tokens(slots: int) -> None:
    graph = load(n_parallel=slots)
    context = prompted(graph)
    assert written(context)
    assert from_the_slot(graph, lambda: written(prompted(graph))) == 0
    del context
    gc.collect()
    contexts = []
    for _ in range(2 * slots):  # they get the slot of the context that is gone, and then those of each other
        contexts.append(prompted(graph))
        assert from_the_slot(graph, contexts[-1].compute) == 0
    assert from_the_slot(graph, lambda: graph.compute({"prompt": PROMPT})) == 0
    assert from_the_slot(graph, lambda: graph.compute({"prompt": PROMPT})) == 0, "a compute of the graph has no context"


def test_counting_the_tokens_of_a_prompt_takes_no_ones_slot() -> None:
    graph = load(n_parallel=1)
    context = prompted(graph)
    written(context)
    other = prompted(graph, "other")
    assert json.loads(bytes(other.output_bytes(1)))["input_tokens"] > 0
    assert from_the_slot(graph, lambda: written(context, PROMPT + " and more")) > 0


def test_a_reproducible_graph_keeps_nothing() -> None:
    graph = load(reproducible=True)
    context = prompted(graph)
    first = written(context)
    assert from_the_slot(graph, lambda: written(context, PROMPT + first)) == 0
    assert graph.default_engine.settings.slots == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("chosen", ['{"temp": 0}', '{"seed": 3}'])
def test_a_text_alone_is_the_reproducible_one(chosen: str) -> None:
    texts = set()
    for reproducible in (False, True):
        options = {"n-predict": 200, "ignore-eos": True, "reproducible": reproducible}
        outputs = wasi_nn.load(models.tiny(), options=options).compute({"prompt": PROMPT, "options": chosen})
        texts.add(outputs["response"].tobytes())
    assert len(texts) == 1


def test_a_named_compute_continues_the_text_of_its_context() -> None:
    graph = load()
    context = graph.init_execution_context()
    text = dict(context.compute_named({"prompt": PROMPT}))["response"].tobytes().decode()
    assert from_the_slot(graph, lambda: context.compute_named({"prompt": PROMPT + text})) > 0


def test_a_conversation_survives_the_end_of_its_worker(isolation: None) -> None:
    options = {"n-predict": 20, "ignore-eos": True}
    with wasi_nn.load(models.steady(), options=options, rules=LoadRules(isolate=True)) as graph:
        context, other = prompted(graph), prompted(graph)
        conversation = PROMPT + written(context)
        step(other)
        kill_worker_of(graph)
        refused(ErrorCode.RUNTIME_ERROR, "the isolated worker", rest, other)
        assert written(context, conversation) == written(prompted(graph, conversation))


def test_isolated_texts_are_written_at_once(isolation: None) -> None:
    options = {"ignore-eos": True, "ctx-size": ROOM}
    model = models.steady(**{"llama.context_length": ROOM})
    with wasi_nn.load(model, options=options, rules=LoadRules(isolate=True)) as graph:
        contexts = [prompted(graph, f"prompt {number}") for number in range(4)]
        for _ in range(20):
            for context in contexts:
                step(context)
        for context in contexts:
            context.fini_single()


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n-parallel": 0}, "a whole number from 1 to 64"),
        ({"n-parallel": 65}, "a whole number from 1 to 64"),
        ({"n-parallel": "4"}, "a whole number from 1 to 64"),
        ({"max-predict": 0}, "a whole number from 1"),
        ({"max-unread": 15}, "a whole number from 16"),
        ({"reproducible": 1}, "true or false"),
        ({"reproducible": True, "n-parallel": 2}, "one at a time: n-parallel can only be 1"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, message, wasi_nn.load, models.steady(), options=options)


def test_guests_have_no_say_in_the_slots() -> None:
    graph = load(n_parallel=2)
    assert len(written(prompted(graph, n_parallel=64, reproducible=True, max_unread=16, max_predict=1))) == 8
    assert graph.engine_count == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("asked", "tokens"), [(-1, 5), (6, 5), (5, 5), (4, 4), (0, 0)])
def test_the_operator_bounds_the_length_of_texts(asked: int, tokens: int) -> None:
    context = prompted(load(max_predict=5), n_predict=asked)
    assert len(written(context)) == tokens
    assert not context.context_full


def test_contexts_that_the_machine_has_no_memory_for() -> None:
    wide = {"llama.attention.key_length": 65536, "llama.attention.value_length": 65536}
    greedy = models.steady(**{"llama.context_length": 1 << 20}, **wide)
    message = "the contexts of 64 texts need .* MiB of memory, and this .* set n-parallel"
    refused(ErrorCode.TOO_LARGE, message, wasi_nn.load, greedy, options={"ctx-size": 1 << 16, "n-parallel": 64})


def test_there_are_fewer_slots_by_default_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    from wasi_nn.backends.ggml import settings
    from wasi_nn.backends.ggml.gguf import read_header

    header = read_header(memoryview(models.steady()))
    cache = settings.cache_bytes(header) * models.CONTEXT
    for memory, slots in ((64 * cache, 4), (9 * cache, 2), (2 * cache, 1)):
        monkeypatch.setattr(settings, "_memory", lambda memory=memory: (memory, "this machine"))
        assert settings.load_settings({}, {}, header, gpu=False).slots == slots


# The choice of a slot


class Owner:
    pass


def numbers(slots: Slots, *owners: Owner) -> list[int]:
    """The slots that texts of these owners get, one after the other."""
    got = []
    for owner in owners:
        slot, _ = slots.take(Waiter(), owner)
        got.append(slot.number)
        slots.give_back(slot)
    return got


def test_an_owner_keeps_its_slot_until_another_one_needs_it() -> None:
    slots, (a, b, c, d) = Slots(3), [Owner() for _ in range(4)]
    assert numbers(slots, a, b, c, a, b, c) == [0, 1, 2, 0, 1, 2]
    assert numbers(slots, d) == [0], "that which was unused for the longest"
    assert slots.take(Waiter(), a)[1] is False


def test_a_slot_of_an_owner_that_is_gone_is_taken_first() -> None:
    slots, (a, b, c) = Slots(2), [Owner() for _ in range(3)]
    assert numbers(slots, a, b) == [0, 1]
    del b
    assert numbers(slots, c) == [1]
    slot, is_owners = slots.take(Waiter(), a)
    assert (slot.number, is_owners) == (0, True)


def test_a_text_waits_for_the_slot_of_its_owner_while_that_stops() -> None:
    slots, owner = Slots(2), Owner()
    before = Waiter()
    slot, _ = slots.take(before, owner)
    before.is_stopped = True
    got: list[Slot] = []
    thread = threading.Thread(target=lambda: got.append(slots.take(Waiter(), owner)[0]))
    thread.start()
    while not slots.waiters:
        pass
    assert not got
    slots.give_back(slot)
    thread.join()
    assert got == [slot]


def test_texts_get_slots_in_the_order_of_asking() -> None:
    slots, owners = Slots(1), [Owner() for _ in range(5)]
    held, _ = slots.take(Waiter(), Owner())
    order: list[int] = []

    def work(number: int) -> None:
        slot, _ = slots.take(Waiter(), owners[number])
        order.append(number)
        slots.give_back(slot)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while slots.waiters <= number:
            pass
    slots.give_back(held)
    for thread in threads:
        thread.join()
    assert order == list(range(5))


def test_one_that_stops_waiting_is_in_nobodys_way() -> None:
    slots = Slots(1)
    held, _ = slots.take(Waiter(), Owner())
    stopped = Waiter()
    stopped.is_stopped = True
    refused(ErrorCode.RUNTIME_ERROR, "was interrupted", slots.take, stopped, Owner())
    slots.give_back(held)
    assert slots.take(Waiter(), Owner())[0] is held
