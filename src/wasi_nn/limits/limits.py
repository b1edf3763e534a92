"""The settings: `Limits` for one guest, `HostLimits` for all guests of a host together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from wasi_nn.arguments import plain, shown
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set

LARGEST = 2**63  # the largest limit that the engine takes


@dataclass(frozen=True)
class Limits:
    """The limits of one guest. None means no limit.

    guest_memory    bytes of the guest's linear memories; several share it in equal parts (at most 8, in a component 32)
    guest_time      seconds of processor time in the guest's own code, without computes
    fuel            instructions as the engine counts them: exact, but the guest runs at about half the speed
    compute_time    seconds for one compute, or for one piece of a sequence
    run_time        seconds for the whole run, including compiling the guest
    compile_time    seconds for compiling the guest
    compile_memory  bytes of memory for compiling the guest
    load_time       seconds for loading one model
    model_bytes     bytes of models that the guest loads from its own bytes, alive together
    tensor_bytes    bytes of tensors alive: a component's tensors, and the inputs and outputs of execution contexts
    graphs          graphs that the guest holds
    workers         processes of isolated graphs that the guest loads from its own bytes, with their spares
    contexts        execution contexts that the guest holds
    handles         all handles of the guest, including those of tensors and errors
    files           files and directories that the guest has open in its directories
    output_bytes    bytes of the guest's standard output and error together, if they are captured

    Raises `NNError` with `invalid-argument` for a value that isn't positive.
    """

    guest_memory: int | None = 2 * 2**30
    guest_time: float | None = 600.0
    fuel: int | None = None
    compute_time: float | None = 600.0
    run_time: float | None = 3600.0
    compile_time: float | None = 120.0
    compile_memory: int | None = 4 * 2**30
    load_time: float | None = 60.0
    model_bytes: int | None = 2**30
    tensor_bytes: int | None = 2**30
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
    """The limits of all guests of a host together. None means no limit.

    `computes`: computes at the same time. A further one waits for its turn; waiting counts as its compute time.
    `model_bytes`, `tensor_bytes`, `graphs`, `workers` and `contexts` are as in `Limits`, for all guests together.
    Raises `NNError` with `invalid-argument` for a value that isn't positive.
    """

    computes: int | None = 64
    model_bytes: int | None = None
    tensor_bytes: int | None = None
    graphs: int | None = None
    workers: int | None = 32
    contexts: int | None = None

    def __post_init__(self) -> None:
        require_positive(self)


def require_positive(settings: Any, longest: float = LARGEST) -> None:
    """Check that each field of a dataclass, but for flags, is a positive number of its annotated type, and below a
    maximum.

    The maximum is `longest` for floats (seconds), and 2^63 for integers. None is allowed if the annotation allows it.
    Raises `NNError` with `invalid-argument`.
    """
    for field in fields(settings):
        if field.type == "bool":
            continue
        value, annotation = plain(getattr(settings, field.name)), str(field.type)
        if value is None and "None" in annotation:
            continue
        types, most = ((int, float), longest) if "float" in annotation else ((int,), LARGEST)
        if isinstance(value, types) and not isinstance(value, bool) and 0 < value < most:
            object.__setattr__(settings, field.name, value)  # a number of numpy is one of Python now
            continue
        expected = f"a positive {'number' if float in types else 'whole number'}"
        if isinstance(value, int | float) and value >= most:
            expected += f" below {float(most):.2g}"
        if "None" in annotation:
            expected += ", or None for no limit"
        message = f"{type(settings).__name__}.{field.name} must be {expected}, not {shown(value)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def how_to_raise(limits: Limits | HostLimits, name: str) -> str:
    """A limit's field and flag, for an error message: they are what a user changes to raise the limit."""
    flag = f"--max-{name.replace('_', '-')}" if isinstance(limits, Limits) or name == "computes" else ""
    return how_to_set(f"{type(limits).__name__}.{name}", flag)
