"""Hostile models, loaded by a session as a guest would load them: each is refused, fails or runs, and does no harm.

All models of an encoding are tried in one separate process, so that a model that crashes it is noticed and ends nothing
else. The kernel reports which files the process opens in its working directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import SUPPORT, need
from hostile import SECRET, Hostile, Scene

for _module, _extra in (("onnxruntime", "onnx"), ("ai_edge_litert", "tflite"), ("openvino", "openvino")):
    need(_module, f"'wasi-nn[{_extra}]'")
for _module, _extra in (("torch", "pytorch"), ("tensorflow", "tensorflow"), ("xllamacpp", "ggml")):
    need(_module, f"'wasi-nn[{_extra}]'")

from hostile_models import GOOD, MODELS  # noqa: E402

from wasi_nn import isolation  # noqa: E402

MODES = ("IN-PROCESS", "ISOLATED")
_PATIENCE = 60  # seconds that one model may take
_LONGEST_MESSAGE = 5_000  # characters

_OPENED, _CHANGED = 0x020, 0x002 | 0x004 | 0x100 | 0x200 | 0x0C0  # inotify(7): changed, created, deleted or moved
_IS_DIRECTORY = 0x40000000


@dataclass
class Trial:
    """The results of an encoding's models, by their place in the corpus, and the files that they touched."""

    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # by model: how the process ended that tried it
    printed: str = ""
    touched: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Trial]]:
    """A function that tries the models of an encoding, once. Two threads try the next encodings meanwhile. TensorFlow
    comes first: it waits for ten seconds whenever it gets no memory, so that both threads are mostly idle with it."""
    with ThreadPoolExecutor(3) as threads:
        asked: dict[tuple[str, str], Future[Trial]] = {}

        def tried(encoding: str, mode: str) -> Trial:
            if not asked:
                folders: dict[str, Path] = {}
                for each in sorted(product(MODELS, MODES), key=lambda each: each[0] != "tensorflow"):
                    if each[1] == "IN-PROCESS" or not isolation.unavailable():
                        folder = tmp_path_factory.mktemp("hostile")
                        scene = _prepared(folder, *each, folders.get(each[0]))  # not on two threads at once
                        asked[each] = threads.submit(_tried, folder, scene, *each)
                        folders[each[0]] = folder
            return asked[encoding, mode].result()

        yield tried
        threads.shutdown(cancel_futures=True)


def _prepared(folder: Path, encoding: str, mode: str, other: Path | None) -> Scene:
    """Write the models into the folder; returns the scene whose paths they contain. Those that are the same in every
    scene are taken from the folder of the other mode, if it is there."""
    scene, models = Scene(folder / "scene"), folder / "models"
    scene.prepare()
    (folder / "temporary").mkdir()
    _write(models / "good", GOOD[encoding]())
    endless = [str(place) for place, model in enumerate(MODELS[encoding]) if model.outcome.endless]
    (models / "endless").write_text(" ".join(endless))
    for place, model in enumerate(MODELS[encoding]):
        if _is_tried(model, mode):
            made = other and other / "models" / str(place)
            if model.alike and made and made.is_dir():
                shutil.copytree(made, models / str(place), copy_function=os.link)
            else:
                _write(models / str(place), model.builders(scene))
    return scene


def _tried(folder: Path, scene: Scene, encoding: str, mode: str) -> Trial:
    models, temporary = folder / "models", folder / "temporary"
    before = _content(scene.folder)
    trial = Trial()
    with _watched(scene.folder, trial.touched):
        while not _run(models, encoding, mode, scene, temporary, trial):
            assert len(trial.ended) <= len(MODELS[encoding]), trial.ended
    trial.touched += sorted(str(path) for path in before ^ _content(scene.folder))
    trial.left = sorted(path.name for path in temporary.iterdir())
    return trial


def _is_tried(model: Hostile, mode: str) -> bool:
    return mode == "ISOLATED" or not model.outcome.isolated_only


def _write(folder: Path, builders: Sequence[bytes]) -> None:
    folder.mkdir(parents=True)
    for number, builder in enumerate(builders):
        (folder / str(number)).write_bytes(builder)


def _content(folder: Path) -> set[tuple[Path, bytes]]:
    return {(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _watched(folder: Path, touched: list[str]) -> Iterator[None]:
    """During the block, note which files of a directory any process opens or changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert watch >= 0
    assert libc.inotify_add_watch(watch, os.fsencode(folder), _OPENED | _CHANGED) >= 0
    try:
        yield
        with contextlib.suppress(BlockingIOError):
            events = os.read(watch, 1 << 20)
            while events:
                kind, size = (int.from_bytes(events[at : at + 4], "little") for at in (4, 12))
                if not kind & _IS_DIRECTORY:
                    touched.append(events[16 : 16 + size].rstrip(b"\0").decode())
                events = events[16 + size :]
    finally:
        os.close(watch)


def _run(models: Path, encoding: str, mode: str, scene: Scene, temporary: Path, trial: Trial) -> bool:
    """Try the models that have no outcome yet. Returns False if the process ended early, in the model begun last."""
    environment = os.environ | {
        "HOST_SECRET": SECRET,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(temporary),
    }
    command = [sys.executable, "-P", str(SUPPORT / "hostile_trial.py"), str(models), encoding, mode]
    outcomes = models / "outcomes"
    outcomes.touch()
    with open(models / "printed", "ab") as printed:
        process = subprocess.Popen(
            command, cwd=scene.folder, env=environment, stdout=printed, stderr=printed, start_new_session=True
        )
        try:
            code = _ended(process, outcomes)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    trial.printed = (models / "printed").read_text(errors="replace")
    begun = "none"
    for line in outcomes.read_text().splitlines():
        begun, _, outcome = line.partition(" ")
        if outcome:
            trial.outcomes[begun] = json.loads(outcome)
    if code == 0:
        return True
    how = f"it took more than {_PATIENCE} seconds" if code is None else f"the process ended with {code}"
    trial.ended[begun] = f"{how}: {trial.printed[-2000:]}"
    return False


def _ended(process: subprocess.Popen[bytes], outcomes: Path) -> int | None:
    """Wait for a process; returns its exit code, or None if it made no progress for too long."""
    size, since = -1, 0.0
    while process.poll() is None:
        if outcomes.stat().st_size != size:
            size, since = outcomes.stat().st_size, time.monotonic()
        if time.monotonic() - since > _PATIENCE:
            return None
        time.sleep(0.05)
    return process.returncode


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    if chosen == "ISOLATED" and isolation.unavailable():
        message = f"graphs can't be isolated here: {isolation.unavailable()}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return chosen


ALL = [
    pytest.param(mode, encoding, place, id=f"{mode} {encoding}: {model.name}")
    for mode in MODES
    for encoding, models in MODELS.items()
    for place, model in enumerate(models)
    if _is_tried(model, mode)
]


@pytest.mark.parametrize(("mode", "encoding", "place"), ALL, indirect=["mode"])
def test_what_comes_of_it(mode: str, encoding: str, place: int, trial_of: Any) -> None:
    model, trial = MODELS[encoding][place], trial_of(encoding, mode)
    assert str(place) in trial.outcomes, trial.ended.get(str(place), f"the model wasn't tried: {trial.ended}")
    check(model, trial.outcomes[str(place)])


def check(model: Hostile, outcome: Mapping[str, Any]) -> None:
    expected = model.outcome
    if expected.stage != "any":
        assert outcome["stage"] == expected.stage, outcome
    if expected.codes:
        assert outcome["code"] in {code.value for code in expected.codes}, outcome
    message = outcome.get("message", "no error")
    assert message.isprintable()
    assert 0 < len(message) < _LONGEST_MESSAGE
    assert SECRET not in message + outcome.get("outputs", "")


@pytest.mark.parametrize("encoding", MODELS)
def test_the_process_goes_on_and_good_models_run(encoding: str, mode: str, trial_of: Any) -> None:
    trial = trial_of(encoding, mode)
    assert not trial.ended
    assert trial.outcomes["good"]["stage"] == "ran", "after all hostile models"


@pytest.mark.parametrize("encoding", MODELS)
def test_no_file_is_opened_made_or_changed(encoding: str, mode: str, trial_of: Any) -> None:
    trial = trial_of(encoding, mode)
    assert not trial.touched
    assert not trial.left, "temporary files stay"


@pytest.mark.parametrize("encoding", MODELS)
def test_nothing_is_printed(encoding: str, mode: str, trial_of: Any) -> None:
    assert trial_of(encoding, mode).printed == ""


def test_the_kernel_tells_what_is_opened_in_the_scene(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "scene")
    scene.prepare()
    touched: list[str] = []
    with _watched(scene.folder, touched):
        (scene.folder / "link.bin").read_bytes()
        (scene.folder / "new").touch()
    assert {"weights.bin", "new"} <= set(touched)
