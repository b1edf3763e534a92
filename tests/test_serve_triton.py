"""Triton's own client, as it is, finds a server of its protocol here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import serving
from conftest import SUPPORT

PYTHON = Path(sys.prefix) / "triton_client" / "bin" / "python"


def test_tritons_client(tmp_path: Path) -> None:
    if not PYTHON.exists():
        message = "Triton's client isn't installed in an environment of its own: make test does that"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    graphs = serving.write_graphs(tmp_path, serving.models())
    with serving.command("--graphs", str(graphs), "--admin", "--graph-option", "fp32:max-batch=4") as server:
        server.wait_until_ready()
        host, port = server.http
        program = [str(PYTHON), str(SUPPORT / "triton_client.py"), f"{host}:{port}", server.grpc]
        result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "22 passed, 0 failed\n"
