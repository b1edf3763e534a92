"""Target: answers of servers of models. The first byte says what the rest is: a description of a model, an inference,
or a text as events. Reading them raises only `NNError`, and what is read is as it was declared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from fuzz.checks import refusals
from wasi_nn import NNError, TensorInfo
from wasi_nn.backends.oip.messages import read_outputs
from wasi_nn.backends.oip.metadata import described
from wasi_nn.backends.openai.completion import Completion
from wasi_nn.backends.openai.embedding import embedded
from wasi_nn.backends.openai.server import OpenAIServer
from wasi_nn.backends.remote.addresses import Address
from wasi_nn.backends.remote.calls import Call
from wasi_nn.backends.remote.failover import Servers
from wasi_nn.backends.remote.settings import settings_of
from wasi_nn.oip.proto import open_inference_pb2 as messages

MAX_SIZE = 4096

DESCRIPTION, INFERENCE, TEXT, EMBEDDING = range(4)

_INFOS = [TensorInfo("y", np.dtype(np.float32), ("?", 2)), TensorInfo("s", np.dtype(object), ("?",), "string")]
_MOST_TOKENS = 8


class _Told:
    """An answer over HTTP, in parts of some bytes."""

    status = 200

    def __init__(self, content: bytes) -> None:
        self._content = content

    def part(self) -> bytes:
        part, self._content = self._content[:7], self._content[7:]
        return part

    def whole(self, most: int) -> bytes:
        return self._content[:most]


class _Server(OpenAIServer):
    def __init__(self, content: bytes) -> None:
        super().__init__(Address("openai+http://a#m", "a", None, "", "m"), settings_of({}), has_tls=False)
        self.content = content

    @contextmanager
    def _exchange(self, *_: Any) -> Iterator[Any]:
        yield _Told(self.content)


def run(data: bytes) -> None:
    """Read one answer."""
    kind, content = data[:1], data[1:]
    with refusals(NNError):
        if kind in (b"\x00", b"\x01"):
            _of_oip(kind == b"\x01", content)
        else:
            _of_openai(kind == b"\x03", content)


def _of_oip(is_inference: bool, content: bytes) -> None:
    try:
        answer: Any = (messages.ModelInferResponse if is_inference else messages.ModelMetadataResponse)()
        answer.ParseFromString(content)
    except DecodeError:
        return
    if is_inference:
        for info, (name, array) in zip(_INFOS, read_outputs("s", answer, _INFOS), strict=True):
            assert (info.name, info.dtype) == (name, array.dtype)
            assert info.dims is not None
            assert len(info.dims) == array.ndim
        read_outputs("s", answer, [])
    else:
        inputs, outputs, metadata = described("s", answer, ())
        assert len({info.name for info in inputs}) == len(inputs)
        assert all(text.isprintable() for text in metadata.values())
        str([*inputs, *outputs])


def _of_openai(is_embedding: bool, content: bytes) -> None:
    servers: Servers[OpenAIServer] = Servers([_Server(content)], rotates=False, repeats=False)
    if is_embedding:
        embeddings = json.loads(embedded(servers, Call(60), '["a", "b"]', has_several=True)[0])["embeddings"]
        assert len({len(embedding) for embedding in embeddings}) == 1
        return
    completion = Completion(servers, Call(60), "", {"max_tokens": _MOST_TOKENS})
    pieces = list(completion)
    assert len(pieces) <= _MOST_TOKENS
    assert "".join(pieces).encode() == completion.text.encode()
    assert completion.tokens_of_text <= completion.output_tokens
