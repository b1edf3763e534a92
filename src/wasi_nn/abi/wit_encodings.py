"""The numbers of graph encodings in WIT, which components and wasi-nn:ext have; the core ABI's own differ."""

from __future__ import annotations

from wasi_nn.types import GraphEncoding

ENCODINGS = (
    GraphEncoding.OPENVINO,
    GraphEncoding.ONNX,
    GraphEncoding.TENSORFLOW,
    GraphEncoding.PYTORCH,
    GraphEncoding.TENSORFLOWLITE,
    GraphEncoding.GGML,
    GraphEncoding.AUTODETECT,
)
NUMBER_OF_ENCODING = {encoding: number for number, encoding in enumerate(ENCODINGS)}
