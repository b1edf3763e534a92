"""The confinement of workers: a worker that a hostile model has taken over can't outlive its host, use up the machine,
or read the user's files and secrets."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import REPOSITORY
from isolated_programs import X, ended, outcome_of, program
from slow_modules import LARGE

from wasi_nn import ExecutionContext, Host, NNError
from wasi_nn.isolation import Isolation
from wasi_nn.isolation.worker import sandbox

pytestmark = pytest.mark.usefixtures("isolation")


# `lifeline` has the numbers of the pipes that the worker can read; `tried` calls a function and ignores its errors.
_AT_THE_LIFELINE = """
    import ctypes, fcntl, os, resource, time
    libc = ctypes.CDLL(None, use_errno=True)

    def tried(do, *arguments):
        try:
            return do(*arguments)
        except (OSError, ValueError):
            return -1

    def silence(number):
        for flags in (0, os.O_NONBLOCK):
            tried(fcntl.fcntl, number, fcntl.F_SETFL, flags)
            libc.fcntl(number, fcntl.F_SETFL, flags)
            libc.syscall(ctypes.c_long(72), ctypes.c_long(number | 1 << 32), ctypes.c_long(4), ctypes.c_long(flags))
        libc.ioctl(number, 0x5452, ctypes.byref(ctypes.c_int(0)))  # FIOASYNC
        libc.fcntl(number, 8, 0)  # F_SETOWN
        libc.fcntl(number, 10, 0)  # F_SETSIG

    def pipes():
        for number in map(int, os.listdir("/proc/self/fd")):
            link = f"/proc/self/fd/{number}"
            if number > 2 and os.path.lexists(link) and os.readlink(link).startswith("pipe:"):
                yield number

    def run(x):
        for number in list(pipes()):
            WAY
        if x[0]:
            ctypes.PyDLL(None).sleep(600)  # holds the GIL, so that no Python thread can notice the host's end
        return x
"""
_WAYS = {
    "its own number": "silence(number)",
    "dup": "silence(libc.dup(number))",
    "dup2": "silence(tried(os.dup2, number, 200))",
    "dup3": "silence(libc.dup3(number, 201, os.O_CLOEXEC))",
    "F_DUPFD": "silence(tried(fcntl.fcntl, number, fcntl.F_DUPFD, 100))",
    "F_DUPFD_CLOEXEC": "silence(tried(fcntl.fcntl, number, fcntl.F_DUPFD_CLOEXEC, 100))",
    "closed": "tried(os.close, number)",
    "closed by a number with more bits": "libc.syscall(ctypes.c_long(3), ctypes.c_long(number | 1 << 32))",
    "replaced": "tried(os.dup2, 0, number), libc.dup3(0, number, os.O_CLOEXEC), tried(os.dup2, 0, number, False)",
    "replaced by a number with more bits": (
        "libc.syscall(ctypes.c_long(33), ctypes.c_long(0), ctypes.c_long(number | 1 << 32))"
    ),
    "all closed": "libc.syscall(436, 3, 2**31, 0)",
    "opened for writing": (
        "tried(os.chmod, f'/proc/self/fd/{number}', 0o600), tried(os.fchmod, number, 0o600), "
        "tried(os.open, f'/proc/self/fd/{number}', os.O_RDWR)"
    ),
}


@pytest.fixture(scope="module")
def orphans() -> dict[str, int]:
    """Workers that try to outlive their host, each in another way; the host has been killed."""
    texts = [textwrap.dedent(_AT_THE_LIFELINE).replace("WAY", way) for way in _WAYS.values()]
    script = f"""
import os, threading, time, numpy
from isolated_programs import program, worker_of
for text in {texts!r}:
    graph = program(text)
    graph.compute({{"x": numpy.zeros(4, "float32")}})
    print(worker_of(graph), flush=True)
    threading.Thread(target=graph.compute, args=({{"x": numpy.ones(4, "float32")}},)).start()
time.sleep(1)
os.kill(os.getpid(), 9)
"""
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *filter(None, sys.path)])}
    host = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    workers = [int(line) for line in host.stdout.split()]
    assert len(workers) == len(_WAYS), host.stderr
    return dict(zip(_WAYS, workers, strict=True))


@pytest.mark.parametrize("way", list(_WAYS))
def test_a_worker_cant_outlive_its_host(way: str, orphans: dict[str, int]) -> None:
    assert ended(orphans[way])


def test_a_worker_changes_no_files_mode_or_time(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    before = secret.stat()
    for statement in (f"os.chmod({str(secret)!r}, 0o777)", f"os.utime({str(secret)!r}, (1, 1))"):
        assert outcome_of(statement) == "EPERM"
    assert (stat.S_IMODE(secret.stat().st_mode), secret.stat().st_mtime) == (0o600, before.st_mtime)


_TAKES_MEMORY = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
libc.sbrk.argtypes = [ctypes.c_long]
SIZE = 2**28
FAILED = (None, 2**64 - 1)
def stack():
    with open("/proc/self/maps") as file:
        line = next(line for line in file if line.rstrip().endswith("[stack]"))
    return int(line.split("-")[0], 16)
def take():
    WAY
def run(x):
    pieces = 0
    try:
        for pieces in range(5):
            at = take()
            if at in FAILED:
                break
            for page in range(0, SIZE, 4096):
                ctypes.memset(at + page, 1, 1)
    except OSError:
        pass
    return [pieces]
"""


@pytest.mark.parametrize(
    "way",
    [
        "return libc.mmap(None, SIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)",
        "return libc.mmap(None, SIZE, 3, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)",
        "return libc.mmap(None, SIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100, -1, 0)  # MAP_GROWSDOWN",
        "return libc.mmap(None, SIZE, 3, mmap.MAP_SHARED, os.open('/dev/zero', os.O_RDWR), 0)",
        "return libc.mmap(None, SIZE, 3, 3, os.open('/dev/zero', os.O_RDWR), 0)  # MAP_SHARED_VALIDATE",
        "return libc.mmap(None, SIZE, 3, mmap.MAP_PRIVATE, os.open('/dev/zero', os.O_RDONLY), 0)",
        "return libc.sbrk(SIZE)",
        "return libc.mremap(stack(), 4096, SIZE, 1)  # the main thread's stack, elsewhere",
    ],
)
def test_a_worker_takes_no_more_memory_than_it_may(way: str) -> None:
    graph = program(_TAKES_MEMORY.replace("WAY", way), settings=Isolation(memory=3 * 2**28))
    try:
        pieces = graph.compute({"x": X})["y"].item()
    except NNError:  # the worker has reached its limit
        return
    assert pieces < 3


def test_a_worker_locks_no_file() -> None:
    libraries = "os.open(os.__file__, os.O_RDONLY)"
    assert outcome_of(f"fcntl.flock({libraries}, fcntl.LOCK_SH)") == "EPERM"
    assert outcome_of(f"fcntl.lockf({libraries}, fcntl.LOCK_SH)") == "EPERM"


def test_the_kernels_memory_for_a_worker_is_bounded() -> None:
    graph = program(
        """
        import os, resource, tempfile
        def run(x):
            reserved, _ = resource.getrlimit(resource.RLIMIT_AS)
            folder = os.environ.get("TMPDIR")
            return [reserved // 2**30, 0 if folder is None else os.statvfs(folder).f_files]
        """,
        settings=Isolation(memory=2**30),
    )
    addresses, inodes = graph.compute({"x": X})["y"].tolist()
    assert addresses == 130
    assert inodes in (0, 2**14)


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep numpy from starting threads in workers, however many cores the machine has."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


@pytest.mark.usefixtures("few_threads")
def test_a_workers_threads_are_bounded() -> None:
    graph = program(
        """
        import threading
        def run(x):
            done = threading.Event()
            threads = []
            try:
                for _ in range(200):
                    threads.append(threading.Thread(target=done.wait))
                    threads[-1].start()
            except RuntimeError:
                threads.pop()
            done.set()
            for thread in threads:
                thread.join()
            return [len(threads)]
        """,
        settings=Isolation(threads=50),
    )
    counted = [graph.compute({"x": X})["y"].item() for _ in range(2)]
    assert all(20 < count < 50 for count in counted)


@pytest.mark.usefixtures("few_threads")
def test_a_context_for_which_there_is_no_thread_is_an_error_of_its_own() -> None:
    graph = program("def run(x): return x", settings=Isolation(threads=30))
    contexts: list[ExecutionContext] = []

    def begin(count: int) -> None:
        for _ in range(count):
            contexts.append(graph.init_execution_context())  # noqa: PERF401  until one fails

    with pytest.raises(NNError, match=r"can't start a thread .* \(Isolation.threads, --worker-threads\)"):
        begin(40)
    contexts[0].set_input(0, X)
    contexts[0].compute()
    assert contexts[0].get_output(0).tolist() == X.tolist()


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/random/boot_id",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/swappiness",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/cpu/tasks",
        "/proc/1/status",
    ],
)
def test_it_learns_little_of_the_machine(path: str) -> None:
    assert outcome_of(f"open({path!r}).read()") in ("EACCES", "ENOENT")


def test_it_sees_what_runtimes_ask_for() -> None:
    for path in ("/proc/sys/vm/overcommit_memory", "/proc/self/cgroup", "/proc/meminfo"):
        assert outcome_of(f"open({path!r}).read()") == "done"
    limits = [path for path in sandbox.cgroup_files() if os.access(path, os.R_OK)]
    for path in limits[:2]:
        assert outcome_of(f"open({path!r}).read()") == "done"


def test_the_files_that_it_may_read_are_those_that_the_documentation_lists() -> None:
    text = (REPOSITORY / "docs" / "explanation" / "isolation.md").read_text()
    section = text.partition("### Files that a worker may read")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(/[^`]*)`", section))
    assert listed == set(sandbox.READABLE)


SECRETS = (
    *("TF_TOKEN_app_terraform_io", "TF_VAR_password", "TF_HTTP_PASSWORD", "ORT_SECRET", "TORCH_TOKEN", "LC_SECRET"),
    *("OMP_PASSWORD", "KMP_KEY", "MKL_KEY", "OPENBLAS_KEY", "MALLOC_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"),
)


def test_no_process_of_ours_is_told_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, python = tmp_path / "seen", tmp_path / "python"
    python.write_text(f'#!/bin/sh\nenv >> {seen}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LC_ALL"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "executable", str(python))
    program("def run(x): return x")
    worker = seen.read_text()
    seen.unlink()
    with Host(cache=False) as host:
        host.compile(LARGE)
    for environment in (worker, seen.read_text()):
        assert "hunter2" not in environment
        assert {"OMP_NUM_THREADS=1", "TF_NUM_INTRAOP_THREADS=1", "LC_ALL=1"} <= set(environment.splitlines())


@pytest.mark.parametrize("path", ["/proc/1/environ", "/proc/cmdline", "/etc/passwd", "/sys/class", "/home"])
def test_no_other_file_of_the_system_is_read(path: str) -> None:
    assert outcome_of(f"os.close(os.open({path!r}, os.O_RDONLY))") in ("EACCES", "ENOENT")
