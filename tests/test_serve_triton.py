"""Triton's own client, as it is, finds a server of its protocol here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import serving
from conftest import SUPPORT
from serving_guests import C_GUESTS, COMPONENT_GUESTS, EXAMPLE, as_toml, colours_guest

PYTHON = Path(sys.prefix) / "triton_client" / "bin" / "python"


def test_tritons_client(tmp_path: Path) -> None:
    if not PYTHON.exists():
        message = "Triton's client isn't installed in an environment of its own: make test does that"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    graphs = serving.write_graphs(tmp_path, serving.models())
    colours = C_GUESTS / "serve_colours.wasm"
    guests = {
        "guest-fresh": colours_guest(colours),
        "guest-reused": colours_guest(colours, reuse=True),
        "guest-component": colours_guest(COMPONENT_GUESTS / "serve_colours.wasm"),
    }
    more = as_toml({"graphs": {"colours": {"path": str(EXAMPLE / "colours.onnx")}}, "guests": guests})
    graphs.write_text(graphs.read_text() + more)
    with serving.command("--graphs", str(graphs), "--admin", "--graph-option", "fp32:max-batch=4") as server:
        server.wait_until_ready()
        host, port = server.http
        program = [str(PYTHON), str(SUPPORT / "triton_client.py"), f"{host}:{port}", server.grpc]
        result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "24 passed, 0 failed\n"
