"""The documentation is true: its tables are complete, its links lead somewhere. `test_snippets.py` runs its code."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from command_guests import LOOPS
from conftest import LONGEST, REPOSITORY

import wasi_nn
from wasi_nn import ErrorCode, HostLimits, Limits, cli
from wasi_nn.abi.core import extensions, serving
from wasi_nn.abi.core.spec import ERRNO, MISSING_MEMORY
from wasi_nn.backends import available
from wasi_nn.graph.datatypes import DATATYPES
from wasi_nn.isolation import Isolation
from wasi_nn.loading import guest_table
from wasi_nn.loading.served_guest import GUEST_LIMITS
from wasi_nn.session.policy import EXTENSIONS

SOURCES = REPOSITORY / "src" / "wasi_nn"


def example(page: str, heading: str) -> str:
    """The first Python example below a heading."""
    below = (REPOSITORY / page).read_text().partition(f"\n{heading}\n")[2]
    match = re.search(r"^```python\n(.*?)^```", below, re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


def page(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text()


def test_every_error_is_in_the_tables() -> None:
    for code in ErrorCode:
        assert f"\n  | {code.value} | " in page("reference/components.md")
    for errno in {0, MISSING_MEMORY, *ERRNO.values()}:
        assert f"\n| {errno} " in page("reference/core-abi.md")


def test_the_page_of_errors_has_every_code_with_its_errno_and_every_class() -> None:
    text = page("reference/errors.md")
    rows = dict(re.findall(r"^\| ([a-z-]+) \| (\d) \|", text, re.MULTILINE))
    assert rows == {code.value: str(ERRNO[code]) for code in ErrorCode}
    classes = {name for name in wasi_nn.__all__ if issubclass(kind_of(name), wasi_nn.WasiNNError)}
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[A-Z][^|]*) \|", text, re.MULTILINE)))) == classes


def kind_of(name: str) -> type:
    value = getattr(wasi_nn, name)
    return value if isinstance(value, type) else type(value)


def test_every_limit_is_in_the_table() -> None:
    for field in fields(Limits):
        assert f"\n| `{field.name}`, `--max-{field.name.replace('_', '-')}` | " in page("reference/limits.md")
    for field in (*fields(HostLimits), *fields(Isolation)):
        assert f"{field.name}`" in page("reference/limits.md") + page("explanation/isolation.md")


def value_of(text: str) -> float | bool | None:
    """A default as the pages write it: `2 GiB`, `600 s`, `65,536`, `none`."""
    number, _, unit = text.replace(",", "").partition(" ")
    if number in ("none", "False"):
        return None if number == "none" else False
    return float(number) * {"": 1, "s": 1, "MiB": 2**20, "GiB": 2**30}[unit]


def test_every_default_of_a_limit_is_in_the_table() -> None:
    flagged = re.findall(r"^\| `(\w+)`, `--max-[\w-]+` \| ([^|]+) \|", page("reference/limits.md"), re.MULTILINE)
    assert {name: value_of(text) for name, text in flagged} == asdict(Limits())
    isolated = page("explanation/isolation.md").partition("| `wasi_nn.Isolation(...)` |")[2].partition("\n\n")[0]
    assert {
        name: value_of(text) for name, text in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", isolated, re.MULTILINE)
    } == asdict(Isolation())
    totals = re.findall(r"`(\w+)`(?: \(`[\w-]+`,)?\s\(?default (\d+)\)", page("reference/limits.md"))
    given = {name: value for name, value in asdict(HostLimits()).items() if value is not None}
    assert {name: value_of(text) for name, text in totals} == given


def test_every_default_of_a_limit_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    in_help = dict(re.findall(r"--(max-[\w-]+|worker-[\w-]+) [A-Z]+ [^()]*\(default: (\w+)\)", shown))
    units = {"s": 1, "m": 60, "h": 3600, "G": 2**30}
    values = {
        name.replace("-", "_"): None if text == "none" else int(text.rstrip("smhG")) * units.get(text[-1], 1)
        for name, text in in_help.items()
    }
    run = asdict(Limits(output_bytes=None)) | {"computes": HostLimits().computes}
    workers = {name: value for name, value in asdict(Isolation()).items() if name != "spare"}
    assert values == {f"max_{name}": value for name, value in run.items()} | {
        f"worker_{name}": value for name, value in workers.items()
    }


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
FOLDERS = ("bench", "demo", "examples", "fuzz", "guests", "sdk", "src", "tests", "tools")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_sources_that_a_page_names_exist(path: Path) -> None:
    for name in set(re.findall(r"`([\w./*-]+\.(?:py|c|h|wit))`", path.read_text())):
        found = [*REPOSITORY.glob(name), *(file for folder in FOLDERS for file in (REPOSITORY / folder).rglob(name))]
        assert found, name


def test_the_pages_that_sources_name_exist() -> None:
    sources = [REPOSITORY / "Makefile", *(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.*"))]
    for path in sources:
        if path.suffix in ("", ".py", ".h", ".hpp", ".go", ".rs", ".ts", ".js", ".wit"):
            for name in set(re.findall(r"(?<![\w/])docs/[\w/-]+\.md(?!` of ggml)", path.read_text())):
                assert (REPOSITORY / name).exists(), f"{path}: {name}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", [*PAGES, *REPOSITORY.glob("sdk/**/*.md")], ids=lambda path: path.name)
def test_no_page_has_the_marks_of_a_merge(path: Path) -> None:
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)( |$)", path.read_text(), re.MULTILINE)


def wit_words(text: str) -> str:
    """The words of WIT without comments and uses: a space between each two."""
    lines = (line.partition("//")[0] for line in text.splitlines() if not line.strip().startswith("use "))
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("docs/explanation/proposals/*.md")), ids=lambda path: path.name)
def test_the_interfaces_of_a_proposal_are_those_that_the_host_has(path: Path) -> None:
    there = wit_words((REPOSITORY / "guests" / "bridge" / "wasi-nn-ext.wit").read_text())
    blocks = re.findall(r"^```wit\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks or path.name == "README.md"
    for block in blocks:
        assert wit_words(block) in there


def test_stopping_a_run_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "guest.wasm").write_bytes(LOOPS)
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    text = example("docs/reference/limits.md", "## Stopping a run")
    exec(text.replace("timeout=30", "timeout=0.1"), {})
    assert capsys.readouterr().out == "it takes too long\n"


def test_the_table_of_models_from_a_guests_bytes() -> None:
    rows = re.findall(r"^\| (.*?) \| .*? \| (yes|isolated only|by name) \| ", page("reference/limits.md"), re.MULTILINE)
    modules = {"ONNX Runtime": "onnxruntime", "LiteRT": "ai_edge_litert", "llama.cpp": "xllamacpp"}
    table = {modules.get(runtime, runtime.lower()): default for runtime, default in rows}
    for backend in available():
        alone = "isolated only" if backend.safe_in_isolation else "by name"
        in_process = wasi_nn.LoadRules(isolate=False).let_guests_load(backend)
        assert table[backend.runtime] == ("yes" if in_process else alone)


def test_every_benchmark_explains_itself() -> None:
    performance = page("explanation/performance.md")
    for path in (REPOSITORY / "bench").glob("*.py"):
        if '\nif __name__ == "__main__":' in (text := path.read_text()):
            command = [sys.executable, "-m", f"bench.{path.stem}", "--help"]
            shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
            assert shown.splitlines()[0] == text[3:].splitlines()[0].removesuffix('"""')
            assert f"bench.{path.stem}`" in performance


def test_the_example_of_the_host() -> None:
    (example_of_host,) = doctest.DocTestFinder(recurse=False).find(wasi_nn.Host, "Host")
    assert doctest.DocTestRunner().run(example_of_host) == (0, 3)


def test_every_function_of_the_extensions_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \| (.*) \|$", page("reference/extensions.md"), re.MULTILINE)
    assert {name: (len(parameters.split(", ")), interface) for name, interface, parameters in rows} == {
        name: (function.parameters, function.interface) for name, function in extensions.FUNCTIONS.items()
    }
    for interface in EXTENSIONS:
        assert f"\n| `{interface}` | " in page("reference/extensions.md")


def test_the_page_of_guest_endpoints_has_every_function_datatype_and_key() -> None:
    text = page("how-to/guest-endpoints.md")
    rows = re.findall(r"\| `(\w+)\((.*?)\)` \|", text)
    assert {name: len(parameters.split(", ")) for name, parameters in rows} == serving.FUNCTIONS
    assert ", ".join(f"{number} {word}" for number, word in enumerate(DATATYPES)) in text
    for key in guest_table.KEYS:
        assert f"\n| `{key}` |" in text
    changed = {name for name, value in asdict(GUEST_LIMITS).items() if value != getattr(Limits(), name)}
    sizes = {name.replace("-", "_"): int(size) for name, size in re.findall(r"`([\w-]+)` (\d+) MiB", text)}
    assert sizes == {name: getattr(GUEST_LIMITS, name) // 2**20 for name in changed}


def test_no_page_leads_to_a_registry_of_packages() -> None:
    for path in REPOSITORY.rglob("*.md"):
        if not {"node_modules", "build", ".venv"} & set(path.relative_to(REPOSITORY).parts):
            assert re.findall(r"https?://[\w.-]*\b(?:pypi|pythonhosted|npmjs|crates)\.\w+", path.read_text()) == [], (
                path
            )


def test_the_files_of_tests_that_begin_first_are_there() -> None:
    tests = REPOSITORY / "tests"
    assert [name for name in LONGEST if not (tests / f"test_{name}.py").is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_the_map_has_every_folder_of_the_sources() -> None:
    tree = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("    cli/ ")[2].partition("\n\n")[0]
    folders, way = set[str](), list[str]()
    for indent, name in re.findall(r"^    ( *)(\w+)/  ", f"    cli/  {tree}", re.MULTILINE):
        way = [*way[: len(indent) // 2], name]
        folders.add("/".join(way))
    packages = {str(path.parent.relative_to(SOURCES)) for path in SOURCES.rglob("__init__.py")}
    runtimes = {it for it in packages if it.startswith("backends/")} - folders  # "one folder for each ML runtime"
    names = ["ggml", "oip", "onnx", "openai", "openvino", "pytorch", "tensorflow", "tflite"]
    assert runtimes == {f"backends/{name}" for name in names}
    data = {".", "abi/component/bridge", "oip/proto"}
    assert folders == packages - runtimes - data
