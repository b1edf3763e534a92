"""A web service that says what is in pictures.

    MODEL=colours.onnx LABELS=colours.txt GUEST=classify.wasm uvicorn service:app
    curl --data-binary @apple.ppm http://localhost:8000/classify

A picture is a stranger's bytes, and decoders have faults. So a guest decodes it (as PPM) and asks the model: each
request has a sandbox of its own, which sees that picture and the labels, may compute with one graph, and has little
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import wasi_nn

MODEL, LABELS, GUEST = (os.environ.get(name, "") for name in ("MODEL", "LABELS", "GUEST"))
LARGEST_PICTURE = 16 * 2**20  # bytes
AT_ONCE = 4
LIMITS = wasi_nn.Limits(guest_time=2, compute_time=5, run_time=10, guest_memory=256 * 2**20, output_bytes=2**16)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Load the model and compile the guest once, before the first request."""
    with wasi_nn.Host({"pictures": MODEL}, limits=LIMITS, allow_load=False) as host:
        app.state.host = host
        app.state.guest = await asyncio.to_thread(host.compile, GUEST)
        app.state.turns = asyncio.Semaphore(AT_ONCE)
        yield


async def body_of(request: Request) -> bytes:
    """The body, of at most `LARGEST_PICTURE` bytes, however much the client sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_PICTURE:
            raise HTTPException(413, f"a picture has at most {LARGEST_PICTURE} bytes")
    return bytes(body)


def classified(app: Starlette, picture: bytes) -> wasi_nn.RunResult:
    """Run the guest on a picture."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "picture.ppm").write_bytes(picture)
        labels = Path(LABELS).absolute()
        return app.state.host.run(
            app.state.guest,
            ["--graph", "pictures", "--labels", f"/labels/{labels.name}", "/picture/picture.ppm"],
            dirs={
                "/picture": wasi_nn.Directory(folder, read_only=True),
                "/labels": wasi_nn.Directory(labels.parent, read_only=True),
            },
            capture_output=True,
        )


async def classify(request: Request) -> JSONResponse:
    """What is in the picture of the body, the likeliest first."""
    picture = await body_of(request)
    async with request.app.state.turns:
        try:
            result = await asyncio.to_thread(classified, request.app, picture)
        except wasi_nn.GuestTrap as trap:  # it took too long or too much memory, or has a fault
            raise HTTPException(422, f"the picture can't be read: {trap.reason}") from trap
    if result.exit_code:
        reason = result.stderr.decode(errors="replace").strip()
        raise HTTPException(400, f"no picture that can be read: {reason}")
    found = [line.split() for line in result.stdout.decode(errors="replace").splitlines() if line.startswith("  ")]
    return JSONResponse([{"label": " ".join(label), "percent": float(share)} for share, _, *label in found])


app = Starlette(routes=[Route("/classify", classify, methods=["POST"])], lifespan=lifespan)
