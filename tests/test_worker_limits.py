"""The limits on isolated workers, and the error if a worker can't be started."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import onnx_models
import pytest

from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, Host, HostLimits, Limits, LoadRules, NNError, Session
from wasi_nn.isolation import unavailable

ISOLATED = LoadRules(isolate=True) if not unavailable() else LoadRules()
MODEL = onnx_models.relu()


pytestmark = pytest.mark.usefixtures("isolation")


def load(session: Session, model: bytes = MODEL) -> int:
    return session.load([memoryview(model)], GraphEncoding.ONNX, ExecutionTarget.CPU)


def workers() -> set[str]:
    """The process ids of this process's workers."""
    gc.collect()
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                if b"isolation.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(child)
            except FileNotFoundError:
                continue
    return found


def test_a_default_guest_has_eight_workers() -> None:
    before = workers()
    with Session(rules=ISOLATED) as session:
        graphs = [load(session) for _ in range(8)]
        with pytest.raises(NNError, match=r"9 isolated workers .* 8 .*\(Limits.workers, --max-workers\)") as raised:
            load(session)
        assert raised.value.code is ErrorCode.TOO_LARGE
        assert len(workers() - before) == 8
        session.unload(graphs.pop())
        gc.collect()
        load(session)
        assert session.used("workers") == 8
    assert workers() <= before  # one of an earlier test may end meanwhile


def test_all_guests_together_have_so_many() -> None:
    host = Host(totals=HostLimits(workers=2), rules=ISOLATED)
    with host.session() as one, host.session() as other:
        load(one), load(other)
        with pytest.raises(NNError, match=r"2 that all guests together may have \(HostLimits.workers\)"):
            load(one)
        other.close()
        load(one)


def test_a_model_that_cant_be_loaded_leaves_no_worker_whoever_keeps_the_error() -> None:
    before = workers()
    kept = []
    with Session(rules=ISOLATED, limits=Limits(workers=1)) as session:
        for _ in range(3):
            with pytest.raises(NNError) as raised:
                load(session, MODEL[: len(MODEL) // 2])
            kept.append(raised.value)
            assert raised.value.code is not ErrorCode.TOO_LARGE
            assert workers() <= before  # one of an earlier test may end meanwhile
        load(session)


def test_graphs_that_arent_isolated_and_those_of_the_operator_dont_count() -> None:
    with Session(limits=Limits(workers=1)) as session:
        load(session), load(session)
        assert session.used("workers") == 0
    named = {"a": onnx_models.relu(), "b": onnx_models.relu()}
    host = Host(named, limits=Limits(workers=1), rules=ISOLATED)
    with host.session() as session:
        session.load_by_name("a"), session.load_by_name("b")
        assert session.used("workers") == 0


# Loads models until one is refused, and prints the error.
_OUT_OF_FILES = """
import gc, os, resource, sys
sys.path[:0] = sys.argv[2:]
import onnx_models, wasi_nn
from wasi_nn.isolation import isolated_graph as isolated
most = {most}
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = []
graph = wasi_nn.load(onnx_models.relu(), rules=wasi_nn.LoadRules(isolate=True))
while True:
    try:
        kept.append({what})
    except wasi_nn.NNError as error:
        print(error.code.value, error)
        break
kept.clear()
gc.collect()
{what}
print("again")
"""


@pytest.mark.parametrize(
    "what",
    ["wasi_nn.load(onnx_models.relu(), rules=wasi_nn.LoadRules(isolate=True))", "graph.init_execution_context()"],
)
def test_where_no_files_are_left_it_is_an_error(what: str) -> None:
    program = _OUT_OF_FILES.format(most=80, what=what)
    command = [sys.executable, "-c", program, "", str(Path(__file__).parent), *filter(None, sys.path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("runtime-error "), ended.stderr
    assert ended.stdout.endswith("again\n")


def test_where_no_process_can_be_started_it_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with Session(rules=ISOLATED, limits=Limits(workers=1)) as session:
        for _ in range(2):
            with pytest.raises(NNError, match="no process can be started for an isolated graph") as raised:
                load(session)
            assert raised.value.code is ErrorCode.RUNTIME_ERROR
        assert session.used("workers") == 0


_UNDER_A_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (64 * 2**30,) * 2)
import wasi_nn
graph = wasi_nn.load(sys.argv[1], rules=wasi_nn.LoadRules(isolate=True))
print(graph.compute({"x": [1.0, -1.0, 2.0, -2.0]})["y"].tolist())
"""


def test_a_worker_keeps_to_a_lower_limit_of_its_user(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL)
    run = subprocess.run(
        [sys.executable, "-c", _UNDER_A_LIMIT, str(model)], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("[1.0, 0.0, 2.0, 0.0]\n", "")
