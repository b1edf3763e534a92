"""Folders of caches: files that the package can make or get again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder of one kind of kept files, which may not exist yet."""
    if sys.platform == "linux":
        given = os.environ.get("XDG_CACHE_HOME", "")
        caches = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
        return Path(caches, "wasi-nn", name)
    import platformdirs

    return Path(platformdirs.user_cache_dir("wasi-nn", appauthor=False)) / name
