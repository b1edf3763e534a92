"""A web service that takes uploads of some types only, told by their content and not by their names.

    MODEL=model.onnx LABELS=labels.txt GUEST=identify.wasm ALLOW=pdf,png FOLDER=uploads uvicorn gate:app
    curl --data-binary @report.pdf http://localhost:8000/upload/report.pdf

Magika's model tells the type; `python demo/models.py magika` in a checkout downloads it and its labels. The guest reads
the file's bytes in a sandbox and asks it. A file is put into FOLDER once its type is known and allowed, so FOLDER
never has a file of another type.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import wasi_nn

MODEL, LABELS, GUEST, FOLDER = (os.environ.get(name, "") for name in ("MODEL", "LABELS", "GUEST", "FOLDER"))
ALLOW = frozenset(os.environ.get("ALLOW", "pdf,png,jpeg").split(","))
SUREST_FROM = 90.0  # percent
LARGEST_UPLOAD = 64 * 2**20  # bytes
LIMITS = wasi_nn.Limits(guest_time=5, run_time=20, guest_memory=256 * 2**20, output_bytes=2**16)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Make the folder, load the model and compile the guest once."""
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    with wasi_nn.Host({"types": MODEL}, limits=LIMITS, allow_load=False) as host:
        app.state.host = host
        app.state.guest = await asyncio.to_thread(host.compile, GUEST)
        yield


def type_of(app: Starlette, file: Path) -> tuple[str, float]:
    """The type of a file, and how sure the model is of it, in percent. It is ("unknown", 0) for a file too short."""
    labels = Path(LABELS).absolute()
    result = app.state.host.run(
        app.state.guest,
        ["--graph", "types", "--labels", f"/labels/{labels.name}", "/file/upload"],
        dirs={
            "/file": wasi_nn.Directory(file.parent, read_only=True),
            "/labels": wasi_nn.Directory(labels.parent, read_only=True),
        },
        capture_output=True,
    )
    told = re.search(rb"^/file/upload +(\S+) +([\d.]+) %", result.stdout, re.MULTILINE)
    return (told[1].decode(), float(told[2])) if told else ("unknown", 0.0)


async def upload(request: Request) -> JSONResponse:
    """Keep the body as a file of this name, if its type is allowed."""
    name = request.path_params["name"]
    if not re.fullmatch(r"[\w-][\w .-]{0,100}", name):
        raise HTTPException(400, "a name has letters, digits, spaces, points and dashes")
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".upload-") as folder:
        file = Path(folder, "upload")
        with file.open("wb") as opened:
            async for piece in request.stream():
                if opened.tell() + len(piece) > LARGEST_UPLOAD:
                    raise HTTPException(413, f"an upload has at most {LARGEST_UPLOAD} bytes")
                opened.write(piece)
        try:
            kind, sure = await asyncio.to_thread(type_of, request.app, file)
        except wasi_nn.GuestTrap as trap:
            raise HTTPException(422, f"the type can't be told: {trap.reason}") from trap
        if kind not in ALLOW or sure < SUREST_FROM:
            raise HTTPException(415, f"{name} is {kind} ({sure:.0f} %); allowed are {', '.join(sorted(ALLOW))}")
        try:
            os.link(file, Path(FOLDER, name))  # a rename would replace another file
        except FileExistsError:
            raise HTTPException(409, f"there is a file {name} already") from None
    return JSONResponse({"name": name, "type": kind}, 201)


app = Starlette(routes=[Route("/upload/{name}", upload, methods=["POST"])], lifespan=lifespan)
