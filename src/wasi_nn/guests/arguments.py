"""Checks of the arguments of `Host`. Each function raises `NNError` with `invalid-argument` for a wrong one."""

from __future__ import annotations

from typing import Any

from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.isolation import Isolation
from wasi_nn.limits.limits import HostLimits, Limits
from wasi_nn.loading.rules import LoadRules


def require_settings(limits: Any = None, totals: Any = None, rules: Any = None, isolate: Any = None) -> None:
    """Require each setting to be of its own class, or None."""
    for name, value, kind in (
        ("limits", limits, Limits),
        ("totals", totals, HostLimits),
        ("rules", rules, LoadRules),
        ("isolate", isolate, Isolation),
    ):
        if value is None or isinstance(value, kind) or (kind is Isolation and isinstance(value, bool)):
            continue
        also = "True, False or " if kind is Isolation else ""
        raise _wrong(f"{name} must be {also}wasi_nn.{kind.__name__}(...), not {_shown(value)}")


def require_arguments(args: Any) -> None:
    """Require a sequence of arguments, not one text."""
    if isinstance(args, str | bytes):
        raise _wrong(f"args is a list, not one text: give it [{_shown(args)}]")


def require_one_output(capture_output: bool, streams: Any) -> None:
    """Require one destination for the guest's output."""
    if streams is None:
        return
    if capture_output:
        raise _wrong("capture_output and streams exclude each other: output is in the result, or goes to descriptors")
    if not (isinstance(streams, tuple | list) and len(streams) == 2 and all(type(it) is int for it in streams)):
        raise _wrong(f"streams must be two descriptors, for the standard output and error, not {_shown(streams)}")


def _wrong(message: str) -> NNError:
    return NNError(ErrorCode.INVALID_ARGUMENT, message)


def _shown(value: object) -> str:
    return printable(repr(value))[:100]
