"""The types of elements in the words of the Open Inference Protocol."""

from __future__ import annotations

BYTES = "BYTES"
"""The word for strings of any bytes."""

DTYPE_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
}
"""The name of numpy's dtype for each type of numbers."""

DATATYPES = (*DTYPE_NAMES, BYTES)
"""All of the words."""

MAX_TENSORS = 256
"""The most inputs, and the most outputs, of a guest that serves a model."""
MAX_TENSOR_NAME = 1024
"""The most bytes of the name of an input or output of such a guest, in UTF-8."""
