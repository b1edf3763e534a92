"""The compile cache: each guest is compiled once. A cache that is damaged, unsafe or full costs a compilation, never a
run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_guests import EMPTY
from conftest import need_command
from wasmtime import Config, Engine, Module, WasmtimeError

from wasi_nn import Host
from wasi_nn.guests.compile_cache import CompileCache, is_trusted


class Compiler:
    """Counts how many guests were compiled and how many were read from the cache."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self.compiled = self.read = 0

    def compile(self, wasm: bytes) -> Module:
        self.compiled += 1
        return Module(self.engine, wasm)

    def deserialize(self, serialized: bytes) -> Module:
        module = Module.deserialize(self.engine, serialized)
        self.read += 1
        return module

    def get(self, cache: CompileCache, wasm: bytes = EMPTY) -> tuple[int, int]:
        """Get a guest; returns how many guests were compiled and read from the cache so far."""
        assert [export.name for export in cache.get(wasm, self.compile, self.deserialize).exports] == ["_start"]
        return self.compiled, self.read


Open = Callable[[Path, pytest.MonkeyPatch], None]
"""Makes a file or directory accessible to other users."""


def kept(cache: CompileCache) -> Path:
    """The file of the only guest in a cache."""
    [path] = cache.directory.iterdir()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    return CompileCache(tmp_path / "some" / "where")


def test_a_guest_is_compiled_once(cache: CompileCache) -> None:
    compiler = Compiler()
    assert [compiler.get(cache) for _ in range(3)] == [(1, 0), (1, 1), (1, 2)]
    assert compiler.get(cache, EMPTY + b" ") == (2, 2)
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert len(list(cache.directory.iterdir())) == 2


def test_a_damaged_file_is_noticed_wherever_it_is_damaged(
    cache: CompileCache, caplog: pytest.LogCaptureFixture
) -> None:
    compiler = Compiler()
    compiler.get(cache)
    path = kept(cache)
    sound = path.read_bytes()
    ends = [0, 1, 31, 32, 33, 36, 100, len(sound) // 2, len(sound) - 1]  # in the digest, after it, in the code
    damaged = [*(sound[:end] for end in ends), sound + b"\0", sound + sound, bytes(len(sound))]
    places = random.Random(1).sample(range(len(sound)), 50)
    damaged += [sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :] for place in places]
    for count, content in enumerate(damaged, start=2):
        path.write_bytes(content)
        assert compiler.get(cache) == (count, 0)
        assert path.read_bytes() == sound
    assert caplog.text.count("is damaged") == len(damaged)


def test_what_another_configuration_made_is_compiled_again(cache: CompileCache) -> None:
    config = Config()
    config.epoch_interruption = True
    other, one = Compiler(Engine(config)), Compiler()
    assert (other.get(cache), one.get(cache), one.get(cache)) == ((1, 0), (1, 0), (1, 1))


def test_what_another_version_of_the_engine_made_is_compiled_again(cache: CompileCache) -> None:
    compiler = Compiler()
    compiler.get(cache)
    path = kept(cache)
    serialized = path.read_bytes()[32:]
    major = importlib.metadata.version("wasmtime").partition(".")[0].encode()
    version = bytes([len(major)]) + major
    assert serialized.count(version) == 1
    other = serialized.replace(version, bytes([len(major)]) + b"9" * len(major))
    path.write_bytes(hashlib.sha256(other).digest() + other)
    assert [compiler.get(cache), compiler.get(cache)] == [(2, 0), (2, 1)]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    compiler = Compiler()
    for directory in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        compiler.get(CompileCache(directory))
    assert (compiler.compiled, compiler.read) == (3, 0)


def test_a_directory_that_goes_while_a_guest_is_compiled_is_made_again(cache: CompileCache) -> None:
    class Vandal(Compiler):
        def compile(self, wasm: bytes) -> Module:
            shutil.rmtree(cache.directory, ignore_errors=True)
            return super().compile(wasm)

    vandal = Vandal()
    vandal.get(cache)
    shutil.rmtree(cache.directory)
    assert vandal.get(cache) == (2, 0)
    assert vandal.get(cache) == (2, 1)


# Files and directories that other users can write: they could put their own code into the cache


def others_may_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWOTH)


def a_group_may_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWGRP)


def it_is_anothers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:  # only root can give a file away, so this process pretends to be another user
        user = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: user)


@pytest.mark.parametrize("open_to", [others_may_write, a_group_may_write, it_is_anothers])
def test_a_directory_that_others_could_write_is_not_used(
    cache: CompileCache, open_to: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiler = Compiler()
    compiler.get(cache)
    open_to(cache.directory, monkeypatch)
    assert [compiler.get(cache), compiler.get(cache, EMPTY + b" ")] == [(2, 0), (3, 0)]
    assert kept(cache)  # nothing was put there
    [record] = caplog.records
    assert str(cache.directory) in record.getMessage()
    assert "chmod go-w" in record.getMessage()


@pytest.mark.parametrize("open_to", [others_may_write, a_group_may_write])
def test_a_file_that_others_could_write_is_replaced(
    cache: CompileCache, open_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler()
    compiler.get(cache)
    open_to(kept(cache), monkeypatch)
    assert [compiler.get(cache), compiler.get(cache)] == [(2, 0), (2, 1)]


def test_a_directory_of_roots_that_we_cannot_write_is_read(
    cache: CompileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of root's")
    compiler = Compiler()
    compiler.get(cache)
    cache.directory.chmod(0o755)
    kept(cache).chmod(0o644)
    for folder in cache.directory.parents:
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    os.seteuid(12345)
    try:
        assert compiler.get(cache) == (1, 1)
        assert compiler.get(cache, EMPTY + b" ") == (2, 1)
    finally:
        os.seteuid(0)
    assert kept(cache)


def a_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def a_link_to_nowhere(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere.with_name("nowhere"))


def a_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def a_sparse_file_of_a_terabyte(path: Path, elsewhere: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 2**40)


@pytest.mark.parametrize("plant", [a_link, a_link_to_nowhere, a_pipe, a_sparse_file_of_a_terabyte])
def test_what_is_no_file_of_ours_is_not_read_but_replaced(
    cache: CompileCache, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    compiler = Compiler()
    compiler.get(cache)
    path = kept(cache)
    elsewhere = path.rename(tmp_path / "elsewhere")
    sound = elsewhere.read_bytes()
    plant(path, elsewhere)
    assert [compiler.get(cache), compiler.get(cache)] == [(2, 0), (2, 1)]
    assert path.is_file()
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == sound


def test_a_directory_in_a_guests_place_is_left_there(cache: CompileCache) -> None:
    compiler = Compiler()
    compiler.get(cache)
    path = kept(cache)
    path.unlink()
    path.mkdir()
    assert [compiler.get(cache), compiler.get(cache)] == [(2, 0), (3, 0)]
    assert kept(cache) == path


def test_no_descriptor_stays_open(cache: CompileCache, tmp_path: Path) -> None:
    compiler = Compiler()
    compiler.get(cache)
    before = os.listdir("/proc/self/fd")
    compiler.get(cache)
    path = kept(cache)
    path.unlink()
    path.mkdir()
    compiler.get(cache)
    cache.directory.chmod(0o777)
    compiler.get(cache)
    assert set(os.listdir("/proc/self/fd")) <= set(before)  # what an earlier test left may close meanwhile


_TEN_GUESTS_TEN_TIMES = """
import pathlib, sys, wasi_nn
host = wasi_nn.Host(cache=sys.argv[1])
for n in 10 * list(range(10)):
    host.run(f'(module (func (export "_start") (drop (i32.const {n}))))'.encode())
"""


def test_several_processes_may_write_at_once(cache: CompileCache) -> None:
    command = [sys.executable, "-c", _TEN_GUESTS_TEN_TIMES, str(cache.directory)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    files = list(cache.directory.iterdir())
    assert len(files) == 10
    for content in map(Path.read_bytes, files):
        assert hashlib.sha256(content[32:]).digest() == content[:32]


# Full disks


_ON_A_FULL_DISK = """
import os, pathlib, sys, wasi_nn
disk = pathlib.Path(sys.argv[1])
host = wasi_nn.Host(cache=disk / "cache")
for _ in range(2):
    assert host.run(b'(module (func (export "_start")))').exit_code == 0
    assert [*disk.rglob("*")] == [disk / "cache"]
"""


def test_a_full_disk_costs_a_compilation_and_leaves_nothing_behind(tmp_path: Path) -> None:
    need_command("unshare", "util-linux")
    disk = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=4k none "$0" && "$@"',
    ]
    if subprocess.run([*disk, tmp_path, "true"], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here: a user may make no namespaces")
    subprocess.run([*disk, tmp_path, sys.executable, "-c", _ON_A_FULL_DISK, tmp_path], check=True)


def test_a_quota_costs_a_compilation_and_leaves_nothing_behind(cache: CompileCache) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        assert Compiler().get(cache) == (1, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(cache.directory.iterdir())
    compiler = Compiler()
    assert [compiler.get(cache), compiler.get(cache)] == [(1, 0), (1, 1)]


def test_those_not_used_for_longest_make_room(cache: CompileCache) -> None:
    compiler = Compiler()
    guests = [EMPTY + b" " * n for n in range(4)]
    paths: list[Path] = []
    for age, guest in enumerate(guests):
        compiler.get(cache, guest)
        [path] = set(cache.directory.iterdir()) - set(paths)
        paths.append(path)
        os.utime(path, (1000 + age, 1000 + age))
    compiler.get(cache, guests[0])  # used again
    cache.max_bytes = 3 * paths[0].stat().st_size + 100
    compiler.get(cache, EMPTY + b"\n")
    assert [path.exists() for path in paths] == [True, False, False, True]


def test_what_is_not_valid_is_not_kept(cache: CompileCache) -> None:
    with pytest.raises(WasmtimeError):
        Compiler().get(cache, b"\0asm\x01\0\0\0\x01\xff")
    assert not cache.directory.exists()


def test_the_host_keeps_guests_in_the_users_cache_or_where_it_is_told(cache_home: Path, tmp_path: Path) -> None:
    Host(cache=False).run(EMPTY)
    assert not cache_home.exists()
    Host().run(EMPTY)
    assert len(list((cache_home / "wasi-nn" / "compiled").iterdir())) == 1
    Host(cache=tmp_path / "here").run(EMPTY)
    assert len(list((tmp_path / "here").iterdir())) == 1


_IN_A_USER_NAMESPACE = """
import ctypes, os, sys
from pathlib import Path
user = os.getuid()
if ctypes.CDLL(None).unshare(0x10000000) != 0:
    print("refused")
    sys.exit()
if sys.argv[2] == "mapped":
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
from test_cache import Compiler
from wasi_nn.guests.compile_cache import CompileCache
compiler = Compiler()
for _ in range(2):
    counts = compiler.get(CompileCache(Path(sys.argv[1])))
print(*counts)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="user namespaces are Linux's")
@pytest.mark.parametrize(("users", "expected"), [("none", (2, 0)), ("mapped", (1, 1))])
def test_an_owner_who_may_be_anybody_isnt_us(tmp_path: Path, users: str, expected: tuple[int, int]) -> None:
    compiler = Compiler()
    assert [compiler.get(CompileCache(tmp_path)) for _ in range(2)] == [(1, 0), (1, 1)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    command = [
        sys.executable,
        "-c",
        _IN_A_USER_NAMESPACE,
        str(tmp_path / "of-its-own" if users == "mapped" else tmp_path),
    ]
    result = subprocess.run([*command, users], env=environment, capture_output=True, text=True, timeout=60)
    if result.stdout == "refused\n":
        pytest.skip("the kernel gives no user namespaces")
    assert result.stdout.split() == [str(number) for number in expected], result.stderr


@pytest.mark.parametrize(
    ("uid_map", "ours"), [("0 0 4294967295", True), ("0 100000 65536", False), ("0 1000 1\n65534 2000 1", False)]
)
def test_the_overflow_user_is_us_only_where_all_users_are_known(
    monkeypatch: pytest.MonkeyPatch, uid_map: str, ours: bool
) -> None:
    files = {"/proc/self/uid_map": uid_map, "/proc/sys/kernel/overflowuid": "65534\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    state = os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, 65534, 0, 0, 0, 0, 0))
    assert is_trusted(state) == ours
