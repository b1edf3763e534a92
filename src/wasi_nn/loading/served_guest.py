"""A guest as the operator describes it: WebAssembly that a server runs for each request."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wasi_nn.limits.limits import Limits
from wasi_nn.loading.http_out import HttpOut


class Serves(enum.Enum):
    """What a guest is for the clients of a server."""

    MODEL = "model"
    """A model of the Open Inference Protocol: named tensors in, named tensors out."""
    HTTP = "http"
    """A handler of HTTP requests."""


@dataclass(frozen=True)
class DeclaredTensor:
    """An input or output of a guest. `datatype` is the Open Inference Protocol's word, and -1 in `shape` a dim that
    varies. An `optional` input may be left out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class GuestDirectory:
    """A directory of this machine for a guest, which may write into it only if it is `writable`."""

    path: Path
    writable: bool = False


GUEST_LIMITS = Limits(guest_memory=256 * 2**20, tensor_bytes=256 * 2**20, output_bytes=2**20)
"""The limits of a served guest for which the operator says nothing: for less memory than a guest of the command has,
since a server runs many at once."""


@dataclass(frozen=True)
class ServedGuest:
    """A guest as the operator describes it.

    path         its file, `.wasm` or `.wat`
    serves       what it is for clients. None: its imports and exports say it
    graphs       the names of the graphs that it may load, in which `*` stands for any characters
    limits       its limits for each request; for all requests of a sandbox together if it is used again
    directories  directories of this machine by their paths for the guest
    environment  its environment variables
    arguments    its arguments, without the program's name
    inputs       what clients send to a guest that serves a model
    outputs      what such a guest answers
    mount        the path under which a guest that serves http answers. Empty: `/guests/NAME`
    http_out     the requests that a guest that serves http may make. None: none
    reuse        whether one sandbox answers many requests, one after another. Otherwise each request gets a fresh one
    start_ahead  whether the fresh sandbox of a model's next request starts before that request comes
    """

    path: Path
    serves: Serves | None = None
    graphs: tuple[str, ...] = ()
    limits: Limits = GUEST_LIMITS
    directories: Mapping[str, GuestDirectory] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    inputs: tuple[DeclaredTensor, ...] = ()
    outputs: tuple[DeclaredTensor, ...] = ()
    reuse: bool = False
    mount: str = ""
    http_out: HttpOut | None = None
    start_ahead: bool = True
