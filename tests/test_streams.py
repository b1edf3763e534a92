"""A guest's output goes to functions and files while it runs, and its input comes from files of any kind."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checks import refused
from command_guests import LOOPS, OBEYS, command, says
from conftest import C_GUESTS

import wasi_nn
from wasi_nn import ErrorCode, GuestStopped, GuestTrap, Host, Limits, RunResult

COPIES = command(
    """(loop $again
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (if (i32.load (i32.const 4)) (then
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br $again))))"""
).encode()
"""A guest that writes all that it reads, piece by piece."""
TALKS = command(says("one") + says("two", 2) + says("three")).encode()
TALKS_ON = command(f"(loop $again {says('more')} (br $again))").encode()
INFER = C_GUESTS.parent / "component" / "infer.wasm"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host(cache=False) as host:
        yield host


# Output


def test_a_function_gets_each_piece_while_the_guest_runs(host: Host) -> None:
    said: list[bytes] = []
    sent, receive = socket.socketpair()
    with sent, receive, receive.makefile("rb", buffering=0) as file:
        sent.sendall(b"begin")
        result = host.run(COPIES, stdin=file, stdout=lambda piece: _until_enough(said, piece, sent))
    assert result == RunResult(0)
    assert said == [b"begin", b"1", b"2", b"3"]


def _until_enough(said: list[bytes], piece: bytes, sent: socket.socket) -> None:
    """Note what a guest says, and answer with the number of its words; after three, with the end."""
    said.append(piece)
    if len(said) > 3:
        sent.shutdown(socket.SHUT_WR)
    else:
        sent.sendall(str(len(said)).encode())


def test_each_stream_goes_where_it_is_to(host: Host, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = io.BytesIO(), list[bytes]()
    assert host.run(TALKS, stdout=out, stderr=err.append) == RunResult(0)
    assert (out.getvalue(), b"".join(err)) == (b"onethree", b"two")
    assert capfd.readouterr() == ("", "")
    assert host.run(TALKS, stdout=out, capture_output=True) == RunResult(0, b"", b"two")
    assert host.run(TALKS, stderr=err.append) == RunResult(0)
    assert capfd.readouterr() == ("onethree", "")
    with open(tmp_path / "out", "wb", buffering=0) as file:
        host.run(TALKS, stdout=file)
    assert (tmp_path / "out").read_bytes() == b"onethree"


@pytest.mark.parametrize("guest", [TALKS, INFER], ids=["module", "component"])
def test_a_function_is_called_on_another_thread_and_never_twice_at_a_time(host: Host, guest: bytes | Path) -> None:
    pieces: list[bytes] = []
    calling = threading.Lock()

    def note(piece: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert calling.acquire(blocking=False)
        pieces.append(piece)
        calling.release()

    host.run(guest, ["--help"], stdout=note, stderr=note)
    captured = host.run(guest, ["--help"], capture_output=True)
    assert b"".join(pieces) in (b"onetwothree", captured.stderr)


@pytest.mark.parametrize("error", [ValueError("no"), BrokenPipeError("gone"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("guest", [TALKS_ON, TALKS], ids=["goes on", "ends"])
def test_what_a_function_raises_ends_the_run_and_is_raised(host: Host, guest: bytes, error: BaseException) -> None:
    calls = []

    def fail(piece: bytes) -> None:
        calls.append(piece)
        raise error

    with pytest.raises(type(error)) as raised:
        host.run(guest, stdout=fail)
    assert raised.value is error
    assert len(calls) == 1, "it is not called again"
    run = host.start(guest, stdout=fail)
    for _ in range(2):
        with pytest.raises(type(error)):
            run.wait()
    assert host.run(TALKS, capture_output=True).stdout == b"onethree"


def test_a_slow_function_holds_the_guest_up(host: Host) -> None:
    taken, go_on = threading.Semaphore(0), threading.Semaphore(0)
    count = []

    def slow(piece: bytes) -> None:
        count.append(piece)
        taken.release()
        go_on.acquire()

    run = host.start(TALKS_ON, stdout=slow)
    for number in range(1, 4):
        assert taken.acquire(timeout=60)
        assert len(count) == number, "the guest waits for the function"
        go_on.release()
    assert taken.acquire(timeout=60)
    run.stop("enough")
    go_on.release()
    with pytest.raises(GuestStopped, match="enough"):
        run.wait()
    assert len(count) <= 5


def test_functions_that_wait_keep_no_other_guest_waiting(host: Host) -> None:
    count = (os.cpu_count() or 1) + 2  # more than the engine has threads for the output of all guests
    all_of_them = threading.Barrier(count, timeout=60)
    runs = [host.start(command(says("x")).encode(), stdout=lambda _: all_of_them.wait()) for _ in range(count)]
    assert [run.wait() for run in runs] == [RunResult(0)] * count


def test_output_for_a_function_counts(host: Host) -> None:
    pieces: list[bytes] = []
    with pytest.raises(GuestTrap, match=r"it wrote more than 10 bytes of output \(Limits\.output_bytes"):
        host.run(TALKS_ON, stdout=pieces.append, limits=Limits(output_bytes=10))
    assert b"".join(pieces) == b"moremoremo"


def test_a_function_may_stop_its_own_run(host: Host) -> None:
    runs: list[wasi_nn.Run] = []
    begun = threading.Event()

    def stop(piece: bytes) -> None:
        assert begun.wait(60)
        runs[0].stop("by itself")

    runs.append(host.start(TALKS_ON, stdout=stop))
    begun.set()
    with pytest.raises(GuestStopped, match="by itself"):
        runs[0].wait()


class Stingy(io.RawIOBase):
    """A file that takes and gives one byte at a time."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        first, self.content = self.content[:1], self.content[1:]
        return first

    def write(self, content: Any) -> int:
        self.content += bytes(content[:1])
        return 1


def test_a_file_may_take_and_give_few_bytes_at_a_time(host: Host) -> None:
    target = Stingy()
    host.run(COPIES, stdin=Stingy(b"a few words"), stdout=target)
    assert target.content == b"a few words"


@pytest.mark.parametrize("written", [0, -1, 1000])
def test_a_file_that_takes_no_bytes_ends_the_run(host: Host, written: int) -> None:
    class Odd:
        def write(self, content: Any) -> int:
            return written

    with pytest.raises(OSError, match=rf"says that it took {written} of \d+ bytes"):
        host.run(TALKS, stdout=Odd())


def test_a_full_pipe_that_does_not_wait_loses_no_output_in_silence(host: Host) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with open(ours, "rb"), open(theirs, "wb", buffering=0) as file:
        with pytest.raises(BlockingIOError, match="takes no bytes without waiting"):
            host.run(TALKS_ON, stdout=file)


# Input


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_input_from_a_file_of_any_kind(host: Host, size: int) -> None:
    content = os.urandom(size)
    for file in (io.BytesIO(content), io.BufferedReader(io.BytesIO(content))):
        assert host.run(COPIES, stdin=file, capture_output=True).stdout == content


def test_a_guest_that_reads_nothing_ends_all_the_same(host: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert host.run(TALKS, stdin=io.BytesIO(bytes(1_000_000)), capture_output=True).stdout == b"onethree"
    for thread in threading.enumerate():
        if thread.name == "wasi-nn stdin":
            thread.join(60)
            assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize("error", [ValueError("no"), OSError("torn"), KeyboardInterrupt()])
def test_what_reading_raises_ends_the_run_and_is_raised(host: Host, error: BaseException) -> None:
    class Torn(Stingy):
        def read(self, size: int = -1) -> bytes:
            if not self.content:
                raise error
            return super().read(size)

    for guest in (COPIES, LOOPS):
        with pytest.raises(type(error)) as raised:
            host.run(guest, stdin=Torn(b"abc"))
        assert raised.value is error


@pytest.fixture
def silent() -> Iterator[io.BufferedReader]:
    """A file that neither has content nor ends while the test runs."""
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as file:
        yield file
        ours.close()


class _Begun:
    """A file that tells when it is read."""

    def __init__(self, file: io.BufferedReader, begun: threading.Event) -> None:
        self._file, self._begun = file, begun

    def read(self, size: int) -> bytes:
        self._begun.set()
        return self._file.read1(size)


def test_a_guest_that_waits_for_input_can_be_stopped(host: Host, silent: io.BufferedReader) -> None:
    run = host.start(COPIES, stdin=_Begun(silent, begun := threading.Event()))
    assert begun.wait(60)
    run.stop("enough")
    with pytest.raises(GuestStopped, match=r"^the guest was stopped: enough$"):
        run.wait()


def test_a_guest_that_waits_for_input_ends_at_its_time(host: Host, silent: io.BufferedReader) -> None:
    with pytest.raises(GuestTrap, match=r"ran longer than 0\.2 s") as raised:
        host.run(COPIES, stdin=silent, limits=Limits(run_time=0.2))
    assert "goes on in the background" not in str(raised.value)


def test_a_read_of_another_kind(host: Host) -> None:
    class Odd:
        def read(self, size: int) -> Any:
            return "text"

    with pytest.raises(TypeError):
        host.run(COPIES, stdin=Odd())


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stdout": 3}, "stdout must be a function that takes bytes, or a file that is open for bytes, not 3"),
        ({"stderr": io.StringIO()}, r"stderr must be .* \(mode 'wb'\)"),
        ({"stdout": print, "streams": (1, 2)}, "streams and stdout or stderr can't be given together"),
        ({"capture_output": True, "streams": (1, 2)}, "capture_output and streams can't be given together"),
        ({"stdin": io.StringIO("a")}, "open the file with mode 'rb'"),
        ({"stdin": 3}, "stdin must be bytes, a pathlib.Path, a file that is open for bytes, sys.stdin or None, not 3"),
    ],
)
def test_streams_that_can_not_be(host: Host, arguments: dict[str, Any], message: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, message, host.run, TALKS, **arguments)


def test_the_arguments_of_start_are_those_of_run(host: Host) -> None:
    pieces: list[bytes] = []
    run: Callable[..., wasi_nn.Run] = host.start
    assert run(OBEYS, stdin=io.BytesIO(b"hello"), stdout=pieces.append).wait() == RunResult(0)
    assert pieces == [b"hello"]
