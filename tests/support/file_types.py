"""Files of several types, and the answers of Magika's model about them, for tests of the guests `identify`."""

from __future__ import annotations

from pathlib import Path

import models as real_models
import numpy as np
from conftest import C_GUESTS

SEEN, BLOCK, NO_BYTE = 1024, 4096, 256

FILES = {
    "tool.py": b"#!/usr/bin/env python3\nimport sys\n\n\ndef main():\n    print(sys.argv)\n\n\nmain()\n" * 3,
    "main.c": b'\n\n  #include <stdio.h>\n\nint main(void) {\n    puts("hello");\n    return 0;\n}\n' * 4,
    "data.jsonl": b'{"names": ["a", "b"], "numbers": [1, 2.5, -3], "none": null}\n' * 40,
    "large.html": b"<!doctype html>\n<html>\n" + b"<p>A paragraph of text.</p>\n" * 400 + b"</html>\n" + b" " * 900,
    "guest.wasm": b"",
    "seven": b"seven b",
    "eight": b"eight by",
    "empty": b"",
    "blank": b" \n\t\v\f\r" * 2000,
}


def write(folder: Path) -> Path:
    """Put the files and the model's labels into a folder; gives the folder."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "guest.wasm").write_bytes((C_GUESTS / "classify.wasm").read_bytes())
    (folder / "labels.txt").write_bytes(real_models.magika().labels.read_bytes())
    return folder


def features_of(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    features = np.full((1, 2 * SEEN), NO_BYTE, np.int32)
    first, last = content[:BLOCK].lstrip()[:SEEN], content[-BLOCK:].rstrip()[-SEEN:]
    features[0, : len(first)] = list(first)
    if last:
        features[0, -len(last) :] = list(last)
    return features


def said(folder: Path) -> str:
    """The expected output of a guest about the files in a folder, from the runtime's own scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(real_models.magika().model, providers=["CPUExecutionProvider"])
    labels = (folder / "labels.txt").read_text().split()
    text = ""
    for name in FILES:
        features = features_of((folder / name).read_bytes())
        if features[0, 7] == NO_BYTE:
            text += f"{name}: too short to tell\n"
            continue
        [[scores]] = session.run(None, {"bytes": features})
        text += f"{name}: {labels[scores.argmax()]}, {int(100 * scores.max() + 0.5)} %\n"
    for line in ("tool.py: python, ", "main.c: c, ", "data.jsonl: jsonl, ", "large.html: html, ", "guest.wasm: wasm, "):
        assert line in text, "the model is a real one"
    assert text.count("too short to tell") == 3
    return text
