"""web: a guest in Python that answers HTTP requests, with a model of the server.

POST /infer/GRAPH   a list of numbers in JSON: the first input of the graph; the answer is its outputs in JSON
POST /echo          the body comes back, piece by piece, with its size as a trailer
"""

import array
import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import errors, graph
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.tensor import Tensor, TensorType
from wit_world.imports.types import Fields, IncomingBody, OutgoingBody, OutgoingResponse, ResponseOutparam

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


def answer(request, response_out):
    path = request.path_with_query().split("?")[0]
    body = request.consume()
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
