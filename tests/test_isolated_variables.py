"""Variables, signatures, sequences and strings of isolated graphs, as in the host's process, and of hostile workers."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checks import held_by_another_thread, once_started, refused
from footprint import Footprint
from isolated_programs import kill_worker_of, wait_for_end_of
from training_guests import Guest, isolated, state_of
from variables_backend import PLAIN_BYTES, SIGNATURES, TARGET, X, trained

from wasi_nn import ErrorCode, Graph, Limits, NNError, Registry
from wasi_nn.graph.byte_strings import decoded, encoded
from wasi_nn.graph.conversion import converted
from wasi_nn.isolation import Isolation
from wasi_nn.limits.compute_guard import ComputeGuard
from wasi_nn.session import state_files

pytestmark = pytest.mark.usefixtures("isolation")

LOST = "the variables are lost with it: load the graph again, and set them by state-set"
MIB = 2**20


@pytest.fixture(params=[trained, isolated], ids=["in-process", "isolated"])
def graph(request: pytest.FixtureRequest) -> Graph:
    made: Graph = request.param()
    return made


def test_a_description_tells_of_all_signatures(graph: Graph) -> None:
    guest = Guest(graph)
    described = guest.session.describe(guest.graph)
    assert (described.signature, described.signatures) == ("infer", tuple(SIGNATURES))
    assert described.metadata == {"author": "a test"}
    train = guest.session.describe(guest.session.use_signature(guest.graph, "train"))
    assert (train.signature, train.signatures) == ("train", tuple(SIGNATURES))
    assert (list(train.inputs), list(train.outputs or ())) == SIGNATURES["train"]


def test_signatures_share_one_set_of_variables(graph: Graph) -> None:
    guest = Guest(graph)
    before = guest.session.init_execution_context(guest.graph)
    train, infer = guest.context("train"), guest.context()
    losses = [guest.train(train) for _ in range(10)]
    assert losses == sorted(losses, reverse=True)
    assert guest.inferred(infer) == pytest.approx(TARGET, abs=1)
    assert guest.inferred(before) == X.tolist(), "a context of before has variables of its own"
    assert guest.state()["steps"] == 10


def test_a_state_is_given_and_taken(graph: Graph) -> None:
    guest, other = Guest(graph), Guest(graph)
    context = guest.session.init_execution_context(guest.graph)
    train = guest.context("train")
    guest.train(train)
    other.session.state_set(other.graph, guest.session.state_get(guest.graph))
    assert other.state() == guest.state()
    other.session.state_set(other.graph, state_of(bias=[1, 1, 1, 1], weight=[0, 0, 0, 0]))
    assert other.inferred(other.context()) == [1, 1, 1, 1]
    assert other.state()["steps"] == 1
    assert guest.state()["bias"] == [0, 0, 0, 0], "another session's set"
    assert guest.inferred(context) == X.tolist()


def test_a_state_that_doesnt_fit_changes_nothing(graph: Graph) -> None:
    guest = Guest(graph)
    before = guest.state()
    for state in (
        b"garbage",
        state_of(weight=[1, 2, 3]),
        state_of(bias=[1, 1, 1, 1], nothing=[1]),
        state_of(steps=1),
        state_of(weight=[1, 1, 1, 1])[:-1],
    ):
        with pytest.raises(NNError) as raised:
            guest.session.state_set(guest.graph, state)
        assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    assert guest.state() == before
    refused(ErrorCode.NOT_FOUND, "no signature is named 'gone'", guest.session.use_signature, guest.graph, "gone")


def test_large_states_pass_through_shared_memory() -> None:
    guest = Guest(isolated(extra=20 * MIB))  # 80 MiB, more than a message has
    values = np.arange(20 * MIB, 0, -1, dtype=np.float32)
    guest.session.state_set(guest.graph, state_files.written({"extra": values}))
    state = guest.session.state_get(guest.graph)
    read = state_files.values_in(memoryview(state))["extra"]
    assert np.array_equal(read, values)


def test_strings_and_sequences(graph: Graph) -> None:
    guest = Guest(graph)
    guest.session.takes_byte_strings = True
    guest.train(guest.context("train"))
    context = guest.context("spell")
    text = np.array([b"ab", b"\xff\0"], object)
    guest.session.set_byte_strings(context, 0, (2,), encoded(text).data)
    guest.session.compute(context)
    output = guest.session.byte_strings(context, 0)
    assert decoded("y", output.data, (4,)).tolist() == [b"a1", b"b1", b"\xff1", b"\x001"]
    assert guest.session.describe_output(context, 0).dims == (4,)
    sequence = guest.session.begin_named(context, [("text", text[:1])])
    pieces = []
    while (piece := guest.session.next_of_sequence(sequence)) is not None:
        [(name, tensor)] = piece
        pieces.append((name, guest.session.tensor(tensor).array(name).tolist()))
    assert pieces == [("letters", [b"a1"]), ("letters", [b"b1"])]


@pytest.mark.parametrize("where", ["in-process", "isolated"])
def test_a_graph_whose_tensors_are_converted_has_signatures_and_variables(where: str) -> None:
    graph = isolated(convert_types=True, signature="spell") if where == "isolated" else converted(trained("", "spell"))
    assert (graph.signature, graph.signatures) == ("spell", tuple(SIGNATURES))
    guest = Guest(graph)
    guest.train(guest.context("train"))
    context = guest.context("spell")
    guest.session.set_input(context, 0, np.frombuffer(b"ab", np.uint8).reshape(1, 2))
    guest.session.compute(context)
    assert guest.session.get_output(context, 0).tobytes() == b"a1b1"
    assert guest.state()["steps"] == 1


def test_a_graph_without_variables_says_so() -> None:
    program = "import variables_backend as b; b.Trained.variables = b.Graph.variables"
    guest = Guest(isolated(program))
    for _ in range(2):
        refused(ErrorCode.UNSUPPORTED_OPERATION, "has no variables", guest.session.state_get, guest.graph)
        refused(ErrorCode.UNSUPPORTED_OPERATION, "has no variables", guest.session.use_signature, guest.graph, "train")
    assert guest.inferred(guest.session.init_execution_context(guest.graph)) == X.tolist()


# The end of a worker


def lost(call: Callable[..., object], *arguments: Any) -> None:
    refused(ErrorCode.RUNTIME_ERROR, LOST, call, *arguments)


def test_a_set_is_lost_with_its_worker_and_nothing_else_is() -> None:
    graph = isolated()
    guest, other = Guest(graph), Guest(graph)
    train, own = guest.context("train"), other.session.init_execution_context(other.graph)
    guest.train(train)
    assert other.inferred(own) == X.tolist()
    state = guest.session.state_get(guest.graph)
    wait_for_end_of(kill_worker_of(graph))
    session = guest.session
    for _ in range(3):
        lost(session.compute, train)
        lost(session.compute_named, train, [("x", X), ("target", TARGET)])
        lost(session.init_execution_context, guest.graph)
        lost(session.use_signature, guest.graph, "infer")
        lost(session.state_get, guest.graph)
        lost(session.state_set, guest.graph, state)
    with pytest.raises(NNError, match="has lost its state"):
        other.inferred(own)
    assert other.inferred(own) == X.tolist(), "a context without a set begins anew"
    guest.graph = guest.session.load_by_name("m")
    session.state_set(guest.graph, state)
    assert guest.state()["steps"] == 1
    guest.train(guest.context("train"))


def test_a_worker_that_ends_in_a_compute_says_what_is_lost() -> None:
    guest = Guest(isolated("import variables_backend as b, os; b.TrainedVariables.train = lambda *_: os.abort()"))
    context = guest.context("train")
    with pytest.raises(NNError, match="is gone: it was ended by SIGABRT") as raised:
        guest.train(context)
    assert LOST in str(raised.value)
    assert "loaded again" not in str(raised.value)
    lost(guest.session.compute, context)


def test_a_deadline_that_ends_the_worker_loses_the_set() -> None:
    program = "import variables_backend as b, time; b.TrainedVariables.train = lambda *_: time.sleep(600)"
    guest = Guest(isolated(program, settings=Isolation(grace=0.1)), limits=Limits(compute_time=0.5))
    context = guest.context("train")
    with pytest.raises(NNError) as raised:
        guest.train(context)
    assert raised.value.code is ErrorCode.TIMEOUT
    lost(guest.session.state_get, guest.graph)


def test_a_closed_graph_has_no_variables() -> None:
    graph = isolated()
    guest = Guest(graph)
    context = guest.context("train")
    guest.train(context)
    graph.close()
    lost(guest.session.compute, context)
    with pytest.raises(NNError, match="the graph is closed"):
        graph.variables()


def test_a_fork_cant_use_a_set() -> None:
    variables = isolated().variables()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            variables.get()
        except NNError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"this set of variables was made in another process" in os.read(read, 1000)
    for file in (read, write):
        os.close(file)
    assert variables.get()["steps"] == 0


# Hostile workers

HOSTILE = """
import numpy as np
from wasi_nn.isolation.worker import variables_server as serving
from wasi_nn.isolation.wire.channel import encoded
from wasi_nn.graph.outputs import Outputs
from wasi_nn.isolation.wire.outputs import OutputWriter
done, Server = serving.VariablesServer._done, serving.VariablesServer
def answering(what, answer):
    def answered(self, variables, message, files):
        return answer(self) if message["do"] == what else done(self, variables, message, files)
    Server._done = answered
def told(self, *pairs, **more):
    return encoded({**OutputWriter(self._graph, self._room).told(Outputs.named(pairs)), **more})
one = np.ones(4, np.float32)
"""

WRONG_STATES = {
    "no names": "encoded({'outputs': []})",
    "nothing": "encoded({})",
    "like the last": "encoded({'same': True})",
    "fewer names": "told(self, ('weight', one), names=[])",
    "two of a name": "told(self, ('weight', one), ('weight', one))",
    "strings": "told(self, ('weight', np.array(['x'], object)))",
    "half a surrogate": "told(self, ('\\ud800', one))",
    "a long name": "told(self, ('x' * 70000, one))",
    "outside": "encoded({'names': ['weight'], 'outputs': [['float32', [4], 4096]]})",
    "too large": "encoded({'names': ['weight'], 'outputs': [['float32', [2**40], 0]]})",
    "wrong dims": "encoded({'names': ['weight'], 'outputs': [['float32', [-1], 0]]})",
    "no type": "encoded({'names': ['weight'], 'outputs': [['float33', [0], 0]]})",
    "room without end": "[self._room(2**n) for n in range(20)] and self._room(1)",
}


@pytest.mark.parametrize("answer", WRONG_STATES.values(), ids=WRONG_STATES)
def test_a_state_that_cant_be_ends_the_worker(answer: str) -> None:
    graph = isolated(f"{HOSTILE}\nanswering('get', lambda self: {answer})")
    guest, worker = Guest(graph), graph.worker_process
    with pytest.raises(NNError, match="it sent an invalid message") as raised:
        guest.session.state_get(guest.graph)
    assert (raised.value.code, LOST in str(raised.value)) == (ErrorCode.RUNTIME_ERROR, True)
    lost(guest.session.state_get, guest.graph)
    assert graph.worker_process != worker


@pytest.mark.parametrize(
    "answer",
    [
        "encoded({})",
        "encoded({'number': 0, 'graph': {}})",
        "self._keep(variables_backend.Trained('infer'))[1].replace(b'number', b'nummer')",
        "self._keep(variables_backend.Trained('spell'))[1]",
        "self._keep(variables_backend.Trained('infer'))[1] + b'more'",
        "b'\\x00' * 100",
    ],
)
def test_a_signature_that_cant_be_ends_the_worker(answer: str) -> None:
    program = f"{HOSTILE}\nimport variables_backend\nanswering('signature', lambda self: {answer})"
    guest = Guest(isolated(program))

    def ask() -> None:
        guest.context("infer")
        guest.context("train")  # bytes behind the answer before are the next one

    with pytest.raises(NNError, match="it sent an invalid message"):
        ask()
    lost(guest.session.state_get, guest.graph)


@pytest.mark.parametrize(
    "templates",
    [
        "None",
        "[3]",
        "[['weight', 'float32']]",
        "[['weight', 'object', [4]]]",
        "[['weight', 'float33', [4]]]",
        "[['weight', 'float32', [-1]]]",
        "[['weight', 'float32', [2**40, 2**40]]]",
        "[['weight', 'float32', [1] * 65]]",
        "[['weight', 'float32', [4]]] * 2",
        "[['\\ud800', 'float32', [4]]]",
    ],
)
def test_types_of_variables_that_cant_be_end_the_worker(templates: str) -> None:
    program = f"{HOSTILE}\nanswering('templates', lambda self: encoded({{'templates': {templates}}}))"
    guest = Guest(isolated(program))
    with pytest.raises(NNError, match="it sent an invalid message"):
        guest.session.state_set(guest.graph, state_of(bias=[1] * 4))
    lost(guest.session.state_get, guest.graph)


@pytest.mark.parametrize("nbytes", ["-1", "'many'", "None", "True", "1.5", "2**70"])
def test_a_set_of_impossible_size_ends_the_worker(nbytes: str) -> None:
    guest = Guest(
        isolated(f"import variables_backend as b; b.Trained.variables = lambda _: type('V', (), dict(nbytes={nbytes}))")
    )
    with pytest.raises(NNError, match="it sent an invalid message"):
        guest.session.state_get(guest.graph)


def test_endless_answers_are_ended() -> None:
    program = f"""{HOSTILE}
def shows(self):
    while True:
        self._channel.send({{'show': True}}, b'word')
answering('get', shows)
"""
    guest = Guest(once_started(lambda: isolated(program, settings=Isolation(load_time=3))))
    with pytest.raises(NNError, match="took longer than 3 s to give its variables") as raised:
        guest.session.state_get(guest.graph)
    assert raised.value.code is ErrorCode.TIMEOUT
    lost(guest.session.state_get, guest.graph)


CALLS: dict[str, Callable[[Guest], object]] = {
    "signature": lambda guest: guest.session.use_signature(guest.graph, "train"),
    "get": lambda guest: guest.session.state_get(guest.graph),
    "templates": lambda guest: guest.session.state_set(guest.graph, state_of(bias=[1] * 4)),
    "put": lambda guest: guest.session.state_set(guest.graph, state_of(bias=[1] * 4)),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_worker_that_doesnt_answer_is_ended_in_the_time_of_a_compute(what: str) -> None:
    program = f"{HOSTILE}\nimport time\nanswering({what!r}, lambda self: time.sleep(3600))"
    guest = Guest(isolated(program), limits=Limits(compute_time=1))
    late = r"the work on the variables took longer than 1 s .*compute_time"
    refused(ErrorCode.TIMEOUT, late, CALLS[what], guest)
    lost(guest.session.state_get, guest.graph)


def test_a_set_is_made_in_the_time_of_a_load() -> None:
    program = """
import time, variables_backend as b
made = b.Trained.variables
b.Trained.variables = lambda self: time.sleep(1.5) or made(self)
"""
    patient = Guest(isolated(program), limits=Limits(compute_time=1))
    assert patient.state()["steps"] == 0
    hasty = Guest(isolated(program), limits=Limits(load_time=1))
    late = r"loading the model took longer than 1 s .*load_time"
    refused(ErrorCode.TIMEOUT, late, hasty.session.use_signature, hasty.graph, "train")


def test_a_stopped_guest_doesnt_wait_for_its_state() -> None:
    program = f"{HOSTILE}\nimport time\nanswering('get', lambda self: time.sleep(3600))"
    guard = ComputeGuard(Limits())
    guest = Guest(isolated(program), guard=guard)
    guest.session.use_signature(guest.graph, "train")
    threading.Timer(1, guard.stop).start()
    refused(ErrorCode.TIMEOUT, "the run was stopped", guest.session.state_get, guest.graph)


def test_a_guest_waits_its_compute_time_for_a_set_that_another_uses() -> None:
    guest = Guest(isolated(), limits=Limits(compute_time=1))
    train = guest.context("train")
    variables = guest.session._shared_variables.of(guest.graph, guest.session.graph(guest.graph))
    with held_by_another_thread(variables._lock):  # type: ignore[attr-defined]
        refused(ErrorCode.TIMEOUT, "the work on the variables took longer", guest.session.state_get, guest.graph)
    guest.train(train)
    assert guest.state()["steps"] == 1, "the set isn't lost"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signature", 3),
        ("signature", "x" * 1025),
        ("signatures", "infer"),
        ("signatures", [1]),
        ("signatures", ["x"] * 4097),
        ("signatures", ["x" * 1025]),
        ("signatures", None),
    ],
)
def test_signatures_that_cant_be_are_no_description(field: str, value: Any) -> None:
    program = f"""
from wasi_nn.isolation.wire import descriptions
described = descriptions.described_graph
descriptions.described_graph = lambda graph: {{**described(graph), {field!r}: {value!r}}}
"""
    with pytest.raises(NNError, match="it sent an invalid message"):
        isolated(program)


def test_more_signatures_than_cross_are_refused_plainly() -> None:
    with pytest.raises(NNError, match="at most 4096 signatures") as raised:
        isolated(
            "import variables_backend as b; b.SIGNATURES.update({str(n): b.SIGNATURES['infer'] for n in range(5000)})"
        )
    assert raised.value.code is ErrorCode.TOO_LARGE


# Limits, and what is left


def test_a_state_without_room_is_refused_and_the_set_stays() -> None:
    program = """
import variables_backend as b, numpy as np
b.TrainedVariables.get = lambda self: {'x': np.broadcast_to(np.uint8(0), 2**28)}
"""
    guest = Guest(isolated(program, settings=Isolation(memory=250 * MIB)))
    train = guest.context("train")
    before = guest.train(train)
    refused(ErrorCode.TOO_LARGE, r"need 268435456 bytes more .*Isolation\.memory", guest.session.state_get, guest.graph)
    assert guest.train(train) < before


def test_a_set_counts_as_bytes_of_models_and_a_state_as_bytes_of_tensors(graph: Graph) -> None:
    guest = Guest(graph, limits=Limits(model_bytes=2 * PLAIN_BYTES, tensor_bytes=PLAIN_BYTES - 1))
    session = guest.session
    train = guest.context("train")
    assert session.used("model_bytes") == PLAIN_BYTES
    refused(ErrorCode.TOO_LARGE, "bytes of tensors", session.state_get, guest.graph)
    refused(ErrorCode.TOO_LARGE, "bytes of tensors", session.state_set, guest.graph, bytes(PLAIN_BYTES))
    second = session.load_by_name("m")
    session.use_signature(second, "infer")
    third = session.load_by_name("m")
    refused(ErrorCode.TOO_LARGE, "bytes of models", session.use_signature, third, "infer")
    assert session.used("model_bytes") == 2 * PLAIN_BYTES
    session.drop(second)
    session.unload(guest.graph)
    session.finalize_execution_context(train)
    for handle in range(1, 20):
        session.drop(handle)
    gc.collect()
    assert session.used("model_bytes") == 0


def test_inputs_of_a_sequence_count_as_long_as_it_is_under_way(graph: Graph) -> None:
    guest = Guest(graph, limits=Limits(tensor_bytes=1_000_000))
    session = guest.session
    contexts = [guest.context("spell") for _ in range(2)]
    inputs = [("text", np.array([b"a" * 600_000], object))]
    for end in (session.drop, lambda _: session.compute_named(contexts[0], [("text", np.array(["ab"], object))])):
        before = session.used("tensor_bytes")
        sequence = session.begin_named(contexts[0], inputs)
        assert 600_000 < session.used("tensor_bytes") - before < 601_000
        refused(ErrorCode.TOO_LARGE, "bytes of tensors", session.begin_named, contexts[1], inputs)
        end(sequence)
        assert session.used("tensor_bytes") == before
    session.begin_named(contexts[1], inputs)


def test_a_worker_that_says_too_little_gets_no_more_than_its_limit_counts() -> None:
    program = """
import variables_backend as b
made = b.TrainedVariables.__init__
def init(self, extra):
    made(self, extra)
    self.nbytes = 0
b.TrainedVariables.__init__ = init
"""
    guest = Guest(isolated(program, extra=MIB), limits=Limits(tensor_bytes=MIB))
    refused(ErrorCode.TOO_LARGE, "bytes of tensors", guest.session.state_get, guest.graph)


COUNTS = """
import gc, threading, numpy as np, variables_backend as b
def infer(self, x):
    gc.collect()
    objects = gc.get_objects()
    of = lambda kind: sum(isinstance(one, kind) for one in objects)
    return [np.array([of(b.TrainedVariables), of(b.Trained), threading.active_count(), 0], np.float32)]
b.TrainedVariables.infer = infer
"""


def test_a_worker_drops_sets_and_graphs_with_the_hosts() -> None:
    graph = isolated(COUNTS)

    def counts() -> list[float]:
        return graph.compute({"x": X})["y"].tolist()  # type: ignore[no-any-return]

    def one_guest() -> None:
        guest = Guest(graph)
        guest.train(guest.context("train"))
        spell = guest.context("spell")
        sequence = guest.session.begin_named(spell, [("text", np.array(["ab"], object))])
        guest.session.next_named(sequence)
        guest.session.state_set(guest.graph, guest.session.state_get(guest.graph))
        guest.session.close()

    one_guest()
    before = settled(counts)
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        one_guest()
    assert settled(counts) == before
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= files


def settled(counts: Callable[[], list[float]]) -> list[float]:
    """The least counts of some: threads end a moment after their channels."""
    gc.collect()
    return min(counts() for _ in range(50))


def test_a_set_is_gone_with_the_last_that_has_it(graph: Graph) -> None:
    gc.collect()
    gc.disable()  # nothing waits for the garbage collector: a guest may load and unload again and again
    try:
        session = Guest(graph).session
        for _ in range(5):
            handle = session.load_by_name("m")
            signature = session.use_signature(handle, "train")
            context = session.init_execution_context(signature)
            session.compute_named(context, [("x", X), ("target", TARGET)])
            assert session.used("model_bytes") == PLAIN_BYTES
            session.unload(handle)
            session.unload(signature)
            assert session.used("model_bytes") == PLAIN_BYTES, "the context has it"
            session.finalize_execution_context(context)
            assert session.used("model_bytes") == 0
    finally:
        gc.enable()


def test_nothing_is_left_of_guests_that_release_nothing(graph: Graph) -> None:
    registry = Registry({"m": graph})

    def run(*, closes: bool) -> None:
        guest = Guest(registry)
        guest.train(guest.context("train"))
        spell = guest.context("spell")
        sequence = guest.session.begin_named(spell, [("text", np.array(["ab"], object))])
        guest.session.next_named(sequence)
        guest.session.state_set(guest.graph, guest.session.state_get(guest.graph))
        if closes:
            guest.session.close()

    for _ in range(5):
        run(closes=True)
    before = Footprint.now()
    for number in range(30):
        run(closes=number % 2 == 0)
    after = Footprint.now()
    counted = ("descriptors", "threads", "sessions", "contexts", "graphs")
    added = {name: getattr(after, name) - getattr(before, name) for name in counted}
    assert {name: more for name, more in added.items() if more > 0} == {}
    assert after.objects < before.objects + 2000
    assert after.memory < before.memory + 32 * MIB


def test_guests_of_one_worker_train_side_by_side() -> None:
    graph = isolated()
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            guest = Guest(graph)
            train, infer = guest.context("train"), guest.context()
            for step in range(20):
                guest.session.state_set(guest.graph, state_of(bias=[number] * 4))
                assert guest.inferred(infer)[0] - guest.state()["weight"][0] == pytest.approx(number, abs=1e-5)
                guest.train(train)
                assert guest.state()["steps"] == step + 1
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
