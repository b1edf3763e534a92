"""The guest in Python that answers HTTP requests, which isn't committed: it has 18 MB."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from build_components import COMPONENTS, HTTP_SCRIPT, build_python, http_wit
from conftest import REPOSITORY, need


def python_guest() -> Path:
    """The built guest. It is built once for each of its sources, into `build`, which takes ten seconds."""
    need("componentize_py", "componentize-py")
    source = (COMPONENTS / "python" / f"{HTTP_SCRIPT}.py").read_text()
    parts = "\0".join((source, http_wit(), version("componentize-py")))
    folder = REPOSITORY / "build" / "guests"
    built = folder / f"{HTTP_SCRIPT}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}.wasm"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = built.with_suffix(f".{os.getpid()}")
        build_python(part, HTTP_SCRIPT)
        os.replace(part, built)
    return built
