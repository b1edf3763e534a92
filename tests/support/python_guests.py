"""Guests in Python, which aren't committed: each has 18 MB. Hosts that have the user's cache compile each once."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from build_components import COMPONENTS, build_python, script_wit
from conftest import REPOSITORY, need


def python_guest(app: str) -> Path:
    """The built guest of `guests/component/python/APP.py`. It is built once for each of its sources, into
    `build`, which takes ten seconds."""
    need("componentize_py", "componentize-py")
    source = (COMPONENTS / "python" / f"{app}.py").read_text()
    parts = "\0".join((source, *script_wit(app, ""), version("componentize-py")))
    folder = REPOSITORY / "build" / "guests"
    built = folder / f"{app}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}.wasm"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = built.with_suffix(f".{os.getpid()}")
        build_python(part, app)
        os.replace(part, built)
    return built
