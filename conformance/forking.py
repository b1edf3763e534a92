"""Runs the command of wasi-nn many times, each in a fork of a process that has loaded it: to load it takes most of the
time of a small guest. The driver passes this text to the Python of the command, which needs nothing of the suite.

It reads tasks and answers as `conformance.processes.Lasting` says. A task has the command's `arguments` and a `folder`.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO, NoReturn

LOADED = ("numpy", "wasmtime", "onnxruntime", "wasi_nn.cli.run", "wasi_nn.guests", "wasi_nn.host")
"""The modules that most guests need."""


def run(task: dict[str, Any], output: BinaryIO, errors: BinaryIO) -> NoReturn:
    """Become the command, in a folder and with files for its output."""
    try:
        os.chdir(task["folder"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate((nothing, output.fileno(), errors.fileno())):
            os.dup2(file, number)
        sys.argv = ["wasi-nn", *task["arguments"]]
        from wasi_nn.cli import command

        command()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def main() -> None:
    """Run what the standard input says, to its end."""
    for name in LOADED:
        with suppress(ImportError):
            import_module(name)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = os.fork()
            if process == 0:
                run(json.loads(line), output, errors)
            _, status = os.waitpid(process, 0)
            told: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status)}
            for name, file in (("output", output), ("errors", errors)):
                file.seek(0)
                told[name] = file.read().decode(errors="replace")
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
