"""Language models on servers that speak OpenAI's API: the same texts as here, streams, conversations, limits, and
servers that answer arbitrary bytes."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving
from checks import on_threads, refused
from conftest import C_GUESTS, need, need_command
from remote_servers import HttpFake, event, make_certificate, send_events, send_json, text_events

import wasi_nn
from wasi_nn import ErrorCode, Graph, Host, Limits, NNError, Registry, Session
from wasi_nn.cli import main
from wasi_nn.errors import Busy, ModelNotFound, PromptTooLong

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models  # noqa: E402

CHAT = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
TOKEN = "a-token-of-sixteen-characters-or-more"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that writes the alphabet, a token, and a certificate with its key."""
    need_command("openssl", "openssl")
    made = tmp_path_factory.mktemp("language")
    (made / "llm.gguf").write_bytes(ggml_models.steady(**{"tokenizer.chat_template": CHAT}))
    (made / "token").write_text(TOKEN)
    make_certificate(made)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[serving.Command]:
    """The command `wasi-nn serve` in a process of its own."""
    with serving.command("--graph", f"llm={folder / 'llm.gguf'}") as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="module")
def address(server: serving.Command) -> str:
    host, port = server.http
    return f"openai+http://{host}:{port}/v1#llm"


@pytest.fixture(scope="module")
def here(folder: Path) -> Graph:
    return wasi_nn.load(folder / "llm.gguf")


@pytest.fixture
def fake() -> Iterator[HttpFake]:
    with HttpFake() as made:
        yield made


def at(fake: HttpFake, model: str = "llm") -> str:
    return f"openai+http://127.0.0.1:{fake.port}/v1#{model}"


def written(graph: Graph, prompt: str = "a", **options: Any) -> tuple[str, dict[str, Any]]:
    """The text that a graph writes after a prompt, and its metadata. Options have `_` for `-`."""
    given: dict[str, Any] = {}
    if options:
        given["options"] = {name.replace("_", "-"): value for name, value in options.items()}
    outputs = graph.compute({"prompt": prompt, **given})
    return outputs["response"].tobytes().decode(), json.loads(outputs["metadata"].tobytes())


def pieces(graph: Graph, prompt: bytes = b"a", **options: Any) -> tuple[list[str], dict[str, Any], bool]:
    """The pieces of a text, its metadata, and whether it ended because the context was full."""
    context = graph.init_execution_context()
    context.set_input("prompt", prompt)
    context.set_input(
        "options", json.dumps({name.replace("_", "-"): value for name, value in options.items()}).encode()
    )
    parts = [piece.tobytes().decode() for piece in context.pieces()]
    return parts, json.loads(context.get_output(1).tobytes()), context.context_full


# The same texts as here


def test_a_text_is_the_same_as_here(here: Graph, address: str) -> None:
    there = wasi_nn.load(address)
    assert (there.encoding, there.runtime, there.device) == (here.encoding, "openai", "remote")
    assert [info.name for info in (*there.inputs, *there.outputs)] == [
        info.name for info in (*here.inputs, *here.outputs)
    ]
    for options in ({"n_predict": 5}, {"n_predict": 12, "reverse_prompt": "h"}, {"n_predict": 0}):
        text, about = written(here, "xyz", **options)
        text_there, about_there = written(there, "xyz", **options)
        assert text_there == text
        if options["n_predict"] == 5:
            assert about_there == {name: about[name] for name in ("input_tokens", "output_tokens")}


def test_a_text_piece_by_piece(here: Graph, address: str) -> None:
    expected, about, _ = pieces(here, b"k", n_predict=6)
    found, about_there, is_full = pieces(wasi_nn.load(address), b"k", n_predict=6)
    assert "".join(found) == "".join(expected) == "lmnopq"
    assert len(found) == 6
    assert about_there == {name: about[name] for name in ("input_tokens", "output_tokens")}
    assert not is_full


def test_a_context_that_is_full(address: str) -> None:
    graph = wasi_nn.load(address, options={"max-predict": 100_000})
    parts, about, is_full = pieces(graph, b"a" * 200)
    assert is_full
    assert about["output_tokens"] == len(parts) < 100
    with pytest.raises(PromptTooLong):
        written(graph, "a" * 1000)


def test_guests_run_unmodified(folder: Path, address: str) -> None:
    outputs = []
    for source in (folder / "llm.gguf", address):
        with Host({"llm": source}, cache=False) as host:
            chat = host.run(
                C_GUESTS / "chat.wasm", ["--graph", "llm", "--options", '{"n-predict": 7}', "abc"], capture_output=True
            )
            options = '{"n-predict": 7}'
            stream = host.run(
                C_GUESTS / "stream.wasm", ["--graph", "llm", "--options", options, "abc"], capture_output=True
            )
            component = host.run(
                C_GUESTS.parent / "component" / "stream.wasm", ["llm", "abc", options], capture_output=True
            )
        runs = (chat, stream, component)
        assert [run.exit_code for run in runs] == [0, 0, 0], [run.stderr for run in runs]
        outputs.append([run.stdout for run in runs])
    assert outputs[0] == outputs[1]
    assert all(b"defghij" in output for output in outputs[0][1:])  # chat has a prompt of its own


def test_options_as_a_configuration(address: str) -> None:
    graph = wasi_nn.load(address)
    assert written(graph.configured(memoryview(b'{"n-predict": 3}')))[0] == "bcd"
    assert graph.configured(memoryview(b"")) is graph
    refused(ErrorCode.INVALID_ENCODING, "aren't JSON", graph.configured, memoryview(b"{"))


def test_a_text_on_standard_output(address: str) -> None:
    graph = wasi_nn.load(address)
    context = graph.init_execution_context()
    shown: list[bytes] = []
    context.show_to(shown.append)
    context.set_input("prompt", b"a")
    context.set_input("options", b'{"n-predict": 3, "stream-stdout": true}')
    context.compute()
    assert b"".join(shown) == b"bcd"


def test_conversations(here: Graph, address: str) -> None:
    with_template, about = written(here, "<user>g", n_predict=3)
    graph = wasi_nn.load(address, options={"chat": True})
    assert written(graph, "g", n_predict=3) == (
        with_template,
        {name: about[name] for name in ("input_tokens", "output_tokens")},
    )
    messages = [{"role": "user", "content": "g"}]
    assert written(wasi_nn.load(address), "", n_predict=3, messages=messages)[0] == with_template
    refused(ErrorCode.INVALID_ARGUMENT, "a list of 1 to 4096 objects", written, graph, "g", messages=["a"])


def test_a_server_in_front_of_another(address: str) -> None:
    import openai

    with serving.RunningServer({"front": address}) as front:
        host, port = front.address
        client = openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key="none", max_retries=0)
        with client:
            whole = client.completions.create(model="front", prompt="abc", max_tokens=4)
            assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("defg", "length")
            assert whole.usage is not None
            assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4, 4)
            said: list[Any] = [{"role": "user", "content": "m"}]
            chunks = client.chat.completions.create(model="front", messages=said, max_tokens=3, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "nop"
            with pytest.raises(openai.BadRequestError) as raised:
                client.completions.create(model="front", prompt="a" * 1000)
            assert raised.value.code == "context_length_exceeded"


def test_the_server_of_llama_cpp(here: Graph, folder: Path) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(folder / "llm.gguf")
    parameters.n_parallel, parameters.warmup, parameters.verbosity = 1, False, -1
    server = xllamacpp.Server(parameters)
    there = wasi_nn.load(f"openai+{server.listening_address}")
    for options in ({"n_predict": 5}, {"n_predict": 12, "reverse_prompt": "h"}):
        assert written(there, "xyz", **options)[0] == written(here, "xyz", **options)[0]
    assert pieces(there, b"k", n_predict=4) == (list("lmno"), {"input_tokens": 2, "output_tokens": 4}, False)
    with pytest.raises(PromptTooLong):
        written(there, "a" * 2000)


def test_embeddings(folder: Path) -> None:
    vectors = wasi_nn.NamedGraph(folder / "llm.gguf", options={"embedding": True})
    with serving.RunningServer({"llm": vectors}) as running:
        address = f"openai+http://{running.address[0]}:{running.address[1]}/v1#llm"
        here, there = running.registry.get("llm"), wasi_nn.load(address, options={"embedding": True})
        for prompt, options in (("abc", {}), ('["abc", "d"]', {"batch": True, "embd_normalize": 2})):
            text, about = written(here, prompt, **options)
            text_there, about_there = written(there, prompt, **options)
            expected, found = json.loads(text), json.loads(text_there)
            assert found.keys() == expected.keys()
            (name,) = found.keys() - {"n_embedding"}
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
            assert about_there["input_tokens"] == about["input_tokens"]
        refused(ErrorCode.UNSUPPORTED_OPERATION, "all at once", pieces, there)
        refused(ErrorCode.INVALID_ARGUMENT, "must be a list of texts", written, there, "abc", batch=True)
        refused(ErrorCode.INVALID_ARGUMENT, "has 0 texts", written, there, "[]", batch=True)
        refused(ErrorCode.UNSUPPORTED_OPERATION, "'embd-normalize'", written, there, "abc", embd_normalize=1)
        with serving.RunningServer({"front": wasi_nn.NamedGraph(address, options={"embedding": True})}) as front:
            status, content, _ = front.ask("POST", "/v1/embeddings", {"model": "front", "input": ["abc", "d"]})
            assert (status, len(content["data"])) == (200, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "there aren't 1 embeddings"),
        ([], "there aren't 1 embeddings"),
        ([3], "no index of a text"),
        ([{"index": 1, "embedding": [1]}], "no index of a text"),
        ([{"index": 0, "embedding": "AAAA"}], "no list of numbers"),
        ([{"index": 0, "embedding": []}], "no list of numbers"),
        ([{"index": 0, "embedding": [float("nan")]}], "no list of numbers"),
        ([{"index": 0, "embedding": [True]}], "no list of numbers"),
    ],
)
def test_wrong_embeddings(data: Any, words: str, fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake), options={"embedding": True})
    fake.answer = lambda handler: send_json(handler, 200, {"data": data})
    refused(ErrorCode.RUNTIME_ERROR, f"the server sent a wrong answer: .*{words}", written, graph)
    fake.answer = lambda handler: send_json(
        handler, 200, {"data": [{"index": 0, "embedding": [1]}], "usage": {"prompt_tokens": "1"}}
    )
    refused(ErrorCode.RUNTIME_ERROR, "the numbers of tokens are none", written, graph)


# Names and models


def test_the_model_of_an_address(fake: HttpFake) -> None:
    assert written(wasi_nn.load(at(fake).removesuffix("#llm")))[0] == "ab"
    assert (fake.requests[0][0], fake.requests[0][1]["model"]) == ("/v1/completions", "llm")
    wasi_nn.load(f"openai+http://127.0.0.1:{fake.port}")
    with pytest.raises(ModelNotFound, match="no model is named 'meta/other'; there are llm"):
        wasi_nn.load(at(fake, "meta/other"))
    fake.models = {"data": [{"id": "a"}, {"id": "b"}]}
    with pytest.raises(ModelNotFound, match="the address names no model after a #; there are a, b"):
        wasi_nn.load(at(fake).removesuffix("#llm"))


@pytest.mark.parametrize("models", [[], {"data": 3}, {"data": [3]}, {}])
def test_lists_of_models_that_are_none(models: Any, fake: HttpFake) -> None:
    fake.models = models
    with pytest.raises(NNError) as raised:
        wasi_nn.load(at(fake))
    assert raised.value.code in (ErrorCode.NOT_FOUND, ErrorCode.RUNTIME_ERROR)


def test_the_command_shows_what_is_elsewhere(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graphs", "--graph", f"llm={address}", "--isolate", "--check"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"llm ggml openai remote {address} (on another server, never isolated): loaded in" in shown


# Parameters


def test_options_become_parameters(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake), options={"extra": {"temperature": 0.1, "repetition_penalty": 1.5}})
    options = {
        "temp": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "min_p": 0.1,
        "n_predict": 9,
        "ctx_size": 512,
        "reverse_prompt": "q",
    }
    written(graph, "hello", **options, presence_penalty=0.1, frequency_penalty=0.2, seed=7)
    assert fake.requests[0][1] == {
        "model": "llm",
        "prompt": "hello",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "min_p": 0.1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "stop": ["q"],
        "repetition_penalty": 1.5,
    }
    written(graph, "hello", seed=-1, n_predict=-1)
    body = fake.requests[1][1]
    assert (body["max_tokens"], body["temperature"], "seed" in body, "stop" in body) == (1024, 0.1, False, False)
    written(graph)
    assert fake.requests[2][1]["seed"] == 0


def test_options_that_have_no_parameter(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake), options={"ignore": ["mirostat"]})
    for name, value in (("repeat-penalty", 1.1), ("grammar", "root ::= a"), ("json-schema", {}), ("embedding", True)):
        refused(ErrorCode.UNSUPPORTED_OPERATION, f"option '{name}' has no effect", written, graph, **{name: value})
    written(graph, mirostat=2, embedding=False, grammar="")
    refused(ErrorCode.INVALID_ARGUMENT, "option 'temp' of ggml can't be", written, graph, temp="hot")
    context = graph.init_execution_context()
    refused(ErrorCode.INVALID_ENCODING, "aren't JSON", context.set_input, "options", b"\xff")
    refused(ErrorCode.INVALID_ARGUMENT, "isn't UTF-8", graph.compute, {"prompt": b"\xff"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra": {"stream": False}}, "option 'extra' of models at openai"),
        ({"extra": {"a": float("nan")}}, "option 'extra' of models at openai"),
        ({"max-predict": 0}, "a whole number from 1"),
        ({"n-predict": 1}, "no option 'n-predict'"),
        ({"ignore": "temp"}, "a list of names"),
    ],
)
def test_options_of_an_operator_that_are_wrong(options: dict[str, Any], words: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, words, Registry, {"m": wasi_nn.NamedGraph("openai+http://a", options=options)})


# Credentials


def test_tls_and_tokens(here: Graph, folder: Path) -> None:
    settings: dict[str, Any] = {"tls": (folder / "cert.pem", folder / "key.pem"), "token_file": folder / "token"}
    with serving.RunningServer({"llm": here}, **settings) as running:
        host, port = running.address
        address, trusting = f"openai+https://{host}:{port}/v1#llm", {"ca-file": str(folder / "cert.pem")}
        graph = wasi_nn.load(address, options=trusting | {"token-file": str(folder / "token")})
        assert written(graph, n_predict=3)[0] == "bcd"
        refused(ErrorCode.SECURITY, "token", wasi_nn.load, address, options=trusting)
        refused(ErrorCode.RUNTIME_ERROR, "CERTIFICATE_VERIFY_FAILED", wasi_nn.load, address)
    key = folder / "broken.pem"
    key.write_text("no key")
    refused(
        ErrorCode.RUNTIME_ERROR,
        "the certificates of this client can't be used",
        wasi_nn.load,
        address,
        options={"cert-file": str(folder / "cert.pem"), "key-file": str(key)},
    )


def test_a_token_is_never_shown(fake: HttpFake, folder: Path) -> None:
    graph = wasi_nn.load(at(fake), options={"token-file": str(folder / "token")})
    fake.answer = lambda handler: send_json(
        handler, 403, {"error": {"message": f"not {handler.headers['Authorization']}"}}
    )
    refused(ErrorCode.SECURITY, r": not Bearer \[token\]$", written, graph)
    fake.answer = lambda handler: handler.wfile.write(f"it was {TOKEN}\r\n".encode())  # no line of HTTP
    refused(ErrorCode.RUNTIME_ERROR, r": it was \[token\]$", written, graph)
    fake.models = {"data": [{"id": "a"}, {"id": TOKEN}]}
    options = {"token-file": str(folder / "token")}
    refused(ErrorCode.NOT_FOUND, r"there are a, \[token\]$", wasi_nn.load, at(fake), options=options)
    assert TOKEN not in repr(graph.__dict__)
    with pytest.raises(NNError, match="without encryption") as raised:
        wasi_nn.load("openai+http://server.invalid#m", options={"token-file": str(folder / "token")})
    assert raised.value.code is ErrorCode.SECURITY


def test_redirects_and_proxies_are_not_followed(fake: HttpFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_json(handler, 307, {}, Location=f"http://127.0.0.1:{fake.port}/v1/other")
    refused(ErrorCode.RUNTIME_ERROR, "redirects aren't followed", written, graph)
    assert len(fake.requests) == 1


# Errors, and servers that go


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, ErrorCode.INVALID_ARGUMENT, NNError),
        (401, ErrorCode.SECURITY, NNError),
        (404, ErrorCode.NOT_FOUND, NNError),
        (413, ErrorCode.TOO_LARGE, NNError),
        (429, ErrorCode.RUNTIME_ERROR, Busy),
        (500, ErrorCode.RUNTIME_ERROR, NNError),
        (504, ErrorCode.TIMEOUT, NNError),
    ],
)
@pytest.mark.parametrize(
    "content", [{"error": {"message": "so\nit is"}}, {"error": "so it is"}, {"detail": "so it is"}]
)
def test_errors_of_a_server(status: int, code: ErrorCode, kind: type[NNError], content: Any, fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_json(handler, status, content)
    with pytest.raises(kind, match=r"so it is$") as raised:
        written(graph)
    assert raised.value.code is code
    fake.answer = lambda handler: send_json(handler, status, [1])
    refused(code, f"HTTP status {status}", written, graph)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded", "message": "no"},
        {"type": "exceed_context_size_error", "message": "no"},
        {"message": "This model's maximum context length is 256 tokens. However, you requested 300"},
    ],
)
def test_a_prompt_that_is_too_long_for_a_server(error: Any, fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_json(handler, 400, {"error": error})
    with pytest.raises(PromptTooLong):
        written(graph)


def test_a_server_that_is_not_ready_is_asked_twice(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_json(handler, 503, {"error": "loading"})
    refused(ErrorCode.RUNTIME_ERROR, "loading", written, graph)
    assert len(fake.requests) == 2


def test_another_server_writes_the_text(fake: HttpFake) -> None:
    with HttpFake() as other:
        graph = wasi_nn.load([at(other), at(fake)])
        assert written(graph)[0] == "ab"
        other.answer = lambda handler: handler.close_connection  # it closes the connection and answers nothing
        assert written(graph)[0] == "ab"
        assert (len(other.requests), len(fake.requests)) == (2, 1)
    assert written(graph)[0] == "ab"  # with the connection refused
    with pytest.raises(NNError, match=r"http://127\.0\.0\.1:1 can't be reached: "):
        wasi_nn.load("openai+http://127.0.0.1:1/v1#llm")


def test_a_text_that_has_begun_is_not_begun_again(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_events(handler, text_events("ab")[:1])
    refused(ErrorCode.RUNTIME_ERROR, "the text ended without a reason", written, graph)
    assert len(fake.requests) == 1


def test_texts_at_once_survive_a_server_that_goes(here: Graph, address: str) -> None:
    with serving.RunningServer({"llm": here}) as first:
        addresses = [f"openai+http://{first.address[0]}:{first.address[1]}/v1#llm", address]
        graph = wasi_nn.load(addresses, options={"balance": "rotate"})
        on_threads(lambda _: written(graph, n_predict=4)[0] == "bcde" or pytest.fail("another text"), 2)
    on_threads(lambda _: written(graph, n_predict=4)[0] == "bcde" or pytest.fail("another text"), 4)


# Time


def endless(handler: Any) -> None:
    send_events(handler, text_events("a")[:1])
    handler.server.began.set()
    while True:  # until the client closes the connection
        handler.wfile.write(b": a comment\n")
        time.sleep(0.005)


@pytest.fixture
def slow(fake: HttpFake) -> HttpFake:
    fake._server.began = threading.Event()  # type: ignore[attr-defined]
    fake.answer = endless
    return fake


def test_a_stream_that_never_ends(slow: HttpFake) -> None:
    session = Session({"llm": at(slow)}, limits=Limits(compute_time=0.3))
    context = session.init_execution_context(session.load_by_name("llm"))
    session.set_input(context, 0, b"a")
    refused(ErrorCode.TIMEOUT, "the compute took longer than 0.3 s|within the compute's time", session.compute, context)
    refused(ErrorCode.TIMEOUT, "didn't answer within 0.2 s", written, wasi_nn.load(at(slow), options={"timeout": 0.2}))
    small = wasi_nn.load(at(slow), options={"max-answer-bytes": 300})
    refused(ErrorCode.TOO_LARGE, "more than 300 bytes", written, small)


def test_a_text_is_interrupted(slow: HttpFake) -> None:
    context = wasi_nn.load(at(slow)).init_execution_context()
    context.set_input("prompt", b"a")
    parts = context.pieces()
    assert next(parts).tobytes() == b"a"
    timer = threading.Timer(0.1, context.interrupt)
    timer.start()
    with pytest.raises(NNError) as raised:
        next(parts)
    assert raised.value.code is ErrorCode.TIMEOUT
    timer.join()
    slow.answer = lambda handler: send_events(handler, text_events("ab"))
    assert b"".join(part.tobytes() for part in context.pieces()) == b"ab"  # the next one runs as usual


def test_a_text_that_nobody_reads_further_ends_there(slow: HttpFake) -> None:
    ended = threading.Event()

    def answer(handler: Any) -> None:
        try:
            endless(handler)
        except OSError:
            ended.set()

    slow.answer = answer
    context = wasi_nn.load(at(slow)).init_execution_context()
    context.set_input("prompt", b"a")
    context.compute_single()
    context.fini_single()
    assert ended.wait(60)


def test_a_run_that_is_stopped_ends_its_text(slow: HttpFake) -> None:
    with Host({"llm": at(slow)}, cache=False) as host:
        run = host.start(C_GUESTS / "chat.wasm", ["--graph", "llm", "abc"])
        assert slow._server.began.wait(60)  # type: ignore[attr-defined]
        run.stop("enough")
        with suppress(wasi_nn.GuestStopped):  # unless the guest itself ends after the error
            run.wait()


def test_headers_that_come_byte_by_byte(fake: HttpFake) -> None:
    def answer(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nA: ")
        while True:  # until the client closes the connection
            handler.wfile.write(b"a")
            time.sleep(0.005)

    fake.answer = answer
    graph = wasi_nn.load(at(fake), options={"timeout": 0.3})
    refused(ErrorCode.TIMEOUT, "didn't answer within 0.3 s", written, graph)


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"openai+http://127.0.0.1:{listening.getsockname()[1]}/v1#llm"
        session = Session({"llm": address}, limits=Limits(load_time=0.3))
        refused(ErrorCode.TIMEOUT, "longer than 0.3 s", session.load_by_name, "llm")


# Servers that answer anything


def chunk(**choice: Any) -> bytes:
    return event({"choices": [choice]})


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "the text ended without a reason"),
        ([b"data: {\n\n"], "it isn't JSON"),
        ([b"data: [1]\n\n"], "it is no object of JSON"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], "it isn't JSON"),
        ([event({"choices": [3]})], "an event has no text"),
        ([event({"choices": {"a": 1}})], "an event has no text"),
        ([chunk(delta=None)], "an event has no text"),
        ([chunk(text=3)], "the text of an event is none"),
        ([chunk(text="a", finish_reason=3)], "the text of an event is none"),
        ([event({"choices": [], "usage": {"prompt_tokens": -1}})], "the numbers of tokens are none"),
        ([event({"choices": [], "usage": {"completion_tokens": "1"}})], "the numbers of tokens are none"),
        (text_events("abcde"), "it has more than 4 tokens"),
        ([event({"error": {"message": "out of memory"}})], "out of memory"),
        ([b"data: " + b"x" * (2 << 20)], "more than 1048576 bytes"),
    ],
)
def test_wrong_streams(events: list[bytes], words: str, fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: send_events(handler, events)
    with pytest.raises(NNError, match=words) as raised:
        written(graph, n_predict=4)
    assert raised.value.code in (ErrorCode.RUNTIME_ERROR, ErrorCode.TOO_LARGE)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        b"no http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_answers_that_are_no_http(answer: bytes, fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    fake.answer = lambda handler: handler.wfile.write(answer)
    with pytest.raises(NNError) as raised:
        written(graph)
    assert raised.value.code is ErrorCode.RUNTIME_ERROR
    assert str(raised.value).isprintable()


def test_events_in_any_parts_and_forms(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    stream = b"".join(
        [
            b": hello\r\nid: 1\r\nevent: x\r\n",
            event({"choices": [{"delta": {"role": "assistant"}}]}),
            event({"choices": [{"delta": {"content": "\ud800sch\u00f6n"}, "index": 0}]}).replace(b"\n", b"\r\n"),
            event({"choices": [{"delta": {"content": None}, "finish_reason": "stop"}], "usage": None}),
            event({"choices": [], "usage": usage}),
            b"data:[DONE]\n\ndata: {never read",
        ]
    )
    fake.answer = lambda handler: send_events(handler, [stream[n : n + 1] for n in range(len(stream))])
    assert written(graph) == ("?schön", {"input_tokens": 3, "output_tokens": 5})
    parts, about, is_full = pieces(graph)
    assert (parts, about["output_tokens"], is_full) == (["?schön", "", "", ""], 5, False)


def test_texts_without_numbers_of_tokens(fake: HttpFake) -> None:
    graph = wasi_nn.load(at(fake))
    assert written(graph)[1] == {"input_tokens": 0, "output_tokens": 2}
    fake.answer = lambda handler: send_events(handler, text_events("ab", "stop"))
    assert pieces(graph)[:2] == (["a", "b"], {"input_tokens": 0, "output_tokens": 3})
