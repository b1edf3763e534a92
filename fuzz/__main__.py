"""`python -m fuzz`: runs targets one after another, each in a separate process, and prints the inputs that it finds."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from fuzz import BUILD, HERE, TARGETS

_LONGEST_RUN = 10  # seconds that one input may take
_MOST_MEMORY = 2048  # MiB
_GRACE = 120  # seconds for starting and ending

_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")


def main() -> int:
    """Run the targets in the arguments. Returns the exit code: 1 if a target has found something."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the code that reads hostile bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each target (default: 60)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target is named {unknown[0]!r}; there are {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        parser.exit(1, "atheris isn't installed; for Python 3.11 to 3.13: pip install atheris==3.0.0\n")
    broken = [name for name in arguments.targets or TARGETS if not _fuzz(name, arguments.seconds)]
    return 1 if broken else 0


def _fuzz(name: str, seconds: int) -> bool:
    """Run one target. Returns whether it found nothing."""
    folder = BUILD / name
    corpus, finds = folder / "corpus", folder / "finds"
    for needed in (corpus, finds):
        needed.mkdir(parents=True, exist_ok=True)
    old = set(finds.iterdir())
    log = folder / "log"
    # The fuzzer ends its process without removing temporary folders.
    with open(log, "wb") as output, TemporaryDirectory(prefix="wasi-nn-fuzz-") as temporary:
        code = _run(_command(name, seconds, corpus, finds), seconds, output, temporary)
    text = log.read_text(errors="replace")
    print(f"{name:16} {_figures(text)}", flush=True)
    if code == 0:
        return True
    print(f"{name}: the fuzzer found an input or failed (exit code {code}); the end of {log}:")
    print("\n".join(f"    {line}" for line in text.splitlines()[-40:]))
    for find in sorted(set(finds.iterdir()) - old):
        print(f"the input: {find}\nto run it again: {sys.executable} -m fuzz.engine {name} {find}", flush=True)
    return False


def _run(command: list[str], seconds: int, output: BinaryIO, temporary: str) -> int:
    environment = {**os.environ, "TMPDIR": temporary}
    try:
        return subprocess.run(
            command,
            cwd=HERE.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=seconds + _GRACE,
        ).returncode
    except subprocess.TimeoutExpired:
        return -1


def _command(name: str, seconds: int, corpus: Path, finds: Path) -> list[str]:
    committed_folders = [folder / name for folder in (HERE / "corpus", HERE / "regressions")]
    return [
        *(sys.executable, "-m", "fuzz.engine", name),
        *(f"-max_total_time={seconds}", f"-timeout={_LONGEST_RUN}", f"-rss_limit_mb={_MOST_MEMORY}"),
        *(f"-artifact_prefix={finds}/", "-print_final_stats=1"),
        *(str(folder) for folder in (corpus, *committed_folders) if folder.is_dir()),
    ]


def _figures(log: str) -> str:
    """The stats of a run, from libFuzzer's log, on one line."""
    stats = dict(_STATISTIC.findall(log))
    coverage = _COVERAGE.findall(log)
    lines, features, inputs = coverage[-1] if coverage else ("?", "?", "?")
    return (
        f"{stats.get('number_of_executed_units', '?'):>10} runs, {stats.get('average_exec_per_sec', '?'):>6}/s, "
        f"{lines} edges, {features} features, {inputs} inputs, {stats.get('peak_rss_mb', '?')} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
