"""Defines `wasi:http/types` and `wasi:http/outgoing-handler` in the linker of a guest, from one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from wasmtime.component import Linker

from wasi_nn.abi.component import values
from wasi_nn.abi.component.typed_functions import define, define_resource
from wasi_nn.abi.component.values import BOOL, BYTES, TEXT, U16, U64, Err, List, Option, Result, ValueType
from wasi_nn.abi.http import types
from wasi_nn.abi.http.outgoing import OutgoingRequest, RequestOptions
from wasi_nn.abi.http.types import OutgoingResponse, Running, changing
from wasi_nn.abi.http.vocabulary import (
    ENTRIES,
    ERROR_CODE,
    HEADER_ERROR,
    HEADER_RESULT,
    INCOMING,
    METHOD,
    NO_ERROR,
    RESOURCES,
    SCHEME,
    STREAM,
    TRAILERS,
    borrow,
    method_of,
    number_of,
    own,
)
from wasi_nn.errors import GuestError

TYPES, OUTGOING = "wasi:http/types@0.2.", "wasi:http/outgoing-handler@0.2."
"""The beginnings of the interfaces' names; the number of a patch follows."""

_FIELDS, _REQUEST, _OUT = borrow("fields"), borrow("incoming-request"), borrow("outgoing-request")
_OPTIONS, _ANSWER, _IN = borrow("request-options"), borrow("outgoing-response"), borrow("incoming-response")
_FUTURE, _DURATION = borrow("future-incoming-response"), Option(U64)
_SCHEMES: dict[str, tuple[str, None]] = {"http": ("HTTP", None), "https": ("HTTPS", None)}


class Function(NamedTuple):
    """A function of the host: what it takes and gives, and what it does with the guest's `Running` and arguments."""

    parameters: Sequence[ValueType]
    result: ValueType | None
    does: Callable[..., Any]


def _timeouts(name: str) -> dict[str, Function]:
    return {
        f"[method]request-options.{name}": Function((_OPTIONS,), _DURATION, lambda _, it: it.times.get(name)),
        f"[method]request-options.set-{name}": Function(
            (_OPTIONS, _DURATION), NO_ERROR, lambda _, it, time: it.set(name, time)
        ),
    }


FUNCTIONS = {
    "[constructor]fields": Function((), own("fields"), Running.fields),
    "[static]fields.from-list": Function((ENTRIES,), Result(own("fields"), HEADER_ERROR), types.from_list),
    "[method]fields.get": Function((_FIELDS, TEXT), List(BYTES), lambda _, it, name: it.get(name)),
    "[method]fields.has": Function((_FIELDS, TEXT), BOOL, lambda _, it, name: bool(it.get(name))),
    "[method]fields.set": Function(
        (_FIELDS, TEXT, List(BYTES)), HEADER_RESULT, lambda _, it, name, new: changing(lambda: it.set(name, new))
    ),
    "[method]fields.delete": Function(
        (_FIELDS, TEXT), HEADER_RESULT, lambda _, it, name: changing(lambda: it.delete(name))
    ),
    "[method]fields.append": Function(
        (_FIELDS, TEXT, BYTES), HEADER_RESULT, lambda _, it, name, new: changing(lambda: it.append(name, new))
    ),
    "[method]fields.entries": Function((_FIELDS,), ENTRIES, lambda _, it: it.items),
    "[method]fields.clone": Function((_FIELDS,), own("fields"), lambda _, it: it.copy()),
    "[method]incoming-request.method": Function((_REQUEST,), METHOD, lambda _, it: method_of(it.head.method)),
    "[method]incoming-request.path-with-query": Function((_REQUEST,), Option(TEXT), lambda _, it: it.head.path),
    "[method]incoming-request.scheme": Function((_REQUEST,), Option(SCHEME), lambda _, it: _SCHEMES[it.head.scheme]),
    "[method]incoming-request.authority": Function((_REQUEST,), Option(TEXT), lambda _, it: it.head.authority),
    "[method]incoming-request.headers": Function(
        (_REQUEST,), own("fields"), lambda running, it: running.fields(it.head.headers, is_immutable=True)
    ),
    "[method]incoming-request.consume": Function((_REQUEST,), Result(own("incoming-body")), lambda _, it: it.consume()),
    "[method]incoming-body.stream": Function((borrow("incoming-body"),), Result(STREAM), types.read_body),
    "[static]incoming-body.finish": Function((own("incoming-body"),), own("future-trailers"), types.finish_incoming),
    "[method]future-trailers.subscribe": Function(
        (borrow("future-trailers"),), STREAM, lambda running, _: running.streams.after(0)
    ),
    "[method]future-trailers.get": Function(
        (borrow("future-trailers"),), TRAILERS, lambda running, it: it.get(running)
    ),
    "[constructor]outgoing-response": Function(
        (own("fields"),), own("outgoing-response"), lambda _, headers: OutgoingResponse(headers)
    ),
    "[method]outgoing-response.status-code": Function((_ANSWER,), U16, lambda _, it: it.status),
    "[method]outgoing-response.set-status-code": Function(
        (_ANSWER, U16), NO_ERROR, lambda _, it, status: it.set_status(status)
    ),
    "[method]outgoing-response.headers": Function(
        (_ANSWER,), own("fields"), lambda _, it: it.headers.copy(is_immutable=True)
    ),
    "[method]outgoing-response.body": Function((_ANSWER,), Result(own("outgoing-body")), lambda _, it: it.take_body()),
    "[method]outgoing-body.write": Function((borrow("outgoing-body"),), Result(STREAM), types.write_body),
    "[static]outgoing-body.finish": Function(
        (own("outgoing-body"), Option(own("fields"))),
        Result(error=ERROR_CODE),
        types.finish_outgoing,
    ),
    "[static]response-outparam.set": Function(
        (own("response-outparam"), Result(own("outgoing-response"), ERROR_CODE)), None, types.set_outparam
    ),
    "[method]response-outparam.send-informational": Function(
        (borrow("response-outparam"), U16, own("fields")),
        Result(error=ERROR_CODE),
        lambda *_: Err(("internal-error", "this server sends no informational answers")),
    ),
    "[constructor]outgoing-request": Function(
        (own("fields"),), own("outgoing-request"), lambda _, headers: OutgoingRequest(headers)
    ),
    "[method]outgoing-request.body": Function(
        (_OUT,), Result(own("outgoing-body")), lambda running, it: it.take_body(running.sender)
    ),
    "[method]outgoing-request.method": Function((_OUT,), METHOD, lambda _, it: it.method),
    "[method]outgoing-request.set-method": Function(
        (_OUT, METHOD), NO_ERROR, lambda _, it, method: it.set_method(method)
    ),
    "[method]outgoing-request.path-with-query": Function((_OUT,), Option(TEXT), lambda _, it: it.path),
    "[method]outgoing-request.set-path-with-query": Function(
        (_OUT, Option(TEXT)), NO_ERROR, lambda _, it, path: it.set_path(path)
    ),
    "[method]outgoing-request.scheme": Function((_OUT,), Option(SCHEME), lambda _, it: it.scheme),
    "[method]outgoing-request.set-scheme": Function(
        (_OUT, Option(SCHEME)), NO_ERROR, lambda _, it, scheme: it.set_scheme(scheme)
    ),
    "[method]outgoing-request.authority": Function((_OUT,), Option(TEXT), lambda _, it: it.authority),
    "[method]outgoing-request.set-authority": Function(
        (_OUT, Option(TEXT)), NO_ERROR, lambda _, it, authority: it.set_authority(authority)
    ),
    "[method]outgoing-request.headers": Function(
        (_OUT,), own("fields"), lambda _, it: it.headers.copy(is_immutable=True)
    ),
    "[constructor]request-options": Function((), own("request-options"), lambda _: RequestOptions()),
    **_timeouts("connect-timeout"),
    **_timeouts("first-byte-timeout"),
    **_timeouts("between-bytes-timeout"),
    "[method]incoming-response.status": Function((_IN,), U16, lambda _, it: it.head.status),
    "[method]incoming-response.headers": Function(
        (_IN,), own("fields"), lambda running, it: running.fields(it.head.headers, is_immutable=True)
    ),
    "[method]incoming-response.consume": Function((_IN,), Result(own("incoming-body")), lambda _, it: it.consume()),
    "[method]future-incoming-response.subscribe": Function((_FUTURE,), STREAM, lambda _, it: it.sent.subscribe()),
    "[method]future-incoming-response.get": Function((_FUTURE,), INCOMING, lambda _, it: it.get()),
    # An error of a body's stream is never one of HTTP: a guest whose request is cut short is stopped.
    "http-error-code": Function((STREAM,), Option(ERROR_CODE), lambda _, error: None),
}
"""All functions of `wasi:http/types`, by their names."""

_HANDLE = Function(
    (own("outgoing-request"), Option(own("request-options"))),
    Result(own("future-incoming-response"), ERROR_CODE),
    types.handle_outgoing,
)


def add_http(linker: Linker, imports: Iterable[str]) -> None:
    """Define `wasi:http` in a linker, in the versions that a guest with these imports has.

    The linker may serve several guests at once: the functions work on the `Running` of the thread that calls the guest
    (`typed_functions.caller`). Raises `GuestError` if this engine lacks what they need.
    """
    if not values.fits():
        raise GuestError("this version of wasmtime can't have guests that answer HTTP requests: its values differ")
    names = list(imports)
    with linker.root() as root:
        for name in names:
            if name.startswith(TYPES):
                with root.add_instance(name) as instance:
                    for resource in RESOURCES:
                        define_resource(instance, resource, number_of(resource), types.dropped)
                    for function, (parameters, result, does) in FUNCTIONS.items():
                        define(instance, function, parameters, result, does)
            elif name.startswith(OUTGOING):
                with root.add_instance(name) as instance:
                    define(instance, "handle", *_HANDLE)
