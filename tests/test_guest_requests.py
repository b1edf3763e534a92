"""wasi-nn:serving: guests that answer requests, by both ABIs, and what a hostile guest can do with it."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
import serving_guests as guests
from checks import refused
from conftest import REPOSITORY, SUPPORT
from ml_dtypes import bfloat16
from serving_guests import C_GUESTS, COLOURS, COMPONENT_GUESTS, EXAMPLE, Output, expect, guest, respond

import wasi_nn
from wasi_nn import ErrorCode, Fault, GuestRequest, GuestTrap, Host, Limits
from wasi_nn.abi.core.serving import FUNCTIONS
from wasi_nn.graph.datatypes import DATATYPES

COLOURS_GUESTS = [C_GUESTS / "serve_colours.wasm", COMPONENT_GUESTS / "serve_colours.wasm"]
SUCCESS, INVALID, TOO_LARGE = 0, 1, 7


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host({"colours": EXAMPLE / "colours.onnx"}, cache=False) as host:
        yield host


def _answered(host: Host, code: str, count: int = 1, **inputs: Any) -> list[GuestRequest]:
    """Requests, after a guest has had them."""
    requests = [GuestRequest(inputs) for _ in range(count)]
    assert host.run(code.encode(), requests=requests, capture_output=True).exit_code == 0
    return requests


def _picture(red: int, green: int, blue: int) -> Any:
    return np.tile(np.array([red, green, blue], np.uint8), (4, 5, 1))


@pytest.mark.parametrize("path", COLOURS_GUESTS, ids=["core", "component"])
def test_a_guest_answers_requests_one_after_another(host: Host, path: Path) -> None:
    pictures = [_picture(200, 20, 20), _picture(250, 250, 250), _picture(0, 0, 0)]
    requests = [GuestRequest({"picture": picture}) for picture in pictures]
    requests.insert(1, GuestRequest({"picture": np.zeros(3, np.uint8)}))
    result = host.run(path, ["--graph", "colours", *COLOURS], requests=iter(requests), capture_output=True)
    assert (result.exit_code, result.stderr) == (0, b"")
    wrong = requests.pop(1)
    assert (wrong.fault, wrong.message) == (Fault.REQUEST, "the picture must be UINT8 [height, width, 3]")
    assert wrong.outputs is None
    for request, label in zip(requests, [b"red", b"white", b"black"], strict=True):
        assert request.outputs is not None
        assert request.outputs["label"].tolist() == [label]
        scores = request.outputs["scores"]
        assert (scores.dtype.name, scores.shape) == ("float32", (6,))
        assert COLOURS[int(scores.argmax())].encode() == label


@pytest.mark.parametrize("path", COLOURS_GUESTS, ids=["core", "component"])
def test_without_requests_a_guest_ends(host: Host, path: Path) -> None:
    empty: list[GuestRequest] = []
    for requests in (empty, None):
        assert host.run(path, ["--graph", "colours", *COLOURS], requests=requests, capture_output=True).exit_code == 0


def test_the_component_and_the_module_of_a_guest_answer_alike(host: Host) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    answers = []
    for path in COLOURS_GUESTS:
        request = GuestRequest({"picture": picture})
        host.run(path, ["--graph", "colours", *COLOURS], requests=[request], capture_output=True)
        assert request.outputs is not None
        answers.append({name: array.tolist() for name, array in request.outputs.items()})
    assert answers[0] == answers[1]


def test_every_datatype_goes_through_a_guest_as_it_is(host: Host) -> None:
    arrays: dict[str, Any] = {
        "bool": np.array([[True, False]]),
        "uint8": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "int64": np.array(-(2**63), np.int64),
        "uint64": np.array([2**64 - 1], np.uint64),
        "fp16": np.array([1.5, np.inf], np.float16),
        "bf16": np.array([1.5, -2], bfloat16),
        "fp64": np.zeros((0, 5)),
        "int8": np.array([-128, 127], np.int8)[::-1],
        "strings": np.array([[b"", b"\xff\0"], [b"ab", b"c"]], object),
        "näme": np.zeros((1,) * 64, np.int16),
        "int32": np.array([1], ">i4").astype(np.int32),
    }
    [request] = _answered(host, guests.ECHO, **arrays)
    assert request.outputs is not None
    assert list(request.outputs) == list(arrays)
    for name, array in request.outputs.items():
        assert (array.dtype, array.shape, array.tolist()) == (
            arrays[name].dtype,
            arrays[name].shape,
            arrays[name].tolist(),
        )


def test_requests_take_texts_and_lists_and_refuse_the_rest(host: Host) -> None:
    [request] = _answered(host, guests.ECHO, text=["ä", "b"], number=[1.5])
    assert request.outputs is not None
    assert request.outputs["text"].tolist() == ["ä".encode(), b"b"]
    for value in (np.array([1 + 2j]), np.array([object()]), np.array(["2026-01-01"], "datetime64[D]")):
        refused(ErrorCode.INVALID_ARGUMENT, r"inputs\['x'\] must be an array", GuestRequest, {"x": value})
    refused(ErrorCode.INVALID_ARGUMENT, "requests must be an iterable", host.run, guests.GOOD.encode(), requests=3)


@pytest.mark.parametrize("path", COLOURS_GUESTS, ids=["core", "component"])
def test_an_iterable_that_fails_or_has_something_else_stops_the_guest(host: Host, path: Path) -> None:
    def failing() -> Iterator[GuestRequest]:
        yield GuestRequest({"picture": _picture(0, 0, 0)})
        raise LookupError("no more")

    arguments = ["--graph", "colours", *COLOURS]
    with pytest.raises(LookupError, match="no more"):
        host.run(path, arguments, requests=failing())
    refused(ErrorCode.INVALID_ARGUMENT, "a request must be", host.run, path, arguments, requests=["x"])


def test_a_guest_learns_the_size_of_a_request_first(host: Host) -> None:
    text = guest(
        """
        (local.set $errno (call $read_request (local.get $request) (i32.const 0) (i32.const 0) (i32.const 4)))
        """
        + expect(TOO_LARGE)
        + """(local.set $errno
          (call $read_request (local.get $request) (i32.const 0x2000) (i32.load (i32.const 4)) (i32.const 4)))"""
        + expect(SUCCESS)
        + "(drop (call $respond (local.get $request) (i32.load (i32.const 0x2000)) (i32.load (i32.const 0x2004))))"
    )
    [request] = _answered(host, text, x=np.arange(5, dtype=np.int16))
    assert request.outputs is not None
    assert request.outputs["x"].tolist() == list(range(5))


def test_the_record_of_a_request_is_the_documented_one(host: Host) -> None:
    """The guest gives the bytes of the record as an output."""
    text = guest(
        f"""
        (drop (call $read_request (local.get $request) (i32.const 0x8100) (i32.const 0x1000) (i32.const 4)))
        (i32.store (i32.const {guests.RECORDS + 24}) (i32.load (i32.const 4)))
        (i32.store (i32.const 0x8000) (i32.load (i32.const 4)))
        """
        + respond()
        + expect(SUCCESS),
        [Output(b"y", "UINT8", [0], b"", at=0x8100)],
    ).replace("(i32.store (i32.const 0x8000)", "(i32.store (i32.const 0x8004)")
    [request] = _answered(host, text, ab=np.array([[7, 8, 9]], np.int16), s=np.array([b"xyz"], object))
    assert request.outputs is not None
    record = request.outputs["y"].tobytes()
    expected = pack("<II", 0x8108, 2)
    expected += pack("<IIB3xIIII", 0x8140, 2, DATATYPES.index("INT16"), 0x8144, 2, 0x8150, 6)
    expected += pack("<IIB3xIIII", 0x8156, 1, DATATYPES.index("BYTES"), 0x8158, 1, 0x8160, 7)
    expected += b"ab\0\0" + pack("<II", 1, 3) + bytes(4) + pack("<3h", 7, 8, 9)
    expected += b"s\0" + pack("<I", 1) + bytes(4) + pack("<I", 3) + b"xyz"
    assert record == expected


def test_a_guest_can_say_whose_fault_it_is(host: Host) -> None:
    text = guest(
        "(local.set $errno (call $fail_request (local.get $request) (i32.const 2) (i32.const 64) (i32.const 5)))"
        + expect(INVALID)
        + "(local.set $errno (call $fail_request (local.get $request) (i32.sub (i32.const 2) (local.get $request))"
        "  (i32.const 64) (i32.const 5)))" + expect(SUCCESS),
        rest='(data (i32.const 64) "no\\07\\ff!")',
    )
    first, second = _answered(host, text, 2)
    assert (first.fault, second.fault) == (Fault.GUEST, Fault.REQUEST)
    assert first.message == second.message == "no\\x07\N{REPLACEMENT CHARACTER}!"
    assert first.outputs is None


@pytest.mark.parametrize("text", [guests.HOLDS_TWO, guests.ANSWERS_TWICE, guests.READS_LATE])
def test_a_guest_holds_one_request_at_a_time(host: Host, text: str) -> None:
    for request in _answered(host, text, 3):
        assert request.outputs is not None
        assert request.outputs["y"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("outputs", "errno"),
    [
        ([Output(b"\xff", "FP32", [1], bytes(4))], INVALID),
        ([Output(b"", "FP32", [1], bytes(4))], INVALID),
        ([Output(b"y" * 1025, "FP32", [1], bytes(4))], INVALID),
        ([Output(b"y", 14, [1], bytes(4))], INVALID),
        ([Output(b"y", 255, [1], bytes(4))], INVALID),
        ([Output(b"y", "FP32", [1], bytes(5))], INVALID),
        ([Output(b"y", "FP32", [2**31, 2**31], bytes(4))], INVALID),
        ([Output(b"y", "FP32", [2**32 - 1] * 64 + [0], b"")], INVALID),
        ([Output(b"y", "FP32", [0] + [2**32 - 1] * 63, b"")], INVALID),
        ([Output(b"y", "FP32", [1] * 65, bytes(4))], INVALID),
        ([Output(b"y", "BOOL", [2], b"\1\2")], INVALID),
        ([Output(b"y", "BYTES", [1], b"")], INVALID),
        ([Output(b"y", "BYTES", [1], pack("<I", 3) + b"ab")], INVALID),
        ([Output(b"y", "BYTES", [2], pack("<II", 2, 1) + b"a")], INVALID),
        ([Output(b"y", "BYTES", [2**31], b"")], TOO_LARGE),
        ([guests.ONE, guests.ONE], INVALID),
        ([guests.ONE] * 257, TOO_LARGE),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_and_another_one_is_taken(
    host: Host, outputs: list[Output], errno: int
) -> None:
    good = f"(local.set $errno (call $respond (local.get $request) (i32.const {guests.RECORDS}) (i32.const 0)))"
    [request] = _answered(host, guest(respond(len(outputs)) + expect(errno) + good + expect(SUCCESS), outputs))
    assert request.outputs == {}


def test_outputs_count_together_however_often_they_are_the_same_bytes() -> None:
    outputs = [Output(b"%d" % n, "UINT8", [65536], b"", 65536, 0) for n in range(200)]
    text = guest(respond(200) + expect(TOO_LARGE) + respond(10) + expect(SUCCESS), outputs)
    with Host(cache=False, limits=Limits(tensor_bytes=2**20)) as host:
        [request] = _answered(host, text)
    assert request.outputs is not None
    assert len(request.outputs) == 10


@pytest.mark.parametrize(
    "body",
    [
        "(drop (call $next_request (i32.const -1)))",
        "(drop (call $read_request (local.get $request) (i32.const 65536) (i32.const -1) (i32.const 4)))",
        "(drop (call $read_request (local.get $request) (i32.const 0) (i32.const 8) (i32.const -2)))",
        "(drop (call $respond (local.get $request) (i32.const -28) (i32.const 2)))",
        "(drop (call $respond (local.get $request) (i32.const 0x20000) (i32.const 256)))",
        "(drop (call $fail_request (local.get $request) (i32.const 0) (i32.const 1) (i32.const -1)))",
    ],
)
def test_a_pointer_out_of_bounds_traps(host: Host, body: str) -> None:
    request = GuestRequest({"x": np.zeros(3)})
    with pytest.raises(GuestTrap, match="outside the memory"):
        host.run(guest(body).encode(), requests=[request])
    assert not request.is_answered
    assert request.wait(0)


@pytest.mark.parametrize("part", ["name", "dims", "data"])
def test_a_pointer_in_an_output_that_is_out_of_bounds_traps(host: Host, part: str) -> None:
    place = {"name": 0, "dims": 12, "data": 20}[part]
    body = f"(i32.store (i32.const {guests.RECORDS + place}) (i32.const -2))" + respond()
    with pytest.raises(GuestTrap, match=f"the {part} of output 0 .* is outside the memory"):
        host.run(guest(body, [guests.ONE]).encode(), requests=[GuestRequest({})])


@pytest.mark.parametrize("number", [0, 2, 2**32 - 1])
def test_a_request_that_isnt_there_is_an_error(host: Host, number: int) -> None:
    calls = {
        "read_request": "(i32.const 64) (i32.const 8) (i32.const 4)",
        "respond": f"(i32.const {guests.RECORDS}) (i32.const 1)",
        "fail_request": "(i32.const 0) (i32.const 0) (i32.const 0)",
    }
    signed = number - 2**32 if number >= 2**31 else number
    body = "".join(
        f"(local.set $errno (call ${name} (i32.const {signed}) {arguments}))" + expect(INVALID)
        for name, arguments in calls.items()
    )
    [request] = _answered(host, guest(body + respond(), [guests.ONE]))
    assert request.is_answered


def test_a_guest_that_goes_leaves_its_request_without_an_answer(host: Host) -> None:
    requests = [GuestRequest({}), GuestRequest({})]
    host.run(guests.SILENT.encode(), requests=iter(requests))
    assert requests[0].wait(0)
    assert not requests[0].is_answered
    assert not requests[1].wait(0)  # the guest never had it


def test_time_and_fuel_are_for_each_request() -> None:
    one_less = "(local.tee $errno (i32.sub (local.get $errno) (i32.const 1)))"
    work = f"(local.set $errno (i32.const 60000)) (loop $on (br_if $on {one_less}))"
    text = guest(work + respond() + expect(SUCCESS), [guests.ONE])
    with Host(cache=False, limits=Limits(fuel=600_000)) as host:
        for request in _answered(host, text, 20):
            assert request.is_answered
        with pytest.raises(GuestTrap, match="all fuel consumed"):
            host.run(guests.ENDLESS.encode(), requests=[GuestRequest({})])


def test_a_host_without_such_a_function_says_so(host: Host) -> None:
    text = guests.GOOD.replace('"respond"', '"responds"')
    with pytest.raises(wasi_nn.GuestError, match=rf"wasi_nn_serving.responds .*{', '.join(FUNCTIONS)}"):
        host.run(text.encode())


def test_a_compiled_guest_runs_on_many_threads_at_once(host: Host) -> None:
    compiled = [host.compile(path) for path in COLOURS_GUESTS]
    labels = {b"red": _picture(200, 20, 20), b"white": _picture(250, 250, 250), b"black": _picture(0, 0, 0)}
    started = []
    for _ in range(5):
        for guest_ in compiled:
            for label, picture in labels.items():
                request = GuestRequest({"picture": picture})
                run = host.start(guest_, ["--graph", "colours", *COLOURS], requests=[request], capture_output=True)
                started.append((run, request, label))
    for run, request, label in started:
        assert run.wait().exit_code == 0
        assert request.outputs is not None
        assert request.outputs["label"].tolist() == [label]


@pytest.mark.parametrize("header", ["wasi_nn_serving.h", "wasi_nn_component_serving.h"])
def test_the_headers_number_datatypes_and_faults_as_the_host_does(header: str) -> None:
    text = (REPOSITORY / "sdk" / "c" / "include" / header).read_text()
    if header == "wasi_nn_serving.h":
        assert re.findall(r"WASI_NN_DATATYPE_(\w+) = (\d+)", text) == [(it, str(n)) for n, it in enumerate(DATATYPES)]
        assert re.findall(r"WASI_NN_FAULT_OF_(\w+) = (\d+)", text) == [(it.name, str(it.value)) for it in Fault]
        assert sorted(re.findall(r'^WASI_NN_SERVING_IMPORT\("(\w+)"\)', text, re.MULTILINE)) == sorted(FUNCTIONS)
    else:
        assert re.findall(r"NN_(\w+)_TENSOR,", text) == list(DATATYPES)
        assert re.findall(r"NN_FAULT_OF_(\w+)", text) == [it.name for it in Fault]


def test_the_wit_numbers_datatypes_and_faults_as_the_host_does() -> None:
    text = (REPOSITORY / "guests" / "bridge" / "wasi-nn-serving.wit").read_text()

    def cases(enum: str) -> list[str]:
        body = text.partition(f"enum {enum} {{")[2].partition("}")[0]
        return re.findall(r"(\w+),", re.sub(r"///.*", "", body))

    assert cases("datatype") == list(DATATYPES)
    assert cases("fault") == [it.name.lower() for it in Fault]


REQUESTS = SUPPORT / "components" / "requests.wasm"


@pytest.mark.parametrize("how", ["good", "twice", "two", "size", "rank", "same", "strings", "name", "large", "drop"])
def test_a_component_may_do_anything_with_a_request(how: str) -> None:
    requests = [GuestRequest({"x": np.arange(5, dtype=np.int64), "s": [["a", "bc"]]}) for _ in range(2)]
    with Host(cache=False, limits=Limits(tensor_bytes=2**19)) as host:
        result = host.run(REQUESTS, [how], requests=iter(requests), capture_output=True)
    assert (result.exit_code, result.stderr) == (0, b"")
    for request in requests:
        assert request.wait(0)
        if how == "drop":
            assert not request.is_answered
        else:
            assert request.outputs is not None
            assert request.outputs["y"].tolist() == [1.5]


def test_an_answer_of_a_component_may_be_larger_than_a_call_of_the_host() -> None:
    requests = [GuestRequest({}) for _ in range(2)]
    Host(cache=False).run(REQUESTS, ["parts"], requests=iter(requests))
    for request in requests:
        assert request.outputs is not None
        np.testing.assert_array_equal(request.outputs["y"], (np.arange(300_000) % 251).astype(np.uint8))


def test_a_component_that_traps_or_hangs_answers_nothing() -> None:
    with Host(cache=False, limits=Limits(guest_time=0.1)) as host:
        compiled = host.compile(REQUESTS)
        for how, reason in (("trap", "unreachable"), ("hang", "of processor time")):
            request = GuestRequest({})
            with pytest.raises(GuestTrap, match=reason):
                host.run(compiled, [how], requests=[request])
            assert request.wait(0)
            assert not request.is_answered


def test_a_component_without_requests_gets_none() -> None:
    assert Host(cache=False).run(REQUESTS, ["good"]).exit_code == 0


def test_guests_of_one_module_on_many_threads_never_see_each_others_memory(host: Host) -> None:
    """They share a linker, and the interpreter changes threads within their host functions."""
    compiled = host.compile(guests.ECHO.encode())
    wrong: list[object] = []

    def echo_often(number: int) -> None:
        for _ in range(40):
            requests = [GuestRequest({"x": np.full(200 * number, number)}) for _ in range(3)]
            host.run(compiled, requests=iter(requests), capture_output=True)
            wrong.extend(
                request.outputs
                for request in requests
                if request.outputs is None or request.outputs["x"].tolist() != [number] * 200 * number
            )

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=echo_often, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
