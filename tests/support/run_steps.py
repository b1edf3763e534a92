"""Runs the code of a page as a program of its own, in the current directory.

    python run_steps.py STEPS ANSWERS

STEPS is a JSON file: a list of steps, each with `file` (the page's Python alone, for those who look for its source),
`line` (where the step begins in it), `language` and `text`. The Python of a page is one program, so that names go on
from block to block. ANSWERS becomes a list of the steps' `output`, `errors` (of the standard error) and `failure` (null
for none), up to the first that fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import types
from pathlib import Path
from typing import IO, Any


def run(step: dict[str, Any], module: types.ModuleType) -> str | None:
    """Run a step; the reason if it fails."""
    if step["language"] == "python":
        try:
            source = "\n" * (step["line"] - 1) + step["text"]
            exec(compile(source, step["file"], "exec"), module.__dict__)
        except BaseException:
            return traceback.format_exc()
        return None
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", step["text"]], stdin=subprocess.DEVNULL)
    return None if ended.returncode == 0 else f"exit code {ended.returncode}"


def content(file: IO[bytes]) -> str:
    """What was written to a file, as text."""
    file.seek(0)
    return file.read().decode(errors="replace")


def main() -> None:
    """Run all steps."""
    answers = []
    modules: dict[str, types.ModuleType] = {}
    for step in json.loads(Path(sys.argv[1]).read_text()):
        module = modules.setdefault(step["file"], types.ModuleType(f"page_{len(modules)}"))
        module.__file__ = step["file"]
        sys.modules[module.__name__] = module
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            failure = run(step, module)
            sys.stdout.flush()
            sys.stderr.flush()
            answers.append({"output": content(output), "errors": content(errors), "failure": failure})
        if failure is not None:
            break
    Path(sys.argv[2]).write_text(json.dumps(answers))
    os._exit(0)  # without the time that runtimes take to shut down


if __name__ == "__main__":
    main()
