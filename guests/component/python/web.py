"""web: a guest in Python that answers HTTP requests, with a model of the server.

POST /infer/GRAPH   a list of numbers in JSON: the first input of the graph; the answer is its outputs in JSON
POST /echo          the body comes back, piece by piece, with its size as a trailer
GET /fetch?URL      the answer of another server, if the file of graphs lists it (http-out)
"""

import array
import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import errors, graph, outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.tensor import Tensor, TensorType
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
)

PIECE = 4096  # bytes that may be written at once


def pieces(body):
    with body.stream() as stream:
        while True:
            try:
                yield stream.blocking_read(65536)
            except Err as failure:
                if isinstance(failure.value, StreamError_Closed):
                    return
                raise


def begin(response_out, status, kind):
    """Send the head of an answer; gives its body."""
    response = OutgoingResponse(Fields.from_list([("content-type", kind.encode())]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    return body


def infer(name, values):
    with graph.load_by_name(name) as model, model.init_execution_context() as context:
        tensor = Tensor([len(values)], TensorType.FP32, array.array("f", values).tobytes())
        outputs = {}
        for key, output in context.compute([("x", tensor)]):
            with output:
                outputs[key] = array.array("f", output.data()).tolist()
        return outputs


def fetch(url):
    """The status and the body of a server's answer. Raises `Err` with an `ErrorCode` if there is none."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Https() if scheme == "https" else Scheme_Http())
    request.set_authority(authority)
    request.set_path_with_query(f"/{path}")
    with outgoing_handler.handle(request, None) as future:
        with future.subscribe() as ready:
            ready.block()
        outcome = future.get().value
        if isinstance(outcome, Err):
            raise outcome
        with outcome.value as response, response.consume() as body:
            return response.status(), b"".join(pieces(body))


def answer(request, response_out):
    path, _, query = request.path_with_query().partition("?")
    body = request.consume()
    if path == "/fetch":
        try:
            status, content = fetch(query)
        except Err as failure:
            status, content = 502, type(failure.value).__name__.encode()
        out = begin(response_out, status, "application/octet-stream")
        with out.write() as stream:
            for at in range(0, len(content), PIECE):
                stream.blocking_write_and_flush(content[at : at + PIECE])
        OutgoingBody.finish(out, None)
        return
    if path == "/echo":
        out, size = begin(response_out, 200, "application/octet-stream"), 0
        with out.write() as stream:
            for piece in pieces(body):
                size += len(piece)
                for at in range(0, len(piece), PIECE):
                    stream.blocking_write_and_flush(piece[at : at + PIECE])
        IncomingBody.finish(body)
        OutgoingBody.finish(out, Fields.from_list([("x-size", str(size).encode())]))
        return
    try:
        status, content = 200, infer(path.removeprefix("/infer/"), json.loads(b"".join(pieces(body))))
    except ValueError as error:
        status, content = 400, {"error": str(error)}
    except Err as failure:
        if not isinstance(failure.value, errors.Error):
            raise
        status, content = 400, {"error": failure.value.data()}
    out = begin(response_out, status, "application/json")
    with out.write() as stream:
        stream.blocking_write_and_flush(json.dumps(content).encode())
    OutgoingBody.finish(out, None)


class IncomingHandler(exports.IncomingHandler):
    """What `wasi:http/incoming-handler` calls."""

    def handle(self, request, response_out):
        answer(request, response_out)
