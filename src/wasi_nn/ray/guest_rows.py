"""`RunGuest`: a guest as a step of a pipeline of Ray Data, with a run for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.host import Host
from wasi_nn.mapping.guest_map import map_guests
from wasi_nn.mapping.items import MapItem
from wasi_nn.ray.columns import Batch, column

if TYPE_CHECKING:
    from wasi_nn.guests.directories import Directories
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.limits.limits import Limits
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.types import Array

NOT_ENDED = -1
"""The exit code of a row whose guest trapped or wasn't run."""


class RunGuest:
    """Runs a guest for each row of batches, each time in a fresh sandbox, in an actor that compiles it once.

        dataset.map_batches(
            wasi_nn.ray.RunGuest,
            fn_constructor_args=("guest.wasm",),
            fn_constructor_kwargs={"graphs": "graphs.toml", "stdin": "bytes"},
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=2),
        )

    guest   the path of the guest on the actor's machine, or its bytes
    graphs  the graphs that the guest may load by name, as `Host` takes them
    stdin   the column with the guest's standard input: bytes, texts or arrays
    path    the column with the path of a file, which the guest gets as `wasi_nn.map_guests` says. One of `stdin` and
            `path` must be given
    args    the guest's arguments; with `path`, `{}` stands for the file
    jobs    how many rows are under way at a time in an actor
    env, dirs, limits  as `Host.run` takes them
    host    further arguments of `Host`, such as `{"allow_load": False}`

    The result has the batch's columns and four more: `exit_code` (-1 if the guest trapped or wasn't run), `stdout` and
    `stderr` (bytes), and `error` (why the row failed; empty if it didn't). A failure of a row isn't an error.

    Raises `NNError` and `GuestError` as `Host` and `Host.compile` do, and `NNError` for a column that isn't there.
    """

    def __init__(
        self,
        guest: Guest,
        *,
        graphs: Graphs = None,
        stdin: str | None = None,
        path: str | None = None,
        args: Sequence[str] = (),
        jobs: int = 1,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        limits: Limits | None = None,
        host: Mapping[str, Any] | None = None,
    ) -> None:
        if (stdin is None) == (path is None):
            message = "one column says what the guest gets: stdin=COLUMN or path=COLUMN"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self._column, self._is_path = (stdin, False) if path is None else (path, True)
        self._host = Host(graphs, limits=limits, **(host or {}))
        self._guest = self._host.compile(guest)
        self._settings: dict[str, Any] = {"args": args, "jobs": jobs, "env": env, "dirs": dirs}

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """The batch with the results as columns."""
        assert self._column is not None  # one of the two was given
        values = column(batch, self._column, "the guest")
        items = (self._item(value, row) for row, value in enumerate(values))
        results = list(map_guests(self._host, self._guest, items, **self._settings))
        return dict(batch) | {
            "exit_code": np.array([NOT_ENDED if it.exit_code is None else it.exit_code for it in results], np.int64),
            "stdout": _objects([it.stdout for it in results]),
            "stderr": _objects([it.stderr for it in results]),
            "error": _objects([it.failure for it in results]),
        }

    def _item(self, value: Any, row: int) -> MapItem | str:
        if self._is_path:
            if not isinstance(value, str):
                raise wrong_argument(f"a path in the column {self._column!r}", "a text", value)
            return str(value)
        return MapItem(str(row), stdin=_bytes_of(value, str(self._column)))


def _bytes_of(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return value.tobytes()
    raise wrong_argument(f"a row of the column {name!r}", "bytes, a text or an array", value)


def _objects(values: Sequence[Any]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column
