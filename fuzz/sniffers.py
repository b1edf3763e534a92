"""Target: the functions that recognise a model for autodetect, and those that say what other bytes are. They raise
nothing for any bytes, in any backend, and their words are printable."""

from __future__ import annotations

from wasi_nn.backends import built_in
from wasi_nn.loading.explanation import what_is

MAX_SIZE = 16384

_BACKENDS = tuple(built_in())


def run(data: bytes) -> None:
    """Ask every backend whether it recognises the bytes, and what they are otherwise."""
    model = memoryview(data)
    for backend in _BACKENDS:
        assert isinstance(backend.sniff(model), bool)
        cut = backend.cut_short(model)
        assert cut is None or cut.isprintable()
    found = what_is(model)
    assert found is None or f"{found.name}: {found.advice}".isprintable()
