"""How much a guest may have and how long it may take: `Limits` are a run's, `HostLimits` those of all runs together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from wasi_nn.errors import ErrorCode, NNError, printable

_GIB = 2**30
_LARGEST = 2**63  # the largest limit that the engine takes


@dataclass(frozen=True)
class Limits:
    """What one guest may have and take. None is no limit.

    guest_memory    bytes of its linear memories, in equal parts if there are several (at most 8, in a component 32)
    guest_time      seconds of processor time in its own code; computes don't count
    fuel            instructions, as the engine counts them: exact, but the guest runs at about half the speed
    compute_time    seconds for one compute, or for one piece of a sequence
    run_time        seconds for the whole run, with compiling it
    compile_time    seconds for compiling it
    compile_memory  bytes of memory that compiling it may take
    load_time       seconds for loading one model
    model_bytes     bytes of models that it loads from bytes, alive together
    tensor_bytes    bytes of tensors alive: a component's, and the inputs and outputs of execution contexts
    graphs          graphs that it holds
    workers         processes of isolated graphs that it loads from bytes
    contexts        execution contexts that it holds
    handles         everything that it holds, tensors and errors among it
    files           files and directories that it has open in the directories that it is given
    output_bytes    bytes of its standard output and error together, if they are captured

    Raises `NNError` with `invalid-argument` for what isn't positive.
    """

    guest_memory: int | None = 2 * _GIB
    guest_time: float | None = 600.0
    fuel: int | None = None
    compute_time: float | None = 600.0
    run_time: float | None = 3600.0
    compile_time: float | None = 120.0
    compile_memory: int | None = 4 * _GIB
    load_time: float | None = 60.0
    model_bytes: int | None = _GIB
    tensor_bytes: int | None = _GIB
    graphs: int | None = 64
    workers: int | None = 8
    contexts: int | None = 256
    handles: int | None = 65536
    files: int | None = 256
    output_bytes: int | None = 64 * 2**20

    def __post_init__(self) -> None:
        require_positive(self)


@dataclass(frozen=True)
class HostLimits:
    """What all guests of a host may have together. None is no limit.

    `computes`: those under way at once; one more waits for its turn, and that counts as time of its compute. The others
    are as in `Limits`.
    """

    computes: int | None = 64
    model_bytes: int | None = None
    tensor_bytes: int | None = None
    graphs: int | None = None
    workers: int | None = 32
    contexts: int | None = None

    def __post_init__(self) -> None:
        require_positive(self)


def require_positive(settings: Any, longest: float = _LARGEST) -> None:
    """Raise `NNError` with `invalid-argument` for a field of a dataclass that isn't a positive number, of the kind that
    it is annotated with; seconds are less than `longest`."""
    for field in fields(settings):
        value, kind = getattr(settings, field.name), str(field.type)
        if value is None and "None" in kind:
            continue
        kinds, most = ((int, float), longest) if "float" in kind else ((int,), _LARGEST)
        if isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < most:
            continue
        what = f"a positive {'number' if float in kinds else 'whole number'}"
        if isinstance(value, int | float) and value >= most:
            what += f" below {float(most):.2g}"
        more = ", or None for no limit" if "None" in kind else ""
        message = f"{type(settings).__name__}.{field.name} must be {what}{more}: {printable(repr(value))[:100]}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def how_to_raise(limits: Limits | HostLimits, name: str) -> str:
    """A limit's name, for whoever wants to raise it."""
    flag = f", --max-{name.replace('_', '-')}" if isinstance(limits, Limits) or name == "computes" else ""
    return f"{type(limits).__name__}.{name}{flag}"
