"""Builds the adapter, by which a core guest becomes a component.

    python guests/build_adapter.py [DIRECTORY]     # beside its source, or elsewhere

The built file is committed, and the same tools build the same bytes. `wasi-nn component` uses it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wasi_nn.cli import adapter

HERE = Path(__file__).parent
FOLDER = HERE / "adapter"


def main() -> None:
    """Build the adapter."""
    built = (Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER) / adapter.BUILT
    adapter.build((FOLDER / adapter.TEXT).read_text("utf-8"), HERE / "wit" / adapter.WIT, built)
    built.chmod(0o644)
    print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
