"""Runtimes print nothing while they are imported and first used, on any processor."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hostile_models import GOOD

from wasi_nn import isolation
from wasi_nn.process import quiet

SCRIPT = """
import os
import sys
from pathlib import Path

def hide(folder):
    from landlock import Ruleset
    rules = Ruleset()
    for name in os.listdir("/"):
        if name != folder and os.path.isdir("/" + name):
            rules.allow("/" + name)
    rules.apply()

import numpy as np
import wasi_nn

encoding, unseen, *builders = sys.argv[1:]
if unseen:
    hide(unseen)
models = [Path(builder).read_bytes() for builder in builders]
graph = wasi_nn.load(models if len(models) > 1 else models[0], encoding)
inputs = {}
for info in graph.inputs:
    dims = [dim if isinstance(dim, int) else 1 for dim in info.dims or [4]]
    text = b'{"n-predict": 1}'
    inputs[info.name] = np.frombuffer(text, np.uint8) if info.opaque else np.ones(dims, info.dtype or np.float32)
for _ in range(2):
    assert graph.compute(inputs)
"""
ENVIRONMENTS: dict[str, list[dict[str, str]]] = {
    "tensorflow": [{"TF_ENABLE_ONEDNN_OPTS": "0"}, {"TF_ENABLE_ONEDNN_OPTS": "1"}, {"TF_CPP_MIN_LOG_LEVEL": "3"}],
    "pytorch": [{"ATEN_CPU_CAPABILITY": "default"}],
}


@pytest.mark.parametrize(
    ("encoding", "environment", "unseen"),
    [
        *((encoding, environment, "") for encoding in GOOD for environment in ({}, *ENVIRONMENTS.get(encoding, ()))),
        *((encoding, {}, "sys") for encoding in GOOD),
    ],
)
def test_a_runtime_prints_nothing(encoding: str, environment: dict[str, str], unseen: str, tmp_path: Path) -> None:
    if unseen and isolation.unavailable():
        pytest.skip(isolation.unavailable())
    paths = [tmp_path / str(number) for number, _ in enumerate(GOOD[encoding]())]
    for path, content in zip(paths, GOOD[encoding](), strict=True):
        path.write_bytes(content)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, encoding, unseen, *map(str, paths)],
        capture_output=True,
        text=True,
        env=kept | environment,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="threads with descriptors of their own are Linux's")
def test_a_quiet_call_silences_no_other_thread(capfd: pytest.CaptureFixture[str]) -> None:
    def speak(name: str) -> None:
        for standard in (1, 2):
            os.write(standard, name.encode())

    def both() -> int:
        speak("quiet")
        other = threading.Thread(target=speak, args=["a thread of the quiet call"])
        other.start()
        other.join()
        began.set()
        assert spoken.wait(60)
        return 7

    began, spoken = threading.Event(), threading.Event()
    results: list[int] = []
    caller = threading.Thread(target=lambda: results.append(quiet.call(both)))
    caller.start()
    assert began.wait(60)
    speak("heard")
    spoken.set()
    caller.join()
    speak(", afterwards too")
    assert results == [7]
    assert capfd.readouterr() == ("heard, afterwards too",) * 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads with descriptors of their own are Linux's")
def test_a_quiet_call_keeps_nothing_open() -> None:
    reads, writes = os.pipe()
    may_end = threading.Event()
    started: list[threading.Thread] = []

    def start_one_that_stays() -> None:
        started.append(threading.Thread(target=may_end.wait))
        started[0].start()

    quiet.call(start_one_that_stays)
    os.close(writes)
    try:
        assert os.read(reads, 1) == b"", "the pipe is closed at the other end"
    finally:
        os.close(reads)
        may_end.set()
        started[0].join()


def test_a_quiet_call_collects_no_garbage_of_other_threads() -> None:
    """Finalizers would close descriptors by number; on the quiet thread, these numbers belong to other files."""
    collected_on = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            collected_on.append(threading.get_ident())

    def work() -> int:
        gc.set_threshold(1)
        for _ in range(1000):
            [[]].append([])
        return threading.get_ident()

    thresholds = gc.get_threshold()
    gc.collect()
    Cycle()
    try:
        quiet_thread = quiet.call(work)
    finally:
        gc.set_threshold(*thresholds)
    assert gc.isenabled()
    gc.collect()
    assert collected_on == [threading.get_ident()] != [quiet_thread]


def test_what_a_quiet_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        quiet.call(lambda: 1 // 0)


def test_modules_are_found_as_ever() -> None:
    script = """
import sys
from wasi_nn import isolation
from wasi_nn.process import quiet
before = list(sys.meta_path)
with quiet.extensions_of("numpy"):
    import numpy
assert sys.meta_path == before
assert numpy.ones(3).sum() == 3
try:
    with quiet.extensions_of("json"):
        import json.nothing
except ImportError as error:
    assert error.name == "json.nothing"
else:
    raise AssertionError("there is no module json.nothing")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
