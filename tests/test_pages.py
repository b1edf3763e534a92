"""The pages of traces and of models, each one file, which hostile names can't change. In Chromium, also by keyboard."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import numpy as np
import onnx_models as models
import pytest
from core_guest import F32, SUCCESS, CoreGuest
from onnx import TensorProto, helper

from wasi_nn import cli as commands
from wasi_nn.tracing import RecordingSession

HURT = "</script><script>document.title='hurt'</script><img src=x onerror=\"document.title='hurt'\">\u202e'&quot;"
IMAGE = np.random.default_rng(3).standard_normal((1, 3, 16, 16), np.float32)


def hostile_model() -> bytes:
    """A model whose names are markup."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", [HURT], [f"out{HURT}"], name=HURT)],
            HURT,
            [helper.make_tensor_value_info(HURT, TensorProto.FLOAT, [HURT, 4])],
            [helper.make_tensor_value_info(f"out{HURT}", TensorProto.FLOAT, [HURT, 4])],
        ),
        producer_name=HURT,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {HURT: HURT})
    content: bytes = model.SerializeToString()
    return content


def record(file: Path, image: Any = IMAGE) -> None:
    """A trace of inferences, one of them with a failure."""
    with RecordingSession(file, {"net": models.convolution(16)}, data=True, title="guest.wasm") as session:
        context = session.init_execution_context(session.load_by_name("net"))
        for _ in range(3):
            session.set_input(context, 0, image)
            session.compute(context)
            session.get_output(context, 0)
        with pytest.raises(Exception, match="index 7"):
            session.get_output(context, 7)


def hostile_trace(file: Path) -> None:
    """A trace in which everything that can be is markup."""
    with RecordingSession(file, {HURT: hostile_model()}, title=HURT) as session:
        guest = CoreGuest(session)
        context = guest.context(HURT)
        assert guest.set_input(context, 0, [1, 4], F32, bytes(16)) == SUCCESS
        assert guest.load_by_name(f"no{HURT}") != SUCCESS
        session.compute_named(context, [(HURT, models.f32([[1, 2, 3, 4]]))])
    events = json.loads(file.read_bytes())["traceEvents"]
    for event in events[2:]:
        event["args"][HURT] = {HURT: HURT}
        if event["name"] == "set_input":
            event["args"].update(type=HURT, hash=HURT)
        if event["name"] == "compute_named":
            event["name"] = HURT
    file.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, events)) + "\n]}\n")


class Elements(HTMLParser):
    """Reads the elements of a page, and the contents of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.policy = ""
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = tag
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        assert not any(name.startswith("on") or name in ("src", "style") for name in given)

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            (self.scripts if self._open == "script" else self.styles).append(data)
            self._open = ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traces and their pages, and a model's page."""
    folder = tmp_path_factory.mktemp("pages")
    record(folder / "right.json")
    record(folder / "wrong.json", np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1)).reshape(IMAGE.shape))
    hostile_trace(folder / "hostile.json")
    (folder / "hostile.onnx").write_bytes(hostile_model())
    (folder / "net.onnx").write_bytes(models.convolution(16))
    (folder / "other.onnx").write_bytes(models.convolution(16, channels=8))
    for arguments in (
        ["trace", "right.json", "--html", "right.html"],
        ["trace", "hostile.json", "--html", "hostile.html"],
        ["trace", "right.json", "--compare", "wrong.json", "--html", "compared.html"],
        ["replay", "--graph", "net=net.onnx", "right.json", "--html", "replayed.html"],
        ["inspect", "hostile.onnx", "--html", "model.html"],
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert commands.main(arguments) == ("--compare" in arguments)
    return folder


@pytest.mark.parametrize("page", ["hostile.html", "model.html"])
def test_names_never_become_markup(folder: Path, page: str) -> None:
    elements = Elements((folder / page).read_text(encoding="utf-8"))
    assert elements.tags.count("script") == 2
    assert elements.tags.count("title") == elements.tags.count("style") == 1
    assert "img" not in elements.tags
    data, script = elements.scripts
    assert "<" not in data
    assert "hurt" in json.dumps(json.loads(data))
    for text in (script, *elements.styles):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in elements.policy
    assert elements.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in elements.policy


def test_a_page_of_many_calls_says_which_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, page = tmp_path / "t.json", tmp_path / "t.html"
    many_calls(trace, 21_000)
    assert commands.main(["trace", str(trace), "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: a page with 20,001 of 21,000 calls\n"
    data = json.loads(Elements(page.read_text(encoding="utf-8")).scripts[0])
    (note,) = data["notes"]
    assert note == (
        "The page shows the first 20,000 of 21,000 calls, and 1 of the later ones that failed or differ. wasi-nn trace "
        "shows all, as a table or with --json."
    )
    assert [call[0] for call in data["calls"][-2:]] == [20_000, 21_000]


def many_calls(file: Path, count: int) -> None:
    """A trace of many calls, the last of which failed."""
    head = '{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"g","format":"wasi-nn 1","data":false}}'
    call = '{"name":"compute","cat":"wasi-nn","ph":"X","pid":1,"tid":2,"ts":%d,"dur":0.5,"args":{"context":2%s}}'
    error = ',"error":{"code":"busy","message":"no"}'
    lines = [head, *(call % (place, error if place == count - 1 else "") for place in range(count))]
    file.write_text('{"traceEvents": [\n' + ",\n".join(lines) + "\n]}\n")


def test_large_texts_of_calls_are_bounded(tmp_path: Path) -> None:
    trace, page = tmp_path / "t.json", tmp_path / "t.html"
    with RecordingSession(trace) as session, pytest.raises(Exception, match="no graph"):
        session.load_by_name("nobody")
    event = json.loads(trace.read_bytes())["traceEvents"][2]
    tensor = {"name": "n" * 60_000, "dims": [1] * 60, "type": "f32", "bytes": 4, "hash": "h" * 60_000}
    event["args"] = {"context": 2, "inputs": [tensor] * 20, "name": "x" * 60_000}
    lines = trace.read_bytes().split(b"\n")
    trace.write_bytes(b"\n".join([*lines[:3], *([json.dumps(event).encode() + b","] * 5), *lines[3:]]))
    assert commands.main(["trace", str(trace), "--html", str(page)]) == 0
    assert page.stat().st_size < 200_000


# In a browser


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser.opened() as opened:
        yield opened


Open = Callable[[str], Any]


@pytest.fixture
def opened(driver: Any, folder: Path) -> Iterator[Open]:
    """Opens a page. At the end, the browser has complained of nothing."""

    def open_page(name: str) -> Any:
        driver.get("about:blank")
        driver.get(f"file://{folder / name}")
        return driver

    browser.show(driver, browser.WIDE, is_dark=False)
    yield open_page
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def texts(driver: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)"
    found: list[str] = driver.execute_script(script, selector)
    return found


def test_names_that_are_markup_are_shown_as_text(opened: Open) -> None:
    for page, selector in (("hostile.html", ".call-name"), ("model.html", ".mono"), ("model.html", ".pairs th")):
        driver = opened(page)
        assert any("</script><script>document.title='hurt'</script>" in text for text in texts(driver, selector))
        assert driver.title != "hurt"
    driver = opened("hostile.html")
    for button in driver.find_elements("css selector", ".calls button"):
        button.click()
        assert len(driver.find_elements("css selector", "#call img, #call script")) == 0
    assert driver.title == "Trace hostile.json"


def test_calls_by_keyboard_and_by_filter(opened: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = opened("right.html")
    first, *_ = driver.find_elements("css selector", ".calls button")
    first.send_keys(Keys.ENTER)
    assert texts(driver, "#call h3") == ["Call 1, load_by_name"]
    for key in (Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP):
        driver.switch_to.active_element.send_keys(key)
    assert texts(driver, "#call h3") == ["Call 3, set_input"]
    search = driver.find_element("css selector", "input[type=search]")
    search.send_keys("get_output f32")
    assert len(texts(driver, ".calls tbody tr")) == 3
    search.clear()
    search.send_keys(" ")
    failed, *_ = driver.find_elements("css selector", ".choice input")
    failed.send_keys(Keys.SPACE)
    assert texts(driver, ".calls tbody .call-name") == ["get_output"]
    assert texts(driver, '.tools [role="status"]') == ["1 to 1 of 1"]


def test_the_timeline_moves_and_chooses_calls(opened: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = opened("right.html")
    canvas = driver.find_element("css selector", "canvas")
    picture = "return document.querySelector('canvas').toDataURL()"
    whole = driver.execute_script(picture)
    canvas.send_keys("+", "+", Keys.ARROW_RIGHT)
    assert driver.execute_script(picture) != whole
    canvas.send_keys("0")
    assert driver.execute_script(picture) == whole
    from selenium.webdriver.common.action_chains import ActionChains

    below = -canvas.size["height"] // 2 + 24 + 13  # the row of calls on graphs is below the scale
    half = canvas.size["width"] // 2
    for across in range(0, half - 8, 8):  # the load takes much of the time, and not always that of the middle
        for place in (across, -across):
            ActionChains(driver).move_to_element_with_offset(canvas, place, below).click().perform()
            if texts(driver, "#call h3") == ["Call 1, load_by_name"]:
                return
    raise AssertionError("no click chose the load")


def test_the_first_difference_is_a_link(opened: Open) -> None:
    driver = opened("compared.html")
    assert texts(driver, ".calls .differs td:first-child") == ["3", "5", "6", "8", "9", "11"]
    driver.find_element("css selector", ".note a").click()
    assert texts(driver, "#call h3") == ["Call 3, set_input"]
    assert any("channels last (NHWC) for channels first (NCHW)" in text for text in texts(driver, ".differences li"))
    driver = opened("replayed.html")
    assert texts(driver, ".note p") == [
        "The calls were made again. 12 calls, 3 outputs compared, 0 differences",
        "Nothing differs.",
    ]


@pytest.mark.parametrize("width", [browser.WIDE, browser.NARROW])
def test_pages_fit_the_window(opened: Open, driver: Any, width: int) -> None:
    for page in ("compared.html", "hostile.html", "model.html"):
        browser.show(driver, width, is_dark=True)
        opened(page)
        browser.show(driver, width, is_dark=True)
        for button in driver.find_elements("css selector", ".calls button")[2:3]:
            driver.execute_script("arguments[0].click()", button)
        fits = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
        assert driver.execute_script(fits)
        colours = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        dark = driver.execute_script(colours)
        browser.show(driver, width, is_dark=False)
        assert driver.execute_script(colours) != dark
