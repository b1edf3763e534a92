"""Options that the subcommands that run guests share: what a guest may have and do, and the host that they make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wasi_nn.cli import UsageError, extension_options, graph_options, limit_options, registry_options
from wasi_nn.cli.steps import report_steps

if TYPE_CHECKING:
    from wasi_nn.guests.directories import Directory
    from wasi_nn.host import Host
    from wasi_nn.limits.limits import HostLimits, Limits


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of graphs, of the policy, of directories and of variables."""
    graph_options.add(parser)
    graph_options.add_load(parser)
    parser.add_argument("--allow-http", action="store_true", help="let a component make HTTP requests (wasi:http)")
    extension_options.add(parser)
    registry_options.add(parser)
    parser.add_argument(
        "--dialect",
        choices=("auto", "spec", "wasmedge", "wamr"),
        default="auto",
        help="the variant of wasi-nn that a core module was built for: the specification's, WasmEdge's or WAMR's "
        "(default: auto, by its imports)",
    )
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        metavar="HOST[::GUEST][:ro]",
        help="a directory that the guest may read and write, or with :ro only read; GUEST is its path for the guest "
        "(default: HOST; may be repeated; dirs in Python has GUEST first)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an environment variable of the guest (may be repeated)",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options of limits and of the cache."""
    limit_options.add(parser)
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="compile the guest, even if its compiled code is cached, and don't cache it",
    )


def host(options: argparse.Namespace, limits: Limits, totals: HostLimits) -> Host:
    """The host that the options describe, with these limits. Raises `UsageError`, or `NNError` for its graphs."""
    rules = graph_options.rules(options)
    graphs = graph_options.registry(options, rules)
    report_steps()
    from wasi_nn.host import Host

    return Host(
        graphs,
        allow_load=options.allow_load or not options.no_load,
        allow_targets=options.allow_target,
        allow_names=options.allow_name,
        limits=limits,
        totals=totals,
        allow_http=options.allow_http,
        rules=rules,
        dialect=options.dialect,
        cache=not options.no_cache,
        extensions=options.allow_ext or not options.no_ext,
        show_metadata=not options.no_metadata,
    )


def environment(options: argparse.Namespace) -> Mapping[str, str]:
    """The variables that the options give the guest. Raises `UsageError`."""
    return dict(_variable(text) for text in options.env)


def directories(options: argparse.Namespace) -> Mapping[str, Directory]:
    """The directories that the options give the guest. Raises `UsageError`."""
    from wasi_nn.errors import GuestError
    from wasi_nn.guests.directories import require_distinct

    dirs = [_directory(text) for text in options.dir]
    try:
        require_distinct(path for path, _ in dirs)
    except GuestError as error:
        raise UsageError(f"--dir: {error}") from error
    return dict(dirs)


def _directory(text: str) -> tuple[str, Directory]:
    from wasi_nn.guests.directories import READ_ONLY, Directory

    host, colons, guest = text.partition("::")
    last = guest if colons else host
    path = last.removesuffix(READ_ONLY)
    if not (host and path):
        raise UsageError(f"--dir {text}: it takes HOST or HOST::GUEST, and either may end in {READ_ONLY}")
    ending = path.rpartition(":")[2] if ":" in path else "/"
    if "/" not in ending and (colons or not os.path.isdir(path)):
        raise UsageError(
            f"--dir {text}: unknown ending ':{ending}'; the only one is {READ_ONLY}, for a read-only directory"
        )
    return path, Directory(host if colons else path, read_only=path != last)


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--env {text}: it takes KEY=VALUE")
    return key, value
