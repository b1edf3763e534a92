"""The parameters of a request, which mean the same over HTTP and over gRPC.

Parameters with other names are ignored, as the protocol has it. Those of features that this server lacks, without which
the answer would be another one, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.serving.failures import Reason, ServingError, invalid

_MOST = 64  # parameters of one request or tensor

_REFUSED = {
    "sequence_id": "sequences of requests",
    "shared_memory_region": "shared memory",
    "classification": "classifications",
}
"""The features without which an answer would be wrong, by the parameters that ask for them."""


def require_known(parameters: Mapping[str, Any]) -> None:
    """Raise `ServingError` for too many parameters, or one of a feature that the server lacks."""
    if len(parameters) > _MOST:
        raise invalid(f"{len(parameters)} parameters; at most {_MOST} are allowed")
    for name, feature in _REFUSED.items():
        if parameters.get(name):  # 0 and "" mean that there is none
            raise ServingError(Reason.UNSUPPORTED, f"parameter {name!r}: this server has no {feature}")


def seconds_of(parameters: Mapping[str, Any]) -> float | None:
    """The time that the client gives the request: `timeout`, in microseconds. None: it doesn't say."""
    timeout = parameters.get("timeout")
    if timeout is None or (type(timeout) is int and timeout == 0):
        return None
    if type(timeout) is not int or not 0 < timeout < 2**63:
        raise invalid(f"parameter 'timeout' is a whole number of microseconds, not {shown(timeout)}")
    return timeout / 1e6


def flag_of(parameters: Mapping[str, Any], name: str) -> bool | None:
    """A parameter that is true or false. None: it isn't given."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"parameter {name!r} is true or false, not {shown(value)}")
    return value


def require_no_repeated(names: Iterable[str]) -> None:
    """Raise `ServingError` for an output that is asked for twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise invalid(f"output {name!r} is asked for twice")
        seen.add(name)
