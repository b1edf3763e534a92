"""The command's output, apart from what the libraries of ML runtimes print to descriptors 1 and 2.

Those write there as they like: notices, warnings, progress. So the command and its guest write to copies of these
descriptors, and the numbers themselves lead nowhere, or to the standard error if the user wants to see it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TextIO


def shield(show: bool) -> tuple[int, int]:
    """Have `sys.stdout` and `sys.stderr` be copies; gives their descriptors.

    With `show`, what is printed to descriptors 1 and 2 comes out at the standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Whichever of the three is closed would be the number of another file, which a library would print into.
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:
        nowhere = os.dup(nowhere)
    stdout, stderr = os.dup(1), os.dup(2)
    sys.stdout, sys.stderr = _stream(sys.stdout, stdout, False), _stream(sys.stderr, stderr, True)
    # The last words of a library that crashes the process may be lost; that it crashed, and where, isn't.
    faulthandler.enable(sys.stderr, all_threads=False)
    for descriptor in (1, 2):
        os.dup2(stderr if show else nowhere, descriptor)
    os.close(nowhere)
    return stdout, stderr


def _stream(like: TextIO | None, descriptor: int, by_lines: bool) -> TextIO:
    buffering = 1 if by_lines or os.isatty(descriptor) else -1
    encoding, errors = (like.encoding, like.errors) if like is not None else ("utf-8", "replace")
    return open(descriptor, "w", buffering, encoding, errors)
