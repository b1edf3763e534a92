"""A guest over a data set: `map_guests` and `wasi-nn map`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx_models
import pytest
from command_guests import ECHOES_STDIN, LOOKS_UP_NET, OBEYS, command, says
from conftest import C_GUESTS

import wasi_nn
from wasi_nn import NNError, cli, tracing
from wasi_nn.abi.core import host_functions
from wasi_nn.cli.map_results import Results, record
from wasi_nn.cli.progress import Progress, progress_line
from wasi_nn.mapping.guest_map import GuestMap
from wasi_nn.mapping.items import as_item, file_item

EXAMPLE = C_GUESTS.parent / "example"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[wasi_nn.Host]:
    with wasi_nn.Host(cache=tmp_path_factory.mktemp("cache")) as host:
        yield host


def outputs(results: Iterator[wasi_nn.MapResult]) -> list[bytes]:
    return [result.stdout for result in results]


def test_each_item_has_a_result_in_its_order(host: wasi_nn.Host) -> None:
    limits = wasi_nn.Limits(run_time=1)
    items = [b"one", b"Two", b"Exit", b"Loop", b"last"]
    results = list(wasi_nn.map_guests(host, OBEYS, items, jobs=2, limits=limits))
    assert [(it.item, it.index, it.exit_code, it.ok, it.kind) for it in results] == [
        ("0", 0, 0, True, ""),
        ("1", 1, None, False, "trap"),
        ("2", 2, 3, False, "exit"),
        ("3", 3, None, False, "timeout"),
        ("4", 4, 0, True, ""),
    ]
    assert [it.stdout for it in results] == items
    assert results[2].failure == "the guest ended with the exit code 3"
    assert results[3].failure.startswith("the guest trapped: it ran longer than 1 s")
    assert results[0].stats is not None


def test_results_of_a_map_without_order_come_as_they_are_there(host: wasi_nn.Host) -> None:
    guest_map = GuestMap(host, OBEYS, [b"Loop", b"x"], jobs=2, ordered=False)
    with closing(guest_map):
        assert next(guest_map).stdout == b"x"


def test_a_stopped_map_gives_what_is_there_and_drops_the_rest(host: wasi_nn.Host) -> None:
    guest_map = GuestMap(
        host, OBEYS, itertools.chain([b"Loop"], itertools.repeat(b"x", 5), itertools.repeat(b"Loop")), jobs=3
    )
    threading.Timer(0.3, guest_map.stop).start()
    assert outputs(guest_map) == [b"x"] * 5
    assert list(guest_map) == []


def test_items_are_taken_as_they_are_needed(host: wasi_nn.Host) -> None:
    taken = itertools.count()

    def endless() -> Iterator[bytes]:
        for number in taken:
            yield str(number).encode()

    results = wasi_nn.map_guests(host, OBEYS, endless(), jobs=2)
    assert outputs(itertools.islice(results, 40)) == [str(number).encode() for number in range(40)]
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert next(taken) <= 40 + 2 * 16 + 2


def test_a_slow_item_does_not_pile_up_the_results_of_the_others(host: wasi_nn.Host) -> None:
    taken: list[bytes] = []

    def items() -> Iterator[bytes]:
        for item in itertools.chain([b"Loop"], itertools.repeat(b"x")):
            taken.append(item)
            yield item

    limits = wasi_nn.Limits(run_time=1)
    results = wasi_nn.map_guests(host, OBEYS, items(), jobs=2, limits=limits)
    assert next(results).kind == "timeout"
    assert len(taken) <= 2 * 16 + 2
    assert outputs(itertools.islice(results, 50)) == [b"x"] * 50


def test_large_results_hold_further_items_up_and_none_is_lost(
    host: wasi_nn.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasi_nn.mapping.guest_map._MOST_BYTES", 1)
    items = [str(number).encode() for number in range(20)]
    assert outputs(wasi_nn.map_guests(host, OBEYS, items, jobs=3)) == items


def test_a_silent_source_does_not_hold_up_the_end(host: wasi_nn.Host) -> None:
    speak = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"x"
        speak.wait()

    guest_map = GuestMap(host, OBEYS, silent(), jobs=2)
    assert next(guest_map).stdout == b"x"
    guest_map.close()
    speak.set()


def test_an_error_of_the_source_comes_after_the_results_before_it(host: wasi_nn.Host) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        yield b"y"
        raise LookupError("no more")

    results = wasi_nn.map_guests(host, OBEYS, broken(), jobs=2)
    assert [next(results).stdout, next(results).stdout] == [b"x", b"y"]
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_a_closed_host_ends_the_map() -> None:
    with wasi_nn.Host(cache=False) as host:
        results = wasi_nn.map_guests(host, OBEYS, itertools.repeat(b"x"), jobs=2)
        next(results)
    with pytest.raises(wasi_nn.GuestError, match="this host is closed"):
        list(results)


@pytest.mark.parametrize("item", [3, ["a"], None])
def test_a_wrong_item_is_an_error(host: wasi_nn.Host, item: Any) -> None:
    with pytest.raises(wasi_nn.NNError, match=r"an item must be a path, bytes, or a wasi_nn\.MapItem"):
        list(wasi_nn.map_guests(host, OBEYS, [item]))


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2", True])
def test_a_wrong_number_of_jobs_is_an_error(host: wasi_nn.Host, jobs: Any) -> None:
    with pytest.raises(wasi_nn.NNError, match="jobs must be a whole number from 1"):
        wasi_nn.map_guests(host, OBEYS, [], jobs=jobs)


def test_a_file_is_given_by_its_path_in_a_directory_to_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b.txt").write_text("a")
    (tmp_path / "link.txt").symlink_to(tmp_path / "data" / "a b.txt")
    item = file_item(tmp_path / "link.txt")
    assert (item.name, item.argument) == (str(tmp_path / "link.txt"), "/item/a b.txt")
    assert item.dirs == {"/item": wasi_nn.Directory(str(tmp_path / "data"), read_only=True)}
    assert item.arguments(["-v"]) == ["-v", "/item/a b.txt"]
    assert item.arguments(["u8:1:{}", "--again", "{}"]) == ["u8:1:/item/a b.txt", "--again", "/item/a b.txt"]
    assert as_item(b"{}", 7).arguments(['{"a": {}}']) == ['{"a": {}}']


def test_a_path_that_is_no_file_fails_alone(host: wasi_nn.Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    items: list[Any] = [
        tmp_path / "none",
        tmp_path,
        tmp_path / "pipe",
        "a\0b",
        wasi_nn.MapItem("m", stdin=tmp_path),
        b"x",
    ]
    results = list(wasi_nn.map_guests(host, OBEYS, items, jobs=1))
    assert [result.kind for result in results] == ["error"] * 5 + [""]
    assert [result.failure.rpartition("' ")[2] for result in results[:3]] == [
        "doesn't exist",
        *["is no regular file"] * 2,
    ]


def test_a_map_with_a_model_loads_it_once(tmp_path: Path) -> None:
    with wasi_nn.Host({"colours": EXAMPLE / "colours.onnx"}, cache=tmp_path) as host:
        args = ["--graph", "colours", "--labels", "/l/colours.txt", "{}"]
        graph = host.registry.get("colours")
        items = [EXAMPLE / "apple.ppm"] * 3
        results = list(wasi_nn.map_guests(host, C_GUESTS / "classify.wasm", items, args, jobs=2, dirs={"/l": EXAMPLE}))
        assert host.registry.get("colours") is graph
    assert all(b"red" in result.stdout for result in results)


class Meeting:
    """A source of graphs that gives the first graph only once the second run has had one."""

    def __init__(self) -> None:
        self._source = wasi_nn.Registry({"net": onnx_models.relu()})
        self._asked = itertools.count()
        self._second = threading.Event()

    def get(self, name: str) -> wasi_nn.Graph:
        """A graph."""
        if next(self._asked) == 0:
            assert self._second.wait(60)
        return self._source.get(name)

    def end(self) -> None:
        """Let the first run go on."""
        self._second.set()


@pytest.mark.parametrize("is_raw", [True, False])
def test_runs_at_once_have_memories_of_their_own(is_raw: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_functions, "RAW_CALLS", is_raw)
    guest = command(
        """(i32.store (i32.const 100) (i32.const 0x74656e)) ;; "net"
        (i32.store (i32.const 0) (i32.const 77))
        (drop (call $lookup (i32.const 100) (i32.const 3) (i32.const 0)))
        (call $exit (i32.eq (i32.load (i32.const 0)) (i32.const 77)))"""
    ).encode()
    meeting = Meeting()
    with wasi_nn.Host(meeting, cache=False) as host:
        results = wasi_nn.map_guests(host, guest, [b"", b""], jobs=2, ordered=False)
        assert next(results).exit_code == 0
        meeting.end()
        assert next(results).exit_code == 0, "the handle was written into the memory of another guest"


# The command


def test_a_map_is_recorded_with_a_run_for_each_item(tmp_path: Path, cache_home: Path) -> None:
    guest = command(LOOKS_UP_NET).encode()
    items = [wasi_nn.MapItem(name) for name in ("first", "second", "third")]
    file = tmp_path / "t.json"
    with wasi_nn.Host({"net": onnx_models.relu()}) as host:
        with tracing.Trace(file, data=True, runs=True) as trace:
            assert all(result.exit_code == 0 for result in wasi_nn.map_guests(host, guest, items, jobs=2, trace=trace))
        with tracing.TraceReader(file) as reader:
            assert sorted(call.run for call in reader.calls()) == [1, 2, 3]
            assert sorted(reader.titles.values()) == ["first", "second", "third"]
        with pytest.raises(NNError, match="trace must be"):
            wasi_nn.map_guests(host, guest, items, trace="t.json")  # type: ignore[arg-type]
    assert tracing.replay(file, {"net": onnx_models.relu()}).differences == ()


def run(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the results on standard output, and the standard error."""
    code = cli.main(["map", "--no-cache", "--jobs", "2", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    path = tmp_path / "guest.wat"
    path.write_bytes(OBEYS)
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """A file of items, one a line."""
    path = tmp_path / "items.jsonl"
    path.write_text('{"a": 1}\n\nExit\n"last"')
    return path


def test_the_lines_of_a_file_are_items(guest: Path, items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, results, error = run("--give", "lines", guest, items, "--json", capsys=capsys)
    assert code == 1
    assert [result.pop("seconds") >= 0 for result in results] == [True] * 3
    assert results == [
        {"item": f"{items}:1", "ok": True, "exit_code": 0, "output": {"a": 1}, "stderr": ""},
        {
            "item": f"{items}:3",
            "ok": False,
            "exit_code": 3,
            "stdout": "Exit\n",
            "stderr": "",
            "kind": "exit",
            "error": "the guest ended with the exit code 3",
        },
        {"item": f"{items}:4", "ok": True, "exit_code": 0, "output": "last", "stderr": ""},
    ]
    assert "wasi-nn: 2 done, 1 failed; ended after" in error
    assert f"wasi-nn: the first failure: {items}:3: the guest ended with the exit code 3\n" in error


def test_the_first_failure_has_the_guests_last_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_text(
        command(says("usage: guest MODEL\nno \x1b[31mmodel\n", 2) + "(call $exit (i32.const 4))")
    )
    (tmp_path / "item").write_bytes(b"")
    code, results, error = run(tmp_path / "guest.wat", tmp_path / "item", capsys=capsys)
    assert (code, results[0]["error"]) == (1, "the guest ended with the exit code 4")
    said = "the guest ended with the exit code 4: usage: guest MODEL; no \\x1b[31mmodel\n"
    assert error.endswith(f"wasi-nn: the first failure: {tmp_path / 'item'}: {said}")


def test_files_are_given_by_their_content(guest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "b").write_bytes(b"\xff\0")
    code, results, _ = run(guest, tmp_path / "a", "--give", "content", tmp_path / "b", "--quiet", capsys=capsys)
    assert code == 0
    assert [it.get("stdout", it.get("stdout_base64")) for it in results] == ["text", "/wA="]


def test_files_are_given_by_their_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = ("--graph", f"colours={EXAMPLE}/colours.onnx", "--dir", f"{EXAMPLE}::/l:ro")
    behind = ("--", "--graph", "colours", "--labels", "/l/colours.txt", "{}")
    code, results, _ = run(*graph, C_GUESTS / "classify.wasm", EXAMPLE / "apple.ppm", *behind, capsys=capsys)
    assert code == 0
    assert results[0]["item"] == str(EXAMPLE / "apple.ppm")
    assert "/item/apple.ppm" in results[0]["stdout"]


@pytest.mark.parametrize(("give", "why"), [("path", "is not valid Unicode"), ("content", "can't be read")])
def test_a_name_that_is_no_unicode_fails_alone(
    guest: Path, tmp_path: Path, give: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, output = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.txt"), tmp_path / "results.jsonl"
    Path(name).write_text("text")
    arguments = (guest, name, guest, "--give", give, "--output", output)
    code, _, error = run(*arguments, capsys=capsys)
    assert code == 1
    assert "\\udcff\\n.txt" in error
    failed, done = lines_of(output)
    assert (failed["item"], failed["kind"], done["ok"]) == (name, "error", True)
    assert why in failed["error"]
    assert "1 were done before, 1 had failed before" in run(*arguments, "--resume", capsys=capsys)[2]


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
@pytest.mark.parametrize("source", ["file", "stdin", "dash"])
def test_a_list_names_the_files(
    guest: Path, tmp_path: Path, separator: bytes, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [tmp_path / name for name in ("a", "b c")]
    for name in names:
        name.write_text(name.name)
    (tmp_path / "list").write_bytes(separator.join(map(os.fsencode, names)) + separator)
    null = ("--null",) if separator == b"\0" else ()
    given: tuple[str, ...] = {"file": ("--from-file", str(tmp_path / "list")), "stdin": ("--from-file", "-")}.get(
        source, ("-",)
    )
    command = [sys.executable, "-m", "wasi_nn", "map", "--no-cache", str(guest), "--give", "content", *null, *given]
    with open(tmp_path / "list", "rb") as listed:
        shown = subprocess.run(command, stdin=listed, stdout=subprocess.PIPE, check=True).stdout
    assert [json.loads(line)["stdout"] for line in shown.splitlines()] == ["a", "b c"]


def test_a_map_goes_on_where_it_ended(guest: Path, items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = items.with_name("results.jsonl")
    lines = ("--give", "lines", guest, "--output", output)
    assert run(*lines, items, capsys=capsys)[0] == 1
    whole = output.read_bytes()
    first, *_ = whole.splitlines(keepends=True)
    output.write_bytes(first + whole.splitlines()[1][:20])
    code, shown, error = run(*lines, items, "--resume", capsys=capsys)
    assert (code, shown) == (1, [])
    assert f"wasi-nn: {output}: dropped the last line, which was torn\n" in error
    assert "1 done, 1 failed, 1 were done before" in error
    assert [line["item"] for line in lines_of(output)] == [f"{items}:{number}" for number in (1, 3, 4)]
    code, _, error = run(*lines, items, "--resume", capsys=capsys)
    assert code == 1
    assert "0 done, 0 failed, 2 were done before, 1 had failed before (--retry-failed runs them again)" in error
    assert len(lines_of(output)) == 3


def test_failed_items_are_run_again(guest: Path, items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = items.with_name("results.jsonl")
    lines = ("--give", "lines", guest, items, "--output", output)
    run(*lines, capsys=capsys)
    assert run(*lines, "--resume", "--retry-failed", capsys=capsys)[0] == 1
    guest.write_text(command(ECHOES_STDIN))
    assert run(*lines, "--resume", "--retry-failed", capsys=capsys)[0] == 0
    assert [line["ok"] for line in lines_of(output)] == [True, False, True, False, True]
    assert run(*lines, "--resume", capsys=capsys)[0] == 0
    assert len(lines_of(output)) == 5


def test_a_file_of_something_else_is_not_changed(guest: Path, items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = items.with_name("results.jsonl")
    lines = ("--give", "lines", guest, items, "--output", output)
    for content in ('{"item": "a"}\n', "[]\n", "no JSON\n", "[" * 100000 + "\n"):
        output.write_text(content)
        code, _, error = run(*lines, capsys=capsys)
        assert (code, error) == (
            2,
            f"wasi-nn: {output} has content: --resume goes on with results, or give another file\n",
        )
        code, _, error = run(*lines, "--resume", capsys=capsys)
        assert code == 1
        assert f"wasi-nn: line 1 of {output} is no result of wasi-nn map: give the file of an earlier run" in error
        assert output.read_text() == content


def test_two_maps_do_not_write_one_file(guest: Path, items: Path, capsys: pytest.CaptureFixture[str]) -> None:

    output = items.with_name("results.jsonl")
    with Results(str(output), resumes=False):
        code, _, error = run("--give", "lines", guest, items, "--output", output, "--resume", capsys=capsys)
    assert (code, error) == (1, f"wasi-nn: another process writes its results to {output}\n")


def test_the_command_records_all_items(
    guest: Path, items: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.json"
    run("--give", "lines", guest, items, "--trace", str(file), "--trace-data", capsys=capsys)
    with tracing.TraceReader(file) as reader:
        assert list(reader.calls()) == []
        assert sorted(reader.titles.values()) == [f"{items}:{number}" for number in (1, 3, 4)]


def test_so_many_failures_end_the_map(guest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "many").write_text("Exit\n" * 1000)
    code, results, _ = run("--give", "lines", guest, tmp_path / "many", "--max-failures", "3", capsys=capsys)
    assert code == 1
    assert 3 <= len(results) < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "x"), "--resume needs --output FILE"),
        (("--retry-failed", "x"), "--retry-failed needs --resume"),
        (("--trace-data", "x"), "--trace-data needs --trace FILE"),
        ((), "there are no items: name files, give a list of them by --from-file, or - for one on stdin"),
        (("-", "--from-file", "-"), "standard input can be read once only: give one -"),
    ],
)
def test_wrong_command_lines(
    guest: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(guest, *arguments, capsys=capsys) == (2, [], f"wasi-nn: {message}\n")


def test_an_unknown_option_is_named(guest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(guest, "a", "--unorderd", "b", capsys=capsys)
    assert "no option --unorderd; did you mean --unordered?" in capsys.readouterr().err


def test_an_option_of_the_guest_that_comes_too_early_is_explained(
    guest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = "the guest's own options come after --"
    with pytest.raises(SystemExit):
        run(guest, "a", "--labels", "b", capsys=capsys)
    assert f"no option --labels; {hint}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(guest, "a", "--quite", "--", "--labels", "b", capsys=capsys)
    assert hint not in capsys.readouterr().err


@pytest.mark.parametrize("output", [b"", b"{", b"NaN", b"1e999", b"[" * 100000, b"1" * 5000])
def test_an_output_that_is_no_json_is_a_failure(output: bytes) -> None:
    content = record(wasi_nn.MapResult("a", 0, 0, output), parses=True)
    assert (content["ok"], content["kind"]) == (False, "output")
    assert content["error"].startswith("the guest's output isn't JSON: ")
    assert content["stdout"] == output.decode()


def test_an_output_that_is_as_deep_as_it_may_be_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    written = 0
    with Results(str(file), resumes=False) as results:
        for depth in range(800, 1100):
            content = record(wasi_nn.MapResult(str(depth), 0, 0, b"[" * depth + b"]" * depth), parses=True)
            written += content["ok"]
            results.write(content)
    assert 0 < written < 300
    with Results(str(file), resumes=True) as results:
        assert results.has_done("800")
        assert results.has_failed("1099")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_map_and_keeps_what_is_done(guest: Path, tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "wasi_nn", "map", "--no-cache", "--jobs", "2", "--give", "lines", str(guest), "-"]
    process = subprocess.Popen(
        [*command, "--output", str(output)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write("one\nLoop\ntwo\n")  # and no end: the source is silent
    process.stdin.flush()
    while not (output.exists() and output.read_text().endswith("\n")):
        pass
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 128 + number
    assert "interrupted after" in error
    assert [line["stdout"] for line in lines_of(output)][:1] == ["one\n"]
    assert "Loop" not in output.read_text()


def test_the_words_of_the_progress() -> None:
    assert (
        progress_line(50, 2, 10, 100, 4.0)
        == "[############            ] 50 of 100, 2 failed, 10.0 a second, 0:00:05 left"
    )
    assert progress_line(1234, 0, 0, None, 1.0) == "1,234 done, 1,234.0 a second"
    assert progress_line(0, 0, 0, 0, 0.0) == "0 of 0, 0.0 a second"


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = os.openpty()
    with open(follower, "w") as terminal, open(leader, "rb", 0) as screen, open(os.devnull, "w") as other:
        monkeypatch.setattr("wasi_nn.cli.progress._EVERY", 0)
        for stream in (terminal, other, None):
            progress = Progress(stream, 3)
            progress.show(1, 0)
            progress.hide()
        assert b"1 of 3" in screen.read(1000)


def test_the_command_uses_graphs_limits_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    (tmp_path / "x.bin").write_bytes(b"\0" * 16)
    graph = ("--graph", f"net={tmp_path}/net.onnx", "--graph-option", "net:threads=1")
    guest = C_GUESTS / "infer.wasm"
    behind = ("--", "--graph", "net", "f32:4:{}", "--output", "f32")
    code, results, _ = run(*graph, guest, tmp_path / "x.bin", *behind, capsys=capsys)
    assert (code, results[0]["stdout"]) == (0, "output 0: 16 bytes, 4 f32: 0 0 0 0\n")
    code, results, _ = run(*graph, "--max-output-bytes", "4", guest, tmp_path / "x.bin", *behind, capsys=capsys)
    assert (code, results[0]["kind"]) == (1, "trap")
    assert "output_bytes" in results[0]["error"]
