"""The files of the models, each made once."""

from __future__ import annotations

from functools import cache

from conformance.making.encodings import ENCODINGS
from conformance.making.models import MODELS, large


@cache
def files(encoding: str, model: str) -> list[bytes]:
    """The builders of a model in an encoding."""
    return list(ENCODINGS[encoding](large() if model == "large" else MODELS[model]).values())
