"""The command's options for limits, policy and isolation: each option reaches the setting that it names."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import onnx_models as models
import pytest
from command_guests import LOOKS_UP_NET, command, says
from conftest import C_GUESTS

from wasi_nn import HostLimits, Limits
from wasi_nn.cli import limit_options, main

Result = tuple[int, str]
LOOPS = command("(loop $again (br $again))")
GROWS = command("(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable)))")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs `wasi-nn run` in a directory with some guests and a model; returns exit code and errors."""
    for name, text in (("lookup.wat", command(LOOKS_UP_NET)), ("loop.wat", LOOPS), ("grow.wat", GROWS)):
        (tmp_path / name).write_text(text)
    (tmp_path / "net.onnx").write_bytes(models.relu())

    def run(*arguments: str) -> Result:
        program = Path(sys.executable).with_name("wasi-nn")
        ended = subprocess.run(
            [program, "run", "--no-cache", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stderr

    return run


def limits_of(*arguments: str) -> tuple[Limits, HostLimits]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    limit_options.add(parser)
    return limit_options.limits(parser.parse_args(arguments))


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_each_limit_has_an_option(name: str) -> None:
    flag = f"--max-{name.replace('_', '-')}"
    assert getattr(limits_of(flag, "7")[0], name) == 7
    assert getattr(limits_of(flag, "none")[0], name) is None
    assert limits_of() == (Limits(), HostLimits())
    assert limits_of(flag, "7")[1] == HostLimits(**({"workers": 7} if name == "workers" else {}))
    for wrong in ("many", "0", "-1", "", "1x", "nan", "inf", str(2**63), "9" * 400):
        with pytest.raises(argparse.ArgumentError, match="; or none, for no limit"):
            limits_of(f"{flag}={wrong}")


def test_computes_at_once_are_the_hosts() -> None:
    assert limits_of("--max-computes", "3") == (Limits(), HostLimits(computes=3))


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        ("guest_memory", "512M", 512 * 2**20),
        ("guest_memory", "2GiB", 2 * 2**30),
        ("model_bytes", "10k", 10 * 2**10),
        ("model_bytes", "1GB", 2**30),
        ("tensor_bytes", "1.5M", 3 * 2**19),
        ("run_time", "500ms", 0.5),
        ("run_time", "1.5m", 90.0),
        ("compute_time", "2h", 7200.0),
    ],
)
def test_sizes_and_times_have_units(flag: str, text: str, value: float) -> None:
    assert getattr(limits_of(f"--max-{flag.replace('_', '-')}", text)[0], flag) == value


def test_counts_have_no_units() -> None:
    with pytest.raises(
        argparse.ArgumentError,
        match="'1k' is no count: a count is a whole number without a unit, such as 1000; or none",
    ):
        limits_of("--max-fuel", "1k")


def test_a_limit_that_cant_be_is_a_usage_error(run: Callable[..., Result]) -> None:
    for flag, value in (("guest-time", "0"), ("files", "1k"), ("computes", "0"), ("output-bytes", "0")):
        code, errors = run(f"--max-{flag}", value, "loop.wat")
        assert code == 2
        assert f"argument --max-{flag}: '{value}'" in errors


@pytest.mark.parametrize("value", ["none", "many", "0"])
def test_a_limit_of_workers_is_never_none(run: Callable[..., Result], value: str) -> None:
    code, errors = run("--worker-memory", value, "loop.wat")
    assert code == 2
    assert f"argument --worker-memory: '{value}'" in errors
    assert "or none" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-fuel", "1000", "loop.wat"], "Limits.fuel, --max-fuel"),
        (["--max-guest-time", "200ms", "loop.wat"], "Limits.guest_time, --max-guest-time"),
        (["--max-run-time", "200ms", "loop.wat"], "Limits.run_time, --max-run-time"),
        (["--max-guest-memory", "1M", "grow.wat"], "unreachable"),
    ],
)
def test_a_guest_beyond_them_traps(run: Callable[..., Result], arguments: list[str], message: str) -> None:
    code, errors = run(*arguments)
    assert code == 134
    assert message in errors


def test_names_and_isolation(run: Callable[..., Result]) -> None:
    net = ("--graph", "net=net.onnx")
    assert run(*net, "--allow-name", "n*", "lookup.wat") == (0, "")
    code, errors = run(*net, "--allow-name", "other", "lookup.wat")
    assert code == 8
    assert "no graph is named 'net', or this guest may not load" in errors
    assert run(*net, "--isolate", "lookup.wat") == (0, "")
    code, errors = run("--graph", "net=onnx:gpu:net.onnx", "--isolate", "lookup.wat")
    assert code != 0
    assert "isolated graphs run on the cpu only" in errors


def test_targets(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(16))
    guest = ("--dir", ".::/", str(C_GUESTS / "infer.wasm"), "--model", "/net.onnx", "f32:4:/x")
    assert run("--allow-target", "cpu", *guest)[0] == 0
    code, errors = run("--allow-target", "gpu", *guest)
    assert code != 0
    assert "this guest may not use the target cpu; it may use: gpu" in errors


def test_a_limit_on_output_holds_in_the_callers_own_process(
    write: Callable[[str, bytes], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    guest = str(write("talks.wat", command(says("123456789")).encode()))
    for options, code, written in (((), 0, "123456789"), (("--max-output-bytes", "5"), 134, "12345")):
        print("before")
        assert main(["run", "--no-cache", *options, guest]) == code
        output, errors = capfd.readouterr()
        assert output == f"before\n{written}"
        assert ("more than 5 bytes of output" in errors) is (code == 134)
