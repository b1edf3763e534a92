"""What the command says on stderr while it works: warnings, and on a terminal also steps that take long."""

from __future__ import annotations

import logging
import sys

from wasi_nn.cli import PROGRAM


def report_steps() -> None:
    """Have the log on stderr: warnings, and on a terminal also slow steps, such as compiling or loading a model."""
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=logging.WARNING)
    if sys.stderr is not None and sys.stderr.isatty():
        logging.getLogger("wasi_nn").setLevel(logging.INFO)
