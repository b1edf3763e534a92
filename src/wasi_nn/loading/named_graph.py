"""A graph as the operator describes it: a model, and how it is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from wasi_nn import backends
from wasi_nn.backends import Options
from wasi_nn.backends.options import taking
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

_LONGEST_DELAY = 60  # seconds

Source = backends.Source | Sequence[str | os.PathLike[str]] | backends.RemoteModel | Graph
"""A model as `wasi_nn.load` takes it, a list of paths (one for each builder) or of addresses, or a loaded `Graph`."""


@dataclass(frozen=True)
class NamedGraph:
    """A graph as the operator describes it: a model, and how it is loaded.

    source           the model: a path, bytes, the builders one after another, or an address on another server
    encoding         the model's encoding, or `autodetect`
    target           the execution target: `cpu`, `gpu` or `tpu`
    options          the options of its backend, such as `{"threads": 4}`
    runtime          the ML runtime. None: as the registry's rules say
    sha256           the expected digest, hexadecimal, of the model's file, or of its builders one after another. The
                     bytes that are checked are the bytes that are loaded, so such a graph can't be a directory or have
                     data in other files. None: the model isn't checked
    convert_types    whether tensors of types that wasi-nn lacks are converted. None: as the registry's rules say
    share_variables  whether the execution contexts of all guests have one set of the model's variables, which each
                     guest changes for all. Otherwise each context, or each guest that asks for it, has its own set
    max_batch        rows that `wasi-nn serve` computes at once, from several requests that it joins along the first
                     dim of all inputs. None: each request is computed by itself
    max_delay        seconds for which a request may wait for others to be joined with, also where it could begin
    """

    source: Source
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT
    target: ExecutionTarget | str = ExecutionTarget.CPU
    options: Options = field(default_factory=dict)
    runtime: str | None = None
    sha256: str | None = None
    convert_types: bool | None = None
    share_variables: bool = False
    max_batch: int | None = None
    max_delay: float = 0.0


@taking("a number of rows, from 1 on")
def is_batch(value: object) -> bool:
    """Whether a value is the number of rows of a batch."""
    return type(value) is int and 0 < value < 2**31


@taking(f"a number of seconds up to {_LONGEST_DELAY}, such as 0.005")
def is_delay(value: object) -> bool:
    """Whether a value is a number of seconds for which a request may wait for others."""
    return type(value) in (int, float) and 0 <= value <= _LONGEST_DELAY  # type: ignore[operator]  # it is a number


@taking("64 hexadecimal digits")
def is_sha256(value: object) -> bool:
    """Whether a value is a sha256 in hexadecimal digits. Space around them is allowed."""
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value.strip()) is not None
