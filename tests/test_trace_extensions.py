"""Traces of the calls of wasi-nn:ext: descriptions, signatures, variables, sequences and byte strings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
import variables_backend
from checks import refused
from conftest import need
from letters import Letters
from training_guests import isolated, state_of
from variables_backend import TARGET, Trained, X, trained

from wasi_nn import ErrorCode, Graph, GraphEncoding, LoadRules, NNError, TensorInfo
from wasi_nn.graph.byte_strings import encoded
from wasi_nn.session import state_files
from wasi_nn.session.tensor import Tensor
from wasi_nn.tracing import RecordingSession, Replayed, replay

WORDS = np.array([b"ab", b"\xff\0"], object)
CALLS = [
    *("load_by_name", "describe", "use_signature", "init_execution_context", "set_input", "set_input", "compute"),
    *("get_output", "state_get", "state_set", "describe_output", "use_signature", "init_execution_context"),
    *("set_byte_strings", "compute", "byte_strings", "begin_sequence"),
    *("next_of_sequence", "next_of_sequence", "next_of_sequence", "drop"),
    *("begin_sequence_on_inputs", "next_piece", "byte_strings", "end_sequence"),
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The path for a trace."""
    return tmp_path / "trace.json"


@pytest.fixture
def recorded(trace: Path) -> Path:
    """A trace with data of all calls."""
    record(trace, trained())
    return trace


def record(trace: Path, graph: Graph, **more: Any) -> None:
    with RecordingSession(trace, {"m": graph}, **{"data": True, **more}) as session:
        session.takes_byte_strings = True
        handle = session.load_by_name("m")
        session.describe(handle)
        train = session.init_execution_context(session.use_signature(handle, "train"))
        session.set_input(train, "x", X)
        session.set_input(train, "target", TARGET)
        session.compute(train)
        session.get_output(train, 0)
        assert state_files.values_in(memoryview(session.state_get(handle)))["steps"] == 1
        session.state_set(handle, state_of(bias=[1, 2, 3, 4]))
        session.describe_output(train, 0)
        spell = session.init_execution_context(session.use_signature(handle, "spell"))
        session.set_byte_strings(spell, 0, (2,), encoded(WORDS).data)
        session.compute(spell)
        session.byte_strings(spell, 0)
        sequence = session.begin_sequence(spell, [("text", session.add_tensor(Tensor.of_strings(WORDS[:1])))])
        while session.next_of_sequence(sequence) is not None:
            pass
        session.drop(sequence)
        session.begin_sequence_on_inputs(spell)
        assert session.next_piece(spell)
        session.byte_strings(spell, 0)
        session.end_sequence(spell)


def events(trace: Path) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = json.loads(trace.read_bytes())["traceEvents"]
    return parsed


def calls(trace: Path) -> list[dict[str, Any]]:
    return [event for event in events(trace) if event["ph"] == "X"]


def texts(replayed: Replayed) -> list[str]:
    return [str(difference) for difference in replayed.differences]


def test_all_calls_are_recorded_with_their_contents(recorded: Path) -> None:
    assert [event["name"] for event in calls(recorded)] == CALLS
    of = {event["name"]: event["args"] for event in calls(recorded)}
    stored = Path(f"{recorded}.data").read_bytes()

    def content(described: dict[str, Any]) -> bytes:
        where = described["data"]
        return stored[where["offset"] : where["offset"] + where["bytes"]]

    description = of["describe"]["result"]["description"]
    assert json.loads(content(description["signatures"])) == ["infer", "train", "spell"]
    assert json.loads(content(description["inputs"])) == [{"dims": [4], "name": "x", "optional": False, "type": "f32"}]
    assert json.loads(content(description["metadata"])) == {"author": "a test"}
    assert of["use_signature"]["name"] == "spell"
    assert of["use_signature"]["result"]["runtime"] == "numpy"
    assert "weight" in state_files.values_in(memoryview(content(of["state_get"]["result"]["state"])))
    assert list(state_files.values_in(memoryview(content(of["state_set"]["state"])))) == ["bias"]
    assert content(of["set_byte_strings"]) == encoded(WORDS).tobytes()
    assert {"type": "string", "dims": [1]}.items() <= of["byte_strings"]["result"].items()
    assert of["begin_sequence"]["inputs"][0]["type"] == "string"
    assert [event["args"]["result"].get("end") for event in calls(recorded) if event["name"] == "next_of_sequence"] == [
        *(None, None, True)
    ]
    rows = {event["tid"]: event["args"]["name"] for event in events(recorded) if event["name"] == "thread_name"}
    assert set(rows.values()) == {
        "graphs",
        "context 3 on m (train) (numpy, cpu)",
        "context 5 on m (spell) (numpy, cpu)",
    }
    [sequence] = {event["tid"] for event in calls(recorded) if "sequence" in event["name"]}
    assert rows[sequence].startswith("context 5")


def test_a_replay_makes_the_same_calls(recorded: Path) -> None:
    variables, outputs = 3, 5
    assert replay(recorded, {"m": trained()}) == Replayed(len(CALLS), outputs + variables, 0, False, ())


@pytest.mark.usefixtures("isolation")
def test_a_replay_in_a_worker_and_of_a_worker(trace: Path, recorded: Path) -> None:
    assert replay(recorded, {"m": isolated()}).differences == ()
    record(trace, isolated())
    assert replay(trace, {"m": trained()}).differences == ()


def test_nothing_is_stored_without_data(trace: Path) -> None:
    record(trace, trained(), data=False)
    assert list(trace.parent.iterdir()) == [trace]
    assert b"author" not in trace.read_bytes()
    assert '"data"' not in json.dumps(calls(trace))


def test_what_differs_is_said(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(variables_backend, "RATE", np.float32(0.5))
        [text] = texts(replay(recorded, {"m": trained()}))
    assert text.startswith("call 9, state_get: variable 'weight': 4 of 4 elements differ by more than")
    with monkeypatch.context() as patch:
        patch.setattr(variables_backend, "RATE", np.float32(0.2500001))
        assert replay(recorded, {"m": trained()}).differences == ()
        assert len(replay(recorded, {"m": trained()}, rtol=0, atol=0).differences) == 1
    assert "call 9, state_get: variable 'extra' is new" in texts(replay(recorded, {"m": trained(extra=3)}))
    with monkeypatch.context() as patch:
        patch.setattr(variables_backend.TrainedVariables, "letters", lambda self, word: [b"z"])
        assert texts(replay(recorded, {"m": trained()})) == [
            "call 16, byte_strings: output 0: it is string[2], was string[4]",
            "call 18, next_of_sequence: output 'letters': 1 of 1 elements differ, first at [0]: b'z', was b'a1'",
            "call 19, next_of_sequence: the sequence ends; when it was recorded, it went on",
            "call 24, byte_strings: output 0: 1 of 1 elements differ, first at [0]: b'z', was b'a1'",
        ]
    with monkeypatch.context() as patch:
        patch.setattr(variables_backend.TrainedVariables, "letters", lambda self, word: [b"a1", b"b1", b"c1"])
        assert "call 20, next_of_sequence: the sequence goes on; when it was recorded, it ended" in texts(
            replay(recorded, {"m": trained()})
        )


class Described(Trained):
    """A graph that other words describe."""

    def __init__(self, **words: Any) -> None:
        super().__init__("infer")
        vars(self).update(words)


def test_descriptions_are_compared_field_by_field(recorded: Path) -> None:
    differences = texts(replay(recorded, {"m": Described(metadata={"author": "nobody"}, device="gpu:0")}))
    assert differences == [
        'call 2, describe: device: it is "gpu:0", was "cpu"',
        'call 2, describe: metadata: it is {"author":"nobody"}, was {"author":"a test"}',
    ]
    another = Described(metadata={}, device="gpu:0", runtime="other", encoding=GraphEncoding.ONNX, keeps_state=False)
    assert replay(recorded, {"m": another}).differences == ()
    long = TensorInfo("x", np.dtype(np.float32), (4,)), TensorInfo("y" * 1000, np.dtype(np.float32), (5,))
    [text, *_] = texts(replay(recorded, {"m": Described(inputs=long, runtime="other")}))
    assert text.startswith("call 2, describe: inputs: it is ...")
    assert len(text) < 600


def test_metadata_that_the_guest_wasnt_shown_isnt_compared(trace: Path) -> None:
    record(trace, trained(), show_metadata=False)
    assert b"author" not in Path(f"{trace}.data").read_bytes()
    assert replay(trace, {"m": trained()}).differences == ()


def test_descriptions_by_another_runtime(trace: Path) -> None:
    need("openvino", "'wasi-nn[openvino]'")
    with RecordingSession(trace, {"net": models.relu()}, data=True) as session:
        session.describe(session.load_by_name("net"))
    assert replay(trace, {"net": models.relu()}, rules=LoadRules(runtimes={"onnx": "openvino"})).differences == ()
    [text] = texts(replay(trace, {"net": models.relu(("n",))}, rules=LoadRules(runtimes={"onnx": "openvino"})))[:1]
    assert text.startswith("call 2, describe: inputs: it is")


def test_failures_must_be_the_same(trace: Path) -> None:
    with RecordingSession(trace, {"m": trained(), "net": models.relu()}, data=True) as session:
        handle, net = session.load_by_name("m"), session.load_by_name("net")
        context = session.init_execution_context(net)
        failing: list[tuple[Callable[..., object], Any]] = [
            (session.use_signature, (handle, "gone")),
            (session.use_signature, (net, "gone")),
            (session.state_get, (net,)),
            (session.state_set, (handle, b"garbage")),
            (session.state_set, (handle, state_of(weight=[1]))),
            (session.describe, (99,)),
            (session.describe_output, (context, 0)),
            (session.begin_named, (context, [("x", X)])),
            (session.next_named, (99,)),
            (session.set_byte_strings, (context, 0, (1,), memoryview(bytes(4)))),
            (session.set_byte_strings, (context, 0, (2,), memoryview(bytes(4)))),
            (session.byte_strings, (context, 0)),
            (session.next_piece, (context,)),
        ]
        for call, arguments in failing:
            with pytest.raises(NNError):
                call(*arguments)
    failed = [event for event in calls(trace) if "error" in event["args"]]
    assert len(failed) == len(failing)
    assert replay(trace, {"m": trained(), "net": models.relu()}).differences == ()
    other = replay(trace, {"m": models.relu(), "net": trained()})
    assert {difference.name for difference in other.differences} >= {"state_get", "state_set"}


def test_a_graph_that_isnt_there_leaves_all_its_calls_out(recorded: Path) -> None:
    replayed = replay(recorded, {"m": models.relu(("n",))})
    left = [
        name for name in CALLS if name not in ("load_by_name", "describe", "use_signature", "state_get", "state_set")
    ]
    assert (replayed.calls, replayed.left_out) == (len(CALLS) - len(left), len(left))


def test_streaming_graphs_have_named_pieces(trace: Path) -> None:
    with RecordingSession(trace, {"letters": Letters()}, data=True) as session:
        context = session.init_execution_context(session.load_by_name("letters"))
        sequence = session.begin_named(context, [(session.context(context).graph.inputs[0].name, b"abc")])
        session.next_named(sequence)
        session.next_named(sequence)
        session.drop(sequence)
    assert [event["name"] for event in calls(trace)][2:] == ["begin_sequence", *["next_of_sequence"] * 2, "drop"]
    assert replay(trace, {"letters": Letters()}).differences == ()


# Traces that are wrong

Edit = Callable[[dict[str, Any]], object]


def stored(trace: Path, described: dict[str, Any], content: bytes) -> None:
    """Put a content at the end of the trace's data, and describe it."""
    file = Path(f"{trace}.data")
    described["data"] = {
        "offset": file.stat().st_size,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    file.write_bytes(file.read_bytes() + content)


@pytest.mark.parametrize(
    ("call", "edit", "message"),
    [
        ("describe", lambda args: args.pop("result"), "'description' must be an object"),
        ("describe", lambda args: args["result"].update(description=[]), "'description' must be an object"),
        ("describe", lambda args: args["result"]["description"].pop("inputs"), "there is no data"),
        ("describe", lambda args: args["result"]["description"].pop("runtime"), "there is no data"),
        ("describe", lambda args: args["result"]["description"].update(metadata=3), "there is no data"),
        ("describe", lambda args: args.update(graph="m"), "'graph' must be a number of 32 bits"),
        ("describe_output", lambda args: args.update(output="x"), "'output' must be a number of 32 bits"),
        ("describe_output", lambda args: args.update(result={}), "there is no data"),
        ("use_signature", lambda args: args.update(name=["train"]), "'name' must be a text"),
        ("use_signature", lambda args: args.update(name="x" * 65537), "'name' has 65537 characters"),
        ("use_signature", lambda args: args.update(result={}), "the result has no handle"),
        ("state_get", lambda args: args.update(result={}), "there is no data"),
        ("state_get", lambda args: args["result"]["state"]["data"].update(bytes=2**40), "data is missing"),
        ("state_set", lambda args: args.pop("state"), "there is no data"),
        ("state_set", lambda args: args.update(state="/etc/passwd"), "there is no data"),
        ("begin_sequence", lambda args: args.update(inputs={}), "'inputs' must be a list of objects"),
        ("begin_sequence", lambda args: args["inputs"][0].update(dims=[9]), "strings"),
        ("begin_sequence", lambda args: args["inputs"][0].update(dims=[2**20, 2]), "2097152 strings: at most"),
        ("begin_sequence", lambda args: args["inputs"][0].update(dims=[0, 2**32 - 1, 2**32 - 1]), "strings"),
        ("begin_sequence", lambda args: args["inputs"][0].update(dims=[1] * 65), "'dims' has 65 numbers"),
        ("begin_sequence", lambda args: args.update(result={}), "the result has no handle"),
        ("next_of_sequence", lambda args: args.update(sequence=None), "'sequence' must be a number of 32 bits"),
        ("next_of_sequence", lambda args: args.update(result={}), "'outputs' must be a list of objects"),
        ("next_of_sequence", lambda args: args["result"].update(outputs=[3]), "'outputs' must be a list of objects"),
        ("set_byte_strings", lambda args: args.update(dims=-1), "'dims' must be a list of numbers"),
        ("set_byte_strings", lambda args: args.pop("data"), "there is no data"),
        ("byte_strings", lambda args: args["result"].update(dims=[1]), "must rise to the size of all"),
        ("byte_strings", lambda args: args["result"].pop("dims"), "'dims' must be a list of numbers"),
    ],
)
def test_what_is_wrong_in_a_trace_is_said_with_its_line(recorded: Path, call: str, edit: Edit, message: str) -> None:
    changed = events(recorded)
    at = next(place for place, event in enumerate(changed) if event["name"] == call)
    edit(changed[at]["args"])
    recorded.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, changed)) + "\n]}\n")
    match = rf"trace\.json, line {at + 2}: .*{message}"
    refused(ErrorCode.INVALID_ARGUMENT, match, replay, recorded, {"m": trained()})


@pytest.mark.parametrize("state", [b"", b"garbage", b"\xff" * 64, state_of(weight=[1])[:-1]])
def test_a_recorded_state_that_is_none_is_refused(recorded: Path, state: bytes) -> None:
    changed = events(recorded)
    event = next(event for event in changed if event["name"] == "state_get")
    stored(recorded, event["args"]["result"]["state"], state)
    recorded.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, changed)) + "\n]}\n")
    refused(ErrorCode.INVALID_ARGUMENT, "isn't a safetensors file", replay, recorded, {"m": trained()})


def test_a_recorded_state_to_set_that_is_none_is_a_failed_call(recorded: Path) -> None:
    changed = events(recorded)
    event = next(event for event in changed if event["name"] == "state_set")
    stored(recorded, event["args"]["state"], b"garbage")
    recorded.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, changed)) + "\n]}\n")
    [text] = texts(replay(recorded, {"m": trained()}))
    assert text.startswith("call 10, state_set: the call fails with invalid-argument: the state isn't a safetensors")


def test_descriptions_that_arent_texts_only_differ(recorded: Path) -> None:
    changed = events(recorded)
    event = next(event for event in changed if event["name"] == "describe")
    stored(recorded, event["args"]["result"]["description"]["inputs"], b"[" * 100_000 + b"\x1b\xff")
    recorded.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, changed)) + "\n]}\n")
    [text] = texts(replay(recorded, {"m": trained()}))
    assert text.startswith("call 2, describe: inputs: it is ")
    assert text.isprintable()
    assert len(text) < 600
