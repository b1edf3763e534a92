"""The program of the process that renders one model's chat template. `chat_template` starts it, and may kill it.

A template is a program of the model, and the model may be hostile: Jinja's sandbox keeps a template from Python's
objects, the limits of this process bound its memory, and its end bounds its time. Where the kernel can confine
processes, this one can open no file and no socket, should a template leave the sandbox.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wasi_nn.isolation.worker import sandbox
from wasi_nn.isolation.worker.main import end_with_host
from wasi_nn.process.resource_limits import limit

_SIZE = 8  # bytes of a number, little-endian, before each message: how many bytes of JSON follow


class _Refused(Exception):
    """The template refuses the conversation."""


def main(lifeline: str, memory: str, longest: str) -> NoReturn:
    """Render conversations, each a message on standard input, until that ends.

    lifeline  a descriptor of a pipe that the host's end closes
    memory    bytes of memory that this process may take
    longest   characters of a prompt

    The first message is the template with the tokens that it names, the others are lists of a conversation's messages.
    The answers have `prompt`, or `error` and whether the template itself `refused` the conversation.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_host(int(lifeline))
    time.localtime()  # reads the time zone, whose file can't be read later
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    confine(int(lifeline), int(memory))
    _write(answers, {})  # ready
    first: dict[str, Any] = _read(requests)
    try:
        template = _environment().from_string(first.pop("template"))
    except Exception as error:
        reason = f"it isn't a template: {_said(error)}"
        while True:
            _read(requests)
            _write(answers, {"error": reason, "refused": False})
    while True:
        messages = _read(requests)
        try:
            prompt = template.render(messages=messages, add_generation_prompt=True, **first)
            if len(prompt) > int(longest):
                raise ValueError(f"the prompt has {len(prompt)} characters, and at most {longest} are allowed")
            answer: dict[str, Any] = {"prompt": prompt}
        except _Refused as error:
            answer = {"error": _said(error), "refused": True}
        except Exception as error:  # also without memory or stack
            answer = {"error": _said(error), "refused": False}
        _write(answers, answer)
        del answer, messages


def confine(lifeline: int, memory: int) -> None:
    """Confine this process, as far as the kernel can, to computing in so many bytes of memory."""
    with suppress(OSError):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    if not sandbox.unavailable():
        with suppress(OSError):  # the kernel refuses it: the sandbox of Jinja is left, and the limits below
            sandbox.confine(sandbox.library_folders(), memory, 0, 1, sockets=False, lifeline=lifeline)
    limit(resource.RLIMIT_DATA, memory)
    limit(resource.RLIMIT_CORE, 0)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = time.strftime
    return environment


def _as_json(value: Any, indent: int | None = None) -> str:
    """As models were trained with: the characters as they are, not escaped for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: object) -> NoReturn:
    raise _Refused(str(message))


def _said(error: Exception) -> str:
    text = str(error.message if isinstance(error, TemplateError) else error) or type(error).__name__
    return text[:500]


def _read(stream: BinaryIO) -> Any:
    size = stream.read(_SIZE)
    if len(size) < _SIZE:
        os._exit(0)
    return json.loads(stream.read(int.from_bytes(size, "little")))


def _write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    content = json.dumps(answer).encode()
    stream.write(len(content).to_bytes(_SIZE, "little") + content)
    stream.flush()
