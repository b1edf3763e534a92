"""Language models on the server, by OpenAI's own client: texts, conversations, streams, embeddings and errors."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ggml_models
import onnx_models
import openai
import pytest
from serving import RunningServer

import wasi_nn
from wasi_nn.serving.settings import ServingLimits

CHAT = "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
REFUSING = "{{ raise_exception('the first message is ' + messages[0].role) }}"
SMALL = ServingLimits(queue=1, json_bytes=400_000)


def graphs() -> dict[str, Any]:
    """`letters` writes the alphabet, one letter after another, and `slow` one text at a time."""
    letters = ggml_models.steady(**{"tokenizer.chat_template": CHAT})
    return {
        "letters": letters,
        "slow": wasi_nn.NamedGraph(ggml_models.steady(), options={"n-parallel": 1}),
        "refusing": ggml_models.steady(**{"tokenizer.chat_template": REFUSING}),
        "random": ggml_models.tiny(),
        "vectors": wasi_nn.NamedGraph(ggml_models.tiny(), options={"embedding": True}),
        "net": onnx_models.relu(),
    }


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(graphs(), limits=SMALL) as running:
        yield running


def client_of(server: RunningServer, token: str = "none", retries: int = 0) -> openai.OpenAI:
    host, port = server.address
    return openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key=token, max_retries=retries)


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def said(text: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def test_the_language_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["letters", "random", "refusing", "slow", "vectors"]
    assert client.models.retrieve("letters").owned_by == "wasi-nn"
    for name, words in (("net", "model 'net' is no language model"), ("other", "no model is named 'other'")):
        with pytest.raises(openai.NotFoundError, match=words) as raised:
            client.models.retrieve(name)
        assert raised.value.code == "model_not_found"


def test_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="letters", messages=said("a"), max_tokens=4)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "bcde", "length")
    assert answer.usage is not None
    # The token that begins a text, once, though the template has it too; then < u s er > a.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 4, 11)


def test_the_template_gets_all_messages(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "y"}, {"type": "text", "text": "k"}]},
        {"role": "assistant", "content": "z", "name": "Z"},
        {"role": "user", "content": "d"},
    ]
    answer = client.chat.completions.create(model="letters", messages=messages, max_completion_tokens=2)
    assert answer.choices[0].message.content == "ef"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1 + len("<system>x<user>y\nk<assistant>z<user>d") - 2  # er is one token


def test_a_stream_of_a_chat(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="letters", messages=said("a"), max_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert (text, reasons) == ("bcde", ["length"])
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert [(one.prompt_tokens, one.completion_tokens) for one in usage] == [(7, 4)]
    assert not chunks[-1].choices


def test_a_stream_of_a_completion(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="letters", prompt="a", max_tokens=4, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "bcde"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_completion_has_16_tokens_unless_it_says_otherwise(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="letters", prompt=["a"])
    assert answer.choices[0].text == "bcdefghijklmnopq"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("stop", "text"), [("f", "bcde"), (["xyz", "ghi"], "bcdef"), (["ea", "gf"], "bcdefghi")])
def test_stops(client: openai.OpenAI, stop: Any, text: str, is_stream: bool) -> None:
    answer = client.completions.create(model="letters", prompt="a", max_tokens=8, stop=stop, stream=is_stream)
    chunks: list[Any] = list(answer) if is_stream else [answer]
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == ("stop" if text != "bcdefghi" else "length")


def test_a_text_that_the_model_ends(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="letters", prompt="")  # after the token that begins a text, its end comes
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, 1)


def test_a_text_that_fills_the_context(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="letters", prompt="a", max_tokens=1000)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert 0 < answer.usage.total_tokens <= ggml_models.CONTEXT + 1


def test_numbers_of_a_request_reach_the_model(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"temperature": 2, "top_p": 1, "max_tokens": 24, "presence_penalty": 2}
    settings |= {"frequency_penalty": 2, "extra_body": {"top_k": 0, "min_p": 0}}

    def written(seed: int | None) -> str:
        answer = client.completions.create(model="random", prompt="abcabcabc", seed=seed, **settings)
        return str(answer.choices[0].text)

    assert written(3) == written(3)
    assert len({written(seed) for seed in (1, 2, 3, -4, 2**40)}) > 1
    assert len({written(None) for _ in range(5)}) > 1  # another seed each time


def test_parallel_chats(server: RunningServer) -> None:
    def chat(place: int) -> str:
        letter = chr(ord("a") + place)
        with client_of(server) as own:
            stream = own.chat.completions.create(model="letters", messages=said(letter), max_tokens=20, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    with ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(chat, range(4)))
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    assert texts == [alphabet[place + 1 : place + 21] for place in range(4)]


def test_embeddings(client: openai.OpenAI) -> None:
    numbers = client.embeddings.create(model="vectors", input=["one", "two"], encoding_format="float")
    as_text = client.embeddings.create(model="vectors", input="two")  # base64, by the client's own choice
    assert [one.index for one in numbers.data] == [0, 1]
    assert len(numbers.data[0].embedding) == ggml_models.EMBEDDING
    assert as_text.data[0].embedding == pytest.approx(numbers.data[1].embedding, abs=1e-6)
    assert (as_text.usage.prompt_tokens, as_text.usage.total_tokens) == (4, 4)


def test_an_embedding_in_base64_is_floats_of_four_bytes(server: RunningServer) -> None:
    request = {"model": "vectors", "input": "two"}
    _, numbers, _ = server.ask("POST", "/v1/embeddings", request)
    _, encoded, _ = server.ask("POST", "/v1/embeddings", request | {"encoding_format": "base64"})
    got = struct.unpack("<64f", base64.b64decode(encoded["data"][0]["embedding"]))
    assert got == pytest.approx(numbers["data"][0]["embedding"], abs=1e-6)


CHATS: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no model": ({"model": None}, "model", "the request has no 'model'"),
    "no messages": ({"messages": None}, "messages", "'messages' is a list of 1 to 4096 messages, not None"),
    "no message": ({"messages": []}, "messages", "a list of 1 to 4096 messages, not []"),
    "a message that is a text": ({"messages": ["a"]}, "messages[0]", "'messages[0]' is an object such as"),
    "an unknown role": ({"messages": [{"role": "x", "content": "a"}]}, "messages[0].role", "not 'x'"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content", "a text or a list of parts, not None"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        "messages[0].content[0]",
        "parts of type 'image_url' aren't supported",
    ),
    "a result of a tool": ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0]", "no calls of tools"),
    "half a character": ({"messages": said("\ud800")}, "messages[0].content", "has half a character"),
    "several texts": ({"n": 2}, "n", "one text a request: 'n' can only be 1"),
    "n that is true": ({"n": True}, "n", "'n' can only be 1"),
    "tools": ({"tools": [{"type": "function"}]}, "tools", "this server has no calls of tools"),
    "probabilities": ({"logprobs": True}, "logprobs", "no probabilities of tokens"),
    "a bias": ({"logit_bias": {"1": 2}}, "logit_bias", "takes no 'logit_bias'"),
    "JSON": ({"response_format": {"type": "json_object"}}, "response_format", "this server writes text"),
    "a wrong name": ({"max_token": 1}, "max_token", "no parameter 'max_token'; did you mean max_tokens?"),
    "another call's parameter": ({"echo": True}, "echo", "this call has no parameter 'echo'"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "a whole number from 1 to 2147483647, not 0"),
    "two limits": ({"max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens", "differ: give one"),
    "a temperature that is a text": ({"temperature": "1"}, "temperature", "a number from 0 to 2, not '1'"),
    "a temperature that is true": ({"temperature": True}, "temperature", "a number from 0 to 2, not True"),
    "too hot": ({"temperature": 2.5}, "temperature", "a number from 0 to 2, not 2.5"),
    "a seed that is a float": ({"seed": 1.5}, "seed", "a whole number"),
    "many stops": ({"stop": list("abcde")}, "stop", "a text or a list of at most 4"),
    "an empty stop": ({"stop": ""}, "stop", "texts of 1 to 256 characters, not ''"),
    "a stop that is a number": ({"stop": [1]}, "stop", "a text or a list of texts, not 1"),
    "a stream that is a text": ({"stream": "yes"}, "stream", "true or false, not 'yes'"),
    "options of no stream": ({"stream_options": {"include_usage": True}}, "stream_options", "is for streams"),
    "unknown options": ({"stream": True, "stream_options": {"x": 1}}, "stream_options", "include_usage"),
    "a long prompt": ({"messages": said("ab" * 300)}, None, "the prompt has"),
    "a longer prompt": ({"messages": said("a" * 300_000)}, None, "can't fit into a context"),
    "a refusing template": ({"model": "refusing"}, None, "refuses the messages: the first message is user"),
    "no template": ({"model": "slow"}, None, "model 'slow' has no chat template: send a whole prompt"),
    "a model of embeddings": ({"model": "vectors"}, None, "model 'vectors' writes no texts"),
    "a model of another kind": ({"model": "net"}, None, "model 'net' is no language model: use /v2/models/net/infer"),
}


@pytest.mark.parametrize("wrong", CHATS)
def test_a_wrong_chat_gets_a_line_that_says_what_is_wrong(server: RunningServer, wrong: str) -> None:
    changes, parameter, words = CHATS[wrong]
    request = {"model": "letters", "messages": said("a"), "max_tokens": 2} | changes
    status, answer, _ = server.ask("POST", "/v1/chat/completions", request)
    assert status == 400, answer
    error = answer["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", parameter)
    assert words in error["message"]
    assert "\n" not in error["message"]
    assert error["code"] == ("context_length_exceeded" if "long" in wrong else None)


@pytest.mark.parametrize(
    ("path", "request_", "words"),
    [
        ("completions", {"model": "letters"}, "'prompt' is a text, not None"),
        ("completions", {"model": "letters", "prompt": ["a", "b"]}, "one prompt a request"),
        ("completions", {"model": "letters", "prompt": [1, 2]}, "one prompt a request"),
        ("completions", {"model": "letters", "prompt": "a", "echo": True}, "doesn't repeat the prompt"),
        ("completions", {"model": "letters", "prompt": "a", "best_of": 2}, "'best_of' can only be 1"),
        ("completions", {"model": "letters", "prompt": "a", "logprobs": 1}, "no probabilities"),
        ("completions", {"model": "letters", "prompt": "a", "tools": []}, "no parameter 'tools'"),
        ("embeddings", {"model": "vectors"}, "'input' is a text or a list of 1 to 2048 texts, not None"),
        ("embeddings", {"model": "vectors", "input": []}, "a text or a list of 1 to 2048 texts, not []"),
        ("embeddings", {"model": "vectors", "input": [1, 2]}, "tokens aren't supported"),
        ("embeddings", {"model": "vectors", "input": "a", "dimensions": 8}, "leave 'dimensions' out"),
        ("embeddings", {"model": "vectors", "input": "a", "encoding_format": "hex"}, "float or base64, not 'hex'"),
        ("embeddings", {"model": "letters", "input": "a"}, "its graph needs the option embedding = true"),
        ("embeddings", {"model": "net", "input": "a"}, "is no language model"),
        ("embeddings", b"{", "the request isn't JSON"),
        ("completions", [], "the request is an object of JSON, not []"),
        ("chat/completions", b"[" * 15_000, "the JSON is nested too deeply"),
    ],
)
def test_other_wrong_requests(server: RunningServer, path: str, request_: Any, words: str) -> None:
    status, answer, _ = server.ask("POST", f"/v1/{path}", request_)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), answer
    assert words in answer["error"]["message"]


def test_what_the_client_makes_of_errors(server: RunningServer, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.completions.create(model="leters", prompt="a")
    assert raised.value.body == {
        "message": "no model is named 'leters'; did you mean letters?",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    with pytest.raises(openai.APIStatusError) as too_large:
        client.completions.create(model="letters", prompt="a" * 500_000)
    assert too_large.value.status_code == 413
    status, answer, _ = server.ask("GET", "/v1/nothing")
    assert (status, answer["error"]["message"]) == (404, 'no such path: "/v1/nothing"')


def test_a_token_is_needed_where_there_are_some(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("a-token-of-some-length\n")
    with RunningServer({"letters": ggml_models.steady()}, token_file=file) as server:
        with client_of(server) as client, pytest.raises(openai.AuthenticationError, match="isn't known here"):
            client.models.list()
        with client_of(server, "a-token-of-some-length") as client:
            assert client.completions.create(model="letters", prompt="a", max_tokens=1).choices[0].text == "b"


ENDLESS: dict[str, Any] = {"model": "slow", "prompt": "a", "max_tokens": 10**6, "stream": True}


def endless_graphs() -> dict[str, Any]:
    """A model that writes one text at a time, of 200,000 tokens, which takes longer than any test."""
    model = ggml_models.steady(**{"llama.context_length": 1 << 18})
    return {"slow": wasi_nn.NamedGraph(model, options={"n-parallel": 1, "ctx-size": 200_000, "ignore-eos": True})}


def stream_of(server: RunningServer) -> socket.socket:
    """A connection of a client that has received the beginning of a text."""
    body = json.dumps(ENDLESS).encode()
    connection = socket.create_connection(server.address)
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    received = b""
    while b"data: " not in received:
        received += connection.recv(65536)
    return connection


def texts_now(server: RunningServer) -> dict[str, float]:
    """The gauges of texts."""
    metrics = server.ask("GET", "/metrics")[1].decode()
    named = (line.split() for line in metrics.splitlines() if line.startswith("wasi_nn_") and "_texts{" in line)
    return {name.partition("{")[0]: float(value) for name, value in named}


def test_a_client_that_goes_ends_its_text_and_a_full_queue_refuses() -> None:
    short = {"model": "slow", "prompt": "a", "max_tokens": 1}
    with RunningServer(endless_graphs(), limits=SMALL) as server, ThreadPoolExecutor(1) as threads:
        with stream_of(server):
            waiting = threads.submit(server.ask, "POST", "/v1/completions", short)
            while texts_now(server) != {"wasi_nn_queue_texts": 1, "wasi_nn_running_texts": 1}:
                pass
            status, answer, headers = server.ask("POST", "/v1/completions", short)
            assert (status, answer["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "1")
            assert not waiting.done()
        status, answer, _ = waiting.result()  # the slot is free, since the stream's client has gone
        assert (status, answer["choices"][0]["text"]) == (200, "b")


def test_the_end_of_the_time_is_the_last_event_of_a_stream() -> None:
    limits = ServingLimits(request_time=1)
    with RunningServer(endless_graphs(), limits=limits) as server, client_of(server) as client:
        got: list[str] = []
        with pytest.raises(openai.APIError, match="the text didn't end within the request's time, 1 s"):
            got.extend(chunk.choices[0].text for chunk in client.completions.create(**ENDLESS))
        assert "bcdef".startswith("".join(got)[:5])  # on a machine that is busy, maybe nothing yet
        status, answer, _ = server.ask("POST", "/v1/completions", {**ENDLESS, "stream": False})
        assert (status, answer["error"]["type"]) == (504, "server_error")
        assert texts_now(server)["wasi_nn_queue_texts"] == 0


def test_metrics(server: RunningServer, client: openai.OpenAI) -> None:
    before = counts(server)
    client.chat.completions.create(model="letters", messages=said("a"), max_tokens=4)
    after = counts(server)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown == {
        "wasi_nn_time_to_first_token_seconds_count": 1,
        "wasi_nn_inter_token_seconds_count": 3,
        "wasi_nn_prompt_tokens_total": 7,
        "wasi_nn_generated_tokens_total": 4,
    }


def counts(server: RunningServer) -> dict[str, float]:
    """The counts of the tokens of `letters`."""
    lines = server.ask("GET", "/metrics")[1].decode().splitlines()
    named = [line.split() for line in lines if '{model="letters"}' in line]
    return {
        name.partition("{")[0]: float(value)
        for name, value in named
        if "token" in name and not name.partition("{")[0].endswith(("_sum", "_created", "_bucket"))
    }


def test_an_isolated_model() -> None:
    rules = wasi_nn.LoadRules(isolate=True)
    with RunningServer(wasi_nn.Registry({"letters": graphs()["letters"]}, rules=rules)) as server:
        with client_of(server) as client:
            stream = client.chat.completions.create(model="letters", messages=said("a"), max_tokens=4, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "bcde"


def test_a_client_of_asyncio(server: RunningServer) -> None:
    async def chat() -> str:
        host, port = server.address
        async with openai.AsyncOpenAI(base_url=f"http://{host}:{port}/v1", api_key="none") as client:
            answer = await client.chat.completions.create(model="letters", messages=said("a"), max_tokens=2)
            return answer.choices[0].message.content or ""

    assert asyncio.run(chat()) == "bc"
