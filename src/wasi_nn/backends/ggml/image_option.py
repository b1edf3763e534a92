"""WasmEdge's option `image`: the path of an image, which stands in the prompt where the prompt has `<image>`.

A graph opens no file of a guest. The session reads the file, and gives the graph the options without the path and,
behind a zero byte, the image. So the graph can be in a worker, which learns no path, and a trace of these options can
be replayed without the file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from wasi_nn.backends.ggml.images import MAX_BYTES, check_image
from wasi_nn.errors import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.grammars import GuestPolicy

IMAGE = "image"
"""The name of the option."""

FileReader = Callable[[str, int], bytes]
"""Gives the content of a guest's file by its path, if it has at most so many bytes. Raises `NNError`."""

_MAX_JSON = 1 << 20  # bytes
_PLACE = "<image>"
_END = b"\0"  # of the JSON, in which it can't be


def with_image(options: memoryview, read: FileReader) -> memoryview:
    """Options in a guest's JSON with the image that they name; the same ones if they name none, or can't be read.
    Raises as `read` does."""
    data = bytes(options) if options.nbytes <= _MAX_JSON else b""
    if not data.startswith(b"{") or not (b"image" in data or b"\\" in data):
        return options
    try:
        values = json.loads(data)
        path = values.pop(IMAGE, None)
        rest = json.dumps(values).encode()
    except (ValueError, RecursionError):
        return options
    return memoryview(rest + _END + read(path, MAX_BYTES)) if isinstance(path, str) and path else options


def without_image(options: memoryview | bytes) -> tuple[memoryview | bytes, bytes | None]:
    """The JSON, and the image behind it; None if there is none."""
    view = memoryview(options)
    if bytes(view[:1]) != b"{" or bytes(view[1:2]) == _END:  # the latter is UTF-16
        return options, None
    text, end, image = bytes(view).partition(_END)
    return (text, image) if end else (options, None)


def check_given(image: bytes, policy: GuestPolicy) -> None:
    """Raise `NNError` for the image of a guest's option that the graph doesn't take, as for one in a prompt."""
    if not policy.operator_options.get("mmproj"):
        message = "option 'image' of ggml has no effect on this graph: it takes no images, without a projector (mmproj)"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    check_image(image, policy)


def refuse_path() -> NNError:
    """The error for a path that no session has read."""
    message = (
        "option 'image' of ggml names a file, which is read for a guest that the host runs, and only for such a one"
    )
    return NNError(ErrorCode.SECURITY, f"{message}: put the image itself into the prompt")


def placed(prompt: str, image: bytes, has_images: bool) -> str:
    """A prompt with the image where it has `<image>`. A prompt that has images but no such place stays as it is.

    Raises `NNError` with `invalid-argument` for a prompt that has neither, or several places, as WasmEdge does.
    """
    count = prompt.count(_PLACE)
    if count == 1:
        content = base64.b64encode(image).decode()
        return prompt.replace(_PLACE, f'<img src="data:image/png;base64,{content}">')
    if count == 0 and has_images:
        return prompt
    found = f"has {count} places {_PLACE}" if count else f"has no place {_PLACE}"
    message = f"the prompt {found} for the image of the option 'image': it must have one"
    raise NNError(ErrorCode.INVALID_ARGUMENT, message)
