"""`make demo`: a guest tells the types of files with Magika's model, which it finds by name, and then brings itself.

The guest is `guests/c/identify.c`: it reads the files, makes the model's input of their bytes, and names what comes
out.
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
    print("Magika's model (3 MB, from the package of that name) and a guest in C that tells what files hold.\n")
    magika = models.magika()
    model, labels = (str(path.relative_to(FOLDER)) for path in (magika.model, magika.labels))
    files = [*FILES, model]

    print("The model by name: the guest sees this directory, and knows of the model only what it is called.")
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

    print("The same with the model as bytes, which the guest itself reads and loads.")
    run("--dir", ".", "guests/c/identify.wasm", "--model", model, "--labels", labels, *files)

    print("And what a guest is told that may not do so.")
    run("--no-load", "--dir", ".", "guests/c/identify.wasm", "--model", model, "--labels", labels, *files, fails=True)


if __name__ == "__main__":
    main()
