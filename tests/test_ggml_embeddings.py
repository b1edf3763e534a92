"""Embeddings with the model's own pooling, lists of texts, and rerankers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from checks import on_threads, refused
from conftest import need

import wasi_nn
from wasi_nn import ErrorCode, Graph, LoadRules
from wasi_nn.errors import PromptTooLong

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_encoders as models  # noqa: E402
import ggml_models  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_llama_thread")

TEXTS = ["the cat sat", "the dog ran", "a", ""]
QUERY = {"query": "cat", "documents": TEXTS}


def load(pooling: int = models.MEAN, **options: Any) -> Graph:
    """A graph of embeddings. Options have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return wasi_nn.load(models.bert(pooling), options={"embedding": True, **named})


def answer(graph: Graph, prompt: Any, **options: Any) -> dict[str, Any]:
    """What a graph gives for a text, or for anything else in JSON."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    outputs = graph.compute({"prompt": text, "options": json.dumps(named)})
    given = json.loads(outputs["response"].tobytes())
    return {**given, "tokens": json.loads(outputs["metadata"].tobytes())["input_tokens"]}


def embedding(graph: Graph, text: str, **options: Any) -> Any:
    return np.array(answer(graph, text, **options)["embedding"])


def test_an_embedding_is_pooled_as_the_model_says_unless_the_options_do() -> None:
    mean, cls = load(models.MEAN), load(models.CLS)
    assert not np.allclose(embedding(mean, "the cat sat"), embedding(cls, "the cat sat"), atol=1e-3)
    as_cls = embedding(mean, "the cat sat", pooling_type="cls")
    np.testing.assert_allclose(as_cls, embedding(cls, "the cat sat"), atol=1e-5)
    last = embedding(cls, "the cat sat", pooling_type="last")
    assert not np.allclose(last, embedding(cls, "the cat sat"), atol=1e-3)


def test_embeddings_are_normalized_as_the_options_say() -> None:
    graph = load()
    raw = embedding(graph, "the cat sat", embd_normalize=-1)
    np.testing.assert_allclose(embedding(graph, "the cat sat"), raw / np.linalg.norm(raw), atol=1e-5)
    np.testing.assert_allclose(embedding(graph, "the cat sat", embd_normalize=1), raw / np.abs(raw).sum(), atol=1e-5)


def test_a_list_of_texts_gives_the_embedding_of_each() -> None:
    graph = load()
    texts = TEXTS * 20
    given = answer(graph, texts, batch=True)
    assert given["n_embedding"] == models.EMBEDDING
    alone = {text: answer(graph, text) for text in TEXTS}
    for text, vector in zip(texts, given["embeddings"], strict=True):
        np.testing.assert_allclose(vector, alone[text]["embedding"], atol=1e-5)
    assert given["tokens"] == 20 * sum(alone[text]["tokens"] for text in TEXTS)


def test_a_generator_gives_the_embeddings_of_a_list_too() -> None:
    graph = wasi_nn.load(ggml_models.tiny())
    given = answer(graph, ["one", "two"], embedding=True, batch=True)["embeddings"]
    np.testing.assert_allclose(given[1], answer(graph, "two", embedding=True)["embedding"], atol=1e-3)


def test_without_the_option_a_list_is_a_text() -> None:
    assert "embedding" in answer(load(), json.dumps(["a", "b"]))


def test_a_reranker_scores_documents_in_their_order() -> None:
    graph = wasi_nn.load(models.bert(models.RANK), options={"reranking": True})
    scores = answer(graph, QUERY)["scores"]
    assert len(scores) == len(set(scores)) == len(TEXTS)
    backwards = answer(graph, {**QUERY, "documents": TEXTS[::-1]})["scores"]
    np.testing.assert_allclose(backwards, scores[::-1], atol=1e-4)
    one = answer(graph, {"query": "cat", "documents": TEXTS[1:2]})["scores"]
    np.testing.assert_allclose(one, scores[1:2], atol=1e-4)
    many = answer(graph, {"query": "cat", "documents": TEXTS * 30})
    np.testing.assert_allclose(many["scores"], scores * 30, atol=1e-4)
    assert many["tokens"] == 30 * answer(graph, QUERY)["tokens"]


def test_a_guest_may_ask_a_reranker_by_its_options() -> None:
    graph = wasi_nn.load(models.bert(models.RANK), options={"reranking": True})
    named = graph.configured(memoryview(b'{"reranking": true}'))
    assert answer(named, QUERY)["scores"] == pytest.approx(answer(graph, QUERY)["scores"], abs=1e-4)


def test_rerankers_have_no_embeddings_and_others_no_scores() -> None:
    ranker = models.bert(models.RANK)
    refused(
        ErrorCode.UNSUPPORTED_OPERATION,
        "set reranking, not embedding",
        wasi_nn.load,
        ranker,
        options={"embedding": True},
    )
    refused(ErrorCode.UNSUPPORTED_OPERATION, "isn't a reranker: set embedding", answer, load(), QUERY, reranking=True)


@pytest.mark.parametrize(
    ("prompt", "code", "message"),
    [
        ("", "invalid-argument", "a list of texts in JSON"),
        ("[", "invalid-argument", "a list of texts in JSON"),
        ("[" * 100_000, "invalid-argument", "a list of texts in JSON"),
        ("{}", "invalid-argument", "a list of texts in JSON, not a dict"),
        ("[]", "invalid-argument", "has 0 texts: it must have 1 to 4096"),
        ('["a", 1]', "invalid-argument", "its text 1 is 1, not a string"),
        ('["a", ["b"]]', "invalid-argument", r"its text 1 is \['b'\], not a string"),
        (r'["\ud800"]', "invalid-argument", "the text 0 of the prompt has half a character"),
        (json.dumps(["a"] * 4097), "too-large", "has 4097 texts"),
        (json.dumps(["a", "x" * 70_000]), "too-large", "the text 1 has 70000 bytes"),
        ('["' + "x" * (1 << 24) + '"]', "too-large", "is larger than 16777216"),
    ],
)
def test_lists_that_are_refused(prompt: str, code: str, message: str) -> None:
    refused(ErrorCode(code), message, answer, load(batch=True), prompt)


@pytest.mark.parametrize(
    "prompt", ["{", "[]", "{}", '{"query": 1, "documents": []}', '{"query": "a", "documents": "b"}', '{"query": "a"}']
)
def test_queries_that_are_refused(prompt: str) -> None:
    graph = wasi_nn.load(models.bert(models.RANK), options={"reranking": True})
    refused(ErrorCode.INVALID_ARGUMENT, 'an object with "query" and "documents"', answer, graph, prompt)
    refused(ErrorCode.INVALID_ARGUMENT, "has 0 texts", answer, graph, {"query": "a", "documents": []})


@pytest.mark.parametrize("batch", [False, True])
def test_a_text_that_is_too_long_for_the_context(batch: bool) -> None:
    text = "x" * 500
    graph = load()
    with pytest.raises(
        PromptTooLong, match=r"a text has 50\d tokens, and a batch only 64: .*--graph-option NAME:ctx-size=50"
    ):
        answer(graph, ["a", text] if batch else text, batch=batch)
    assert answer(graph, "a")["embedding"], "and the next is served"


def test_an_empty_text_has_no_embedding_where_the_model_adds_no_token() -> None:
    model = ggml_models.tiny(**{"tokenizer.ggml.add_bos_token": False})
    with wasi_nn.load(model, options={"embedding": True}) as graph:
        for text, batch in (("", False), (["a", ""], True)):
            refused(ErrorCode.INVALID_ARGUMENT, "a text is empty, and this model", answer, graph, text, batch=batch)


def test_a_list_has_no_number_of_tokens_before_its_compute() -> None:
    context = load(batch=True).init_execution_context()
    context.set_input(0, b'["a", "b"]')
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", context.output_bytes, 1)
    context.compute()
    assert json.loads(bytes(context.output_bytes(1)))["input_tokens"] == 6


def test_lists_on_several_threads() -> None:
    graph = load(batch=True)
    alone = answer(graph, TEXTS)["embeddings"]

    def work(_: int) -> None:
        for _ in range(5):
            np.testing.assert_allclose(answer(graph, TEXTS)["embeddings"], alone, atol=1e-5)

    on_threads(work, 4)


def test_an_isolated_encoder(isolation: None) -> None:
    options = {"embedding": True, "batch": True}
    with wasi_nn.load(models.bert(models.MEAN), options=options, rules=LoadRules(isolate=True)) as graph:
        np.testing.assert_allclose(
            answer(graph, TEXTS)["embeddings"], answer(load(batch=True), TEXTS)["embeddings"], atol=1e-5
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling-type": "rank"}, "it takes 'mean', 'cls' or 'last'"),
        ({"pooling-type": 1}, "it takes 'mean', 'cls' or 'last'"),
        ({"embd-normalize": 7}, "a whole number from -1 to 6"),
        ({"batch": 1}, "true or false"),
        ({"reranking": "yes"}, "true or false"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, message, load, **options)
    refused(ErrorCode.INVALID_ARGUMENT, message, answer, load(), "a", **options)
