"""Reads the body of an inference request over HTTP: JSON, and the bytes of binary tensors after it.

Nothing in it is trusted: every error says in one line what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.errors import printable
from wasi_nn.oip.datatypes import decoded, name_for_message
from wasi_nn.serving.computing.long_calls import LARGE_JSON, read_json_text
from wasi_nn.serving.failures import Reason, ServingError, invalid, with_serving_errors
from wasi_nn.serving.oip.json_tensors import from_json
from wasi_nn.serving.oip.parameters import flag_of, require_known, require_no_repeated, seconds_of
from wasi_nn.serving.request import NamedArrays
from wasi_nn.serving.settings import ServingLimits, how_to_raise

_LONGEST_ID = 1024  # characters


@dataclass(frozen=True)
class RestRequest:
    """An inference request over HTTP.

    `outputs` are those that are asked for, each with whether it is wanted as binary data (None: the request doesn't
    say); empty for all. `binary` is the request's word for the others. `seconds` is the time that the client gives the
    request, None if it doesn't say.
    """

    id: str
    inputs: NamedArrays
    outputs: Mapping[str, bool | None]
    binary: bool
    seconds: float | None


def read_json(content: bytes | memoryview, limits: ServingLimits, *, in_pieces: bool = False) -> Any:
    """The value of a JSON text, as `read_json_text` gives it. Raises `ServingError`: `too-large`, or `invalid` for what
    isn't JSON."""
    if len(content) > limits.json_bytes:
        message = (
            f"{len(content)} bytes of JSON; at most {limits.json_bytes} are allowed ({how_to_raise('json_bytes')})"
        )
        raise ServingError(Reason.TOO_LARGE, f"{message}: send large tensors as binary data")
    try:
        return read_json_text(bytes(content).decode(), in_pieces=in_pieces)
    except RecursionError:
        raise invalid("the JSON is nested too deeply") from None
    except ValueError as error:  # also for bytes that aren't UTF-8, and numbers of thousands of digits
        raise invalid(printable(f"the request isn't JSON: {error}")) from None


def takes_long(body: bytes, json_size: int | None) -> bool:
    """Whether reading a request takes too long for the event loop: much JSON, or many strings."""
    size = len(body) if json_size is None else json_size
    return size > LARGE_JSON or (len(body) > LARGE_JSON and b"BYTES" in body[:size])


@with_serving_errors
def read_request(body: bytes, json_size: int | None, limits: ServingLimits, *, in_pieces: bool = False) -> RestRequest:
    """An inference request. `json_size` is the size of the JSON at the beginning of the body; None: all of it. With
    `in_pieces`, other threads have their turn meanwhile. Raises `ServingError`."""
    if json_size is not None and json_size > len(body):
        raise invalid(f"the JSON is said to have {json_size} bytes, of a body of {len(body)}")
    view = memoryview(body)
    head = view if json_size is None else view[:json_size]
    if json_size == 0:
        raise invalid("Inference-Header-Content-Length is 0: raw data without JSON isn't supported")
    content = _object("the request", read_json(head, limits, in_pieces=in_pieces))
    parameters = _parameters("the request", content)
    inputs = _list("the request", content, "inputs", required=True)
    outputs = _list("the request", content, "outputs")
    if len(inputs) + len(outputs) > limits.tensors:
        message = f"{len(inputs)} inputs and {len(outputs)} outputs; at most {limits.tensors} tensors are allowed"
        raise ServingError(Reason.TOO_LARGE, f"{message} ({how_to_raise('tensors')})")
    request_id = content.get("id", "")
    if not isinstance(request_id, str) or len(request_id) > _LONGEST_ID:
        raise invalid(f"'id' is a text of at most {_LONGEST_ID} characters, not {shown(request_id)}")
    wanted = dict(_output(item) for item in outputs)
    if len(wanted) < len(outputs):
        require_no_repeated(item["name"] for item in outputs)
    arrays = _arrays(inputs, view[len(head) :])
    binary = flag_of(parameters, "binary_data_output") or False
    return RestRequest(request_id, arrays, wanted, binary, seconds_of(parameters))


def parameters_of(content: object) -> dict[str, Any]:
    """The parameters of a request that isn't one for an inference. Raises `ServingError`."""
    return _parameters("the request", _object("the request", content))


def _arrays(inputs: Sequence[Any], rest: memoryview) -> NamedArrays:
    arrays, place = [], 0
    for item in inputs:
        content = _object("an input", item)
        name = _name("input", content)
        what = name_for_message("input", name)
        parameters = _parameters(what, content)
        shape = _list(what, content, "shape", required=True)
        datatype = content.get("datatype")
        size = parameters.get("binary_data_size")
        if size is None:
            if "data" not in content:
                raise invalid(f"{what} has neither 'data' nor the parameter 'binary_data_size'")
            arrays.append((name, from_json(what, datatype, shape, content["data"])))
            continue
        if type(size) is not int or size < 0:
            raise invalid(f"{what}: 'binary_data_size' is a number of bytes, not {shown(size)}")
        if "data" in content:
            raise invalid(f"{what} has both 'data' and the parameter 'binary_data_size'")
        if size > len(rest) - place:
            raise invalid(f"{what} is said to have {size} bytes of binary data, of {len(rest) - place} that are left")
        arrays.append((name, decoded(what, str(datatype), shape, rest[place : place + size])))
        place += size
    if place != len(rest):
        raise invalid(f"{len(rest) - place} bytes of the body belong to no input")
    return arrays


def _output(item: Any) -> tuple[str, bool | None]:
    content = _object("an output", item)
    name = _name("output", content)
    return name, flag_of(_parameters(name_for_message("output", name), content), "binary_data")


def _object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{what} is an object of JSON, not {shown(value)}")
    return value


def _name(kind: str, content: dict[str, Any]) -> str:
    name = content.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"an {kind} has a 'name', which is a text, not {shown(name)}")
    return name


def _list(what: str, content: dict[str, Any], key: str, *, required: bool = False) -> list[Any]:
    value = content.get(key, None if required else [])
    if not isinstance(value, list):
        raise invalid(f"{what} has {key!r}, which is a list, not {shown(value)}")
    return value


def _parameters(what: str, content: dict[str, Any]) -> dict[str, Any]:
    value = content.get("parameters", {})
    if not isinstance(value, dict):
        raise invalid(f"{what}: 'parameters' is an object of JSON, not {shown(value)}")
    require_known(value)
    return value
