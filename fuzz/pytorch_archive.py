"""Target: the code and pickles in TorchScript archives, which are checked before torch reads them.

The first byte says which of the two an input is. The checks raise only `NNError`, run nothing, and are quick.
"""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.pytorch import archive

MAX_SIZE = 32768

CODE, PICKLE = b"c", b"p"

_WEIGHTS = {"0": 64, "1": 1 << 20}


def run(data: bytes) -> None:
    """Check one text of code, or one pickle."""
    content = data[1:]
    with refusals(NNError):
        if data[:1] == CODE:
            archive.require_harmless_code(content.decode(errors="replace"))
        else:
            archive.require_harmless_data("data.pkl", content, lambda key: _WEIGHTS.get(key, 0))
