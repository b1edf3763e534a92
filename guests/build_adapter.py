"""Builds the adapter, by which a core guest becomes a component, and the one that asks the host for names of inputs.

    python guests/build_adapter.py [DIRECTORY]     # beside its source, or elsewhere

The built files are committed, and the same tools build the same bytes. `wasi-nn component` uses them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wasi_nn.cli import adapter

HERE = Path(__file__).parent


def main() -> None:
    """Build both."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "adapter"
    for built in adapter.build_all(HERE, directory):
        built.chmod(0o644)
        print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
