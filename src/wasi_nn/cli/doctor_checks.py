"""The checks of `wasi-nn doctor`. Each gives what it found, and raises nothing.

A runtime is tried in a process of its own: one that was built for another processor ends its process.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wasi_nn.cli.versions import DISTRIBUTIONS, ENGINE, TESTED, installed, least, numbers
from wasi_nn.settings import how_to_install_extra

OK, WARNING, FAILED, ABSENT = "ok", "warning", "failed", "absent"

_LONGEST = 300.0  # seconds for a runtime to compute: importing TensorFlow from a slow disk takes a minute
_MODELS = Path(__file__).parent / "tiny_models"
_RUNTIMES: Mapping[str, tuple[str, str, str]] = {  # by the runtime: its encoding, its model here, and its extra
    "openvino": ("onnx", "relu.onnx", "openvino"),
    "onnxruntime": ("onnx", "relu.onnx", "onnx"),
    "tensorflow": ("tensorflow", "relu.pb", "tensorflow"),
    "torch": ("pytorch", "relu.pt", "pytorch"),
    "ai_edge_litert": ("tensorflowlite", "relu.tflite", "tflite"),
    "xllamacpp": ("ggml", "tiny.gguf.gz", "ggml"),
}
_REPORT = "if it stays so, report it with the output of wasi-nn --version --json"
_DEVICES = {"NVIDIA": ("/dev/nvidiactl", "/dev/nvidia0"), "AMD": ("/dev/kfd",), "graphics": ("/dev/dri/renderD128",)}
_TRY_NAMESPACES = """
import ctypes, sys
sys.exit(ctypes.CDLL(None, use_errno=True).unshare({flags}) and ctypes.get_errno())
"""


@dataclass(frozen=True)
class Finding:
    """What a check found: its `status` (ok, warning, failed or absent), a text, and what to do, if anything."""

    check: str
    status: str
    found: str
    advice: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """The finding for programs."""
        return asdict(self)


Findings = Iterator[Finding]


def _python() -> Findings:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    if sys.platform == "linux":
        yield Finding("python", OK, text)
    else:
        yield Finding("python", WARNING, text, "this package was tested on Linux only")


def _processor() -> Findings:
    machine = platform.machine()
    try:
        flags = set(re.findall(r"^(?:flags|Features)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except OSError:
        flags = set()
    words = {word for line in flags for word in line.split()}
    if machine not in ("x86_64", "AMD64") or not words:
        yield Finding("processor", OK, machine)
        return
    fast = [name for name in ("sse4_2", "avx", "avx2", "fma", "avx512f", "amx_tile") if name in words]
    text = f"{machine} with {', '.join(fast) or 'none of the vector instructions that runtimes use'}"
    if "avx" not in words:
        advice = "TensorFlow's packages need AVX, and end the process without it; a virtual machine may hide AVX"
        yield Finding("processor", WARNING, text, advice)
    elif "avx2" not in words:
        yield Finding("processor", WARNING, text, "without AVX2, runtimes are several times slower")
    else:
        yield Finding("processor", OK, text)


def _version_finding(check: str, name: str, version: str, found: str) -> Finding:
    """A finding that is right unless the version is too old, or newer than those that were tested."""
    lowest, tested = least(name), TESTED.get(name, "")
    if lowest and numbers(version) < numbers(lowest):
        return Finding(check, FAILED, f"{found}: {version} is too old", f"pip install '{name}>={lowest}'")
    if tested and numbers(version, 2) > numbers(tested, 2):
        advice = f"{version} is newer than {tested}, the newest that was tested; {_REPORT}"
        return Finding(check, WARNING, found, advice)
    return Finding(check, OK, found)


def _engine() -> Findings:
    version = installed(ENGINE)
    if version is None:
        yield Finding("engine", FAILED, f"{ENGINE} isn't installed", "pip install wasi-nn")
        return
    begun = '(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
    guest = f'{begun} (memory (export "memory") 1) (func (export "_start")))'
    try:
        from wasi_nn.host import Host

        with Host(cache=False) as host:
            host.run(guest.encode(), capture_output=True)
    except Exception as error:
        yield Finding("engine", FAILED, f"{ENGINE} {version} runs no guest: {error}", _REPORT)
        return
    yield _version_finding("engine", ENGINE, version, f"{ENGINE} {version} compiled and ran a guest")


def _cache() -> Findings:
    from wasi_nn.guests.compile_cache import default_directory, is_trusted

    directory = default_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"wasi-nn")
    except OSError as error:
        advice = "set XDG_CACHE_HOME to a folder that you can write; without a cache, guests are compiled each time"
        yield Finding("cache", FAILED, f"{directory} can't be written: {error.strerror}", advice)
        return
    if not is_trusted(os.stat(directory)):
        advice = f"it must belong to you, and no other user may write into it: chmod go-w {directory}"
        yield Finding("cache", FAILED, f"{directory} isn't used: other users could put code into it", advice)
        return
    yield Finding("cache", OK, str(directory))


def _isolation() -> Findings:
    from wasi_nn.isolation.worker import sandbox

    reason = sandbox.unavailable()
    if reason:
        advice = "some models are then refused from guests' bytes; docs/explanation/isolation.md says what is needed"
        yield Finding("isolation", FAILED if sys.platform == "linux" else WARNING, reason, advice)
        return
    from landlock.plumbing import landlock_abi_version

    yield Finding("isolation", OK, f"the kernel has Landlock of ABI {landlock_abi_version()}, and seccomp")
    error = _run([sys.executable, "-c", _TRY_NAMESPACES.format(flags=sandbox.NAMESPACES)]).returncode
    if error:
        why = os.strerror(error) if error > 0 else f"signal {-error}"
        advice = (
            "isolated graphs have no scratch folder then, and runtimes that need sockets can't be isolated: see "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns and "
            "user.max_user_namespaces (sysctl), or the seccomp profile of the container"
        )
        yield Finding("isolation", WARNING, f"the kernel gives this user no namespaces: {why}", advice)
    else:
        yield Finding("isolation", OK, "the kernel gives this user namespaces")


def _runtime(runtime: str) -> Findings:
    from wasi_nn.isolation import unavailable

    encoding, model, extra = _RUNTIMES[runtime]
    names = DISTRIBUTIONS[runtime]
    name = next((name for name in names if installed(name)), names[0])
    version = installed(name)
    if version is None:
        yield Finding(runtime, ABSENT, "not installed", how_to_install_extra(extra))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, model.removesuffix(".gz"))
        content = (_MODELS / model).read_bytes()
        path.write_bytes(gzip.decompress(content) if model.endswith(".gz") else content)
        here = _compute(encoding, runtime, path)
        isolated = None if unavailable() or "error" in here else _compute(encoding, runtime, path, "--isolate")
    if "error" in here:
        advice = f"pip install --force-reinstall 'wasi-nn[{extra}]'; {_REPORT}"
        yield Finding(runtime, FAILED, f"{version} doesn't compute: {here['error']}", advice)
    elif isolated is not None and "error" in isolated:
        found = f"{version} computes here, but not in isolation: {isolated['error']}"
        yield Finding(runtime, FAILED, found, "see docs/explanation/isolation.md, and the checks of isolation above")
    else:
        where = "here" if isolated is None else "here and in isolation"
        yield _version_finding(runtime, name, version, f"{version} computes on {here['device']}, {where}")


def _compute(encoding: str, runtime: str, path: Path, *options: str) -> dict[str, Any]:
    """Load a model and run it in another process: the row of `wasi-nn graphs --check`, or its error."""
    graph = ["--graph", f"tiny={path}", "--runtime", f"{encoding}={runtime}"]
    command = [sys.executable, "-m", "wasi_nn", "graphs", *graph, "--check", "--json", *options]
    try:
        ended = _run(command)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {_LONGEST:g} s"}
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        why = " (it was built for another processor)" if name == "SIGILL" else ""
        return {"error": f"its process was ended by {name}{why}"}
    try:
        row: dict[str, Any] = json.loads(ended.stdout)[0]
    except (ValueError, LookupError):
        lines = ended.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"its process ended with {ended.returncode}"}
    return row


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, env=environment, check=False)


def _gpu() -> Findings:
    from wasi_nn.backends import available, is_installed

    makers = [maker for maker, paths in _DEVICES.items() if any(map(os.path.exists, paths))]
    seen = []
    for backend in available():
        if backend.runtime not in _RUNTIMES or not is_installed(backend):
            continue
        ended = _run([sys.executable, "-c", _LIST_DEVICES.format(runtime=backend.runtime)])
        if ended.returncode == 0 and ended.stdout.strip():
            seen.append(f"{ended.stdout.split()[-1]} by {backend.runtime}")
    seen = list(dict.fromkeys(seen))
    if seen:
        yield Finding("gpu", OK, ", ".join(seen))
    elif makers:
        advice = "install a build of a runtime for it (onnxruntime-gpu, torch with CUDA, openvino with Intel's drivers)"
        yield Finding("gpu", WARNING, f"{' and '.join(makers)} devices are here, and no runtime sees a GPU", advice)
    else:
        yield Finding("gpu", ABSENT, "none is here; models run on the processor")


_LIST_DEVICES = """
from wasi_nn.backends import available
for backend in available():
    if backend.runtime == {runtime!r}:
        devices = {{target.value: device for target, device in backend.devices().items()}}
        if "gpu" in devices:
            print(devices["gpu"])
        break
"""

CHECKS: Mapping[str, Callable[[], Findings]] = {
    "python": _python,
    "processor": _processor,
    "engine": _engine,
    "cache": _cache,
    "isolation": _isolation,
    **{runtime: partial(_runtime, runtime) for runtime in _RUNTIMES},
    "gpu": _gpu,
}
"""The checks by name, in their order."""
