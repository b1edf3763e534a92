"""The GGML backend: completions and embeddings, options, several contexts at once, and hostile inputs and models."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from struct import pack
from typing import Any

import models as real_models
import numpy as np
import pytest
from checks import on_threads, refused
from conftest import SUPPORT, need
from core_guest import AUTODETECT, F32, OUT, SUCCESS, U8, CoreGuest, wat

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, Graph, LoadRules, TargetUnavailable
from wasi_nn.backends import choose_device
from wasi_nn.backends.ggml import gguf as gguf_format
from wasi_nn.errors import PromptTooLong

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402
from hostile_gguf import key, text  # noqa: E402

from wasi_nn.backends.ggml import backend as ggml  # noqa: E402
from wasi_nn.backends.ggml.completion import Completion  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_llama_thread")

PROMPT = "hello"
ROOMY = wat('(memory (export "memory") 32)')


@pytest.fixture(scope="module")
def graph() -> Graph:
    return wasi_nn.load(models.tiny(), options={"n-predict": 16})


@pytest.fixture(scope="module")
def grammatical() -> Graph:
    """A graph that takes grammars from guests."""
    return wasi_nn.load(models.tiny(), options={"allow-grammar": True})


def written(graph: Graph, prompt: str = PROMPT, **options: Any) -> tuple[str, dict[str, Any]]:
    """The text that a graph writes after a prompt, and its metadata. Options have `_` for `-`."""
    inputs = {"options": json.dumps({name.replace("_", "-"): value for name, value in options.items()})}
    outputs = graph.compute({"prompt": prompt, **(inputs if options else {})})
    return outputs["response"].tobytes().decode(), json.loads(outputs["metadata"].tobytes())


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process, with the import paths of the tests."""
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "GGML_NO_BACKTRACE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


def test_a_model_from_bytes_from_a_file_and_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(models.tiny())
    texts = set()
    for source in (models.tiny(), tmp_path / "model.gguf", tmp_path):
        graph = wasi_nn.load(source)
        assert (graph.encoding.value, graph.runtime, graph.device) == ("ggml", "xllamacpp", "cpu")
        texts.add(written(graph, temp=0, n_predict=8)[0])
    assert len(texts) == 1


def test_what_the_model_says_of_itself(graph: Graph) -> None:
    expected = {"architecture": "llama", "name": "tiny", "file type": "F32", "context length": "256", "layers": "2"}
    assert expected.items() <= graph.metadata.items()
    assert [str(info) for info in graph.inputs] == ["prompt: bytes[?]", "options: bytes[?]"]
    assert [str(info) for info in graph.outputs] == ["response: bytes[?]", "metadata: bytes[?]"]


@pytest.mark.parametrize("isolate", [False, True])
def test_the_response_is_found_by_its_former_name(isolate: bool, isolation: None) -> None:
    graph = wasi_nn.load(models.tiny(), rules=wasi_nn.LoadRules(isolate=isolate), options={"n-predict": 4})
    assert [info.name for info in graph.outputs] == ["response", "metadata"]
    outputs = graph.compute(PROMPT)
    assert outputs["text"] is outputs["response"]
    assert list(outputs) == ["response", "metadata"]
    with pytest.raises(KeyError, match="words"):
        outputs["words"]
    context = graph.init_execution_context()
    context.set_input("prompt", PROMPT)
    context.compute()
    assert context.get_output("text").tobytes() == outputs["text"].tobytes()
    assert [name for name, _ in context.compute_named({"prompt": PROMPT})] == ["response", "metadata"]


def test_the_bytes_are_the_callers_again() -> None:
    content = bytearray(models.tiny())
    graph = wasi_nn.load(content)
    before = written(graph, temp=0, n_predict=8)
    content[:] = bytes(len(content))
    assert written(graph, temp=0, n_predict=8) == before


def test_metadata_counts_tokens(graph: Graph) -> None:
    text, metadata = written(graph, "AB", n_predict=5)
    assert metadata["input_tokens"] == 3, "the beginning of a text counts"
    assert metadata["output_tokens"] == 5
    assert metadata["llama_build_number"] > 0
    assert isinstance(metadata["llama_commit"], str)
    assert text


def test_the_same_again_unless_the_seed_is_another(graph: Graph) -> None:
    assert written(graph)[0] == written(graph)[0], "the default seed is fixed"
    assert written(graph, seed=5)[0] == written(graph, seed=5)[0] != written(graph, seed=6)[0]
    assert len({written(graph, seed=-1)[0] for _ in range(4)}) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"temp": 0},
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1},
        {"repeat_penalty": 100, "temp": 0},
        {"presence_penalty": 100, "temp": 0},
        {"frequency_penalty": 100, "temp": 0},
        {"typ_p": 0.01},
        {"dynatemp_range": 1, "temp": 1},
        {"mirostat": 2, "mirostat_eta": 1, "temp": 2},
    ],
)
def test_options_of_sampling_take_effect(graph: Graph, options: dict[str, Any]) -> None:
    before = {name: value for name, value in options.items() if name == "temp" and len(options) > 1}
    assert written(graph, **options)[0] != written(graph, **before)[0]


def test_only_the_likeliest_token_is_taken_at_temperature_0(graph: Graph) -> None:
    assert len({written(graph, temp=0, seed=seed)[0] for seed in range(4)}) == 1


def test_as_many_tokens_as_are_asked_for(graph: Graph) -> None:
    assert [written(graph, n_predict=n, ignore_eos=True)[1]["output_tokens"] for n in (0, 1, 7)] == [0, 1, 7]
    assert written(graph, n_predict=0)[0] == ""


def test_the_end_of_the_context_ends_the_text(graph: Graph) -> None:
    text, metadata = written(graph, n_predict=-1, ignore_eos=True)
    assert metadata["input_tokens"] + metadata["output_tokens"] == models.CONTEXT
    assert text


def test_a_text_stops_before_the_reverse_prompt(graph: Graph) -> None:
    whole = written(graph, temp=0)[0]
    stop = next(character for character in whole[1:] if character.isascii())
    assert written(graph, temp=0, reverse_prompt=stop)[0] == whole[: whole.index(stop)]
    assert written(graph, temp=0, reverse_prompt="")[0] == whole


def test_characters_of_several_tokens_are_whole(grammatical: Graph) -> None:
    text, metadata = written(grammatical, grammar='root ::= "日本語é🙂"')
    assert text == "日本語é🙂"
    assert metadata["output_tokens"] > 5
    assert written(grammatical, grammar='root ::= "日本"', n_predict=4)[0] == "日", "the limit cuts off no part of one"


def test_the_pieces_of_a_text_are_whole_characters() -> None:
    graph = wasi_nn.load(models.tiny(), options={"grammar": 'root ::= "日本é"'})
    assert isinstance(graph, ggml.GgmlGraph)
    completion = Completion(graph.engine({}), PROMPT, graph.completion_request({}), graph)
    assert [piece for piece in completion if piece] == ["日", "本", "é"]


def test_a_completion_can_be_stopped(graph: Graph) -> None:
    assert isinstance(graph, ggml.GgmlGraph)
    request = graph.completion_request({"n-predict": -1, "ignore-eos": True})
    pieces = iter(Completion(graph.engine({}), PROMPT, request, graph))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert written(graph, temp=0)[1]["output_tokens"] == 16


def test_a_json_schema_is_kept_to(graph: Graph) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema |= {"additionalProperties": False}
    text, _ = written(graph, json_schema=json.dumps(schema), n_predict=200, seed=1)
    assert json.loads(text)["a"] in (True, False)


@pytest.mark.parametrize(
    "schema", ['{"$ref": "#/nowhere"}', '{"type": "strange"}', '{"type": "string", "pattern": "("}']
)
def test_a_json_schema_that_cant_be_used_isnt_passed_over(graph: Graph, schema: str) -> None:
    refused(ErrorCode.RUNTIME_ERROR, "didn't follow the JSON schema", written, graph, json_schema=schema)


def test_a_json_schema_and_a_tokenizer_that_puts_spaces_first() -> None:
    graph = wasi_nn.load(models.tiny(**{"tokenizer.ggml.add_space_prefix": True}))
    refused(ErrorCode.UNSUPPORTED_OPERATION, "JSON schema", written, graph, json_schema='{"type": "boolean"}')


def test_embeddings(graph: Graph) -> None:
    text, metadata = written(graph, "some text", embedding=True)
    answer = json.loads(text)
    assert answer["n_embedding"] == len(answer["embedding"]) == models.EMBEDDING
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1)
    assert metadata["input_tokens"] > 0
    assert metadata["output_tokens"] == 0
    assert json.loads(written(graph, "other text", embedding=True)[0]) != answer
    assert json.loads(written(wasi_nn.load(models.tiny(), options={"embedding": True}), "some text")[0]) == answer


def test_a_model_that_ranks_has_no_embeddings() -> None:
    graph = wasi_nn.load(models.tiny(**{"llama.pooling_type": 4}))
    refused(ErrorCode.UNSUPPORTED_OPERATION, "is a reranker", written, graph, embedding=True)


def test_options_beside_the_model_are_those_of_every_context(graph: Graph) -> None:
    beside = wasi_nn.load([models.tiny(), b'{"temp": 0, "n-predict": 16}'], "ggml")
    assert written(beside)[0] == written(graph, temp=0)[0]
    assert written(beside, n_predict=3)[1]["output_tokens"] == 3, "options that are set later take precedence"
    assert written(beside)[1]["output_tokens"] == 16


def test_options_stay_set_in_their_context_alone() -> None:
    graph = wasi_nn.load(models.tiny(), options={"n-predict": 16, "reproducible": True})
    greedy, other = graph.init_execution_context(), graph.init_execution_context()
    greedy.set_input(1, b'{"temp": 0}')
    texts = []
    for prompt in ("one", "two", "one"):
        for context in (greedy, other):
            context.set_input(0, prompt.encode())
            context.compute()
            texts.append(bytes(context.output_bytes(0)).decode())
    alone = [written(graph, prompt, **options)[0] for prompt in ("one", "two", "one") for options in ({"temp": 0}, {})]
    assert texts == alone


def test_a_context_may_want_the_model_loaded_otherwise(graph: Graph) -> None:
    assert isinstance(graph, ggml.GgmlGraph)
    embedding, other = graph.init_execution_context(), graph.init_execution_context()
    embedding.set_input(1, b'{"embedding": true}')
    for context in (embedding, other):
        context.set_input(0, PROMPT.encode())
        context.compute()
    assert bytes(embedding.output_bytes(0)).startswith(b'{"n_embedding"')
    assert bytes(other.output_bytes(0)).decode() == written(graph)[0]
    assert graph.engine_count == 2
    del embedding, context
    assert graph.engine_count == 1, "it goes with its context"


def test_the_ways_in_which_a_model_is_loaded_at_once_are_bounded(graph: Graph) -> None:
    contexts = [graph.init_execution_context() for _ in range(4)]
    for size, context in enumerate(contexts, 100):
        context.set_input(0, PROMPT.encode())
        context.set_input(1, json.dumps({"ctx-size": size, "n-predict": 1}).encode())
    for context in contexts[:3]:
        context.compute()
    refused(ErrorCode.TOO_LARGE, "the most that are allowed", contexts[3].compute)


def test_contexts_that_are_but_garbage_are_not_in_the_way(graph: Graph) -> None:
    for size in range(100, 110):
        cycle: list[Any] = [graph.init_execution_context()]
        cycle.append(cycle)
        cycle[0].set_input(0, PROMPT.encode())
        cycle[0].set_input(1, json.dumps({"ctx-size": size, "n-predict": 1}).encode())
        cycle[0].compute()


def test_outputs_are_the_callers(graph: Graph) -> None:
    context = graph.init_execution_context()
    context.set_input(0, b"one")
    context.compute()
    kept = [context.output(index)[1] for index in range(2)]
    before = [array.tobytes() for array in kept]
    context.set_input(0, b"two")
    context.compute()
    assert [array.tobytes() for array in kept] == before
    assert all(array.flags.writeable for array in kept)


def test_one_graph_on_several_threads() -> None:
    graph = wasi_nn.load(models.steady(), options={"n-predict": 16})
    expected = {number: written(graph, f"prompt {number}")[0] for number in range(4)}

    def work(number: int) -> None:
        for _ in range(5):
            assert written(graph, f"prompt {number}")[0] == expected[number]

    on_threads(work, 4)


def test_prompts_of_every_kind(graph: Graph) -> None:
    assert written(graph, "", n_predict=1)[1]["input_tokens"] == 1
    assert written(graph, "A\0B", n_predict=1)[1]["input_tokens"] == 4, "nothing ends at a NUL"
    assert written(graph, "".join(map(chr, range(1, 128))), n_predict=1)[1]["output_tokens"] == 1


def test_a_prompt_that_isnt_utf_8(graph: Graph) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "isn't UTF-8: its byte 2 is wrong", graph.compute, {"prompt": b"ab\xff"})


@pytest.mark.parametrize("options", [{}, {"embedding": True}])
def test_a_prompt_that_is_too_long(graph: Graph, options: dict[str, Any]) -> None:
    with pytest.raises(PromptTooLong, match="has 301 tokens, and the context only 256"):
        written(graph, "X" * 300, **options)
    refused(ErrorCode.TOO_LARGE, "10000000 bytes can't fit", written, graph, "X" * 10_000_000, **options)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (b"", "invalid-encoding", "aren't JSON"),
        (b"{", "invalid-encoding", "aren't JSON"),
        (b"\xff", "invalid-encoding", "aren't JSON"),
        (b"[]", "invalid-encoding", "must be a JSON object"),
        (b"[" * 100_000, "invalid-encoding", "nested too deep"),
        (b'{"temp": NaN}', "invalid-encoding", "NaN isn't JSON"),
        (b'{"temp": ' + b"9" * 5000 + b"}", "invalid-encoding", "aren't JSON"),
        (b" " * (1 << 20) + b"{}", "too-large", "1048578 bytes"),
        (b'{"temp": 1e999}', "invalid-argument", "'temp' of ggml can't be Infinity"),
        (b'{"temp": "0"}', "invalid-argument", "'temp' of ggml can't be"),
        (b'{"temp": null}', "invalid-argument", "'temp' of ggml can't be null"),
        (b'{"temp": -1}', "invalid-argument", "a number from 0"),
        (b'{"top-k": 1.5}', "invalid-argument", "a whole number"),
        (b'{"n-predict": -2}', "invalid-argument", "'n-predict'"),
        (b'{"n-predict": 1099511627776}', "invalid-argument", "'n-predict'"),
        (b'{"n-predict": true}', "invalid-argument", "'n-predict'"),
        (b'{"ctx-size": 2147483648}', "invalid-argument", "'ctx-size'"),
        (b'{"ctx-size": -1}', "invalid-argument", "'ctx-size'"),
        (b'{"ctx-size": 257}', "too-large", "257 is above 256"),
        (b'{"batch-size": 1}', "invalid-argument", "'batch-size'"),
        (b'{"threads": -1}', "invalid-argument", "'threads'"),
        (b'{"seed": 4294967296}', "invalid-argument", "'seed'"),
        (b'{"repeat-penalty": 0}', "invalid-argument", "'repeat-penalty'"),
        (b'{"enable-log": 1}', "invalid-argument", "'enable-log'"),
        (
            b'{"json-schema": []}',
            "invalid-argument",
            "'json-schema' of ggml can't be .*: it takes a JSON schema, as an object or",
        ),
        (b'{"json-schema": {"minItems": 1000000000}}', "too-large", "minItems of the JSON schema is 1000000000"),
        (b'{"json-schema": "{"}', "invalid-encoding", "aren't JSON"),
        (b'{"json-schema": "{\\"minItems\\": 1000000000}"}', "too-large", "minItems of the JSON schema is 1000000000"),
        (b'{"mmproj": "/etc/passwd"}', "security", "which guests may not give"),
        (b'{"image": "x.png"}', "security", "which guests may not give"),
        (b'{"prompt-file": "x"}', "security", "which guests may not give"),
        (b'{"path-prompt-cache": "x"}', "security", "which guests may not give"),
        (b'{"grammar": "root ::= \\"a\\""}', "security", "takes no grammar from guests"),
        (b'{"allow-grammar": true, "grammar": "root ::= \\"a\\""}', "security", "takes no grammar from guests"),
    ],
)
def test_options_of_a_guest_that_are_refused(graph: Graph, options: bytes, code: str, message: str) -> None:
    refused(ErrorCode(code), message, graph.compute, {"prompt": PROMPT, "options": options})
    refused(ErrorCode(code), message, wasi_nn.load, [models.tiny(), options], "ggml")


@pytest.mark.parametrize("isolate", [False, True])
def test_a_typo_in_a_mapping_of_options_is_refused(isolate: bool, request: pytest.FixtureRequest) -> None:
    if isolate:
        request.getfixturevalue("isolation")
    with wasi_nn.load(models.tiny(), rules=LoadRules(isolate=isolate)) as graph:
        context = graph.init_execution_context()
        for key, message in (
            ("n-predct", r"'options' has no key 'n-predct'; did you mean n-predict\? \(options of the graph itself"),
            ("allow-grammar", "'options' has no key 'allow-grammar'.* are given where it is loaded"),
            ("xyzzy", r"'options' has no key 'xyzzy' \(options of the graph itself"),
            (7, r"'options' has no key 7 \(options of the graph itself"),
        ):
            options: Any = {"n-predict": 1, key: True}
            refused(ErrorCode.INVALID_ARGUMENT, message, graph.compute, {"prompt": PROMPT, "options": options})
            refused(ErrorCode.INVALID_ARGUMENT, message, context.set_input, 1, options)
            graph.compute({"prompt": PROMPT, "options": json.dumps(options)})  # as a guest's own
        options = {"n-predict": 1, "n-keep": 2, "mmproj": ""}
        graph.compute({"prompt": PROMPT, "options": options})


def test_options_of_a_guest_that_have_no_effect(graph: Graph) -> None:
    idle = {"stream-stdout": True, "enable-log": True, "n-gpu-layers": 100, "mmproj": "", "unheard-of": [1]}
    outputs = graph.compute({"prompt": PROMPT, "options": json.dumps(idle)})
    assert outputs["response"].tobytes().decode() == written(graph)[0]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tmp": 0}, "invalid-argument"),
        ({"temp": "0"}, "invalid-argument"),
        ({"threads": 0.5}, "invalid-argument"),
        ({"flash-attn": True}, "invalid-argument"),
        ({"ctx-size": 1 << 40}, "invalid-argument"),
        ({"mmproj": "projector.gguf"}, "unsupported-operation"),
        ({"grammar": "%llguidance {}"}, "unsupported-operation"),
    ],
)
def test_options_of_the_operator_that_are_refused(options: dict[str, Any], code: str) -> None:
    refused(ErrorCode(code), "ption|gramma", wasi_nn.load, models.tiny(), options=options)


def test_the_operators_options_bound_a_guests() -> None:
    graph = wasi_nn.load(models.tiny(), options={"ctx-size": 100, "use-mmap": False, "flash-attn": "off"})
    refused(ErrorCode.TOO_LARGE, "101 is above 100, the context that this host gives", written, graph, ctx_size=101)
    refused(ErrorCode.TOO_LARGE, "257 is above 256", wasi_nn.load, models.tiny(), options={"ctx-size": 257})


def test_a_context_that_the_machine_has_no_memory_for() -> None:
    keys = {"llama.attention.key_length": 65536, "llama.attention.value_length": 65536}
    greedy = models.tiny(**{"llama.context_length": 1 << 20}, **keys)
    refused(ErrorCode.TOO_LARGE, "this machine has", wasi_nn.load, greedy, options={"ctx-size": 1 << 20})


@pytest.mark.parametrize(
    ("grammar", "code", "message"),
    [
        ("root ::= ((", "invalid-argument", "failed to parse grammar"),
        ("rule ::= 'a'", "invalid-argument", "failed to parse grammar"),
        ('root ::= root "a" | "b"', "invalid-argument", "failed to parse grammar"),
        ('root ::= "a"{1000000000}', "invalid-argument", "failed to parse grammar"),
        ("root ::= " + "(" * 200_000 + '"a"' + ")" * 200_000, "too-large", "400012 characters"),
        ("root ::= " + "(" * 1000 + '"a"' + ")" * 1000, "too-large", "1000 nested parentheses"),
        ('root ::= "\x1b[31m"', "invalid-argument", "write an escape for it"),
        ("%llguidance {}\nstart: /a+/", "unsupported-operation", "GBNF"),
    ],
)
def test_grammars_that_are_refused(grammatical: Graph, grammar: str, code: str, message: str) -> None:
    refused(ErrorCode(code), message, written, grammatical, grammar=grammar)
    assert written(grammatical, grammar='root ::= "fine"')[0] == "fine", "and the next is served"


def test_no_port_is_open(graph: Graph) -> None:
    assert isinstance(graph, ggml.GgmlGraph)
    assert graph.default_engine.server_address
    inodes = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            inodes.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    tables = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[9] for line in tables if line.split()[3] == "0A"]
    assert not [inode for inode in listening if f"socket:[{inode}]" in inodes]


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(models.tiny())
    (tmp_path / "broken.gguf").write_bytes(models.tiny()[:-100])

    def use() -> None:
        for source in (models.tiny(), tmp_path / "model.gguf"):
            written(wasi_nn.load(source), n_predict=1)
        for broken in (models.tiny()[:-100], tmp_path / "broken.gguf"):
            refused(ErrorCode.INVALID_ENCODING, "after the file's end", wasi_nn.load, broken)
        unloadable = models.tiny(**{"llama.attention.key_length": 3})
        refused(ErrorCode.RUNTIME_ERROR, "can't load the model", wasi_nn.load, unloadable)

    use()
    gc.collect()  # objects that the errors' frames still hold
    before = sorted(os.listdir("/proc/self/fd"))
    use()
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= set(before)  # what an earlier test left may close meanwhile


QUIET = """
import json
import ggml_models, wasi_nn
for _ in range(20):
    wasi_nn.load(ggml_models.tiny())  # and dropped at once
kept = wasi_nn.load(ggml_models.tiny())
schema = json.dumps({"json-schema": '{"type": "strange"}'})
for prompt, options in [("a", "{}"), ("X" * 300, "{}"), ("a", schema)]:
    try:
        kept.compute({"prompt": prompt, "options": options})
    except wasi_nn.NNError:
        pass
try:
    wasi_nn.load(ggml_models.tiny(**{"llama.attention.key_length": 3}))
except wasi_nn.NNError:
    pass
cycle = [kept]
cycle.append(cycle)
"""


def test_nothing_is_printed_and_the_interpreter_ends() -> None:
    done = python(QUIET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_operator_can_have_a_log() -> None:
    done = python("import ggml_models, wasi_nn; wasi_nn.load(ggml_models.tiny(), options={'enable-log': True})")
    assert done.returncode == 0
    assert "loading model" in done.stderr


# On one processor: threads of llama.cpp wait for each other by spinning, and take most of a machine that is busy.
HOSTILE = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
import ggml_models, wasi_nn
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    print(seed, flush=True)
    try:
        graph = wasi_nn.load(ggml_models.damaged(seed), "ggml")
        graph.compute({"prompt": "hello\\n\\x01é日~AZ", "options": '{"n-predict": 2}'})
    except wasi_nn.NNError:
        pass
"""


def test_models_that_are_damaged_anywhere_harm_nobody() -> None:
    done = python(HOSTILE, "0", "400")
    assert done.returncode == 0, f"seed {done.stdout.split()[-1]}: {done.stderr[-500:]}"
    assert done.stdout.split()[-1] == "399"


@pytest.mark.parametrize("template", ["{% for i in range(100000000) %}x{% endfor %}", "{{" + "(" * 100_000])
def test_a_models_chat_template_isnt_run(template: str) -> None:
    done = python(
        "import sys, ggml_models, wasi_nn\n"
        "graph = wasi_nn.load(ggml_models.tiny(**{'tokenizer.chat_template': eval(sys.argv[1])}))\n"
        "graph.compute({'prompt': 'a', 'options': '{\"n-predict\": 1}'})",
        '"{{" + "(" * 100_000' if "(((" in template else repr(template),
    )
    assert (done.returncode, done.stderr) == (0, "")


def gguf(*parts: bytes, tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + pack("<IQQ", version, tensors, keys) + b"".join(parts)


LLAMA = key(b"general.architecture", 8, text(b"llama"))


def tensor(name: bytes, dims: list[int], offset: int, kind: int = 0) -> bytes:
    return text(name) + pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "is empty"),
        (b"GGUF", "cut short: it has 4 bytes"),
        (b"GGML\3\0\0\0", "begins with"),
        (gguf(version=1), "of version 1"),
        (gguf(version=4), "of version 4"),
        (b"GGUF\3\0\0\0\0\0", "cut short"),
        (gguf(), "it has no general.architecture"),
        (gguf(keys=2**64 - 1), "18446744073709551615 keys follow"),
        (gguf(LLAMA, keys=1, tensors=2**63), "tensors follow"),
        (gguf(LLAMA, LLAMA, keys=2), "'general.architecture' occurs twice"),
        (gguf(pack("<Q", 2**63), bytes(16), keys=1), "longer than 65535"),
        (gguf(key(b"a", 8, pack("<Q", 2**64 - 1)), keys=1), "cut short"),
        (gguf(key(b"a", 13, bytes(8)), keys=1), "type 13, which doesn't exist"),
        (gguf(key(b"a", 7, b"\2"), keys=1), "not true or false"),
        (gguf(key(b"a", 9, pack("<IQ", 8, 2**60)), keys=1), "strings of 'a' follow"),
        (gguf(key(b"a", 9, pack("<IQ", 8, 1) + pack("<Q", 2**64 - 1)), keys=1), "'a' goes on past its end"),
        (gguf(key(b"a", 9, pack("<IQ", 12, 2**61)), keys=1), "cut short"),
        (gguf(key(b"a", 9, pack("<IQ", 9, 1) + bytes(16)), keys=1), "elements of type 9"),
        (
            gguf(key(gguf_format.TOKENS_KEY.encode(), 9, pack("<IQ", 8, 2) + text(b"x") * 2), keys=1),
            "token 1, b'x', occurs",
        ),
        (gguf(LLAMA, key(b"general.alignment", 4, pack("<I", 0)), keys=2), "general.alignment is 0"),
        (gguf(LLAMA, key(b"general.alignment", 4, pack("<I", 3)), keys=2), "general.alignment is 3"),
        (gguf(LLAMA, key(b"llama.attention.head_count", 4, pack("<I", 0)), keys=2), "head_count is 0"),
        (gguf(LLAMA, key(b"llama.pooling_type", 4, pack("<I", 9)), keys=2), "pooling_type is 9"),
        (gguf(LLAMA, key(b"llama.block_count", 4, pack("<I", 513)), keys=2), "block_count is 513"),
        (gguf(LLAMA, key(b"llama.context_length", 8, text(b"1")), keys=2), "context_length is '1'"),
        (gguf(LLAMA, tensor(b"w" * 64, [1], 0), keys=1, tensors=1), "longer than 63"),
        (gguf(LLAMA, tensor(b"w", [1] * 5, 0), keys=1, tensors=1), "rank 5"),
        (gguf(LLAMA, tensor(b"w", [2**32, 2**32], 0), keys=1, tensors=1), "has dims"),
        (gguf(LLAMA, tensor(b"w", [0], 0), keys=1, tensors=1), "has dims"),
        (gguf(LLAMA, tensor(b"w", [33], 0, kind=2), keys=1, tensors=1), "whole blocks of 32"),
        (gguf(LLAMA, tensor(b"w", [1], 1), keys=1, tensors=1), "multiple of 32"),
        (gguf(LLAMA, tensor(b"w", [1], 0), keys=1, tensors=1), "after the file's end"),
        (gguf(LLAMA, tensor(b"w", [1], 2**63), keys=1, tensors=1), "after the file's end"),
        (
            gguf(LLAMA, tensor(b"w", [9], 0), tensor(b"v", [1], 32), bytes(200), keys=1, tensors=2),
            "overlaps with another",
        ),
        (gguf(LLAMA, tensor(b"w", [1], 0), tensor(b"w", [1], 32), bytes(200), keys=1, tensors=2), "'w' occurs twice"),
    ],
)
def test_headers_that_are_refused(model: bytes, message: str) -> None:
    refused(ErrorCode.INVALID_ENCODING, message, wasi_nn.load, model, "ggml")


def test_a_model_in_several_files_isnt_loaded_from_bytes() -> None:
    part = models.tiny(**{"split.count": 2})
    refused(ErrorCode.UNSUPPORTED_OPERATION, "only be loaded by path", wasi_nn.load, part)


def test_builders_too_many() -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "got 3", wasi_nn.load, [models.tiny(), b"{}", b"{}"], "ggml")


@pytest.mark.parametrize(
    ("devices", "device"),
    [
        ([("CPU", "CPU"), ("CUDA0", "GPU"), ("CUDA1", "GPU")], "cuda:0"),
        ([("Vulkan0", "IGPU"), ("CPU", "CPU")], "vulkan:0"),
        ([("Metal", "GPU"), ("CPU", "CPU")], "metal"),
        ([("BLAS", "ACCEL"), ("CPU", "CPU")], None),
    ],
)
def test_the_choice_of_a_device(devices: list[tuple[str, str]], device: str | None) -> None:
    listed = ggml.as_devices(devices)
    assert choose_device(listed, ExecutionTarget.CPU, "llama.cpp").label == "cpu"
    if device is None:
        with pytest.raises(TargetUnavailable, match=r"no device for gpu here \(it has BLAS, CPU\)"):
            choose_device(listed, ExecutionTarget.GPU, "llama.cpp")
    else:
        assert choose_device(listed, ExecutionTarget.GPU, "llama.cpp").label == device
    with pytest.raises(TargetUnavailable, match="no device for tpu"):
        choose_device(listed, ExecutionTarget.TPU, "llama.cpp")


def test_only_devices_that_are_there() -> None:
    available = ggml.GgmlBackend().devices()
    assert available[ExecutionTarget.CPU] == "cpu"
    for target in {ExecutionTarget.GPU, ExecutionTarget.TPU} - set(available):
        refused(ErrorCode.UNSUPPORTED_OPERATION, "no device for", wasi_nn.load, models.tiny(), target=target)
        assert wasi_nn.load(models.tiny(), target=target, rules=LoadRules("cpu")).device == "cpu"


def test_a_guest_asks_a_named_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(models.tiny())
    named = wasi_nn.NamedGraph(tmp_path, options={"n-predict": 4})
    with wasi_nn.Session(wasi_nn.Registry({"tiny": named})) as session:
        guest = CoreGuest(session)
        context = guest.context("tiny")
        assert guest.set_input(context, 0, [1], U8, b"hello") == SUCCESS, "dims aren't heeded"
        assert guest.set_input(context, 1, [1], F32, b'{"temp": 0, "n-predict": 9}') == SUCCESS, "nor is the type"
        assert guest.call("compute", context) == SUCCESS
        assert guest.get_output(context, 0).decode() == written(wasi_nn.load(tmp_path), temp=0, n_predict=9)[0]
        metadata = json.loads(guest.get_output(context, 1))
        assert metadata["output_tokens"] == 9


def test_a_guest_brings_its_model_only_where_that_is_allowed() -> None:
    with wasi_nn.Session() as session:
        assert CoreGuest(session, ROOMY).load(models.tiny(), encoding=AUTODETECT) != SUCCESS
    with wasi_nn.Session(allow_load=["ggml"]) as session:
        guest = CoreGuest(session, ROOMY)
        assert guest.load(models.tiny(), b'{"n-predict": 3}', encoding=AUTODETECT) == SUCCESS
        assert guest.call("init_execution_context", guest.u32(), OUT) == SUCCESS
        context = guest.u32()
        assert guest.set_input(context, 0, [5], U8, b"hello") == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert json.loads(guest.get_output(context, 1))["output_tokens"] == 3


@pytest.fixture(scope="module")
def smollm() -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0, 98 MB)."""
    return real_models.smollm2()


def test_a_real_model_knows_a_capital(smollm: Path) -> None:
    graph = wasi_nn.load(smollm, options={"temp": 0, "n-predict": 8, "ctx-size": 512})
    assert graph.metadata["file type"] == "Q4_1"
    assert "Paris" in written(graph, "The capital of France is")[0]
    chosen = written(graph, "Is the sky blue?", json_schema='{"enum": ["yes", "no"]}')[0]
    assert json.loads(chosen) in ("yes", "no")
