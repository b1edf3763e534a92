"""A table of what is in the pictures of a folder, as CSV, some pictures at a time.

    python classify_folder.py colours.onnx colours.txt classify.wasm FOLDER > table.csv

A picture that can't be read gets a row that says so, and the others go on. `wasi-nn map` is the same as a command,
which also goes on where an interrupted one ended.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import wasi_nn

LIMITS = wasi_nn.Limits(guest_time=5, run_time=30, output_bytes=2**16)


def rows(model: Path, labels: Path, guest: Path, folder: Path) -> Iterator[tuple[str, str, str]]:
    """The name of each picture, its likeliest label, and the reason where there is no label."""
    graph = wasi_nn.NamedGraph(model, options={"threads": 1})  # several pictures are under way instead
    arguments = ["--graph", "pictures", "--labels", f"/labels/{labels.name}", "{}"]
    labels_of_guest = {"/labels": wasi_nn.Directory(labels.absolute().parent, read_only=True)}
    with wasi_nn.Host({"pictures": graph}, limits=LIMITS, allow_load=False) as host:
        pictures = sorted(folder.glob("*.ppm"))
        results = wasi_nn.map_guests(host, guest, pictures, arguments, dirs=labels_of_guest)
        for picture, result in zip(pictures, results, strict=True):
            if result.error is not None:  # the guest trapped, or was stopped
                yield picture.name, "", str(result.error).splitlines()[0]
                continue
            if result.exit_code:
                yield picture.name, "", result.stderr.decode(errors="replace").strip()
                continue
            found = [line for line in result.stdout.decode(errors="replace").splitlines() if line.startswith("  ")]
            yield picture.name, found[0].split(maxsplit=2)[2], ""


def main() -> None:
    """Print the table."""
    table = csv.writer(sys.stdout)
    table.writerow(["picture", "label", "error"])
    table.writerows(rows(*map(Path, sys.argv[1:])))


if __name__ == "__main__":
    main()
