"""Runs llama.cpp's server in this process: an `Engine` has a model in memory, and makes texts and embeddings."""

from __future__ import annotations

import os
import re
import socket
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.ggml.files import ExtraFiles
from wasi_nn.backends.ggml.grammar_watch import PATIENCE
from wasi_nn.backends.ggml.grammars import GuestPolicy
from wasi_nn.backends.ggml.settings import LoadSettings, server_parameters
from wasi_nn.backends.ggml.slots import Slots, User
from wasi_nn.errors import ErrorCode, NNError, PromptTooLong, printable
from wasi_nn.process import forks
from wasi_nn.settings import how_to_set_option

if TYPE_CHECKING:
    from xllamacpp import Server

_MAX_SEQUENCES = 64
_MAX_BYTES_PER_TOKEN = 1024  # more than any token of a vocabulary has
_CONTEXT_STEP = 256  # tokens; llama.cpp rounds the size of a context up to a multiple of it
_LONGER_THAN_A_BATCH = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)")
_NO_TOKENS = "Input content cannot be empty"


def require_success(answer: Mapping[str, Any]) -> None:
    """Raise the `NNError` for an answer of llama.cpp's server that is an error."""
    error = answer.get("error")
    if error is None:
        return
    message = printable(" ".join(str(error.get("message", error)).split()))
    if error.get("type") == "exceed_context_size_error":
        tokens = int(error.get("n_prompt_tokens", 0))
        how = f"shorten the prompt, or give the graph a larger context ({how_to_set_option('ctx-size', 2 * tokens)})"
        raise PromptTooLong(f"the prompt has {tokens} tokens, and the context only {error.get('n_ctx')}: {how}")
    if too_long := _LONGER_THAN_A_BATCH.search(message):
        tokens, batch = map(int, too_long.groups())
        how = f"give the graph a larger context ({how_to_set_option('ctx-size', tokens)}), and batch-size if it is set"
        raise PromptTooLong(f"a text has {tokens} tokens, and a batch only {batch}: shorten the text, or {how}")
    if message == _NO_TOKENS:
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, "a text is empty, and this model gives no embedding of it: leave it out"
        )
    code = ErrorCode.INVALID_ARGUMENT if error.get("code") == 400 else ErrorCode.RUNTIME_ERROR
    raise NNError(code, f"llama.cpp reports an error: {message}")


class Engine:
    """A model in memory: a server of llama.cpp, which any thread may ask for a completion in one of its `slots`."""

    def __init__(self, path: str, settings: LoadSettings, policy: GuestPolicy, extra: ExtraFiles) -> None:
        import xllamacpp

        # Else the library that applies JSON schemas would write warnings about them to stderr.
        os.environ.setdefault("LLGUIDANCE_LOG_LEVEL", "0")
        self.settings = settings
        self.in_worker = policy.in_worker
        self.slots = Slots(settings.slots)
        self.max_unread: int = policy.operator_options.get("max-unread", 1 << 24)
        """The tokens that a text may be ahead of its reader while others wait for a slot."""
        self.grammar_time: float = policy.operator_options.get("max-grammar-time", PATIENCE)
        """The seconds that a guest's grammar may occupy llama.cpp while the guest waits for nothing."""
        self.takes_images = bool(extra.projector)
        self._sequences: weakref.WeakSet[object] = weakref.WeakSet()
        try:
            server = xllamacpp.Server(server_parameters(path, settings, policy.operator_options, extra))
        except RuntimeError as error:
            how = f"its log on stderr says why, if it is enabled ({how_to_set_option('enable-log', True)})"
            shown = "and the command shows it (--show-runtime-output)"
            raise NNError(ErrorCode.RUNTIME_ERROR, f"llama.cpp can't load the model: {how} {shown}") from error
        # A server that is dropped before its loop runs never ends. When this call returns, the loop runs.
        server.handle_metrics()
        _close_port(server)
        self._servers = [server]  # a list, from which the finalizer can drop it
        # The server must end before the interpreter does, since its threads are running.
        weakref.finalize(self, _end, self._servers, forks.count)
        forks.leak_in_child(self)

    @property
    def server_address(self) -> str:
        """The address of the server's own port, which is closed."""
        return str(self._servers[0].listening_address)

    @property
    def metrics(self) -> str:
        """llama.cpp's counts of the tokens that it has read and written."""
        return str(self._servers[0].handle_metrics())

    def go_round(self) -> None:
        """Wait until llama.cpp's loop has gone round once: its loop writes a token of each text, then it answers."""
        self._servers[0].handle_metrics()

    def complete(self, request: Mapping[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Write a completion. `take` is called with each chunk, and returns whether to stop."""
        if "messages" in request:
            self._servers[0].handle_chat_completions(request, take)
        else:
            self._servers[0].handle_completions(request, take)

    def admit(self, sequence: object) -> None:
        """Count a sequence of pieces until it is dropped. Raises `NNError` with `too-large` if there are too many."""
        if len(self._sequences) >= _MAX_SEQUENCES:
            message = (
                f"{_MAX_SEQUENCES} sequences of this model are under way, the most that it may have: end one first"
            )
            raise NNError(ErrorCode.TOO_LARGE, message)
        self._sequences.add(sequence)

    def count_tokens(self, prompt: str, user: User) -> int:
        """The number of a prompt's tokens. It takes a slot for a moment, and raises `NNError` as `Slots.take` does."""
        # The server evaluates nothing of a prompt that is too long, and its error has the length: so make it too long.
        padding = [0] * (self.settings.context + _CONTEXT_STEP)
        if self.settings.embedding:
            answer = self._servers[0].handle_embeddings({"input": [prompt, *padding]})
        else:
            with self.slots.borrowed(user) as slot:
                request = {"prompt": [prompt, *padding], "n_predict": 1, "id_slot": slot.number}
                answer = self._servers[0].handle_completions(request)
        try:
            require_success(answer)
        except PromptTooLong:
            return int(answer["error"]["n_prompt_tokens"]) - len(padding)
        raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp didn't report how many tokens the prompt has")

    @property
    def most_bytes(self) -> int:
        """The bytes of a text, above which no text fits the context."""
        return self.settings.context * _MAX_BYTES_PER_TOKEN

    def embeddings(self, texts: list[str], normalize: int) -> tuple[list[list[float]], int]:
        """The embedding of each text, and the number of all tokens."""
        request = {"input": texts, "encoding_format": "float", "embd_normalize": normalize}
        answer = self._servers[0].handle_embeddings(request)
        require_success(answer)
        vectors = sorted(answer["data"], key=lambda entry: int(entry["index"]))
        return [entry["embedding"] for entry in vectors], answer["usage"]["prompt_tokens"]

    def scores(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        """How well each document fits the query, and the number of all tokens."""
        answer = self._servers[0].handle_rerank({"query": query, "documents": documents})
        require_success(answer)
        scores = sorted(answer["results"], key=lambda entry: int(entry["index"]))
        return [entry["relevance_score"] for entry in scores], answer["usage"]["prompt_tokens"]


def _end(servers: list[Server], made_at: int) -> None:
    if forks.count == made_at:  # a forked child doesn't have the threads that this waits for
        servers.clear()


def _close_port(server: Server) -> None:
    """Close the port of the server's HTTP interface, which nothing here uses."""
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
