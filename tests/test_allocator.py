"""Memory that a compute frees stays in the process for the next compute, in the processes of this package."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Allocates and frees as much memory as a compute might, many times; prints how many pages the kernel gave for the last.
_FREES = """
import ctypes, resource, sys
from wasi_nn.process.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [libc.malloc(20 << 20) for _ in range(3)]
    for part in parts:
        ctypes.memset(part, 1, 20 << 20)
    for part in parts:
        libc.free(part)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is on Linux")
@pytest.mark.parametrize(
    ("how", "setting", "few"),
    [("kept", "", True), ("as it is", "", False), ("kept", "MALLOC_TRIM_THRESHOLD_", False)],
)
def test_memory_that_was_freed_is_used_again(how: str, setting: str, few: bool) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment = clean | ({setting: "4096"} if setting else {})
    result = subprocess.run(
        [sys.executable, "-c", _FREES, how], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(result.stdout) < 1000) == few
