"""Images in the prompts of language models, and hostile ones. The projector is tiny and has random weights."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checks import refused
from conftest import need
from PIL import Image

import wasi_nn
from wasi_nn import ErrorCode, Graph, LoadRules
from wasi_nn.errors import ModelNotFound, PromptTooLong

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402
import ggml_projectors as projectors  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_llama_thread")

OPTIONS = {"mmproj": "mmproj.gguf", "n-predict": 12, "ignore-eos": True, "reproducible": True, "temp": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model and its projector."""
    path = tmp_path_factory.mktemp("vision")
    (path / "model.gguf").write_bytes(models.tiny())
    (path / "mmproj.gguf").write_bytes(projectors.projector())
    return path


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return load(folder, allow_images=True)


def load(folder: Path, rules: LoadRules | None = None, **options: Any) -> Graph:
    """The model with its projector. Options have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return wasi_nn.load(folder / "model.gguf", options={**OPTIONS, **named}, rules=rules)


def picture(color: str = "red", size: tuple[int, int] = (40, 30), kind: str = "png") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, kind)
    return content.getvalue()


def tag(image: bytes, kind: str = "png") -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(image).decode()}">'


def written(graph: Graph, prompt: str, **options: Any) -> tuple[str, int]:
    """The text after a prompt, and the prompt's tokens."""
    outputs = graph.compute({"prompt": prompt, "options": json.dumps(options)})
    return outputs["response"].tobytes().decode(), json.loads(outputs["metadata"].tobytes())["input_tokens"]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + content


def header(width: int, height: int, depth: int = 8, color: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


def test_a_text_depends_on_the_image_in_its_prompt(graph: Graph) -> None:
    texts = {color: written(graph, f"hello {tag(picture(color))} what") for color in ("red", "blue", "green")}
    assert len({text for text, _ in texts.values()}) > 1
    words = written(graph, "hello  what")[1]
    assert {tokens for _, tokens in texts.values()} == {words + projectors.PATCHES}
    assert written(graph, f"hello {tag(picture('red'))} what") == texts["red"]


def test_a_jpeg_is_the_same_image(graph: Graph) -> None:
    expected = written(graph, f"a {tag(picture('red'))} b")
    assert written(graph, f"a {tag(picture('red', kind='jpeg'), 'jpeg')} b") == expected
    assert written(graph, f"a {tag(picture('red', kind='jpeg'), 'png')} b") == expected, "its content says what it is"


def test_a_prompt_without_images_is_written_as_without_a_projector(graph: Graph, folder: Path) -> None:
    plain = wasi_nn.load(folder / "model.gguf", options={name: OPTIONS[name] for name in OPTIONS if name != "mmproj"})
    for prompt in ("hello", "<__media__> {{ 7 }} <s>", '<img src="x.png"> what', "a\n\n b  c "):
        assert written(graph, prompt) == written(plain, prompt)


def test_a_text_after_an_image_comes_piece_by_piece(graph: Graph) -> None:
    prompt = f"hello {tag(picture())} what"
    context = graph.init_execution_context()
    context.set_input(0, prompt.encode())
    assert b"".join(bytes(piece) for piece in context.pieces()).decode() == written(graph, prompt)[0]
    assert json.loads(bytes(context.output_bytes(1)))["output_tokens"] == 12


def test_options_hold_for_prompts_with_images(graph: Graph) -> None:
    prompt = f"hello {tag(picture())} what"
    whole = written(graph, prompt)[0]
    assert whole.startswith(written(graph, prompt, **{"n-predict": 3})[0])
    stop = next(letter for letter in whole[1:] if letter.isascii())
    assert written(graph, prompt, **{"reverse-prompt": stop})[0] == whole[: whole.index(stop)]
    schema = {"enum": ["yes", "no"]}
    assert json.loads(written(graph, prompt, **{"json-schema": schema, "ignore-eos": False})[0]) in ("yes", "no")


def test_several_images(graph: Graph) -> None:
    prompt = f"{tag(picture('red'))}{tag(picture('blue'))} and {tag(picture('green'))}!"
    text, tokens = written(graph, prompt)
    assert text
    assert tokens == written(graph, " and !")[1] + 3 * projectors.PATCHES


def test_a_conversation_about_an_image_pays_only_for_what_is_new(folder: Path) -> None:
    graph = load(folder, reproducible=False, allow_images=True)
    context = graph.init_execution_context()
    prompt = f"hello {tag(picture())} what"
    context.set_input(0, prompt.encode())
    context.compute()
    context.set_input(0, f"{prompt} more".encode())
    context.compute()
    cached = [line for line in graph.default_engine.metrics.splitlines() if "prompt_tokens_cached_total " in line]  # type: ignore[attr-defined]
    assert int(cached[-1].split()[1]) > 10


@pytest.fixture(scope="module")
def isolated(folder: Path) -> Iterator[Graph]:
    with load(folder, LoadRules(isolate=True)) as graph:
        yield graph


def test_an_isolated_graph_takes_images_without_permission(isolated: Graph, graph: Graph, isolation: None) -> None:
    prompt = f"hello {tag(picture())} what"
    assert written(isolated, prompt) == written(graph, prompt)


def test_in_this_process_images_need_permission(folder: Path) -> None:
    prompt = f"hello {tag(picture())} what"
    refused(ErrorCode.SECURITY, "takes no images from guests.*--isolate.*allow-images", written, load(folder), prompt)
    assert written(load(folder), "no image")[0]


def test_an_isolated_graph_may_be_told_to_take_none(folder: Path, isolation: None) -> None:
    with load(folder, LoadRules(isolate=True), allow_images=False) as graph:
        message = r"may not be safe: allow images \(options="
        refused(ErrorCode.SECURITY, message, written, graph, f"hello {tag(picture())} what")


def test_a_guest_may_name_a_projector_where_there_is_one(graph: Graph) -> None:
    assert written(graph, "hello", mmproj="/etc/passwd") == written(graph, "hello")
    plain = wasi_nn.load(models.tiny())
    refused(ErrorCode.SECURITY, "which guests may not give", written, plain, "hello", mmproj="mmproj.gguf")


FILLED = b"\xff\xd8\xff" + b"\xff" * 1000


def bomb() -> str:
    """A prompt with a small image whose data is large."""
    return f"a {tag(png(header(8, 8), (b'IDAT', zlib.compress(bytes(1 << 26))), (b'IEND', b'')))} b"


@pytest.mark.parametrize(
    ("prompt", "code", "message"),
    [
        (f"a {tag(b'')} b", "invalid-argument", "image 0 of the prompt is neither PNG nor JPEG"),
        (f"a {tag(b'not an image')} b", "invalid-argument", "neither PNG nor JPEG"),
        (f"a {tag(b'GIF89a' + bytes(100))} b", "invalid-argument", "neither PNG nor JPEG"),
        (f"a {tag(b'RIFF' + bytes(100))} b", "invalid-argument", "neither PNG nor JPEG"),
        ('a <img src="data:image/png;base64,!!!"> b', "invalid-argument", "isn't base64"),
        ('a <img src="data:image/png;base64,iVBOé"> b', "invalid-argument", "isn't base64"),
        (f"{tag(picture())} b {tag(b'x')} c", "invalid-argument", "image 1 of the prompt is neither"),
        (f"a {tag(picture())}", "invalid-argument", "ends with an image: text must follow"),
        (f"a {tag(picture()[:60])} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(png())} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(png(header(0, 9), (b'IEND', b'')))} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(png(header(9, 9, 8, 5), (b'IEND', b'')))} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(png((b'IDAT', b'x')))} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(png(header(9, 9), (b'IDAT', b'rubbish')))} b", "invalid-argument", "no whole PNG"),
        (f"a {tag(picture(kind='jpeg')[:30], 'jpeg')} b", "invalid-argument", "no whole JPEG"),
        (f"a {tag(FILLED, 'jpeg')} b", "invalid-argument", "no whole JPEG"),
        (f"a {tag(png(header(1 << 20, 1 << 20), (b'IEND', b'')))} b", "too-large", "has 1048576 by 1048576 pixels"),
        (lambda: f"a {tag(picture(size=(60000, 300), kind='jpeg'), 'jpeg')} b", "too-large", "60000 by 300 pixels"),
        (lambda: f"{tag(picture(size=(3000, 3000))) * 2} b", "too-large", "images of the prompt have 18000000 pixels"),
        (bomb, "too-large", "more data than its 8 by 8 pixels need"),
        (f"{tag(picture()) * 17} b", "too-large", "has 17 images: at most 16"),
        (lambda: f"a {tag(picture() + bytes(1 << 24))} b", "too-large", "at most 16777216 are allowed"),
        (lambda: "x" * (1 << 26) + "y", "too-large", "larger than 67108864"),
    ],
)
def test_images_that_are_refused(graph: Graph, prompt: str | Callable[[], str], code: str, message: str) -> None:
    refused(ErrorCode(code), message, written, graph, prompt if isinstance(prompt, str) else prompt())


def test_an_image_that_only_its_parser_finds_broken(isolated: Graph, isolation: None) -> None:
    broken = png(header(40, 30), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b""))
    refused(ErrorCode.INVALID_ARGUMENT, "Failed to load image", written, isolated, f"a {tag(broken)} b")
    for place in range(20, 200, 9):
        damaged = bytearray(picture(kind="jpeg"))
        damaged[place] ^= 0x55
        try:
            written(isolated, f"a {tag(bytes(damaged), 'jpeg')} b")
        except wasi_nn.NNError:
            continue
    assert written(isolated, f"a {tag(picture())} b")[0]


def test_a_prompt_with_images_that_is_too_long(graph: Graph) -> None:
    with pytest.raises(PromptTooLong, match="tokens, and the context only 256"):
        written(graph, f"{'x' * 300}{tag(picture())} b")
    noise = bytes(range(256)) * 1200
    large = Image.frombytes("RGB", (320, 320), noise).convert("RGB")
    content = io.BytesIO()
    large.save(content, "png", compress_level=0)
    assert written(graph, f"a {tag(content.getvalue())} b")[0], "the bytes of an image are no text"


def test_small_batches_are_no_danger(graph: Graph) -> None:
    assert written(graph, f"a {tag(picture())} b", **{"batch-size": 32, "ubatch-size": 32})[0]


def test_projectors_that_are_refused(folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"the projector .*gone.gguf doesn't exist"):
        load(folder, mmproj="gone.gguf")
    refused(
        ErrorCode.INVALID_ENCODING,
        "model.gguf isn't the projector of a vision model",
        load,
        folder,
        mmproj="model.gguf",
    )
    (folder / "text.gguf").write_text("no projector")
    refused(ErrorCode.INVALID_ENCODING, "the projector .*text.gguf can't be used", load, folder, mmproj="text.gguf")
    (folder / "other.gguf").write_bytes(projectors.projector(**{"clip.projector_type": "other"}))
    refused(ErrorCode.RUNTIME_ERROR, "llama.cpp can't load the model", load, folder, mmproj="other.gguf")
    refused(ErrorCode.UNSUPPORTED_OPERATION, "takes no files beside it", wasi_nn.load, models.tiny(), options=OPTIONS)
