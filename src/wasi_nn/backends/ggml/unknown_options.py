"""Logs options in a guest's JSON that have no effect because they are unknown, such as mistyped ones.

They are no error: WasmEdge ignores them too, and its guests give options of other versions.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from wasi_nn.errors import nearest, printable, shortened

logger = logging.getLogger("wasi_nn")

MOST_LOGGED = 20  # names of one model: a guest may make up others without end


class UnknownOptions:
    """The unknown options that guests gave to one model. Each is logged once; the last of `MOST_LOGGED` says that no
    more are."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, names: Iterable[str], known: Collection[str], operators: Collection[str]) -> None:
        """Log the names that are neither known nor logged yet. `operators` are names that only the operator may use."""
        for name in names:
            if len(self._logged) >= MOST_LOGGED:
                return
            if name in known or name in self._logged:
                continue
            self._logged.add(name)
            shown = printable(shortened(name))
            if name in operators:
                why = f"option {shown!r} of ggml has no effect in a guest's JSON: only the operator may give it"
            else:
                why = f"option {shown!r} of ggml has no effect: it is unknown{nearest(name, known)}"
            more = "; further ones of this model are not logged" if len(self._logged) == MOST_LOGGED else ""
            logger.warning("%s%s", why, more)
