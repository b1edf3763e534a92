"""A function that the demos share: it prints a `wasi-nn run` command and runs it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent


def run(*arguments: str, fails: bool = False) -> None:
    """Print a `wasi-nn run` command and run it in the project's folder. It must succeed, or with `fails`, fail."""
    print("$ wasi-nn run", shlex.join(arguments), flush=True)
    command = Path(sys.executable).with_name("wasi-nn")
    failed = subprocess.run([command, "run", *arguments], cwd=FOLDER, check=False).returncode != 0
    print(flush=True)
    if failed != fails:
        raise SystemExit(f"the demo {'failed' if failed else 'should have failed'}")
