"""The cost of a guest as an endpoint: a graph is served directly, and through guests in fresh and in reused sandboxes.

A fresh sandbox begins ahead of its request, or with it. The guests that begin ahead have a server of their own, since a
sandbox that begins for the next request would take processor time from the other measurements. The guests are a core
module and a component of the same program.

The server is the command in a process of its own, the client is http.client, with binary tensors. The graph scores
colours, and takes a few microseconds. Through the guest the client sends bytes, which the guest turns into floats;
to the graph itself it sends the floats.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import serving
from serving_guests import C_GUESTS, COMPONENT_GUESTS, EXAMPLE, as_toml, colours_guest

from bench.ratios import best, side_by_side
from bench.serving import Call, posting

ROUNDS = 600
SIDES = (8, 224)
GUESTS = {"core module": C_GUESTS, "component": COMPONENT_GUESTS}


def inferring(address: tuple[str, int], model: str, array: Any) -> Call:
    """An inference on a picture, by HTTP with binary tensors."""
    datatype = {"uint8": "UINT8", "float32": "FP32"}[array.dtype.name]
    about = {"name": "picture", "datatype": datatype, "shape": list(array.shape)}
    request: dict[str, Any] = {"inputs": [about | {"parameters": {"binary_data_size": array.nbytes}}]}
    head = json.dumps(request | {"parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return posting(address, f"/v2/models/{model.replace(' ', '%20')}/infer", head + array.tobytes(), headers)


def measure(sandboxes: dict[str, dict[str, Any]]) -> None:
    """Measure guests with these keys in one server, beside the graph, and print a table."""
    described = {
        f"{kind}, {sandbox}": colours_guest(folder / "serve_colours.wasm", "graph", **keys)
        for kind, folder in GUESTS.items()
        for sandbox, keys in sandboxes.items()
    }
    graphs = {"graph": {"path": str(EXAMPLE / "colours.onnx"), "options": {"threads": 1}}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graphs.toml")
        file.write_text(as_toml({"graphs": graphs, "guests": described}))
        with serving.command("--graphs", str(file)) as server:
            server.wait_until_ready()
            for side in SIDES:
                picture = np.zeros((side, side, 3), np.uint8)
                floats = np.zeros((1, 3, side, side), np.float32)
                calls = {"graph": inferring(server.http, "graph", floats)}
                calls |= {name: inferring(server.http, name, picture) for name in described}
                times = side_by_side(calls, ROUNDS)
                print(f"a picture of {side} x {side}: {picture.nbytes} bytes, or {floats.nbytes} as floats")
                for name in calls:
                    more = 1000 * (best(times[name]) - best(times["graph"]))
                    print(f"  {name:26} {1000 * best(times[name]):6.2f} ms {more:+6.2f} ms")


def main() -> None:
    """Measure, and print both tables."""
    measure({"fresh": {"start-ahead": False}, "reused": {"reuse": True}})
    measure({"fresh, begun ahead": {}})


if __name__ == "__main__":
    main()
