"""Benchmarks: the cost of wasi-nn as ratios to direct calls of the runtimes, measured side by side in one run.

    python -m bench.startup           each module is one benchmark (`make bench`, `make soak`)
    python -m bench.startup --help    what it measures

The benchmarks use the tests' model builders and guests, and the demos' real models.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent


def explanation(benchmark: str) -> str:
    """The docstring of a benchmark. It is read from the file, since an import of the runtimes takes seconds."""
    source = Path(__file__).with_name(f"{benchmark.removeprefix('bench.')}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or ""


if sys.argv[0] == "-m" and {"-h", "--help"} & {*sys.argv[1:]}:  # `python -m bench.NAME --help`
    print(explanation(next(word for word in sys.orig_argv if word.startswith("bench."))))
    raise SystemExit

sys.path += [str(_REPOSITORY / folder) for folder in ("demo", "tests/support")]
