"""Benchmarks: the cost of wasi-nn as ratios to direct calls of the runtimes, measured side by side in one run.

    python -m bench.startup    each module is one benchmark (`make bench`, `make soak`)

The benchmarks use the tests' model builders and guests, and the demos' real models.
"""

from __future__ import annotations

import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent

sys.path += [str(_REPOSITORY / folder) for folder in ("demo", "tests/support")]
