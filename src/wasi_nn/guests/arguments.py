"""Checks of the arguments of `Host` and its methods. Each raises `NNError` with `invalid-argument` for a wrong one."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasmtime import Module

from wasi_nn.arguments import (
    as_arguments,
    as_bytes,
    as_flag,
    as_mapping,
    as_path,
    as_text,
    is_path,
    require_kind,
    shown,
    wrong_argument,
)
from wasi_nn.guests.directories import Directory
from wasi_nn.limits.limits import HostLimits, Limits
from wasi_nn.loading.rules import as_isolation, as_rules
from wasi_nn.session.policy import as_patterns

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.guests.directories import Directories
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.guests.streams import Stdin
    from wasi_nn.session.guest_requests import GuestRequest

_GUEST = "the path of a .wasm or .wat file, or the bytes of either"
_STDIN = "bytes, a pathlib.Path, a file that is open for bytes, sys.stdin or None"


def require_settings(limits: Any = None, totals: Any = None, rules: Any = None, isolate: Any = None) -> None:
    """Require each setting to be of its own class, or None."""
    as_limits(limits)
    if totals is not None:
        require_kind("totals", totals, HostLimits, "wasi_nn.HostLimits(...)")
    as_rules(rules)
    as_isolation(isolate)


def as_limits(limits: Any) -> Limits:
    """The limits of a guest. None: `Limits()`."""
    return Limits() if limits is None else require_kind("limits", limits, Limits, "wasi_nn.Limits(...)")


def as_cache(cache: Any) -> bool | str:
    """Whether guests are cached, or the path of the cache."""
    if cache is None or (isinstance(cache, str) and not cache):
        return False
    if isinstance(cache, str | bytes | os.PathLike):
        return as_path("cache", cache)
    return as_flag("cache", cache, also="or a directory, as a str or a pathlib.Path")


def as_requests(requests: Any) -> Iterable[GuestRequest]:
    """Requests for a guest. That each is a `GuestRequest` shows when the guest asks for it."""
    return require_kind("requests", requests, Iterable, "an iterable of wasi_nn.GuestRequest(...)")


def as_guest(guest: Any) -> Guest:
    """A guest: a path, or bytes."""
    return guest if is_path(guest) else as_bytes("guest", guest, _GUEST)


def as_guest_or_compiled(guest: Any) -> Guest | Module | Component:
    """A guest as `as_guest` gives it, or one that is compiled."""
    if isinstance(guest, Module):
        return guest
    if not isinstance(guest, str | bytes | os.PathLike):
        from wasmtime.component import Component

        if isinstance(guest, Component):
            return guest
    return as_guest(guest)


@dataclass(frozen=True)
class RunArguments:
    """The arguments of a run, checked."""

    args: list[str]
    env: Mapping[str, str]
    dirs: Directories
    stdin: Stdin


def run_arguments(args: Any, env: Any, dirs: Any, stdin: Any) -> RunArguments:
    """The arguments of a run. Their content is checked where the guest gets them: paths must exist, for example."""
    return RunArguments(
        as_arguments("args", args),
        {} if env is None else _environment(env),
        {} if dirs is None else _directories(dirs),
        _stdin(stdin),
    )


def _environment(env: Any) -> dict[str, str]:
    variables = as_mapping("env", env, "a mapping of str to str, such as {'HOME': '/'}")
    return {_variable_name(key): as_text(f"env[{shown(key)}]", item) for key, item in variables.items()}


def _variable_name(name: Any) -> str:
    if as_text("a name in env", name) and "=" not in name:
        return name  # type: ignore[no-any-return]  # as_text has checked it
    raise wrong_argument("a name in env", "a text without '='", name)


def _directories(dirs: Any) -> Directories:
    mapping = as_mapping("dirs", dirs, "a mapping of the guest's paths to directories, such as {'/': 'photos'}")
    return {
        _guest_path(path): directory
        if isinstance(directory, Directory)
        else as_path(f"dirs[{shown(path)}]", directory, "a wasi_nn.Directory(...) or a path")
        for path, directory in mapping.items()
    }


def _guest_path(path: Any) -> str:
    if as_text("a guest's path in dirs", path):
        return path  # type: ignore[no-any-return]  # as_text has checked it
    raise wrong_argument("a guest's path in dirs", "a path, such as '/' or '.'", path)


def _stdin(stdin: Any) -> Any:
    if stdin is None or isinstance(stdin, os.PathLike) or stdin is sys.stdin:
        return stdin
    if isinstance(stdin, io.TextIOBase):
        raise wrong_argument("stdin", f"{_STDIN}: open the file with mode 'rb'", stdin)
    if callable(getattr(stdin, "read", None)):
        return stdin
    if isinstance(stdin, str):
        message = f"{_STDIN}: b'...' for text, pathlib.Path('...') for a file"
        raise wrong_argument("stdin", message, stdin)
    return as_bytes("stdin", stdin, _STDIN)


def require_patterns(allow_names: Any) -> None:
    """Require names of graphs, or None."""
    as_patterns("allow_names", allow_names)
