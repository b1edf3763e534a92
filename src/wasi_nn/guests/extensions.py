"""Whether a guest may have the interfaces of wasi-nn:ext that it imports."""

from __future__ import annotations

from collections.abc import Collection

from wasi_nn.errors import GuestError
from wasi_nn.session.policy import EXTENSIONS
from wasi_nn.settings import how_to_set


def require_allowed(name: str, used: Collection[str], allowed: Collection[str]) -> None:
    """Raise `GuestError` if a guest imports an interface that it may not have. `name` is the guest's."""
    refused = [it for it in EXTENSIONS if it in used and it not in allowed]
    if not refused:
        return
    needed = [it for it in EXTENSIONS if it in used or it in allowed]
    flags = " ".join(f"--allow-ext {it}" for it in refused)
    how = how_to_set(f"extensions={needed}", flags if allowed else f"{flags} in place of --no-ext")
    words = " and ".join(filter(None, (", ".join(refused[:-1]), refused[-1])))
    raise GuestError(f"{name} imports {words} of wasi-nn:ext, which this host doesn't allow ({how})")
