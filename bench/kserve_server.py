"""A server of kserve with a model `net`, y = max(x, 0), by numpy. It runs in another environment, which has kserve:
`python kserve_server.py HTTP_PORT GRPC_PORT`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # type: ignore[import-not-found]


class Net(Model):  # type: ignore[misc]  # kserve isn't installed where types are checked
    """The model, which is ready at once."""

    def __init__(self) -> None:
        super().__init__("net")
        self.ready = True

    def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        """An inference, with binary data if the request has such."""
        given = payload.inputs[0]
        array = np.maximum(given.as_numpy(), 0)
        output = InferOutput(name="y", shape=list(array.shape), datatype="FP32")
        output.set_data_from_numpy(array, binary_data=bool(given.parameters))
        return InferResponse(response_id=payload.id, model_name="net", infer_outputs=[output])


logging.disable(logging.INFO)  # it would log each request
http_port, grpc_port = map(int, sys.argv[1:])
ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, enable_latency_logging=False).start([Net()])
