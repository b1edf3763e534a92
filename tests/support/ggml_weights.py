"""Random weights for the tiny models of the tests."""

from __future__ import annotations

import gguf
import numpy as np


class Weights:
    """Adds tensors of random numbers to a model. `width` is the size of its norms."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int, scale: float, width: int) -> None:
        self._writer = writer
        self._numbers = np.random.default_rng(seed)
        self._scale = scale
        self._width = width

    def add(self, name: str, *dims: int) -> None:
        """Add a tensor of these dims."""
        self._writer.add_tensor(name, self._numbers.standard_normal(dims).astype(np.float32) * self._scale)

    def norm(self, name: str) -> None:
        """Add the weight and bias of a norm that changes nothing."""
        self._writer.add_tensor(f"{name}.weight", np.ones(self._width, np.float32))
        self._writer.add_tensor(f"{name}.bias", np.zeros(self._width, np.float32))
