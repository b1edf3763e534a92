"""`wasi-nn sdk`: shows where the files for makers of guests are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, json_output
from wasi_nn.errors import WasiNNError, nearest, printable

if TYPE_CHECKING:
    from pathlib import Path

_EPILOG = """\
The folder has

  c          guests, built and as sources in C: classify, infer, run_any,
             stream, train, chat, identify, measure, and for wasi-nn serve:
             serve_colours, serve_files
  component  guests that are components, in C, Python and JavaScript
  adapter    what makes components of core guests, for wasm-tools
  include    headers for guests in C
  wit        a folder for each version of wasi:nn, ext for wasi-nn:ext, http
             for guests that answer HTTP requests, serving for those that are
             models; each has a world for tools that build components
  example    a small model, its labels and a picture
  languages  the SDK of each language for programs that become guests

With the name of a language, the command prints the folder of its SDK.

For example, this tells the colours of a picture:

  cp "$(wasi-nn sdk)"/c/classify.wasm "$(wasi-nn sdk)"/example/* .
  wasi-nn run --graph colours=colours.onnx --dir . classify.wasm \\
      --graph colours --labels colours.txt apple.ppm
"""


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `sdk` to the command's parser."""
    parser = subcommands.add_parser(
        "sdk",
        usage=f"{PROGRAM} sdk [LANGUAGE] [--path | --json]",
        help="show the folder with guests that are built, SDKs, C headers, WIT and an example",
        description="Print the path of the folder with files for makers of guests. Copy from there\nwhat you need.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("language", nargs="?", metavar="LANGUAGE", help="a language's SDK: c, cpp, rust ...")
    parser.add_argument("--path", action="store_true", help="print the path: the same as without this option")
    json_output.add_option(parser)
    parser.set_defaults(main=main, module="wasi_nn.errors")


def main(arguments: argparse.Namespace) -> int:
    """Print the path of the folder; returns the exit code."""
    import sys

    if arguments.path and arguments.json:
        raise UsageError("--path and --json: give one of them")
    folder, languages = sdk_folders()
    known = sorted(path.name for path in languages.iterdir() if path.is_dir())
    if arguments.language is None:
        if arguments.json:
            sdks = {name: str(languages / name) for name in known}
            json_output.print_json({"folder": str(folder), "languages": sdks})
        else:
            print(folder)
        return 0
    if arguments.language not in known:
        shown = printable(arguments.language)
        print(
            f"{PROGRAM}: no SDK is for {shown!r}: there are {', '.join(known)}{nearest(arguments.language, known)}",
            file=sys.stderr,
        )
        return FAILURE
    if arguments.json:
        json_output.print_json({"language": arguments.language, "folder": str(languages / arguments.language)})
    else:
        print(languages / arguments.language)
    return 0


def sdk_folders() -> tuple[Path, Path]:
    """The folder that `sdk` shows, and the one with the SDK of each language. Raises `WasiNNError` if the installation
    has neither."""
    from pathlib import Path

    import wasi_nn

    package = Path(wasi_nn.__file__).absolute().parent
    # An installed package has the folders, a checkout the originals of them.
    installed, checkout = package / "sdk", package.parents[1]
    for folder, languages in ((installed, installed / "languages"), (checkout / "guests", checkout / "sdk")):
        if (languages / "c" / "include" / "wasi_nn.h").is_file():
            return folder, languages
    raise WasiNNError("this installation has no SDK: install a wheel of wasi-nn")
