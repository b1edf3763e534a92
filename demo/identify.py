"""`make demo`: a guest recognises the types of files with Magika's model, which it loads by name and then from bytes.

The guest is `guests/c/identify.c`: it reads the files, converts their bytes to the model's input, and prints the types.
"""

from __future__ import annotations

import models

from demo import FOLDER, run

FILES = (
    "pyproject.toml",
    "Makefile",
    "src/wasi_nn/graph/graph.py",
    "guests/c/identify.c",
    "guests/c/identify.wasm",
    "LICENSE",
)


def main() -> None:
    """Run the demo."""
    print("Magika's model (3 MB, from the package `magika`) and a guest in C that recognises file types.\n")
    magika = models.magika()
    model, labels = (str(path.relative_to(FOLDER)) for path in (magika.model, magika.labels))
    files = [*FILES, model]

    print("The model by name: the host loads the model, and the guest gets it by its name.")
    run(
        "--graph",
        f"magika={model}",
        "--dir",
        ".",
        "guests/c/identify.wasm",
        "--graph",
        "magika",
        "--labels",
        labels,
        *files,
    )

    print("The model from bytes: the guest reads the model's file and loads it.")
    run("--dir", ".", "guests/c/identify.wasm", "--model", model, "--labels", labels, *files)

    print("The model from bytes with --no-load, which forbids that: the guest gets an error.")
    run("--no-load", "--dir", ".", "guests/c/identify.wasm", "--model", model, "--labels", labels, *files, fails=True)


if __name__ == "__main__":
    main()
