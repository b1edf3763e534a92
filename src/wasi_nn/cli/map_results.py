"""The results of `wasi-nn map` as lines of JSON, and those of an earlier run that was ended or interrupted."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import stat
import sys
from array import array
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from wasi_nn.cli import UsageError
from wasi_nn.errors import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.mapping.results import MapResult


_MARGIN = 50  # levels by which an output may be less deep than can be read here: it is read again within a result


def record(result: MapResult, *, parses: bool) -> dict[str, Any]:
    """A result as a JSON object. With `parses`, the guest's output is JSON itself, and becomes `output`."""
    content: dict[str, Any] = {"item": result.item, "ok": result.ok}
    failure, kind = result.failure, result.kind
    if result.exit_code is not None:
        content["exit_code"] = result.exit_code
    if parses and result.ok:
        try:
            content["output"] = _parsed(result.stdout)
        except (ValueError, RecursionError) as error:
            content["ok"], kind = False, "output"
            failure = f"the guest's output isn't JSON: {error}"
    if "output" not in content:
        content |= _text("stdout", result.stdout)
    content |= _text("stderr", result.stderr)
    content["seconds"] = round(result.seconds, 6)
    if not content["ok"]:
        content |= {"kind": kind, "error": failure}
    return content


def _parsed(output: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"JSON has no {word}")

    value = nested = json.loads(output, parse_constant=refuse)
    for _ in range(_MARGIN):
        nested = [nested]
    json.dumps(nested, allow_nan=False)  # numbers that are too large for floats are infinite
    return value


def _text(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


class _Names:
    """A set of names, as hashes of 16 bytes in order: a name takes no more memory than that, once all are added."""

    def __init__(self) -> None:
        self._halves = array("Q")
        self._sorted: Any = None

    def __len__(self) -> int:
        return len(self._halves) // 2 if self._sorted is None else len(self._sorted)

    def add(self, name: str) -> None:
        """Add a name. Before the first look-up only."""
        self._halves.frombytes(_hash(name))

    def __contains__(self, name: str) -> bool:
        import numpy as np

        if self._sorted is None:
            halves = np.frombuffer(self._halves, np.uint64).reshape(-1, 2)
            self._sorted = halves[np.argsort(halves[:, 0])]
            del halves
            self._halves = array("Q")  # which took as much memory again
        first, second = np.frombuffer(_hash(name), np.uint64)
        place = int(np.searchsorted(self._sorted[:, 0], first))
        while place < len(self._sorted) and self._sorted[place, 0] == first:
            if self._sorted[place, 1] == second:
                return True
            place += 1
        return False


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Results:
    """Where results are written: a file, or standard output. A context manager.

    A file that has results already is gone on with if `resumes`; a torn last line is dropped, `mended` says how many
    bytes it had. Raises `UsageError` for a file with content otherwise, and `NNError` with `invalid-argument` for one
    that has something else in it, or that another process writes.
    """

    def __init__(self, path: str | None, *, resumes: bool) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._done, self._failed = _Names(), _Names()
        self.mended = 0
        if path is None:
            return
        mode = "r+b" if resumes and os.path.exists(path) else "ab"
        self._file = open(path, mode, buffering=0)  # noqa: SIM115  # `__exit__` closes it
        try:
            self._begin(path, resumes)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, path: str, resumes: bool) -> None:
        assert self._file is not None  # it was opened
        state = os.fstat(self._file.fileno())
        if not stat.S_ISREG(state.st_mode):
            if resumes:
                raise UsageError(f"--resume needs a file of results, and {path} is no regular file")
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"another process writes its results to {path}") from error
        if resumes:
            self._read(path)
        elif state.st_size:
            raise UsageError(f"{path} has content: --resume goes on with results, or give another file")

    def _read(self, path: str) -> None:
        assert self._file is not None
        end = 0
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    self.mended = len(line)
                    break
                name, ok = _name_of(path, number, line)
                (self._done if ok else self._failed).add(name)
                end += len(line)
        if self.mended:
            self._file.truncate(end)
        self._file.seek(end)

    def has_done(self, name: str) -> bool:
        """Whether the file has a result of this item that is no failure."""
        return len(self._done) > 0 and name in self._done

    def has_failed(self, name: str) -> bool:
        """Whether the file has a failure of this item."""
        return len(self._failed) > 0 and name in self._failed

    def write(self, content: Mapping[str, Any]) -> None:
        """Write a result. It is in the operating system's hands then, and no end of this process loses it."""
        line = json.dumps(content) + "\n"
        if self._file is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        rest = memoryview(line.encode())
        while rest:
            rest = rest[self._file.write(rest) :]

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()


def _name_of(path: str, number: int, line: bytes) -> tuple[str, bool]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and isinstance(content.get("item"), str) and isinstance(content.get("ok"), bool):
        return content["item"], content["ok"]
    message = f"line {number} of {path} is no result of wasi-nn map: give the file of an earlier run, or another one"
    raise NNError(ErrorCode.INVALID_ARGUMENT, message)
