"""The protocol between the host and a worker: every message, in one table that both sides use.

The host asks and the worker answers, over three kinds of channels. A worker has one *control channel*, to load models.
Each execution context has one *runner channel*, and each set of variables one *set channel*; the worker drops the
runner, or the set and its graphs, when the host closes the channel. A message is a JSON object, and may have bytes and
files beside it:

    channel   request    fields                                beside it         answer
    control   confine    readable, memory, model, threads,                       {}
                         sockets
    control   start      backend                                                 {}, when its runtime is imported
    control   load       backend, path, target, options,       files: builders   graph, number; bytes: metadata
                         convert_types
    control   configure  graph (a number)                      bytes: JSON       graph, number; bytes: metadata
    control   runner     graph, runner (numbers)               a file: the       none
                                                               runner channel
    control   variables  graph                                 a file: the set   none
                                                               channel
    control   interrupt  runner                                                  none
    control   forget     graph                                                   none
    runner    (begins with an answer)                                            features
    runner    run        bind                                                    outputs, kept where they are
    runner    run apart  bind                                                    outputs, for the host to copy at once
    runner    deadlines                                                          {}
    runner    check      index                                 bytes: the input  {}
    runner    before     bind, index                                             an output, or {} if it isn't known
    runner    steps      bind                                                    {}
    runner    step                                                               outputs, or end (and outputs)
    runner    end                                                                {}
    set       (begins with an answer)                                            nbytes
    set       signature  name                                                    graph, number; bytes: metadata
    set       get                                                                outputs and names, for the host alone
    set       templates                                                          templates
    set       put        values                                a file: the       {}
                                                               values

`bind` lists the inputs that changed: for each its index, element type, dimensions, where its elements are (`here`;
`new`, in the next file; `absent`; `unset`) and their number of bytes. `outputs` lists the element type, the dimensions
and the place in the shared memory of each output; `same` stands for outputs like the last ones. `values` lists the
name, element type, dimensions and place in the file of each variable; `templates` the first three. A signature's
`number` is that of a graph, for `runner`.

Any answer may be `error` instead (kind, code, text; on the control channel also `used`: bytes, threads, and whether an
allocation failed). Before an answer on a runner channel or a set channel, the worker may send `room` (it needs so many
bytes for outputs; the host answers with a file, or on a set channel without one if there is no room) and `show` (bytes:
generated text).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

Message = dict[str, Any]


class Request(StrEnum):
    """What the host asks a worker to do."""

    CONFINE = "confine"
    START = "start"
    LOAD = "load"
    CONFIGURE = "configure"
    RUNNER = "runner"
    VARIABLES = "variables"
    INTERRUPT = "interrupt"
    FORGET = "forget"
    RUN = "run"
    RUN_APART = "run apart"
    DEADLINES = "deadlines"
    CHECK = "check"
    BEFORE = "before"
    STEPS = "steps"
    STEP = "step"
    END = "end"
    SIGNATURE = "signature"
    GET = "get"
    TEMPLATES = "templates"
    PUT = "put"


FIELDS: dict[Request, frozenset[str]] = {
    Request.CONFINE: frozenset({"readable", "memory", "model", "threads", "sockets"}),
    Request.START: frozenset({"backend"}),
    Request.LOAD: frozenset({"backend", "path", "target", "options", "convert_types"}),
    Request.CONFIGURE: frozenset({"graph"}),
    Request.RUNNER: frozenset({"graph", "runner"}),
    Request.VARIABLES: frozenset({"graph"}),
    Request.INTERRUPT: frozenset({"runner"}),
    Request.FORGET: frozenset({"graph"}),
    Request.RUN: frozenset({"bind"}),
    Request.RUN_APART: frozenset({"bind"}),
    Request.DEADLINES: frozenset(),
    Request.CHECK: frozenset({"index"}),
    Request.BEFORE: frozenset({"bind", "index"}),
    Request.STEPS: frozenset({"bind"}),
    Request.STEP: frozenset(),
    Request.END: frozenset(),
    Request.SIGNATURE: frozenset({"name"}),
    Request.GET: frozenset(),
    Request.TEMPLATES: frozenset(),
    Request.PUT: frozenset({"values"}),
}
"""The fields of each request."""


def request(kind: Request, **fields: Any) -> Message:
    """A request with its fields. Raises `ValueError` unless they are those of the table."""
    if fields.keys() != FIELDS[kind]:
        raise ValueError(f"a request {kind.value!r} with {sorted(fields)}, not {sorted(FIELDS[kind])}")
    return {"do": kind.value, **fields}


def kind_of(message: Message) -> Request:
    """The request in a message. Raises `ValueError` for an unknown request, or other fields than those of the table."""
    kind = Request(message["do"])
    if message.keys() - {"do"} != FIELDS[kind]:
        raise ValueError(f"a request {kind.value!r} with {sorted(message)}")
    return kind
