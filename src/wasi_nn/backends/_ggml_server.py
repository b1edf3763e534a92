"""llama.cpp's server in this process: a model in memory, and the texts and embeddings that it makes."""

from __future__ import annotations

import json
import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from wasi_nn.backends._ggml_options import Loading, parameters
from wasi_nn.backends._gguf import Header
from wasi_nn.types import ErrorCode, NNError, printable

if TYPE_CHECKING:
    from xllamacpp import Server

    Chunk = dict[str, Any]


class PromptTooLong(NNError):
    """A prompt doesn't fit into the context (with `embedding`, into a batch)."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class Completion:
    """The pieces of a text, in whole characters, as llama.cpp writes them.

    To be gone through once. `input_tokens` and `output_tokens` count when all is written. To stop early, close the
    iterator: llama.cpp is told with the next piece.
    """

    def __init__(self, engine: Engine, prompt: str, wanted: Mapping[str, Any]) -> None:
        self.input_tokens = self.output_tokens = 0
        self._engine = engine
        # Nothing of one prompt is kept for the next, so that what a context gets depends on itself alone.
        self._request = {**wanted, "prompt": prompt, "stream": True, "cache_prompt": False}
        self._stopped = False

    def __iter__(self) -> Iterator[str]:
        # In a thread of its own, so that this one may be interrupted, and may ask for a piece at a time.
        chunks: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
        thread = threading.Thread(target=self._write, args=(chunks,), name="wasi-nn ggml")
        thread.start()
        reason, begun = "", ""
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                _require_success(chunk)
                (choice,) = chunk["choices"]
                if choice["finish_reason"]:
                    reason = choice["finish_reason"]
                    self.input_tokens = chunk["usage"]["prompt_tokens"]
                    self.output_tokens = chunk["usage"]["completion_tokens"]
                if self._request["n_predict"] == 0:  # which llama.cpp takes for 1
                    self.output_tokens = 0
                elif choice["text"]:
                    if "json_schema" in self._request:
                        begun += choice["text"]
                    yield choice["text"]
        finally:
            self._stopped = True
            thread.join()
        if "json_schema" in self._request:
            _require_json(begun, whole=reason == "stop" and "stop" not in self._request)

    def _write(self, chunks: SimpleQueue[Chunk | BaseException | None]) -> None:
        def take(chunk: Chunk) -> bool:
            chunks.put(chunk)
            return self._stopped

        try:
            self._engine.complete(self._request, take)
        except BaseException as error:
            chunks.put(error)
        finally:
            chunks.put(None)


def _require_success(answer: Mapping[str, Any]) -> None:
    """Raise what an answer of llama.cpp's server says, if it says that something is wrong."""
    error = answer.get("error")
    if error is None:
        return
    message = printable(" ".join(str(error.get("message", error)).split()))
    if error.get("type") == "exceed_context_size_error":
        raise PromptTooLong(
            f"the prompt has {error.get('n_prompt_tokens')} tokens, and the context {error.get('n_ctx')}: "
            "shorten it, or ask for a larger ctx-size"
        )
    if "too large to process" in message:
        raise PromptTooLong(f"llama.cpp says: {message}")
    code = ErrorCode.INVALID_ARGUMENT if error.get("code") == 400 else ErrorCode.RUNTIME_ERROR
    raise NNError(code, f"llama.cpp refuses: {message}")


def _require_json(text: str, whole: bool) -> None:
    """Raise `NNError` for text that can't have been kept to a JSON schema: llama.cpp drops one that it can't read, and
    says nothing."""
    if not text.strip() or text.lstrip()[0] in '{["-0123456789tfn':
        if not whole:
            return
        try:
            json.loads(text)
            return
        except ValueError:
            pass
    raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp didn't keep to the JSON schema: it can't use this one")


class Engine:
    """A model in memory: a server of llama.cpp, which takes one completion after another from any number of threads."""

    def __init__(self, path: str, wanted: Loading, operators: Mapping[str, Any], header: Header) -> None:
        import xllamacpp

        # The library that keeps to JSON schemas would write what it thinks of a schema to stderr.
        os.environ.setdefault("LLGUIDANCE_LOG_LEVEL", "0")
        self.loading = wanted
        try:
            server = xllamacpp.Server(parameters(path, wanted, operators, header))
        except RuntimeError as error:
            message = "llama.cpp can't load the model; with the option 'enable-log' it says why on stderr"
            raise NNError(ErrorCode.RUNTIME_ERROR, message) from error
        # A server that is dropped before its loop has begun never ends; once this is answered, it has begun.
        server.handle_metrics()
        _close_port(server)
        self._servers = [server]
        # At the latest before the interpreter ends, since threads of llama.cpp are running.
        weakref.finalize(self, self._servers.clear)

    def complete(self, wanted: Mapping[str, Any], take: Any) -> None:
        """Have a completion written; `take` gets each chunk, and returns whether to stop."""
        self._servers[0].handle_completions(wanted, take)

    def embedding(self, prompt: str) -> tuple[list[float], int]:
        """The embedding of a text, of length 1, and the number of its tokens."""
        answer = self._servers[0].handle_embeddings({"input": prompt, "encoding_format": "float"})
        _require_success(answer)
        return answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]


def _close_port(server: Server) -> None:
    """Stop the server's HTTP side from listening: all that is asked of it here is asked in this process."""
    host, _, port = server.listening_address.rpartition("/")[2].rpartition(":")
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and copy.getsockname()[:2] == (host, int(port)):
                    copy.shutdown(socket.SHUT_RDWR)
                    return
        except OSError:
            continue  # closed by another thread meanwhile
