"""Fixtures for all tests."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wasi_nn.abi.core import host_functions
from wasi_nn.isolation import unavailable

REPOSITORY = Path(__file__).parent.parent
SUPPORT = REPOSITORY / "tests" / "support"
C_GUESTS = REPOSITORY / "guests" / "c"

LONGEST = (
    *("conformance", "hostile_models", "snippets", "new_installed", "ray", "isolation", "isolated_variables"),
    *("changed_files", "worker_replacement", "worker_spares", "tensorflow", "classifiers", "byte_strings"),
    *("components", "extension_guests", "perfetto", "pytorch_learning", "faults", "digits"),
    *("core_abi_fuzz", "forks"),
)
"""The tests' files that take ten seconds and more, from the longest on."""


def pytest_configure() -> None:
    """Let Ctrl-C interrupt the processes of the tests, also where a shell in the background has it ignored.

    Have numpy start no threads in those processes, since they spin for some time, and have OpenMP's threads sleep while
    they wait: their spinning took a quarter of the processors' time in the tests of PyTorch and TensorFlow. Have Zig
    and npm use the user's caches in all tests, also in those that have other caches: Zig compiles the libraries of C
    and C++ once for each set of flags, for half a minute, and npm fetches 340 MB for jco."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    home = Path.home()
    caches = os.environ.get("XDG_CACHE_HOME") or str(home / ".cache")
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", os.path.join(caches, "zig"))
    os.environ.setdefault("npm_config_cache", str(home / ".npm"))
    gc.disable()  # until all tests are collected: imports stay, and looking through them takes a quarter of the time
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that the processes that share the files end at about the same time."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem.removeprefix("test_"), len(LONGEST)))


def pytest_collection_finish() -> None:
    """Take what the imported runtimes keep out of the garbage collector's sight.

    With TensorFlow and PyTorch in the process, each `gc.collect()` goes through a million objects that never go away;
    these made up half of the time of the tests that call it.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes of files have the name of their parameter as an id: TensorFlow writes those of one model in a random order,
    gzip writes the time, and the processes that share the tests must agree on the ids."""
    return argname if isinstance(val, bytes) and (len(val) > 40 or not val.isascii()) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors for us, since many tests wait for others; no more than four, nor than
    there is memory for, since each takes about 3 GB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)) + 1, 4, memory // (4 << 30)))


def need(module: str, install: str) -> None:
    """Skip the test where a module isn't installed; in continuous integration, fail it."""
    if importlib.util.find_spec(module) is None:
        message = f"{module} isn't installed: pip install {install}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def need_command(command: str, install: str) -> None:
    """Skip the test where a command isn't installed; in continuous integration, fail it."""
    if shutil.which(command) is None:
        message = f"{command} isn't here: install {install}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture
def isolation() -> None:
    """Skip the test where graphs can't be isolated; in continuous integration, let it fail."""
    if unavailable() and not os.environ.get("CI"):
        pytest.skip(f"graphs can't be isolated here: {unavailable()}")


@pytest.fixture(scope="module")
def typed_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of several types, for the guests `identify`."""
    import file_types

    return file_types.write(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def told_types(typed_files: Path) -> str:
    """What these guests say of the files."""
    import file_types

    return file_types.said(typed_files)


@pytest.fixture(scope="module")
def one_llama_thread() -> Iterator[None]:
    """Have llama.cpp compute on one thread, unless an option says otherwise: several wait for each other by spinning,
    and take most of a machine that is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wasi_nn.backends.ggml.settings.processors", lambda: 1)
        yield


@pytest.fixture(params=["raw", "public"])
def either_call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with both ways of defining host functions."""
    assert host_functions.RAW_CALLS, "the engine lacks what raw calls need"
    monkeypatch.setattr(host_functions, "RAW_CALLS", request.param == "raw")
    way: str = request.param
    return way


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory for the user, separate for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """A function that writes a file into the test's directory and returns its path."""

    def write_file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write_file
