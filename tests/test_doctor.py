"""`wasi-nn doctor`: each part that works is ok, and each that doesn't has a line that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import need

from wasi_nn import cli
from wasi_nn.cli.doctor_checks import CHECKS, _version_finding
from wasi_nn.cli.versions import DISTRIBUTIONS, TESTED, least
from wasi_nn.isolation import unavailable

Write = Callable[[str, bytes], Path]
Findings = list[dict[str, str]]


def doctor(*checks: str, first_on_path: Path | None = None) -> tuple[int, Findings]:
    """The exit code and the findings of some checks, in a process that finds packages in a folder before all others."""
    path = [str(first_on_path)] if first_on_path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)])}
    program = [sys.executable, "-m", "wasi_nn", "doctor", *checks, "--json"]
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_this_machine_is_well(cache_home: Path) -> None:
    code, findings = doctor("python", "engine", "cache", "isolation", "onnxruntime")
    assert code == (1 if unavailable() else 0)
    statuses: Mapping[str, str] = {finding["check"]: finding["status"] for finding in findings}
    assert (statuses["engine"], statuses["cache"], statuses["onnxruntime"]) == ("ok", "ok", "ok")
    found = findings[-1]["found"]
    assert found.endswith("here and in isolation" if not unavailable() else "here")
    assert "computes on cpu" in found
    assert all(finding["advice"] is None for finding in findings if finding["status"] == "ok")


def test_the_check_under_way_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    with open(follower, "w") as terminal, open(leader, "rb", 0) as screen:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        assert cli.main(["doctor", "python"]) == 0
        erased = "\r\x1b[K"
        assert screen.read(1000).decode() == f"{erased}checking python ...{erased}"


def test_each_runtime_has_a_check() -> None:
    from wasi_nn.backends import built_in

    assert {backend.runtime for backend in built_in()} == set(DISTRIBUTIONS) < set(CHECKS)


@pytest.mark.parametrize("runtime", ["ai_edge_litert", "openvino", "xllamacpp"])
def test_a_tiny_model_of_each_kind_computes(runtime: str, cache_home: Path) -> None:
    need(runtime, runtime)
    code, (finding,) = doctor(runtime)
    assert (code, finding["status"]) == (0, "ok"), finding


@pytest.mark.parametrize("runtime", ["tensorflow", "torch"])
def test_the_tiny_models_of_the_large_runtimes_compute(runtime: str) -> None:
    need(runtime, runtime)
    from wasi_nn import load
    from wasi_nn.cli.doctor_checks import _MODELS, _RUNTIMES

    encoding, name, _ = _RUNTIMES[runtime]
    graph = load(_MODELS / name, encoding)
    (output,) = graph.compute(np.array([-1, 2, -3, 4], np.float32)).values()
    assert (graph.runtime, output.tolist()) == (runtime, [0.0, 2.0, 0.0, 4.0])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("raise ImportError('it was built for another Python')", "it was built for another Python"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "ended by SIGILL (it was built for another processor)",
        ),
        ("import os; os._exit(7)", "its process ended with 7"),
    ],
)
def test_a_runtime_that_is_broken(write: Write, tmp_path: Path, body: str, found: str) -> None:
    write("there/onnxruntime/__init__.py", body.encode())
    code, (finding,) = doctor("onnxruntime", first_on_path=tmp_path / "there")
    assert (code, finding["status"]) == (1, "failed")
    assert found in finding["found"]
    assert (finding["advice"] or "").startswith("pip install --force-reinstall 'wasi-nn[onnx]'; ")


def test_a_version_outside_of_what_was_tested() -> None:
    old = _version_finding("onnxruntime", "onnxruntime", "1.3.0", "it computes")
    assert (old.status, old.advice) == ("failed", f"pip install 'onnxruntime>={least('onnxruntime')}'")
    assert old.found == "it computes: 1.3.0 is too old"
    new = _version_finding("onnxruntime", "onnxruntime", "99.0.1", "it computes")
    assert new.status == "warning"
    assert (new.advice or "").startswith(f"99.0.1 is newer than {TESTED['onnxruntime']}, the newest that was tested")
    tested = _version_finding("onnxruntime", "onnxruntime", f"{TESTED['onnxruntime']}.7", "it computes")
    assert (tested.status, tested.advice) == ("ok", None)


def test_a_cache_that_others_can_write_or_nobody_can(
    cache_home: Path, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache_home / "wasi-nn" / "compiled").mkdir(parents=True)
    (cache_home / "wasi-nn" / "compiled").chmod(0o777)
    assert cli.main(["doctor", "cache"]) == 1
    assert "isn't used: other users could put code into it\n" in capsys.readouterr().out
    monkeypatch.setenv("XDG_CACHE_HOME", str(write("file", b"no folder")))
    assert cli.main(["doctor", "cache"]) == 1
    failed, advice = capsys.readouterr().out.splitlines()
    assert failed.startswith("failed   cache ")
    assert failed.endswith("can't be written: Not a directory")
    assert advice.strip().startswith("set XDG_CACHE_HOME")


def test_a_check_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "onnxruntimes"]) == 2
    assert "no check is named 'onnxruntimes'; there are python, " in (errors := capsys.readouterr().err)
    assert "; did you mean onnxruntime?" in errors


# The cache


def test_the_cache_is_shown_and_emptied(cache_home: Path, write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    pulled = {"folder": str(cache_home / "wasi-nn" / "guests"), "guests": 0, "bytes": 0, "removed": 0}

    def asked(*arguments: str) -> dict[str, object]:
        assert cli.main(["cache", *arguments, "--json"]) == 0
        content: dict[str, object] = json.loads(capfd.readouterr().out)
        assert content.pop("pulled") == pulled
        return content

    folder = str(cache_home / "wasi-nn" / "compiled")
    assert asked("--clear") == {"folder": folder, "guests": 0, "bytes": 0, "removed": 0}
    guest = str(write("guest.wat", b'(module (func (export "_start")))'))
    assert cli.main(["run", guest]) == 0
    assert cli.main(["run", "--max-fuel", "1000", guest]) == 0
    filled = asked()
    assert (filled["guests"], filled["removed"]) == (2, 0)
    assert cli.main(["cache"]) == 0
    assert capfd.readouterr().out.startswith(f"{folder}: 2 compiled guests, ")
    assert asked("--clear") == {**filled, "removed": 2}
    assert asked()["guests"] == 0
    assert cli.main(["run", guest]) == 0
