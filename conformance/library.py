"""Runs guests on wasi-nn as a library: `python -m conformance.library`, in the Python that has it.

It reads tasks and answers as `conformance.processes.Lasting` says. A task has the path of the `guest`, its named
`graphs` with their files, and the `encodings` that guests may load from bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn import Host

Ended = tuple[int, bytes, bytes]
"""The exit code, the output and the errors that the command would give for a guest."""


class Hosts:
    """The hosts of this process: one for each set of named graphs. It runs all guests that have these graphs, so that
    their models are loaded once."""

    def __init__(self, **settings: Any) -> None:
        """`settings` are further ones of `wasi_nn.Host`."""
        self._settings = settings
        self._hosts: dict[object, Host] = {}

    def run(self, guest: Path, graphs: Mapping[str, str], encodings: Collection[str]) -> Ended:
        """Run a guest."""
        from wasi_nn import Host

        key = (tuple(graphs.items()), tuple(encodings))
        if key not in self._hosts:
            self._hosts[key] = Host(graphs, allow_load=encodings, **self._settings)
        return run_guest(self._hosts[key], guest)

    def close(self) -> None:
        """Close the hosts."""
        while self._hosts:
            self._hosts.popitem()[1].close()


def run_guest(host: Host, guest: Path) -> Ended:
    """Run a guest on a host."""
    from wasi_nn import GuestError, GuestTrap

    try:
        result = host.run(guest, capture_output=True)
    except GuestTrap as trap:
        return 134, trap.stdout, f"wasi-nn: {trap.reason}".encode()
    except GuestError as error:
        return 1, b"", f"wasi-nn: the guest can't be run: {error}".encode()
    said = result.stats.nn_errors
    return result.exit_code, result.stdout, f"wasi-nn: {said[-1]}".encode() if said else b""


def main() -> None:
    """Run the guests that the standard input names."""
    hosts = Hosts()
    for line in sys.stdin:
        task = json.loads(line)
        code, output, errors = hosts.run(Path(task["guest"]), task["graphs"], task["encodings"])
        told = {"output": output.decode(errors="replace"), "errors": errors.decode(errors="replace")}
        print(json.dumps({"code": code, **told}), flush=True)


if __name__ == "__main__":
    main()
