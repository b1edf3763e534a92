"""llama.cpp's server in this process: a model in memory, and the texts and embeddings that it makes."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.ggml.gguf import Header
from wasi_nn.backends.ggml.options import Loading, parameters
from wasi_nn.errors import ErrorCode, NNError, PromptTooLong, printable
from wasi_nn.process import forks

if TYPE_CHECKING:
    from xllamacpp import Server

_MAX_SEQUENCES = 64
_CONTEXT_STEP = 256  # to a multiple of which llama.cpp makes a context


def require_success(answer: Mapping[str, Any]) -> None:
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


class Turns:
    """Whose turn it is: one at a time, in the order of asking."""

    def __init__(self) -> None:
        self._asked: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, who: object) -> None:
        """Wait for a turn."""
        with self._changed:
            self._asked.append(who)
            try:
                self._changed.wait_for(lambda: self._asked[0] is who)
            except BaseException:
                self.give_back(who)
                raise

    def give_back(self, who: object) -> None:
        """Let the next one have its turn."""
        with self._changed:
            self._asked.remove(who)
            self._changed.notify_all()

    @property
    def are_waited_for(self) -> bool:
        """Whether others wait for a turn."""
        return len(self._asked) > 1


class Engine:
    """A model in memory: a server of llama.cpp, which takes one completion after another from any number of threads.

    `turns` say whose text it is that is written.
    """

    def __init__(self, path: str, wanted: Loading, operators: Mapping[str, Any], header: Header) -> None:
        import xllamacpp

        # The library that keeps to JSON schemas would write what it thinks of a schema to stderr.
        os.environ.setdefault("LLGUIDANCE_LOG_LEVEL", "0")
        self.loading = wanted
        self.turns = Turns()
        self._sequences: weakref.WeakSet[object] = weakref.WeakSet()
        try:
            server = xllamacpp.Server(parameters(path, wanted, operators, header))
        except RuntimeError as error:
            how = "with the option 'enable-log' it says why on stderr (in the command, with --show-runtime-output)"
            raise NNError(ErrorCode.RUNTIME_ERROR, f"llama.cpp can't load the model; {how}") from error
        # A server that is dropped before its loop has begun never ends; once this is answered, it has begun.
        server.handle_metrics()
        _close_port(server)
        self._servers = [server]
        # At the latest before the interpreter ends, since threads of llama.cpp are running.
        weakref.finalize(self, _end, self._servers, forks.count)
        forks.leak_in_child(self)

    def complete(self, wanted: Mapping[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Have a completion written; `take` gets each chunk, and returns whether to stop."""
        self._servers[0].handle_completions(wanted, take)

    def admit(self, sequence: object) -> None:
        """Count a sequence of pieces as under way until it is dropped. Raises `NNError` with `too-large` for one too
        many."""
        if len(self._sequences) >= _MAX_SEQUENCES:
            message = f"{_MAX_SEQUENCES} sequences of this model are under way, this is one too many: end some"
            raise NNError(ErrorCode.TOO_LARGE, message)
        self._sequences.add(sequence)

    def count_tokens(self, prompt: str) -> int:
        """The number of a prompt's tokens."""
        # Of a prompt that is too long the server says how long it is, and evaluates nothing: so it is made too long.
        more = [0] * (self.loading.context + _CONTEXT_STEP)
        asked = object()
        self.turns.take(asked)
        try:
            if self.loading.embedding:
                answer = self._servers[0].handle_embeddings({"input": [prompt, *more]})
            else:
                answer = self._servers[0].handle_completions({"prompt": [prompt, *more], "n_predict": 1})
        finally:
            self.turns.give_back(asked)
        try:
            require_success(answer)
        except PromptTooLong:
            return int(answer["error"]["n_prompt_tokens"]) - len(more)
        raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp doesn't count the prompt's tokens")

    def embedding(self, prompt: str) -> tuple[list[float], int]:
        """The embedding of a text, of length 1, and the number of its tokens."""
        answer = self._servers[0].handle_embeddings({"input": prompt, "encoding_format": "float"})
        require_success(answer)
        return answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]


def _end(servers: list[Server], made_at: int) -> None:
    if forks.count == made_at:  # a fork hasn't got the threads that would be waited for
        servers.clear()


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
