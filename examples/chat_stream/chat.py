"""A chat in the browser: a guest talks with a language model, and its words come as server-sent events.

    MODEL=model.gguf GUEST=chat.wasm uvicorn chat:app
    curl -N -d "Who are you?" http://localhost:8000/chat

Each request has a guest of its own. The guest waits when the client reads slowly, and ends when the client leaves.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route

import wasi_nn

MODEL, GUEST = os.environ.get("MODEL", ""), os.environ.get("GUEST", "")
OPTIONS = json.dumps({"n-predict": int(os.environ.get("TOKENS", "200"))})
LONGEST_MESSAGE = 4000  # bytes
LIMITS = wasi_nn.Limits(guest_time=5, run_time=120, guest_memory=64 * 2**20, output_bytes=2**20)
PAGE = """<!doctype html><title>Chat</title>
<form><input name=message aria-label="Your message" autofocus> <button>Ask</button></form><pre></pre>
<script>
document.forms[0].onsubmit = async (event) => {
  event.preventDefault();
  const shown = document.querySelector("pre");
  shown.textContent = "";
  const answer = await fetch("chat", {method: "POST", body: event.target.message.value});
  let rest = "";
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split("\\n\\n");
    rest = events.pop();
    for (const line of events) if (line.startsWith("data: ")) shown.textContent += JSON.parse(line.slice(6)).text ?? "";
  }
};
</script>"""


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Load the model and compile the guest once."""
    with wasi_nn.Host({"llm": MODEL}, limits=LIMITS, allow_load=False) as host:
        app.state.host = host
        app.state.guest = await asyncio.to_thread(host.compile, GUEST)
        yield


async def words_of(app: Starlette, message: str) -> AsyncIterator[str]:
    """The guest's words as events, while it writes them."""
    loop, words = asyncio.get_running_loop(), asyncio.Queue[bytes | None](16)

    def put(piece: bytes | None) -> None:  # on a thread of the run's own, which waits when the queue is full
        asyncio.run_coroutine_threadsafe(words.put(piece), loop).result()

    arguments = ["--graph", "llm", "--options", OPTIONS, message]
    run = app.state.host.start(app.state.guest, arguments, stdout=put, stderr=lambda _: None)

    def wait() -> wasi_nn.RunResult:
        try:
            return run.wait()
        finally:
            put(None)

    ended = loop.run_in_executor(None, wait)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end in the middle of a character
    try:
        while (piece := await words.get()) is not None:
            if text := decoder.decode(piece):
                yield f"data: {json.dumps({'text': text})}\n\n"
        try:
            await ended
        except wasi_nn.WasiNNError as error:
            yield f"event: error\ndata: {json.dumps({'error': str(error).splitlines()[0]})}\n\n"
        yield "event: end\ndata: {}\n\n"
    finally:
        run.stop("the client has gone")  # no effect on a guest that has ended
        while not ended.done():
            await words.get()  # so that nothing waits for room in the queue


async def chat(request: Request) -> StreamingResponse:
    """The answer to the message of the body."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_MESSAGE:
            raise HTTPException(413, f"a message has at most {LONGEST_MESSAGE} bytes")
    message = body.decode(errors="replace").strip()
    if not message or "\0" in message or message.startswith("--"):  # a guest takes -- for an option
        raise HTTPException(400, "the body is no message")
    return StreamingResponse(words_of(request.app, message), media_type="text/event-stream")


async def page(_: Request) -> HTMLResponse:
    """A form that shows the words as they come."""
    return HTMLResponse(PAGE)


app = Starlette(routes=[Route("/", page), Route("/chat", chat, methods=["POST"])], lifespan=lifespan)
