"""`wasi-nn new`: makes a project of a guest in one's own language, which builds and runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, json_output

if TYPE_CHECKING:
    from pathlib import Path

    from wasi_nn.cli.new_projects import Project

_EPILOG = """\
For example:

  wasi-nn new c my-guest
  make -C my-guest
  cd my-guest
  wasi-nn run --graph colours=colours.onnx guest.wasm

The project has the guest's source, the SDK of its language, a build, a small
model and a README with these commands. It needs no network to be made.
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `new` to the command's parser."""
    parser = subcommands.add_parser(
        "new",
        usage=f"{PROGRAM} new LANGUAGE DIRECTORY | --list [--json]",
        help="make a project of a guest in one's own language, which builds and runs",
        description="Make a project of a guest: its source, the SDK of its language, a build and a\nsmall model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("language", nargs="?", metavar="LANGUAGE", help="the guest's language: see --list")
    parser.add_argument("directory", nargs="?", metavar="DIRECTORY", help="a new or empty directory for the project")
    parser.add_argument(
        "--list", action="store_true", help="list the languages, what their guests are, and the tools for them here"
    )
    json_output.add_option(parser, "with --list: print JSON, for programs")
    parser.set_defaults(main=main, module="wasi_nn.errors")


def main(options: argparse.Namespace) -> int:
    """Make the project, or list the languages; returns the exit code."""
    import sys
    from pathlib import Path

    from wasi_nn.cli.new_projects import PROJECTS
    from wasi_nn.cli.sdk import sdk_folders
    from wasi_nn.errors import nearest, one_line, printable

    if options.list:
        if options.language is not None:
            raise UsageError("--list goes without LANGUAGE and DIRECTORY")
        _print_languages(as_json=options.json)
        return 0
    if options.json:
        raise UsageError("--json goes with --list")
    if options.language is None or options.directory is None:
        raise UsageError(f"{'DIRECTORY' if options.language else 'LANGUAGE'} is missing")
    project = PROJECTS.get(options.language)
    if project is None:
        language = printable(options.language)
        known = f"there are {', '.join(PROJECTS)}{nearest(options.language, PROJECTS)}"
        raise UsageError(f"no project is in {language!r}: {known}")
    folders = sdk_folders()
    directory = Path(options.directory)
    shown = printable(options.directory)
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            print(f"{PROGRAM}: {shown} is there already, and isn't an empty directory", file=sys.stderr)
            return FAILURE
        _make(options.language, directory, *folders)
    except OSError as error:
        print(f"{PROGRAM}: the project can't be written: {one_line(error)}", file=sys.stderr)
        return FAILURE
    print(f"{shown} has a guest in {project.title}. In that directory:\n\n  {project.build}")
    print("  wasi-nn run --graph colours=colours.onnx guest.wasm")
    if project.tool() is None:
        print(f"\nThe build needs what isn't here: {project.missing}")
    return 0


def _make(language: str, directory: Path, folder: Path, languages: Path) -> None:
    from shutil import copyfile

    from wasi_nn.cli.new_projects import PROJECTS, readme
    from wasi_nn.errors import printable

    project = PROJECTS[language]
    files = {directory / "colours.onnx": folder / "example" / "colours.onnx"}
    for source, place in {project.template or f"{language}/template": ".", **project.vendored}.items():
        origin = languages / source
        for file in [origin] if origin.is_file() else sorted(path for path in origin.rglob("*") if path.is_file()):
            if file.parent.name == "__pycache__":  # pip compiles the SDK for Python when it installs it
                continue
            files[directory / place / file.relative_to(origin)] = file
    for destination, file in files.items():
        destination.parent.mkdir(parents=True, exist_ok=True)
        copyfile(file, destination)
    (directory / "README.md").write_text(readme(project, printable(directory.absolute().name)), encoding="utf-8")


def _print_languages(*, as_json: bool) -> None:
    from wasi_nn.cli.new_projects import PROJECTS
    from wasi_nn.cli.table import Columns, terminal_width

    if as_json:
        json_output.print_json([_as_json(name, project) for name, project in PROJECTS.items()])
        return
    rows = [("language", "guests", "tool here")]
    rows += [(name, project.abis, project.tool() or f"none: {project.missing}") for name, project in PROJECTS.items()]
    print(*Columns(rows, width=terminal_width()).lines(rows), sep="\n")


def _as_json(name: str, project: Project) -> dict[str, Any]:
    return {
        "language": name,
        "title": project.title,
        "guests": project.abis.split(", "),
        "tool": project.tool(),
        "install": project.install,
        "build": project.build,
        "other_build": None if project.other is None else project.other.command,
    }
