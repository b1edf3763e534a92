"""The page of a server in a real browser: models are tried by its forms and by the keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import ggml_models
import numpy as np
import onnx_models
import pytest
import serving
from conftest import SUPPORT
from onnx import TensorProto, helper
from serving import RunningServer

import wasi_nn

CHAT = "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
HOSTILE = "<img src=x onerror=\"document.title='hurt'\">/'&quot;\u202e"
TOKEN = "a-token-for-the-page"


def means() -> bytes:
    """The mean of each colour of a picture of any size, colours first."""
    node = helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0)
    inputs: dict[str, Any] = {"picture": (TensorProto.FLOAT, [1, 3, "height", "width"])}
    outputs: dict[str, Any] = {"means": (TensorProto.FLOAT, [1, 3])}
    return onnx_models.build([node], inputs, outputs)


def graphs() -> dict[str, Any]:
    models = serving.models()
    return {
        "net": models["net"],
        "two": models["two"],
        "strings": models["text"],
        "int64": models["int64"],
        "half": models["fp16"],
        "brain": models["bf16"],
        "failing": models["failing"],
        "means": means(),
        "broken": b"no model",
        "letters": ggml_models.steady(**{"tokenizer.chat_template": CHAT}),
        "plain": ggml_models.steady(),
        "vectors": wasi_nn.NamedGraph(ggml_models.tiny(), options={"embedding": True}),
        HOSTILE: models["net"],
    }


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(graphs()) as running:
        yield running


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser.opened() as opened:
        yield opened


class Page:
    """The page of a server, as somebody uses it."""

    def __init__(self, driver: Any, server: RunningServer) -> None:
        self.driver = driver
        host, port = server.address
        self.address = f"http://{host}:{port}/"
        driver.get("about:blank")
        driver.get(self.address)

    def until(self, found: Callable[[], Any]) -> Any:
        """The result of a function, once it is true. The page may replace an element meanwhile."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = (NoSuchElementException, StaleElementReferenceException, IndexError)
        return WebDriverWait(self.driver, 30, 0.02, ignored).until(lambda _: found())

    def one(self, selector: str) -> Any:
        """The first element of a selector, once it is there."""
        return self.until(lambda: self.driver.find_element("css selector", selector))

    def text(self, selector: str) -> str:
        """The text of an element."""
        text: str = self.one(selector).text
        return text

    def model(self, name: str) -> None:
        """Choose a model."""
        script = (
            "return [...document.querySelectorAll('#models button')].find((it) => it.dataset.model === arguments[0])"
        )
        self.until(lambda: self.driver.execute_script(script, name)).click()
        self.until(
            lambda: self.driver.execute_script("return document.querySelector('article h3').textContent") == name
        )

    def field(self, label: str) -> Any:
        """The field of the form that has this label."""
        script = (
            "return [...document.querySelectorAll('article label')].find("
            "(each) => each.textContent.startsWith(arguments[0]))?.control"
        )
        return self.until(lambda: self.driver.execute_script(script, label))

    def fill(self, label: str, text: str) -> None:
        """Write a text into a field."""
        self.driver.execute_script("arguments[0].value = ''", self.field(label))
        self.field(label).send_keys(text)

    def choose(self, label: str, value: str) -> None:
        """Choose a value of a list."""
        from selenium.webdriver.support.ui import Select

        Select(self.field(label)).select_by_value(value)

    def run(self, word: str = "Run") -> str:
        """Press the button of the form; what the form says once the model has answered."""
        self.one("article button[type=submit]").click()
        return self.answer()

    def answer(self) -> str:
        """What the form says once the model has answered: the error or the outputs."""
        self.until(lambda: self.driver.find_element("css selector", "article button[type=submit]").is_enabled())
        errors = [each.text for each in self.driver.find_elements("css selector", "article form > .error")]
        outputs = [each.text for each in self.driver.find_elements("css selector", "article .output")]
        return "\n".join(filter(None, errors)) or "\n".join(outputs)

    def said(self) -> list[str]:
        """The texts of a conversation."""
        return [each.text for each in self.driver.find_elements("css selector", "article .said")]

    def complaints(self) -> list[str]:
        """What the browser complains of: scripts that failed, and what the policy forbids."""
        entries = [entry["message"] for entry in self.driver.get_log("browser")]
        return [entry for entry in entries if "the server responded with a status of" not in entry]


@pytest.fixture
def page(driver: Any, server: RunningServer) -> Iterator[Page]:
    opened = Page(driver, server)
    yield opened
    assert opened.complaints() == []


def test_numbers(page: Page) -> None:
    page.model("net")
    assert page.field("Numbers").get_property("value") == "0 0 0 0"
    page.fill("Numbers", "[-1, 2.5e0; -3\n inf")
    assert "0  2.5  0  Infinity" in page.run()
    page.fill("Numbers", "1 2 3")
    assert page.run() == "Input “x”: the shape [4] has 4 numbers, and here are 3."
    page.fill("Numbers", "1 2 3 four")
    assert page.run() == "Input “x”: “four” is no number."


def test_types_of_numbers(page: Page) -> None:
    for model, shape, given, shown in (
        ("int64", "1, 2", "9223372036854775807 -5", "9223372036854775807  -5"),
        ("half", "2, 2", "0.1 -65504 0.00006 1e-7", "0.0999756  -65504  6.0022e-5  1.1921e-7"),
        ("half", "3, 2", "65519 65520 2049 2051 nan -0.5", "65504  Infinity  2048  2052  NaN  -0.5"),
        ("brain", "1, 2", "0.1 -3", "0.100098  -3"),
    ):
        page.model(model)
        page.fill("Shape", shape)
        page.fill("Numbers", given)
        assert shown in page.run()
    page.model("int64")
    page.fill("Numbers", "9223372036854775808 0")
    page.fill("Shape", "1 x 2")
    assert "is no INT64: the range is -9223372036854775808 to" in page.run()


def test_several_inputs_strings_and_errors_of_the_model(page: Page) -> None:
    page.model("two")
    page.until(lambda: len(page.driver.find_elements("css selector", "article fieldset")) == 2)
    page.run()
    assert len(page.driver.find_elements("css selector", "article .output")) == 2
    page.model("strings")
    page.fill("Strings", "one\n<b>two</b>")
    assert "one\n<b>two</b>" in page.run()
    page.model("failing")
    page.choose("Fill with", "ones")
    page.run()
    page.model("broken")
    assert "the model isn't in a format known here" in page.text("article .error")


def test_a_picture(page: Page, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(browser.png(40, 20, (255, 51, 0)))
    (tmp_path / "nothing.png").write_bytes(b"no picture")
    page.model("means")
    assert page.run() == "Input “picture”: Choose a picture first."
    page.field("Picture").send_keys(str(tmp_path / "nothing.png"))
    page.until(lambda: "can't read this file" in page.text("article fieldset .error"))
    page.field("Picture").send_keys(str(tmp_path / "picture.png"))
    page.until(lambda: page.one("article canvas").is_displayed())
    page.fill("Width", "0")
    page.fill("Height", "8")
    page.until(lambda: "is 1 to 4096 pixels wide" in page.text("article fieldset .error"))
    page.fill("Width", "16")
    for scale, order, resizing, means in (
        ("unit", "RGB", "cut", [1, 0.2, 0]),
        ("raw", "BGR", "stretch", [0, 51, 255]),
        ("signed", "RGB", "cut", [1, -0.6, -1]),
        ("imagenet", "RGB", "cut", [2.2489, -1.1429, -1.8044]),
        ("own", "RGB", "pad", [2.0, 0.4, 0.0]),
    ):
        page.choose("Colours", order)
        page.choose("Resizing", resizing)
        page.choose("Numbers", scale)
        if scale == "own":
            page.fill("Mean", "0")
            page.fill("Deviation", "127.5 127.5, 127.5")
        shown = page.run().splitlines()
        assert not shown[-1].startswith("Input"), shown
        found = [float(word) for word in shown[-1].split()]
        np.testing.assert_allclose(found, means, atol=1e-4)


def test_conversations(page: Page) -> None:
    page.model("letters")
    page.fill("Most tokens", "8")
    page.fill("Prompt", "abc")
    assert page.run() == ""
    assert page.said() == ["abc", "defghijk"]
    assert "8 written" in page.text("article [role=status]")
    page.fill("Prompt", "xy")
    page.run()
    assert page.said() == ["abc", "defghijk", "xy", "zabcdefg"]
    page.one("article button.second:last-of-type").click()  # begin anew
    assert page.said() == []
    page.field("Prompt").clear()
    page.run()
    assert page.said() == []


def test_a_text_is_continued(page: Page) -> None:
    page.model("plain")
    page.fill("Most tokens", "3")
    page.fill("Prompt", "a")
    assert page.run() == "model 'plain' has no chat template: send a whole prompt to /v1/completions"
    page.one("article input[value=text]").click()
    page.fill("Prompt", "a")
    page.run()
    assert page.said() == ["a", "bcd"]
    page.fill("Temperature", "9")
    assert "'temperature' is a number from 0 to 2, not 9" in page.run()


def test_embeddings(page: Page) -> None:
    page.model("vectors")
    page.fill("Text", "hello")
    page.run()
    page.until(lambda: "64 numbers, of" in page.text("article [role=status]"))


def test_keys_alone(page: Page) -> None:
    """Everything is reached by the keyboard: the skip link, the list of models, a form and its button."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.until(lambda: page.driver.find_elements("css selector", "#models button"))

    def press(*keys: str) -> Any:
        ActionChains(page.driver).send_keys(*keys).perform()
        return page.driver.switch_to.active_element

    def tab_to(wanted: Callable[[Any], bool]) -> Any:
        for _ in range(60):
            element = press(Keys.TAB)
            if wanted(element):
                return element
        raise AssertionError("it can't be reached by the keyboard")

    assert press(Keys.TAB).get_attribute("class") == "skip"
    press(Keys.ENTER)
    tab_to(lambda element: element.get_attribute("data-model") == "net")
    press(Keys.ENTER)
    page.until(lambda: page.driver.switch_to.active_element.text == "net")  # the heading, so that it is read out
    page.one("article textarea")
    tab_to(lambda element: element.tag_name == "textarea")
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
    press("5 6 7 8")
    assert tab_to(lambda element: element.text == "Run")
    press(Keys.ENTER)
    assert "5  6  7  8" in page.answer()
    assert page.driver.current_url.endswith("#net")


def test_names_and_errors_are_text(page: Page) -> None:
    page.model(HOSTILE)
    assert HOSTILE in page.driver.execute_script("return document.querySelector('#models').textContent")
    page.fill("Numbers", "1 2 3 4")
    assert "1  2  3  4" in page.run()
    assert page.driver.title == "wasi-nn"
    assert page.driver.execute_script("return document.querySelectorAll('main img').length") == 0


def test_how_the_server_is(page: Page, server: RunningServer) -> None:
    server.ask("POST", "/v2/models/net/infer", {"inputs": []}, {"X-Request-ID": "the-wrong-one"})
    page.until(lambda: "of 13 models ready" in page.text("#state"))
    page.driver.execute_script("document.dispatchEvent(new Event('visibilitychange'))")  # it is looked at: so it asks
    page.until(lambda: "id the-wrong-one" in page.text("#errors"))
    assert "compare it with the inputs of the model" in page.text("#errors")
    assert "None at the moment." in page.text("#requests")
    labels = [svg.get_attribute("aria-label") for svg in page.driver.find_elements("css selector", "#charts svg")]
    assert [label.split(" over")[0] for label in labels] == [
        *("Requests a second", "Time of requests", "Computes and queue", "Memory of the server"),
    ]
    page.one("#moments summary").click()
    page.until(lambda: "p99" in page.text("#moments table"))


def test_every_field_has_a_label(page: Page) -> None:
    script = """
        const fields = [...document.querySelectorAll("input, select, textarea")];
        return fields.filter((each) => !each.labels?.length && !each.ariaLabel).map((each) => each.outerHTML);
    """
    for model, selector in (
        ("means", "canvas"),
        ("strings", "textarea"),
        ("letters", "textarea"),
        ("vectors", "textarea"),
    ):
        page.model(model)
        page.one(f"article {selector}")
        assert page.driver.execute_script(script) == []
    headings = page.driver.find_elements("css selector", "h1, h2, h3")
    assert [heading.tag_name for heading in headings][:2] == ["h1", "h2"]


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [browser.WIDE, browser.NARROW])
def test_widths_and_colours(page: Page, tmp_path: Path, width: int, is_dark: bool) -> None:
    browser.show(page.driver, width, is_dark=is_dark)
    page.model("means")
    script = "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    wide, ground = page.driver.execute_script(script)
    assert wide <= width
    assert (sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 384) == is_dark
    browser.take_picture(page.driver, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 5000
    browser.show(page.driver, browser.WIDE, is_dark=False)


def test_a_token(driver: Any, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    with RunningServer({"net": serving.models()["net"]}, token_file=tmp_path / "tokens") as closed:
        page = Page(driver, closed)
        field = page.one("#token")
        page.until(field.is_displayed)
        assert not page.one("#content").is_displayed()
        field.send_keys("a-token-that-is-wrong\n")
        page.until(lambda: page.text("#token-reason") == "the request's token isn't known here.")
        field.clear()
        field.send_keys(f"{TOKEN}\n")
        page.until(lambda: page.text("#state") == "ready")
        page.model("net")
        page.fill("Numbers", "1 2 3 4")
        assert "1  2  3  4" in page.run()
        assert TOKEN not in driver.current_url
        assert driver.execute_script("return [localStorage.length, sessionStorage.length, document.cookie]") == [
            0,
            0,
            "",
        ]
        assert page.complaints() == []


def test_other_sites_cant_use_the_server(driver: Any, server: RunningServer) -> None:
    """A page of another origin, here that of another port, gets no answer, and the server does nothing for it."""
    with RunningServer({}) as other:
        Page(driver, other)
        before = next(each for each in server.ask("GET", "/page/status")[1]["models"] if each["name"] == "net")[
            "requests"
        ]
        host, port = server.address
        script = """
            const [address, body, done] = arguments;
            const outcome = (way) => fetch(address, way).then((each) => each.type, () => "refused");
            Promise.all([
              outcome({ method: "POST", body }),
              outcome({ method: "POST", body, mode: "no-cors" }),
            ]).then(done);
        """
        address = f"http://{host}:{port}/v2/models/net/infer"
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]}]})
        outcomes = driver.execute_async_script(script, address, body)
        assert outcomes == ["refused", "refused"]  # by the policy of the page itself
        driver.get(f"http://127.0.0.1:{other.address[1]}/v2")  # an answer without a policy
        outcomes = driver.execute_async_script(script, address, body)
        assert outcomes == ["refused", "opaque"]
        after = next(each for each in server.ask("GET", "/page/status")[1]["models"] if each["name"] == "net")[
            "requests"
        ]
        assert after == before
        driver.get_log("browser")


def test_a_guests_page_cant_use_the_server(driver: Any, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(serving.models()["net"])
    guest = f'[guests.web]\npath = "{SUPPORT / "http" / "guest.wasm"}"\n'
    (tmp_path / "graphs.toml").write_text(f'[graphs.net]\npath = "net.onnx"\n{guest}')
    with RunningServer(str(tmp_path / "graphs.toml")) as server:
        server.wait_for_guests()
        page = Page(driver, server)
        assert page.one("#guests a").get_property("href") == f"{page.address}guests/web/"
        driver.get(f"{page.address}guests/web/")
        assert driver.find_element("css selector", "body").text == "hello"
        assert driver.execute_script("return self.origin") == "null"
        script = """
            const done = arguments[0];
            const outcome = (path, way) => fetch(path, way).then((each) => each.type, () => "refused");
            Promise.all([outcome("/page/status"), outcome("/v2/models/net/infer", { method: "POST" })]).then(done);
        """
        assert driver.execute_async_script(script) == ["refused", "refused"]
        driver.get("about:blank")
        driver.get_log("browser")
