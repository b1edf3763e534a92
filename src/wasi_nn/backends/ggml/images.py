"""Images in prompts: `<img src="data:image/png;base64,...">`, as WasmEdge's guests write them.

llama.cpp decodes PNG and JPEG with a parser that has had faults, and takes the memory that a picture says it needs. So
the format, the size and, in a PNG, the length of the packed data are checked first, and images of guests are decoded
only in an isolated process or with the operator's permission.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from typing import Any

from wasi_nn.backends.ggml.grammars import GuestPolicy
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set, how_to_set_option

MAX_IMAGES = 16
MAX_PROMPT = 1 << 26  # bytes of a prompt with its images
MAX_BYTES = 1 << 24  # of one image

_MAX_PIXELS = 1 << 24  # of all images of a prompt
_TAG = re.compile(r'<img src="data:image/(?:png|jpeg|jpg);base64,([^"<>]*)">')
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the color type of a PNG
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a JPEG that have its size
_NO_LENGTH = {0x01, 0xFF, *range(0xD0, 0xD9)}


def parts_of(prompt: str, policy: GuestPolicy) -> list[dict[str, Any]] | None:
    """The texts and images of a prompt, as a message's content; None for a prompt without images.

    Raises `NNError`: `security` if guests may give no images, `invalid-argument` for one that can't be read or a
    prompt that ends with one, `too-large` for too many, or too large ones.
    """
    pieces = _TAG.split(prompt)
    images = pieces[1::2]
    if not images:
        return None
    _require_allowed(policy)
    if len(images) > MAX_IMAGES:
        raise NNError(ErrorCode.TOO_LARGE, f"the prompt has {len(images)} images: at most {MAX_IMAGES} are allowed")
    if not pieces[-1]:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "the prompt ends with an image: text must follow it")
    parts: list[dict[str, Any]] = []
    pixels = 0
    for place, piece in enumerate(pieces):
        if place % 2:
            kind, width, height = _checked(piece, place // 2)
            pixels += width * height
            if pixels > _MAX_PIXELS:
                message = f"the images of the prompt have {pixels} pixels: at most {_MAX_PIXELS} are allowed"
                raise NNError(ErrorCode.TOO_LARGE, message)
            url = f"data:image/{kind};base64,{''.join(piece.split())}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif piece:
            parts.append({"type": "text", "text": piece})
    return parts


def has_images(prompt: str) -> bool:
    """Whether a prompt has images in it."""
    return _TAG.search(prompt) is not None


def check_image(data: bytes, policy: GuestPolicy) -> None:
    """Raise `NNError`, as `parts_of` does, for an image that isn't in a prompt yet."""
    _require_allowed(policy)
    _checked_bytes(data, "image of the option 'image'")


def text_bytes(prompt: str) -> int:
    """The bytes of a prompt without its images."""
    return sum(len(text.encode()) for text in _TAG.split(prompt)[::2])


def _require_allowed(policy: GuestPolicy) -> None:
    if policy.operator_options.get("allow-images", policy.in_worker):
        return
    isolate = how_to_set("LoadRules(isolate=True)", "--isolate")
    message = "this graph takes no images from guests, since llama.cpp's parser of images may not be safe"
    allow = how_to_set_option("allow-images", True)
    how = f"allow images ({allow})" if policy.in_worker else f"isolate the graph ({isolate}), or allow images ({allow})"
    raise NNError(ErrorCode.SECURITY, f"{message}: {how}")


def _checked(text: str, place: int) -> tuple[str, int, int]:
    """The format of an image in base64, `png` or `jpeg`, and its width and height."""
    what = f"image {place} of the prompt"
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the {what} isn't base64") from error
    return _checked_bytes(data, what)


def _checked_bytes(data: bytes, what: str) -> tuple[str, int, int]:
    if len(data) > MAX_BYTES:
        raise NNError(ErrorCode.TOO_LARGE, f"the {what} has {len(data)} bytes: at most {MAX_BYTES} are allowed")
    kind = "png" if data.startswith(_PNG) else "jpeg" if data.startswith(_JPEG) else ""
    if not kind:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the {what} is neither PNG nor JPEG")
    size = _png_size(data, what) if kind == "png" else _jpeg_size(data)
    if size is None or 0 in size:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the {what} is no whole {kind.upper()}")
    width, height = size
    if width * height > _MAX_PIXELS:
        limit = f"at most {_MAX_PIXELS} pixels are allowed"
        raise NNError(ErrorCode.TOO_LARGE, f"the {what} has {width} by {height} pixels: {limit}")
    return kind, width, height


def _png_size(data: bytes, what: str) -> tuple[int, int] | None:
    """The size of a PNG; None for one that isn't whole. Raises `NNError` with `too-large` if its packed data are longer
    than its size says."""
    at, size, most, packed = len(_PNG), None, 0, zlib.decompressobj()
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if len(content) != length:
            return None
        if size is None:
            if name != b"IHDR" or length != 13:
                return None
            width, height, depth, color = struct.unpack_from(">IIBB", content)
            size = width, height
            if width * height > _MAX_PIXELS or color not in _CHANNELS:
                return size if color in _CHANNELS else None
            most = 2 * height * (width * _CHANNELS[color] * depth // 8 + 16)  # twice, for an interlaced one's passes
        elif name == b"IDAT":
            try:
                most -= len(packed.decompress(content, max(most, 0) + 1))
            except zlib.error:
                return None
            if most < 0 or packed.unconsumed_tail:
                message = f"the {what} has more data than its {size[0]} by {size[1]} pixels need"
                raise NNError(ErrorCode.TOO_LARGE, message)
        elif name == b"IEND":
            return size
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _NO_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None
