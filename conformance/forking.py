"""Runs the command of wasi-nn many times, each in a fork of a process that has loaded it: to load it takes most of the
time of a small guest. The driver passes this text to the Python of the command, which needs nothing of the suite.

The standard input has a line of JSON for each run. Two lines answer: the number of the process, once it has started,
and its exit code, which is negative for a signal.
"""

import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

LOADED = ("numpy", "wasmtime", "onnxruntime", "wasi_nn.cli.run", "wasi_nn.guests", "wasi_nn.host")
"""The modules that most guests need."""


def run(task: dict[str, Any]) -> NoReturn:
    """Become the command, in a folder and with files for its output."""
    try:
        os.setpgid(0, 0)
        os.chdir(task["folder"])
        for number, path in enumerate((os.devnull, task["output"], task["errors"])):
            file = os.open(path, os.O_RDWR | os.O_CREAT)
            os.dup2(file, number)
            os.close(file)
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
        task = json.loads(line)
        process = os.fork()
        if process == 0:
            run(task)
        with suppress(OSError):  # the process has its group already, or has ended
            os.setpgid(process, process)
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
