"""`ChatTemplate`: renders conversations by a model's own template, in a process that may be killed."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from wasi_nn.errors import one_line, printable
from wasi_nn.process import environment
from wasi_nn.process.processes import python_command
from wasi_nn.serving.failures import Reason, ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wasi_nn.backends.ggml.chat_format import ChatFormat

MEMORY = 256 * 2**20
"""The bytes of memory of a process that renders."""
SECONDS = 5.0
"""The seconds for rendering a conversation."""
_SECONDS_TO_START = 30.0
LONGEST = 4 * 2**20
"""The characters of a prompt."""
_SIZE = 8  # bytes before each message, as in `render_process`
_LONGEST_ANSWER = 12 * LONGEST + 1024  # bytes: JSON writes a character in at most twelve


class ChatTemplate:
    """A model's template. The process that renders it starts with the first conversation; one that takes too long or
    ends is replaced at the next. Conversations are rendered one after another. All of it runs in the event loop."""

    def __init__(self, form: ChatFormat) -> None:
        self._form = form
        self._process: asyncio.subprocess.Process | None = None
        self._killed: list[asyncio.subprocess.Process] = []
        self._lifeline = -1
        self._turn = asyncio.Lock()

    async def render(self, messages: Sequence[dict[str, Any]]) -> str:
        """The prompt for a conversation. Raises `ServingError`: `invalid` where the template refuses the conversation,
        `failed` where it takes too long, too much memory, or fails otherwise."""
        content = json.dumps(list(messages)).encode()
        async with self._turn:
            try:
                process = await self._started()
                async with asyncio.timeout(SECONDS):
                    answer = await _asked(process, content)
            except TimeoutError:
                self._kill()
                message = f"the model's chat template didn't end within {SECONDS:g} s"
                raise ServingError(Reason.FAILED, message) from None
            except (asyncio.IncompleteReadError, ConnectionError, OSError, ValueError) as error:
                self._kill()
                said = "its process ended" if isinstance(error, EOFError | ConnectionError) else one_line(error)
                raise ServingError(Reason.FAILED, f"the model's chat template failed: {said}") from None
            except BaseException:
                self._kill()  # its answer would be taken for the next one's
                raise
        if "prompt" not in answer:
            error_text = printable(" ".join(str(answer.get("error")).split()))[:500]
            if answer.get("refused"):
                raise ServingError(Reason.INVALID, f"the model's chat template refuses the messages: {error_text}")
            raise ServingError(Reason.FAILED, f"the model's chat template failed: {error_text}")
        prompt = str(answer["prompt"])
        try:
            prompt.encode()
        except UnicodeEncodeError:
            message = "the model's chat template failed: its prompt has half a character, which isn't UTF-8"
            raise ServingError(Reason.FAILED, message) from None
        return self._without_begin(prompt)

    async def close(self) -> None:
        """End the process."""
        self._kill()
        for process in self._killed:
            await process.wait()

    def _without_begin(self, prompt: str) -> str:
        begin = self._form.begin
        return prompt.removeprefix(begin) if self._form.has_begin and begin else prompt

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        self._kill()
        held, self._lifeline = os.pipe()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *python_command("wasi_nn.serving.texts.render_process:main", held, MEMORY, LONGEST),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment.for_process(),
                pass_fds=(held,),
                start_new_session=True,
            )
        finally:
            os.close(held)
        form = {"template": self._form.template, "bos_token": self._form.begin, "eos_token": self._form.end}
        async with asyncio.timeout(_SECONDS_TO_START):
            await _answer(process)  # it is ready
            await _tell(process, json.dumps(form | {"tools": None, "documents": None}).encode())
        return process

    def _kill(self) -> None:
        process, self._process = self._process, None
        self._killed = [killed for killed in self._killed if killed.returncode is None]
        if process is not None and process.returncode is None:
            process.kill()
            self._killed.append(process)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


async def _tell(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(len(content).to_bytes(_SIZE, "little") + content)
    await process.stdin.drain()


async def _asked(process: asyncio.subprocess.Process, content: bytes) -> dict[str, Any]:
    await _tell(process, content)
    return await _answer(process)


async def _answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    size = int.from_bytes(await process.stdout.readexactly(_SIZE), "little")
    if size > _LONGEST_ANSWER:
        raise ValueError("its answer is too large")
    answer = json.loads(await process.stdout.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("its answer isn't one")
    return answer
