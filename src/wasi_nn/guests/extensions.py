"""The interfaces of wasi-nn:ext that a guest imports: what they are, and whether the guest may have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wasi_nn.errors import GuestError
from wasi_nn.session.policy import EXTENSIONS
from wasi_nn.settings import how_to_set

USES = "wasi-nn:bridge/uses-"
"""The beginning of the imports by which a wrapped component shows the interfaces that its guest imports."""


def used_by_component(imports: Iterable[str]) -> list[str]:
    """The interfaces that a wrapped component's guest imports, by the names of the component's imports."""
    return [name.removeprefix(USES) for name in imports if name.startswith(USES)]


def require_allowed(name: str, used: Collection[str], allowed: Collection[str]) -> None:
    """Raise `GuestError` if a guest imports an interface that it may not have. `name` is the guest's."""
    refused = [it for it in EXTENSIONS if it in used and it not in allowed]
    if not refused:
        return
    if allowed:
        needed = [it for it in EXTENSIONS if it in used or it in allowed]
        how = how_to_set(f"extensions={needed}", " ".join(f"--allow-ext {it}" for it in refused))
    else:
        how = how_to_set("extensions=True", "without --no-ext")
    raise GuestError(f"{name} imports {' and '.join(refused)} of wasi-nn:ext, which this host doesn't allow ({how})")
