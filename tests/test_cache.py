"""The compile cache: guests are compiled once, and whatever is wrong with the cache costs a compilation, never a
run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from wasmtime import Config, Engine, Module, WasmtimeError

from wasi_nn import Host
from wasi_nn.cache import CompileCache

EMPTY = b'(module (func (export "_start")))'


class Compiler:
    """Counts what is compiled and what is read back."""

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
        """Get a guest; gives how many were compiled and read back so far."""
        assert [export.name for export in cache.get(wasm, self.compile, self.deserialize).exports] == ["_start"]
        return self.compiled, self.read


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
    [path] = cache.directory.iterdir()
    sound = path.read_bytes()
    damaged = [b"", sound[:10], sound[:-1], sound + b"\0"]
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


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    compiler = Compiler()
    for directory in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        compiler.get(CompileCache(directory))
    assert (compiler.compiled, compiler.read) == (3, 0)


def test_a_full_disk_leaves_nothing_behind(cache: CompileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert Compiler().get(cache) == (1, 0)
    assert not list(cache.directory.iterdir())


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
