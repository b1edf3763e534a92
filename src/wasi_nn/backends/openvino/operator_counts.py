"""Counts the operators of an OpenVINO network without OpenVINO, also those in the bodies of loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from xml.parsers import expat

_MOST_BYTES = 256 << 20
_PART = 1 << 20
_LONGEST_TAG = 8 << 20


def openvino_operators(model: memoryview) -> Counter[str] | None:
    """How often each type of layer occurs, with its opset before it if that isn't OpenVINO's own; None for bytes that
    are no network. Raises `ValueError` for a malformed network, or one that defines entities."""
    head = bytes(model[:1024]).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not (head.startswith((b"<?xml", b"<net")) and b"<net" in head) or len(model) > _MOST_BYTES:
        return None
    counts = Counter[str]()

    def begin(name: str, attributes: Mapping[str, str]) -> None:
        if name == "layer":
            opset, kind = attributes.get("version", "opset"), attributes.get("type", "")
            counts[kind if opset.startswith("opset") else f"{opset}::{kind}"] += 1

    def refuse(*_: object) -> None:
        raise ValueError("it defines entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = refuse
    try:
        for start in range(0, len(model), _PART):
            parser.Parse(bytes(model[start : start + _PART]), False)
            if start + _PART - parser.CurrentByteIndex > _LONGEST_TAG:  # expat begins it anew with each part
                raise ValueError(f"a tag of it has more than {_LONGEST_TAG} bytes")
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError) as error:  # the latter for an encoding that Python doesn't have
        raise ValueError(str(error)) from None
    return counts
