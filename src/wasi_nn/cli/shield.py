"""Keeps messages of ML runtimes out of the output of the command and its guest.

The libraries of runtimes print notices, warnings and progress to descriptors 1 and 2. So the command and its guest
write to copies of these descriptors. Descriptors 1 and 2 themselves lead to /dev/null, or to stderr if the user wants
to see the messages.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TextIO


def shield(show: bool) -> tuple[int, int]:
    """Replace `sys.stdout` and `sys.stderr` by streams on copies of their descriptors; returns the two copies.

    With `show`, output to descriptors 1 and 2 goes to stderr; otherwise it is dropped.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # A closed standard descriptor would become the number of some other file, and a library would print into that file.
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:
        nowhere = os.dup(nowhere)
    stdout, stderr = os.dup(1), os.dup(2)
    sys.stdout, sys.stderr = _stream(sys.stdout, stdout, False), _stream(sys.stderr, stderr, True)
    # If a library crashes the process, its last messages may be lost; the place of the crash isn't.
    faulthandler.enable(sys.stderr, all_threads=False)
    for descriptor in (1, 2):
        os.dup2(stderr if show else nowhere, descriptor)
    os.close(nowhere)
    return stdout, stderr


def _stream(like: TextIO | None, descriptor: int, line_buffered: bool) -> TextIO:
    buffering = 1 if line_buffered or os.isatty(descriptor) else -1
    encoding, errors = (like.encoding, like.errors) if like is not None else ("utf-8", "replace")
    return open(descriptor, "w", buffering, encoding, errors)
