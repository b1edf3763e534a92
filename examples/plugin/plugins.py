"""A program with plugins of strangers. A plugin is a guest: it reads a file's bytes, and prints what it found.

    python plugins.py MODEL PLUGIN_FOLDER FILE

Each plugin runs in a sandbox. It sees no files, no network and no variables, may compute with one model, and is stopped
when it takes too much of anything. Whatever a plugin does, the program reports it and goes on with the next one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import wasi_nn

LIMITS = wasi_nn.Limits(
    compile_time=20,  # seconds of its compilation, in a process of its own
    guest_time=1,  # of its own code
    compute_time=5,  # of one compute
    run_time=10,  # of all
    guest_memory=64 * 2**20,  # bytes
    tensor_bytes=64 * 2**20,
    output_bytes=10_000,
    contexts=4,
)


@dataclass(frozen=True)
class Finding:
    """The text that a plugin has printed, or the reason for which there is none."""

    plugin: str
    text: str
    failed: bool


def ask(host: wasi_nn.Host, plugin: Path, content: bytes) -> Finding:
    """Run a plugin on a file's content."""
    try:
        result = host.run(plugin, stdin=content, capture_output=True)
    except wasi_nn.GuestTrap as trap:  # a fault of its own, or a limit: `reason` tells which
        return Finding(plugin.name, f"stopped: {trap.reason}", failed=True)
    except wasi_nn.GuestError as error:  # no WebAssembly, imports that don't exist here, or too long to compile
        return Finding(plugin.name, str(error), failed=True)
    said = result.stderr if result.exit_code else result.stdout
    text = "".join(it if it.isprintable() else "?" for it in said.decode(errors="replace").strip())
    return Finding(plugin.name, text or f"exit code {result.exit_code}", failed=result.exit_code != 0)


def findings(model: Path, folder: Path, content: bytes) -> list[Finding]:
    """What all plugins of a folder find."""
    graphs = {"model": wasi_nn.NamedGraph(model)}
    with wasi_nn.Host(graphs, limits=LIMITS, allow_load=False, allow_names=["model"], show_metadata=False) as host:
        return [ask(host, plugin, content) for plugin in sorted(folder.glob("*.wa[st]*"))]


def main() -> int:
    """Print what the plugins find; returns 1 if one failed."""
    model, folder, file = map(Path, sys.argv[1:])
    found = findings(model, folder, file.read_bytes())
    for finding in found:
        print(f"{'! ' if finding.failed else '  '}{finding.plugin}: {finding.text}")
    return int(any(finding.failed for finding in found))


if __name__ == "__main__":
    sys.exit(main())
