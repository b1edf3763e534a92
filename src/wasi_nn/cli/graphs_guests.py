"""The guests of a file of graphs, for `wasi-nn graphs`: their rows, and a check of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.served_guest import ServedGuest
    from wasi_nn.serving.http_guests.compiling import HttpGuests

_LONGEST = 300.0  # seconds for a guest that serves a model to end without requests: it may load graphs


def row_of(name: str, guest: ServedGuest) -> dict[str, Any]:
    """What a guest is, by its description and its file."""
    from wasi_nn.errors import GuestError
    from wasi_nn.loading.served_guest import Serves
    from wasi_nn.serving.guests.kinds import kind_of, mount_of

    try:
        serves = kind_of(guest)
    except GuestError:  # --check says why
        serves = None
    return {
        "guest": name,
        "serves": None if serves is None else serves.value,
        "path": str(guest.path),
        "graphs": list(guest.graphs),
        "reuse": guest.reuse,
        "mount": mount_of(name, guest) if serves is Serves.HTTP else None,
    }


class GuestChecks:
    """Checks guests as a server does before it takes requests for them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._http_guests: HttpGuests | None = None
        self._mounts: dict[str, str] = {}

    def check(self, row: dict[str, Any]) -> dict[str, Any]:
        """The entries of a guest's row with the time, or with the error. A guest that serves a model is run once,
        without requests, since that shows what it lacks."""
        from time import perf_counter

        from wasi_nn.errors import NNError, WasiNNError, one_line

        name, began = row["guest"], perf_counter()
        try:
            self._try(name, self._registry.guests[name], row["mount"])
        except NNError as error:
            return {"error": one_line(error), "code": error.code.value}
        except (WasiNNError, OSError) as error:
            return {"error": one_line(error), "code": None}
        return {"load_ms": round(1000 * (perf_counter() - began), 1)}

    def _try(self, name: str, guest: ServedGuest, mount: str | None) -> None:
        """Have a guest compiled. Raises `GuestError` and `NNError`."""
        from wasi_nn.errors import GuestError
        from wasi_nn.loading.served_guest import Serves
        from wasi_nn.serving.guests.kinds import kind_of

        if kind_of(guest) is Serves.MODEL:
            from wasi_nn.serving.guests.model_registry import ModelRegistry

            ModelRegistry(self._registry, _LONGEST).get(name).close()
            return
        from wasi_nn.serving.http_guests.compiling import HttpGuests

        assert mount is not None  # a guest that serves http has one
        other = self._mounts.setdefault(mount, name)
        if other != name:
            raise GuestError(f"its path {mount} is that of guest {other!r}")
        if self._http_guests is None:
            self._http_guests = HttpGuests()
        self._http_guests.compile(guest)


HEADINGS = ("guest", "serves", "graphs", "path", "file")


def cells(row: dict[str, Any], failed: str) -> tuple[str, ...]:
    """A guest's row of the table; `failed` stands before an error."""
    file = row["path"] + (" (reuse=true)" if row["reuse"] else "")
    if "error" in row:
        file += f": {failed}: {row['error']}"
    elif "load_ms" in row:
        file += f": ready in {row['load_ms']} ms"
    return row["guest"], row["serves"] or "?", ", ".join(row["graphs"]) or "none", row["mount"] or "", file
