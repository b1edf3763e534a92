"""The command `wasi-nn`. One file a subcommand; each imports what it needs when it runs, so that `--help` is quick.

Exit codes: 2 for a command line that makes no sense, 1 for what can't be done, 134 for a guest that trapped (as other
WebAssembly runtimes have it), else the guest's own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

PROGRAM = "wasi-nn"
FAILURE, USAGE, TRAP = 1, 2, 134

# The words of `wasi_nn.types`, without the import of numpy that it costs.
ENCODINGS = ("openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml", "autodetect")
TARGETS = ("cpu", "gpu", "tpu")


class UsageError(Exception):
    """The command line makes no sense; the text says why."""


def command() -> NoReturn:
    """The command: `main`, and then the process ends at once, without the tens of milliseconds that runtimes take to
    go. Ctrl-C ends it at once too, while it imports what it needs as while a guest runs: nothing of ours needs tidying
    up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_code = main(own_process=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError, AttributeError):  # closed, here or at the other end, or never open
            pass
        except OSError:
            exit_code = exit_code or FAILURE
    os._exit(exit_code)


def main(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command; gives its exit code. `own_process` is whether nothing else is done in this process."""
    import argparse

    from wasi_nn import __version__
    from wasi_nn.cli import backends, graphs, inspect, replay, run

    parser = argparse.ArgumentParser(
        PROGRAM, description="Run WebAssembly guests that do machine-learning inference through wasi-nn."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, replay, graphs, inspect, backends):
        command.add_parser(subcommands)
    for subparser in subcommands.choices.values():
        subparser.add_argument(
            "--show-runtime-output",
            action="store_true",
            help="show what ML runtimes print of their own accord, in the processes of isolated graphs too, on the "
            "standard error (default: it is dropped)",
        )
    options = parser.parse_args(arguments)

    from wasi_nn.cli.shield import shield
    from wasi_nn.errors import GuestTrap, WasiNNError
    from wasi_nn.process.allocator import keep_freed_memory

    options.streams = None
    if own_process:
        keep_freed_memory()
        options.streams = shield(options.show_runtime_output)
        if options.show_runtime_output:
            _show_words_of_workers()
    try:
        exit_code: int = options.main(options)
    except UsageError as error:
        _say(str(error))
        return USAGE
    except GuestTrap as trap:
        _say(str(trap), *trap.backtrace.splitlines())
        return TRAP
    except WasiNNError as error:
        _say(str(error))
        return FAILURE
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        return FAILURE
    except OSError as error:  # a full disk
        _say(str(error))
        return FAILURE
    return exit_code


def _show_words_of_workers() -> None:
    """Have what isolated workers print come out at the standard error, each line with its worker."""
    import logging

    words = logging.getLogger("wasi_nn.workers")
    words.setLevel(logging.DEBUG)
    words.propagate = False
    words.addHandler(logging.StreamHandler(sys.stderr))


def _say(*lines: str) -> None:
    print(f"{PROGRAM}:", "\n".join(lines), file=sys.stderr)
