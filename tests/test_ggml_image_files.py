"""Images that a guest of a language model names by path (WasmEdge's option `image`), in a run and in a session."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import C_GUESTS, need
from core_guest import CoreGuest
from driven_component import Driven, GuestFailed

import wasi_nn
from wasi_nn import Directory, ErrorCode, Graph, Host, Limits, LoadRules, NNError, Session
from wasi_nn.abi.component.bridge import VERSIONS
from wasi_nn.backends.ggml.image_option import with_image
from wasi_nn.guests.guest_files import GuestFiles
from wasi_nn.tracing import RecordingSession, replay

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402
from test_ggml_images import folder, load, picture, tag, written  # noqa: E402

__all__ = ["folder"]  # a fixture

U8 = 3
PROMPT = "hello <image> what"


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return load(folder, allow_images=True)


@pytest.fixture(scope="module")
def isolated(folder: Path) -> Iterator[Graph]:
    with load(folder, LoadRules(isolate=True)) as graph:
        yield graph


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's directory: pictures of two colors, and what isn't one."""
    path = tmp_path_factory.mktemp("pictures")
    (path / "red.png").write_bytes(picture("red"))
    (path / "blue.jpeg").write_bytes(picture("blue", kind="jpeg"))
    (path / "text.png").write_text("no image")
    (path / "wide.png").write_bytes(picture(size=(5000, 4000)))
    (path / "large.png").write_bytes(picture() + bytes(1 << 24))
    (path / "link.png").symlink_to("red.png")
    (path / "out.png").symlink_to("/etc/passwd")
    os.mkfifo(path / "pipe.png")
    return path


@pytest.fixture
def files(pictures: Path) -> Iterator[GuestFiles]:
    with closing(GuestFiles({"pics": pictures})) as files:
        yield files


def options(path: str | None, **more: Any) -> bytes:
    return json.dumps({"image": path, **more}).encode()


def session_with(graph: Graph, files: GuestFiles | None, limits: Limits | None = None) -> Session:
    session = Session({"llm": graph}, limits=limits)
    session.file_reader = None if files is None else files.read
    return session


def text_of(session: Session, prompt: str = PROMPT, *, config: bytes = b"", given: bytes | None = None) -> str:
    """The text after a prompt, with a configuration and with options on input 1."""
    context = session.init_execution_context(session.load_by_name("llm", config))
    if given is not None:
        session.write_input(context, 1, np.dtype(np.uint8), (1,), memoryview(given))
    session.write_input(context, 0, np.dtype(np.uint8), (1,), memoryview(prompt.encode()))
    session.compute(context)
    return bytes(session.output_bytes(context, 0)).decode()


def inline(graph: Graph, image: bytes, prompt: str = PROMPT, kind: str = "png") -> str:
    return written(graph, prompt.replace("<image>", tag(image, kind)))[0]


@pytest.mark.parametrize("isolate", [False, True])
def test_a_named_image_is_the_same_as_one_in_the_prompt(
    isolate: bool, graph: Graph, files: GuestFiles, request: pytest.FixtureRequest
) -> None:
    used = graph
    if isolate:
        request.getfixturevalue("isolation")
        used = request.getfixturevalue("isolated")
    red, blue = inline(graph, picture("red")), inline(graph, picture("blue", kind="jpeg"), kind="jpeg")
    assert red != blue
    with session_with(used, files) as session:
        assert text_of(session, given=options("pics/red.png")) == red
        assert text_of(session, config=options("pics/blue.jpeg")) == blue
        assert text_of(session, config=options("pics/blue.jpeg"), given=options("/pics/red.png")) == red
        assert text_of(session, config=options("pics/red.png"), given=b'{"n-predict": 12}') == red
        assert (
            text_of(session, "hello", config=options("pics/red.png"), given=options("")) == written(graph, "hello")[0]
        )


def test_an_image_stays_for_the_contexts_next_prompts(graph: Graph, files: GuestFiles) -> None:
    with session_with(graph, files) as session:
        context = session.init_execution_context(session.load_by_name("llm", options("pics/red.png")))
        for prompt in (PROMPT, f"{PROMPT} more"):
            session.set_input(context, "prompt", np.frombuffer(prompt.encode(), np.uint8))
            session.compute(context)
            assert bytes(session.output_bytes(context, 0)).decode() == inline(graph, picture("red"), prompt)


def test_the_prompt_may_be_set_before_the_options_and_come_piece_by_piece(graph: Graph, files: GuestFiles) -> None:
    with session_with(graph, files) as session:
        context = session.init_execution_context(session.load_by_name("llm"))
        session.set_input(context, 0, np.frombuffer(PROMPT.encode(), np.uint8))
        session.set_input(context, 1, np.frombuffer(options("pics/red.png"), np.uint8))
        pieces = b"".join(bytes(piece) for piece in session.context(context).pieces())
        assert pieces.decode() == inline(graph, picture("red"))


def test_images_in_the_prompt_and_a_named_one(graph: Graph, files: GuestFiles) -> None:
    blue = tag(picture("blue"))
    with session_with(graph, files) as session:
        both = text_of(session, f"{blue} and <image> what", given=options("pics/red.png"))
        assert both == written(graph, f"{blue} and {tag(picture('red'))} what")[0]
        only = text_of(session, f"a {blue} b", given=options("pics/red.png"))
        assert only == written(graph, f"a {blue} b")[0], "as in WasmEdge"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("hello", "the prompt has no place <image> for the image of the option 'image': it must have one"),
        ("<image> and <image> what", "has 2 places <image>"),
        ("what is <image>", "ends with an image: text must follow"),
    ],
)
def test_prompts_that_have_not_one_place(graph: Graph, files: GuestFiles, prompt: str, message: str) -> None:
    with session_with(graph, files) as session:
        refused(ErrorCode.INVALID_ARGUMENT, message, text_of, session, prompt, given=options("pics/red.png"))


def test_without_the_option_a_place_is_a_text(graph: Graph) -> None:
    assert written(graph, "a <image> b", image="")[0] == written(graph, "a <image> b")[0]


REFUSED = [
    ("pics/../red.png", "security", "'..' in its path"),
    ("/etc/passwd", "security", "isn't in a directory of the guest, which has 'pics'"),
    ("red.png", "security", "isn't in a directory"),
    ("pics/link.png", "security", "the link 'link.png' in its path"),
    ("pics/out.png", "security", "the link 'out.png' in its path"),
    ("pics", "invalid-argument", "is a directory"),
    ("pics/pipe.png", "invalid-argument", "is a pipe"),
    ("pics/missing.png", "invalid-argument", "there is no 'missing.png'"),
    ("pics/text.png", "invalid-argument", "the image of the option 'image' is neither PNG nor JPEG"),
    ("pics/wide.png", "too-large", "the image of the option 'image' has 5000 by 4000 pixels"),
    ("pics/large.png", "too-large", "bytes: at most 16777216 are allowed"),
]


@pytest.mark.parametrize(("path", "code", "message"), REFUSED)
def test_files_that_are_refused(graph: Graph, files: GuestFiles, path: str, code: str, message: str) -> None:
    with session_with(graph, files) as session:
        refused(ErrorCode(code), message, text_of, session, given=options(path))
        refused(ErrorCode(code), f"graph 'llm': .*{message}", text_of, session, config=options(path))


def test_an_escaped_name_of_the_option_is_the_option(graph: Graph, files: GuestFiles) -> None:
    with session_with(graph, files) as session:
        assert text_of(session, given=b'{"\\u0069mage": "pics/red.png"}') == inline(graph, picture("red"))


@pytest.mark.parametrize("given", [b'{"image": 5}', b'{"image": ["pics/red.png"]}', b'{"image": {}}'])
def test_what_is_no_path_is_refused(graph: Graph, files: GuestFiles, given: bytes) -> None:
    with session_with(graph, files) as session:
        refused(ErrorCode.SECURITY, "option 'image' of ggml names a file", text_of, session, given=given)


@pytest.mark.parametrize(
    "given",
    [b'{"image": "pics/red.png"', b"[" * 100_000, b'{"image": ' + b"[" * 100_000, b'"image"', b'{"image"}\0x', b""],
)
def test_options_that_cannot_be_read_are_reported_by_the_graph(graph: Graph, files: GuestFiles, given: bytes) -> None:
    with session_with(graph, files) as session:
        refused(ErrorCode.INVALID_ENCODING, "options", text_of, session, given=given)


def test_bytes_behind_the_options_are_checked_as_an_image(graph: Graph) -> None:
    with session_with(graph, None) as session:
        for image, code in ((b"", "invalid-argument"), (b"\0", "invalid-argument"), (bytes(1 << 25), "too-large")):
            refused(ErrorCode(code), "image of the option", text_of, session, given=b"{}\0" + image)


def test_where_nothing_reads_files_a_path_is_refused(graph: Graph, isolated: Graph, isolation: None) -> None:
    message = "option 'image' of ggml names a file, which is read for a guest that the host runs.*into the prompt"
    for used in (graph, isolated):
        refused(ErrorCode.SECURITY, message, written, used, PROMPT, image="red.png")
        with session_with(used, None) as session:
            refused(ErrorCode.SECURITY, message, text_of, session, config=options("red.png"))


def test_a_graph_that_takes_no_images(folder: Path, files: GuestFiles) -> None:
    with session_with(load(folder), files) as session:
        message = "takes no images from guests.*--isolate.*allow-images"
        refused(ErrorCode.SECURITY, message, text_of, session, given=options("pics/red.png"))
    with session_with(wasi_nn.load(models.tiny()), files) as session:
        message = r"it takes no images, without a projector \(mmproj\)"
        refused(ErrorCode.UNSUPPORTED_OPERATION, message, text_of, session, given=options("pics/red.png"))


def test_an_images_bytes_count_as_the_guests(graph: Graph, files: GuestFiles) -> None:
    size = len(picture("red"))
    with session_with(graph, files) as session:
        handle = session.load_by_name("llm", options("pics/red.png"))
        assert session.used("model_bytes") > size
        session.unload(handle)
        assert session.used("model_bytes") == 0
    with session_with(graph, files, Limits(model_bytes=size)) as session:
        refused(ErrorCode.TOO_LARGE, "bytes of models", session.load_by_name, "llm", options("pics/red.png"))
    with session_with(graph, files, Limits(tensor_bytes=size)) as session:
        refused(ErrorCode.TOO_LARGE, "bytes of tensors", text_of, session, given=options("pics/red.png"))


def test_a_graph_gets_the_image_and_not_its_path(files: GuestFiles) -> None:
    given = bytes(with_image(memoryview(options("pics/red.png", temp=0.5)), files.read))
    assert given == b'{"temp": 0.5}\0' + picture("red")


def test_a_core_guest(graph: Graph, files: GuestFiles) -> None:
    with session_with(graph, files) as session:
        guest = CoreGuest(session)
        context = guest.context("llm")
        assert guest.set_input(context, 1, [1], U8, options("pics/../red.png")) != 0
        assert guest.set_input(context, 1, [1], U8, options("pics/red.png")) == 0
        assert guest.set_input(context, 0, [1], U8, PROMPT.encode()) == 0
        assert guest.call("compute", context) == 0
        assert guest.get_output(context).decode() == inline(graph, picture("red"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_component(version: str, graph: Graph, files: GuestFiles) -> None:
    with session_with(graph, files) as session:
        guest = Driven(version, session)
        context = guest.init_execution_context(guest.load_by_name("llm"))

        def inputs(path: str) -> dict[str, Any]:
            texts = {"prompt": PROMPT.encode(), "options": options(path)}
            return {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}

        output = guest.infer(context, inputs("pics/red.png"), ["response"])["response"]
        assert output.tobytes().decode() == inline(graph, picture("red"))
        with pytest.raises(GuestFailed, match=r"security|'\.\.' in its path"):
            guest.infer(context, inputs("pics/../red.png"), ["response"])


@pytest.mark.parametrize("isolate", [False, True])
def test_a_run_reads_the_guests_directories(
    isolate: bool, graph: Graph, pictures: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    used = graph
    if isolate:
        request.getfixturevalue("isolation")
        used = request.getfixturevalue("isolated")
    host = Host({"llm": used}, cache=False)

    def said(path: str, **run: Any) -> tuple[int | None, str, str]:
        arguments = ["--graph", "llm", "--system", "", "--options", options(path).decode(), "--at-once", PROMPT]
        result = host.run(C_GUESTS / "chat.wasm", arguments, capture_output=True, **run)
        return result.exit_code, result.stdout.decode(errors="replace"), result.stderr.decode()

    whole = "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nhello <image> what<|im_end|>\n<|im_start|>assistant\n"
    expected = f"> {PROMPT}\n{inline(graph, picture('red'), whole)}\n"
    dirs = {"pics": Directory(pictures, read_only=True)}
    assert said("pics/red.png", dirs=dirs)[:2] == (0, expected)
    assert said("red.png", dirs={".": pictures})[:2] == (0, expected)
    refusals = [
        ("pics/../red.png", dirs, "'..' in its path"),
        (str(pictures / "red.png"), dirs, "isn't in a directory of the guest, which has 'pics'"),
        ("pics/red.png", {}, "isn't in a directory of the guest, which has none"),
    ]
    for path, more, message in refusals:
        caplog.clear()
        code, _, errors = said(path, dirs=more)
        assert (code, errors.partition(":")[0]) == (1, "load_by_name_with_config")
        assert message in caplog.text


def test_a_trace_with_data_has_the_image_and_can_be_replayed(
    graph: Graph, pictures: Path, tmp_path: Path, isolated: Graph, isolation: None
) -> None:
    trace = tmp_path / "trace.json"
    files = GuestFiles({"pics": pictures})
    with closing(files), RecordingSession(trace, {"llm": graph}, data=True) as session:
        session.file_reader = files.read
        first = text_of(session, given=options("pics/red.png"))
        assert text_of(session, config=options("pics/blue.jpeg")) != first
        for key in (1, "options"):
            context = session.init_execution_context(session.load_by_name("llm"))
            session.set_input(context, key, np.frombuffer(options("pics/red.png"), np.uint8))
        pairs = {"prompt": PROMPT.encode(), "options": options("pics/red.png")}
        arrays = [(name, np.frombuffer(text, np.uint8)) for name, text in pairs.items()]
        assert session.compute_named(context, arrays)[0][1].tobytes().decode() == first
    for used in (graph, isolated):
        replayed = replay(trace, {"llm": used})
        assert (replayed.differences, replayed.outputs) == ((), 4)


def test_a_trace_has_the_calls_whose_file_was_refused(graph: Graph, files: GuestFiles, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    given = options("pics/missing.png")
    with RecordingSession(trace, {"llm": graph}, data=True) as session:
        session.file_reader = files.read
        context = session.init_execution_context(session.load_by_name("llm"))
        array = np.frombuffer(given, np.uint8)
        calls: list[Any] = [
            lambda: session.load_by_name("llm", given),
            lambda: session.write_input(context, 1, array.dtype, (1,), memoryview(given)),
            lambda: session.set_input(context, "options", array),
            lambda: session.compute_named(context, [("prompt", array), ("options", array)]),
        ]
        for call in calls:
            with pytest.raises(NNError, match=r"no 'missing.png'"):
                call()
    events = json.loads(trace.read_text())["traceEvents"]
    failed = [event["name"] for event in events if "error" in event.get("args", {})]
    assert failed == ["load_by_name", "set_input", "set_input", "compute_named"]
    texts = [difference.text for difference in replay(trace, {"llm": graph}).differences]
    assert len(texts) == 4
    assert all("names a file, which is read for a guest that the host runs" in text for text in texts)
