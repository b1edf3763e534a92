"""The command `wasi-nn`, with one file for each subcommand.

A subcommand imports the engine, numpy and the runtimes when it runs, so that `--help` is quick.

Exit codes: 2 for a wrong command line, 1 for a failure, 134 for a guest that trapped (as in other WebAssembly
runtimes), else the guest's own.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser

PROGRAM = "wasi-nn"
_SECTIONS = {
    "run guests": ("run", "map", "trace", "replay"),
    "look at models, guests and this machine": ("inspect", "graphs", "backends", "doctor", "cache"),
    "serve graphs and guests": ("serve",),
    "make guests": ("new", "sdk", "component"),
    "guests in registries": ("pull", "push"),
    "set up": ("completion",),
}
"""The subcommands, each the name of a module of this package, as `--help` groups them."""
_SUBCOMMANDS = tuple(name for names in _SECTIONS.values() for name in names)
_EPILOG = """\
To begin, let a guest of this package tell the colour of a picture:

  cp "$(wasi-nn sdk)"/c/*.wasm "$(wasi-nn sdk)"/example/* .
  wasi-nn run --graph colours=colours.onnx --dir . classify.wasm \\
      --graph colours --labels colours.txt apple.ppm
"""
FAILURE, USAGE, TRAP = 1, 2, 134

ENCODINGS = tuple(encoding.value for encoding in GraphEncoding)
TARGETS = tuple(target.value for target in ExecutionTarget)


_kept: list[object] = []


def keep(instance: object) -> None:
    """Keep an object as long as the process: dropping it may take long, when a runtime waits for its threads."""
    _kept.append(instance)


class UsageError(Exception):
    """The command line is wrong; the text says why."""


def command() -> NoReturn:
    """Run `main`, and end the process at once, without the tens of milliseconds that runtimes take to shut down.

    Ctrl-C ends the process at once too, during imports and while a guest runs: nothing here needs cleaning up.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from wasi_nn.process import ending

    os.environ.setdefault("WASMTIME_BACKTRACE_DETAILS", "1")  # a trap shows the lines of a guest's source
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that its encoding lacks are shown escaped, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    gc.disable()  # until `_import_for` has imported most modules, whose objects stay
    exit_code = main(own_process=True)
    ending.end()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError, AttributeError):  # the stream is closed, on either end, or was never open
            pass
        except OSError:
            exit_code = exit_code or FAILURE
    os._exit(exit_code)


def parser_of(subcommands: Sequence[str] = ()) -> Parser:
    """The parser of the command line, with these subcommands only; with none given, with all."""
    from argparse import RawDescriptionHelpFormatter

    from wasi_nn.cli.parser import Parser

    parser = Parser(
        PROGRAM,
        usage=f"{PROGRAM} COMMAND [OPTIONS] ...",
        description="Run WebAssembly guests that do machine-learning inference through wasi-nn.\n"
        f"{PROGRAM} COMMAND --help has the options of a command, and an example.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.sections = _SECTIONS
    parser.add_argument("--version", action="store_true", help="print the version of this package")
    parser.add_argument(
        "--json",
        action="store_true",
        dest="version_as_json",
        help="with --version: print JSON with the versions of all that matters, for a report of a bug",
    )
    added = parser.add_subparsers(metavar="COMMAND", prog=PROGRAM)
    for name in subcommands or _SUBCOMMANDS:
        import_module(f"{__name__}.{name}").add_parser(added)
    for subparser in added.choices.values():
        subparser.add_argument(
            "--show-runtime-output",
            action="store_true",
            help="show on stderr the messages that ML runtimes print, also in the worker processes of isolated graphs "
            "(default: drop them)",
        )
    return parser


def main(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command; returns its exit code. `own_process`: whether this process does nothing else."""
    given = (sys.argv[1:] if arguments is None else arguments)[:1]
    parser = parser_of([name for name in _SUBCOMMANDS if name in given])
    options = parser.parse_args(arguments)
    if options.version:
        _print_version(as_json=options.version_as_json)
        return 0
    if options.version_as_json:
        parser.error("--json goes with --version here, and after a COMMAND with that command")
    if not hasattr(options, "main"):
        parser.error(f"COMMAND is missing: {', '.join(_SUBCOMMANDS)}")

    from wasi_nn.cli.shield import shield
    from wasi_nn.errors import GuestTrap, WasiNNError
    from wasi_nn.process.allocator import keep_freed_memory

    options.streams = None
    if own_process:
        keep_freed_memory()
        options.streams = shield(options.show_runtime_output)
        if options.show_runtime_output:
            _show_output_of_workers()
        _import_for(options.module)
    try:
        exit_code: int = options.main(options)
    except UsageError as error:
        _print_error(str(error))
        return USAGE
    except GuestTrap as trap:
        _print_error(str(trap), *trap.backtrace.splitlines())
        return TRAP
    except WasiNNError as error:
        _print_error(str(error))
        return FAILURE
    except BrokenPipeError:  # the reader of the output has closed it
        sys.stderr.close()
        return FAILURE
    except OSError as error:  # such as a full disk
        _print_error(str(error))
        return FAILURE
    return exit_code


def _print_version(*, as_json: bool) -> None:
    from wasi_nn import __version__

    if not as_json:
        print(f"{PROGRAM} {__version__}")
        return
    from wasi_nn.cli.json_output import print_json
    from wasi_nn.cli.versions import versions

    print_json(versions())


def _import_for(module: str) -> None:
    """Import a subcommand's module and all that it needs, in less time than Python's defaults take."""
    from wasi_nn.process.quiet import numpy_alone

    with numpy_alone():
        import_module(module)
    gc.freeze()  # so that the collector doesn't look at the modules' objects each time
    gc.enable()


def _show_output_of_workers() -> None:
    """Show on stderr the lines that isolated workers print, each with the name of its worker."""
    import logging

    logger = logging.getLogger("wasi_nn.workers")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(sys.stderr))


def _print_error(*lines: str) -> None:
    from wasi_nn.cli.colours import Colours

    print(Colours(sys.stderr).painted(f"{PROGRAM}:", "bold", "red"), "\n".join(lines), file=sys.stderr)
