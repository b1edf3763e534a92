"""Chat templates on the server: the values that they get, and the bounds of a hostile one. And the stops of texts."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ggml_models
import pytest
from hypothesis import given, strategies
from serving import RunningServer

import wasi_nn
from wasi_nn.backends.ggml.chat_format import ChatFormat, read_chat_format
from wasi_nn.errors import NNError
from wasi_nn.isolation.worker import sandbox
from wasi_nn.process.processes import python_command
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.texts import chat_template
from wasi_nn.serving.texts.chat_template import ChatTemplate
from wasi_nn.serving.texts.stops import StopFilter

MESSAGES = [{"role": "user", "content": "a"}]
LOOP, END = "{% for a in range(99999) %}", "{% endfor %}"
ENDLESS = 4 * LOOP + 4 * END


def rendered(
    template: str, *conversations: Any, begin: str = "<s>", has_begin: bool = False
) -> list[str | ServingError]:
    """The prompts for conversations by one template, or their errors."""

    async def render() -> list[str | ServingError]:
        made = ChatTemplate(ChatFormat(template, begin, "</s>", has_begin))
        results: list[str | ServingError] = []
        try:
            for messages in conversations or [MESSAGES]:
                try:
                    results.append(await made.render(messages))
                except ServingError as error:
                    results.append(error)
        finally:
            await made.close()
        return results

    return asyncio.run(render())


def failure_of(template: str) -> ServingError:
    """The error of a template."""
    (error,) = rendered(template)
    assert isinstance(error, ServingError), error
    return error


def test_what_a_template_gets() -> None:
    template = """
        {%- for message in messages if message['role'] != 'system' %}
            {{- bos_token + message['role'] + ':' + message['content'] | trim + eos_token }}
            {%- if loop.last %}{% break %}{% endif %}
        {%- endfor %}
        {%- if add_generation_prompt and not tools and not documents %}|{{ {'é': [1]} | tojson }}{% endif %}
        {%- if strftime_now('%Y') | int > 2000 %}!{% endif %}"""
    conversation = [{"role": "system", "content": "x"}, {"role": "user", "content": " é\U0001f600 "}]
    assert rendered(template, conversation) == ['<s>user:é\U0001f600</s>|{"é": [1]}!']


def test_conversations_come_one_after_another_and_keep_nothing() -> None:
    template = "{% set n = namespace(x=0) %}{% set n.x = n.x + 1 %}{{ n.x }}{{ messages | length }}"
    assert rendered(template, [], MESSAGES, MESSAGES * 2) == ["10", "11", "12"]


@pytest.mark.parametrize(("has_begin", "prompt"), [(True, "a<s>"), (False, "<s>a<s>")])
def test_the_token_that_begins_a_text_comes_once(has_begin: bool, prompt: str) -> None:
    assert rendered("{{ bos_token }}a{{ bos_token }}", has_begin=has_begin) == [prompt]


def test_a_template_that_refuses_a_conversation() -> None:
    error = failure_of("{{ raise_exception('roles\n must ' ~ 'alternate') }}")
    assert (error.reason, error.message) == (
        Reason.INVALID,
        "the model's chat template refuses the messages: roles must alternate",
    )


HOSTILE = {
    "no template": ("{% for %}", "it isn't a template"),
    "a text of 10 GB": ("{{ 'a' * 10**10 }}", "MemoryError"),
    "a text that doubles": (
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "MemoryError",
    ),
    "a long prompt": ("{{ 'a' * 5000000 }}", "the prompt has 5000000 characters, and at most 4194304 are allowed"),
    "a large number": ("{{ 10 ** (10 ** 10) }}", ""),
    "a large range": ("{% for i in range(10**9) %}a{% endfor %}", "Range too big"),
    "Python's objects": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "Python's objects by a filter": ("{{ ('' | attr('__class__')).__mro__ }}", "unsafe"),
    "by a format": ("{{ '{0.__class__.__mro__}'.format('') }}", "unsafe"),
    "by a function's globals": ("{{ raise_exception.__globals__.os }}", "unsafe"),
    "a change of the messages": ("{{ messages.append(1) }}", "unsafe"),
    "an import": ("{% include '/etc/passwd' %}", "no loader"),
    "endless recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    "half a character": ("{{ '\\ud800' }}", "half a character"),
    "an unknown name": ("{{ a.b }}", "'a' is undefined"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_template_gets_an_error(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 2.0)  # for the large number
    template, words = HOSTILE[hostile]
    error = failure_of(template)
    assert error.reason is Reason.FAILED
    assert error.message.startswith("the model's chat template ")
    assert words in error.message
    assert "\n" not in error.message


def test_an_endless_template_is_ended_and_the_next_conversation_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 1.0)
    first, second, third = rendered("{% if messages %}" + ENDLESS + "{% endif %}a", [], MESSAGES, [])
    assert (first, third) == ("a", "a")
    assert isinstance(second, ServingError)
    assert second.message == "the model's chat template didn't end within 1 s"


def test_an_endless_template_holds_up_its_own_model_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 3.0)
    graphs = {
        "endless": ggml_models.steady(**{"tokenizer.chat_template": ENDLESS}),
        "letters": ggml_models.steady(**{"tokenizer.chat_template": "{{ messages[0].content }}"}),
    }
    request = {"model": "letters", "messages": MESSAGES, "max_tokens": 2}
    with RunningServer(graphs) as server, ThreadPoolExecutor(2) as threads:
        hostile = [
            threads.submit(server.ask, "POST", "/v1/chat/completions", request | {"model": "endless"}) for _ in range(2)
        ]
        for _ in range(3):
            status, answer, _ = server.ask("POST", "/v1/chat/completions", request)
            assert (status, answer["choices"][0]["message"]["content"]) == (200, "bc")
        for asked in hostile:
            status, answer, _ = asked.result()
            assert (status, answer["error"]["message"]) == (500, "the model's chat template didn't end within 3 s")


CONFINED = """
import os, socket, sys
from wasi_nn.serving.texts import render_process
def main(lifeline, folder):
    render_process.confine(int(lifeline), 2**28)
    allowed = []
    for name, attempt in {
        "read": lambda: open(f"{folder}/secret"),
        "write": lambda: open(f"{folder}/new", "w"),
        "connect": lambda: socket.create_connection(("127.0.0.1", 1)),
        "fork": os.fork,
        "memory": lambda: bytearray(2**30),
    }.items():
        try:
            attempt()
            allowed.append(name)
        except (PermissionError, MemoryError):
            pass
    print(allowed)
"""


@pytest.mark.skipif(bool(sandbox.unavailable()), reason=sandbox.unavailable())
def test_the_process_that_renders_reaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "confined_program.py").write_text(CONFINED)
    (tmp_path / "secret").write_text("a")
    held, lifeline = os.pipe()
    monkeypatch.syspath_prepend(tmp_path)
    command = python_command("confined_program:main", held, tmp_path)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, pass_fds=(held,), check=True)
    finally:
        os.close(held)
        os.close(lifeline)
    assert ended.stdout == "[]\n", ended.stderr


def test_the_form_of_a_conversation_is_in_the_header() -> None:
    keys: dict[str, Any] = {"tokenizer.chat_template": "{{ 'a' }}"}
    assert read_chat_format(memoryview(ggml_models.tiny(**keys))) == ChatFormat("{{ 'a' }}", "<s>", "</s>", True)
    without = keys | {"tokenizer.ggml.add_bos_token": False}
    assert read_chat_format(memoryview(ggml_models.tiny(**without))) == ChatFormat("{{ 'a' }}", "<s>", "</s>", False)
    assert read_chat_format(memoryview(ggml_models.tiny())) is None
    long = {"tokenizer.chat_template": "a" * (2**20 + 1)}
    assert read_chat_format(memoryview(ggml_models.tiny(**long))) is None


@pytest.mark.parametrize("part", range(4))
def test_damaged_headers(part: int) -> None:
    for seed in range(50 * part, 50 * part + 50):
        try:
            read_chat_format(memoryview(ggml_models.damaged(seed)))
        except NNError as error:
            assert error.code is wasi_nn.ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize("kind", ["bytes", "path", "directory", "paths"])
def test_a_template_is_found_wherever_the_model_is(kind: str, tmp_path: Path) -> None:
    content = ggml_models.steady(**{"tokenizer.chat_template": "{{ messages[0].content }}"})
    (tmp_path / "model.gguf").write_bytes(content)
    (tmp_path / "options.json").write_text("{}")
    paths = [tmp_path / "model.gguf", tmp_path / "options.json"]
    source: Any = {"bytes": content, "path": paths[0], "directory": tmp_path, "paths": paths}[kind]
    with RunningServer({"letters": source}) as server:
        request = {"model": "letters", "messages": MESSAGES, "max_tokens": 2}
        status, answer, _ = server.ask("POST", "/v1/chat/completions", request)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "bc")


def test_a_reloaded_model_has_its_new_template(tmp_path: Path) -> None:
    model, file = tmp_path / "letters.gguf", tmp_path / "graphs.toml"
    file.write_text('[graphs.letters]\npath = "letters.gguf"\n')
    request = {"model": "letters", "messages": MESSAGES, "max_tokens": 2}
    texts = []

    def put(template: str) -> None:
        new = tmp_path / "new"
        new.write_bytes(ggml_models.steady(**{"tokenizer.chat_template": template}))
        os.replace(new, model)

    put("{{ messages[0].content }}")
    with RunningServer(wasi_nn.Registry(file)) as server:
        for _ in range(2):
            status, answer, _ = server.ask("POST", "/v1/chat/completions", request)
            assert status == 200, answer
            texts.append(answer["choices"][0]["message"]["content"])
            put("{{ messages[0].content }}x")
            server.wait_for(server.server.service.models.reload())
    assert texts == ["bc", "yz"]


def passed(stops: list[str], pieces: list[str]) -> Iterator[str]:
    """The part of a text that a filter passes on; the filter gets the text in pieces."""
    stop_filter = StopFilter(stops)
    for piece in pieces:
        yield stop_filter.take(piece)
        if stop_filter.has_stopped:
            return
    yield stop_filter.rest()


ab = strategies.text("ab", min_size=1, max_size=5)


@given(strategies.lists(ab, max_size=3), strategies.lists(strategies.text("ab", max_size=4), max_size=8))
def test_a_text_ends_at_its_first_stop_however_it_is_cut(stops: list[str], pieces: list[str]) -> None:
    text = "".join(pieces)
    # The first stop to be complete ends the text; where several are at once, the one that begins first.
    ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    letters = list(text)  # one letter at a time
    assert "".join(passed(stops, letters)) == (text[: min(ends)[1]] if ends else text)
    whole = "".join(passed(stops, pieces))
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    assert bool(ends) == (whole != text)


def test_only_what_may_begin_a_stop_is_held_back() -> None:
    stop_filter = StopFilter(["end.", "ab"])
    assert [stop_filter.take(piece) for piece in ("x", "e", "n", "e", "nd", "!", "a")] == [
        "x", "", "", "en", "", "end!", ""
    ]  # fmt: skip
    assert stop_filter.rest() == "a"
