"""Options of guests in registries, and the file of a guest that is named by its reference."""

from __future__ import annotations

import argparse
from typing import Any

from wasi_nn.cli import UsageError

_SETTINGS = ("require_digest", "require_signature", "plain_http")
_SCHEME = "oci://"  # as in `wasi_nn.oci`, which only a guest in a registry imports


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of a subcommand that takes a guest."""
    parser.add_argument(
        "--require-digest",
        action="store_true",
        help="take a guest from a registry only by its digest, oci://HOST/NAME@sha256:DIGEST",
    )
    parser.add_argument(
        "--require-signature",
        action="append",
        metavar="KEY.pem",
        help="take a guest from a registry only with a signature, as cosign makes them, by this public key "
        "(may be repeated: one of the keys has to have signed it)",
    )
    add_plain_http(parser)


def add_plain_http(parser: argparse.ArgumentParser) -> None:
    """Add `--plain-http`."""
    parser.add_argument(
        "--plain-http",
        action="store_true",
        help="ask a registry without TLS (default: only one on this machine)",
    )


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `wasi_nn.oci`'s functions that the options give."""
    return {key: getattr(options, key) for key in _SETTINGS if hasattr(options, key)}


def require_registry(guest: str, options: argparse.Namespace) -> None:
    """Raise `UsageError` for a file where a signature is required: only a registry has signatures."""
    if options.require_signature and not guest.startswith(_SCHEME):
        from wasi_nn.errors import printable

        where = f"{_SCHEME}HOST/NAME:TAG"
        raise UsageError(f"--require-signature is for guests in registries, {where}: {printable(guest)} is a file")


def file_of(guest: str, options: argparse.Namespace) -> str:
    """The path of a guest's file. A guest that is named by a reference is pulled first. Raises `GuestError`,
    and `UsageError` as `require_registry` does."""
    require_registry(guest, options)
    if not guest.startswith(_SCHEME):
        return guest
    from wasi_nn.oci import pull_guest

    return str(pull_guest(guest, **settings(options)))
