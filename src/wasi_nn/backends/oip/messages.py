"""The messages of an inference: the request from arrays, and arrays from the answer, which may be anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import ABSENT
from wasi_nn.oip.contents import from_contents
from wasi_nn.oip.datatypes import UNKNOWN, datatype_of, datatype_of_output, decoded, encoded, name_for_message
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.types import Array

_RAW = b"\x3a"  # field 7 of ModelInferRequest, raw_input_contents, with a length before its bytes
_MOST_OUTPUTS = 4096


class Requests:
    """Makes serialized requests. The part that is before the tensors' bytes is made anew only when it changes."""

    def __init__(self, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._last: tuple[object, bytes] = (None, b"")

    def request(self, model: str, version: str, arrays: Sequence[Array]) -> bytes:
        """The request with these inputs, one for each of the model; `ABSENT` ones are left out.

        protobuf's own message would copy large tensors twice more: the order of fields is free, so that their bytes
        may follow the rest.
        """
        given = [(info, array) for info, array in zip(self._inputs, arrays, strict=True) if array is not ABSENT]
        about = (model, version, [(info.name, array.dtype, array.shape) for info, array in given])
        last, head = self._last
        if last != about:
            head = self._head(model, version, given)
            self._last = about, head
        parts: list[bytes | memoryview] = [head]
        for _, array in given:
            content = encoded(array)
            parts += (_RAW, _varint(len(content)), content)
        return b"".join(parts)

    def _head(self, model: str, version: str, given: Sequence[tuple[TensorInfo, Array]]) -> bytes:
        from wasi_nn.oip.proto import open_inference_pb2 as messages

        request = messages.ModelInferRequest(model_name=model, model_version=version)
        for info, array in given:
            datatype = datatype_of(info)
            if datatype == UNKNOWN:
                datatype = datatype_of_output(info.name, array)
            request.inputs.add(name=info.name, datatype=datatype, shape=array.shape)
        for info in self._outputs:
            request.outputs.add(name=info.name)
        head: bytes = request.SerializeToString()
        return head


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(0x80 | (number & 0x7F))
        number >>= 7
    digits.append(number)
    return bytes(digits)


def read_outputs(server: str, response: Any, infos: Sequence[TensorInfo]) -> list[tuple[str, Array]]:
    """The outputs of an answer by name: those that the model declares, in its order, or all if it declares none.

    Numbers are views of the message. Raises `NNError` with `runtime-error` for an answer that isn't one, with
    `too-large` for one of too many outputs.
    """
    outputs, raw = response.outputs, response.raw_output_contents
    if len(outputs) > _MOST_OUTPUTS:
        message = f"{server}: the answer has {len(outputs)} outputs: at most {_MOST_OUTPUTS} are allowed"
        raise NNError(ErrorCode.TOO_LARGE, message)
    if raw and len(raw) != len(outputs):
        raise _wrong(server, f"{len(raw)} raw_output_contents for {len(outputs)} outputs")
    places: dict[str, int] = {}
    for place, output in enumerate(outputs):
        if places.setdefault(output.name, place) != place:
            raise _wrong(server, f"{name_for_message('output', output.name)} is there twice")
    if not infos:
        return [(output.name, _array(server, output, raw, place)) for place, output in enumerate(outputs)]
    arrays = []
    for info in infos:
        if info.name not in places:
            raise _wrong(server, f"{name_for_message('output', info.name)} is missing")
        place = places[info.name]
        arrays.append((info.name, _fitting(server, info, outputs[place], _array(server, outputs[place], raw, place))))
    return arrays


def _array(server: str, output: Any, raw: Sequence[bytes], place: int) -> Array:
    what, shape = name_for_message("output", output.name), list(output.shape)
    try:
        if raw:
            return decoded(what, output.datatype, shape, raw[place])
        return from_contents(what, output.datatype, shape, output.contents)
    except NNError as error:
        raise _wrong(server, error.message) from None


def _fitting(server: str, info: TensorInfo, output: Any, array: Array) -> Array:
    what = name_for_message("output", info.name)
    declared = datatype_of(info)
    if declared not in (UNKNOWN, output.datatype):
        raise _wrong(server, f"{what} is {output.datatype}, which was declared as {declared}")
    dims = info.dims
    fits = dims is None or (
        len(dims) == array.ndim
        and all(not isinstance(dim, int) or dim == got for dim, got in zip(dims, array.shape, strict=True))
    )
    if not fits:
        raise _wrong(server, f"{what} is {dims_text(array.shape)}, which was declared as {info.dims_text}")
    return array


def _wrong(server: str, what: str) -> NNError:
    return NNError(ErrorCode.RUNTIME_ERROR, f"{server}: the server sent a wrong answer: {what}")
