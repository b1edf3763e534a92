"""Grammars of guests: in an isolated graph they need no permission, since an endless one costs a worker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import in_time, refused
from conftest import C_GUESTS, need

import wasi_nn
from wasi_nn import ErrorCode, ExecutionContext, GraphEncoding, Limits, LoadRules, NNError, Session
from wasi_nn.backends import Backend
from wasi_nn.backends.ggml.completion import Completion
from wasi_nn.backends.ggml.grammar_watch import GrammarWatch
from wasi_nn.backends.ggml.server import Engine
from wasi_nn.isolation.isolated_graph import IsolatedGraph
from wasi_nn.process.threads import Call

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402

pytestmark = pytest.mark.usefixtures("isolation")

FINE = json.dumps({"grammar": 'root ::= "fine" | "good"'}).encode()
# For each token, llama.cpp compares all ways to leave out some of 27,000 letters with each other. 900 letters take 3 s.
ENDLESS = json.dumps({"grammar": 'root ::= ((("a"?){30}){30}){30}'}).encode()
SHORT = Limits(compute_time=3)
ENDLESS_LATER = json.dumps({"grammar": 'root ::= "b" "c" ((("a"?){30}){30}){30}'}).encode()


@pytest.fixture
def isolated(isolation: None) -> Iterator[wasi_nn.Graph]:
    with wasi_nn.load(models.tiny(), rules=LoadRules(isolate=True)) as graph:
        yield graph


def prompted(
    session: Session, graph: str = "llm", config: bytes = b"", options: bytes | None = None
) -> ExecutionContext:
    context = session.context(session.init_execution_context(session.load_by_name(graph, config)))
    context.set_input(0, np.frombuffer(b"hello", np.uint8))
    if options is not None:
        context.set_input(1, np.frombuffer(options, np.uint8))
    return context


def text_of(context: ExecutionContext) -> bytes:
    context.compute()
    return bytes(context.output_bytes(0))


def test_an_isolated_graph_takes_a_guests_grammar(isolated: wasi_nn.Graph) -> None:
    with Session({"llm": isolated}) as session:
        assert text_of(prompted(session, options=FINE)) in (b"fine", b"good")
        assert text_of(prompted(session, config=FINE)) in (b"fine", b"good")
        context = prompted(session, options=FINE)
        assert b"".join(_pieces(context)) in (b"fine", b"good")


def _pieces(context: ExecutionContext) -> Iterator[bytes]:
    return (bytes(piece) for piece in context.pieces())


def test_an_isolated_model_from_a_guests_bytes_takes_a_grammar_beside_it() -> None:
    rules = LoadRules(isolate=True)
    with Session(rules=rules, allow_load=["ggml"]) as session:
        builders = [memoryview(models.tiny()), memoryview(FINE)]
        graph = session.load(builders, GraphEncoding.GGML, wasi_nn.ExecutionTarget.CPU)
        context = session.context(session.init_execution_context(graph))
        context.set_input(0, np.frombuffer(b"hello", np.uint8))
        assert text_of(context) in (b"fine", b"good")


def test_an_endless_grammar_costs_its_guest_a_deadline_and_the_graph_goes_on(isolated: IsolatedGraph) -> None:
    with Session({"llm": isolated}, limits=SHORT) as session, Session({"llm": isolated}) as another:
        others = prompted(another, options=FINE)
        assert text_of(others) in (b"fine", b"good")
        context = prompted(session, options=ENDLESS)
        refused(ErrorCode.TIMEOUT, "longer than 3 s .*Limits.compute_time, --max-compute-time", context.compute)
        assert text_of(others) in (b"fine", b"good")
        context.set_input(1, np.frombuffer(FINE, np.uint8))
        assert in_time(lambda: text_of(context)) in (b"fine", b"good"), "the guest may go on too, also with a grammar"


def test_an_endless_grammar_ends_a_sequence_of_pieces(isolated: IsolatedGraph) -> None:
    with Session({"llm": isolated}, limits=SHORT) as session:
        context = prompted(session, options=ENDLESS)
        refused(ErrorCode.TIMEOUT, "longer than 3 s", lambda: list(_pieces(context)))
        assert in_time(lambda: text_of(prompted(session, options=FINE))) in (b"fine", b"good")


def test_a_text_that_is_stopped_before_its_first_token_ends_when_llama_goes_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """llama.cpp ends the call of a stopped text at once, also if its loop has just begun with an endless grammar."""
    events: list[str] = []
    interrupted = threading.Event()

    def interrupt(completion: Completion) -> None:
        do_interrupt(completion)
        interrupted.set()

    def complete(engine: Engine, *arguments: Any) -> None:
        assert interrupted.wait(60)
        do_complete(engine, *arguments)
        events.append("the call has ended")

    def go_round(engine: Engine) -> None:
        do_go_round(engine)
        events.append("the loop has gone round")

    do_interrupt, do_complete, do_go_round = Completion.interrupt, Engine.complete, Engine.go_round
    monkeypatch.setattr(Completion, "interrupt", interrupt)
    monkeypatch.setattr(Engine, "complete", complete)
    monkeypatch.setattr(Engine, "go_round", go_round)
    monkeypatch.setattr(Backend, "in_worker", True)
    with wasi_nn.load(models.tiny(), options={"allow-grammar": True}) as graph, Session({"llm": graph}) as session:
        context = prompted(session, options=FINE)
        threading.Timer(0.1, context.interrupt).start()
        with pytest.raises(NNError, match="interrupted"):
            context.compute()
    assert events == ["the call has ended", "the loop has gone round"]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_guest_that_waits_for_nothing_occupies_llama_for_a_bounded_time(leaves: bool) -> None:
    rules = LoadRules(isolate=True)
    with (
        wasi_nn.load(models.tiny(), options={"max-grammar-time": 0.5}, rules=rules) as graph,
        Session({"llm": graph}) as session,
        Session({"llm": graph}) as another,
    ):
        others = prompted(another)
        assert text_of(others)
        pieces = prompted(session, options=ENDLESS_LATER).pieces()
        assert bytes(next(pieces)) == b"b"
        if leaves:
            del pieces
        assert in_time(lambda: _text_after_all(others))


def _text_after_all(context: ExecutionContext) -> bytes:
    """The text of a context whose worker may be replaced meanwhile: it was another guest's fault."""
    try:
        return text_of(context)
    except NNError as error:
        assert error.code is ErrorCode.RUNTIME_ERROR
        return text_of(context)


def test_a_text_with_a_grammar_may_wait_for_its_reader() -> None:
    rules = LoadRules(isolate=True)
    with (
        wasi_nn.load(models.tiny(), options={"max-grammar-time": 0.1}, rules=rules) as graph,
        Session({"llm": graph}) as session,
    ):
        pieces = _pieces(prompted(session, options=FINE))
        first = next(pieces)
        time.sleep(1)  # the watch looks meanwhile, if the text hasn't ended by itself
        assert first + b"".join(pieces) in (b"fine", b"good")


def test_a_watch_goes_on_where_a_thread_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses threads to a process that has many; a grammar would occupy llama.cpp for good from then on."""
    refused_once, ended, may_end = threading.Event(), threading.Event(), threading.Event()

    def call_on_a_thread(function: Callable[[], bool]) -> Call[bool]:
        if not refused_once.is_set():
            refused_once.set()
            raise RuntimeError("can't start new thread")
        return Call(function)

    def end(_: int) -> None:
        ended.set()
        watch.end()

    monkeypatch.setattr("wasi_nn.backends.ggml.grammar_watch.Call", call_on_a_thread)
    monkeypatch.setattr("os._exit", end)
    watch = GrammarWatch(may_end.wait, 0.1)
    assert refused_once.wait(20)
    assert ended.wait(20)
    may_end.set()


def test_without_a_time_limit_an_isolated_graph_takes_no_grammar(isolated: wasi_nn.Graph) -> None:
    how = r"limit the time of a guest's computes \(Limits.compute_time, .*\), or allow grammars \(options="
    with Session({"llm": isolated}, limits=Limits(compute_time=None)) as session:
        refused(ErrorCode.SECURITY, how, prompted, session, options=FINE)
        refused(ErrorCode.SECURITY, how, prompted(session, config=FINE).compute)
    refused(ErrorCode.SECURITY, how, isolated.compute, {"prompt": b"hello", "options": FINE})


@pytest.mark.parametrize("isolate", [True, False])
def test_the_operator_decides_where_the_option_is_given(isolate: bool) -> None:
    def load(allowed: bool) -> wasi_nn.Graph:
        return wasi_nn.load(models.tiny(), options={"allow-grammar": allowed}, rules=LoadRules(isolate=isolate))

    with load(True) as graph, Session({"llm": graph}, limits=Limits(compute_time=None)) as session:
        assert text_of(prompted(session, options=FINE)) in (b"fine", b"good")
    with load(False) as graph, Session({"llm": graph}) as session:
        refused(ErrorCode.SECURITY, "takes no grammar from guests", prompted, session, options=FINE)


def test_in_this_process_the_refusal_says_how_to_isolate_or_allow() -> None:
    with wasi_nn.load(models.tiny()) as graph, Session({"llm": graph}) as session:
        with pytest.raises(NNError) as raised:
            prompted(session, options=FINE)
        assert raised.value.message == (
            "this graph takes no grammar from guests, since one can occupy llama.cpp without end: "
            "isolate the graph (LoadRules(isolate=True), --isolate), or allow grammars "
            "(options={'allow-grammar': True}, --graph-option NAME:allow-grammar=true, "
            "options.allow-grammar = true in graphs.toml)"
        )


def test_without_a_time_limit_the_refusal_says_that_isolation_needs_one() -> None:
    how = (
        r"allow grammars \(options=.*\), or isolate the graph \(.*\) and limit the time of a guest's computes \(Limits"
    )
    with wasi_nn.load(models.tiny()) as graph:
        refused(ErrorCode.SECURITY, how, graph.compute, {"prompt": b"hello", "options": FINE})


def test_chat_takes_an_answer_whose_first_piece_is_no_whole_character() -> None:
    with wasi_nn.load(models.tiny(), options={"allow-grammar": True}) as graph, wasi_nn.Host({"llm": graph}) as host:
        arguments = ["--graph", "llm", "--options", '{"grammar": "root ::= \\"\u00e9\\""}', "hello"]
        result = host.run(C_GUESTS / "chat.wasm", arguments, capture_output=True)
    assert (result.exit_code, result.stdout.decode()) == (0, "> hello\n\u00e9\n")


def test_the_command_gives_what_the_refusal_says(tmp_path: Path, cache_home: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(models.tiny())

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        program = [str(Path(sys.executable).with_name("wasi-nn")), "run", "--graph", "llm=tiny.gguf", *options]
        guest = [str(C_GUESTS / "chat.wasm"), "--graph", "llm", "--options", FINE.decode(), "--at-once", "hello"]
        return subprocess.run([*program, *guest], cwd=tmp_path, capture_output=True, text=True, check=False)

    refusal = run()
    assert refusal.returncode == 1
    allow = "--graph-option NAME:allow-grammar=true"
    assert f"allow grammars (options={{'allow-grammar': True}}, {allow}" in refusal.stderr
    for cure in (["--isolate"], allow.replace("NAME", "llm").split()):
        result = run(*cure)
        assert (result.returncode, result.stdout.splitlines()[-1] in ("fine", "good")) == (0, True)
