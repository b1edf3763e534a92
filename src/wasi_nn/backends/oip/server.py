"""One server that speaks the Open Inference Protocol over gRPC: its calls, and its errors as those of wasi-nn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from wasi_nn.backends.remote.failover import Unanswered
from wasi_nn.errors import Busy, ErrorCode, NNError, printable, shortened
from wasi_nn.process.quiet import environment_with

if TYPE_CHECKING:
    from wasi_nn.backends.remote.addresses import Address
    from wasi_nn.backends.remote.calls import Call
    from wasi_nn.backends.remote.settings import RemoteSettings

_PORT = 8001
_SMALL_ANSWER = 16 << 20  # bytes of a description
_LONGEST_REASON = 600  # characters
_NO_CONNECTION = ("failed to connect", "DNS resolution failed")
"""How the details begin where no request was sent."""

_CODES = {
    "INVALID_ARGUMENT": ErrorCode.INVALID_ARGUMENT,
    "OUT_OF_RANGE": ErrorCode.INVALID_ARGUMENT,
    "DEADLINE_EXCEEDED": ErrorCode.TIMEOUT,
    "NOT_FOUND": ErrorCode.NOT_FOUND,
    "UNIMPLEMENTED": ErrorCode.UNSUPPORTED_OPERATION,
    "UNAUTHENTICATED": ErrorCode.SECURITY,
    "PERMISSION_DENIED": ErrorCode.SECURITY,
}
"""The error code for each code of gRPC; all others are runtime errors."""


def imported_grpc() -> Any:
    """The module `grpc`. It writes of its connections on the standard error, unless the user asks for that: the errors
    of calls say the same."""
    with environment_with(GRPC_VERBOSITY="NONE"):
        import grpc
    return grpc


class OipServer:
    """One server and the name of the model there. The connection is made by the first call, and again when it was
    lost."""

    def __init__(self, address: Address, settings: RemoteSettings, version: str, *, has_tls: bool) -> None:
        grpc = imported_grpc()

        from wasi_nn.oip.proto import open_inference_pb2 as messages

        self.name = f"{address.text.partition('://')[0]}://{address.host_and_port(_PORT)}"
        self.model, self.version = unquote(address.path.removeprefix("/")), version
        if not self.model or address.fragment:
            message = f"{printable(shortened(address.text))} names no model: it takes grpc://HOST:PORT/MODEL"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self._settings = settings
        self._messages = messages
        target = address.host_and_port(_PORT)
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # `Servers` knows which server to ask next
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, with its own credentials
            ("grpc.min_reconnect_backoff_ms", round(1000 * settings.connect_timeout)),  # until a connection is made
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message can't become a large one
            ("grpc.max_send_message_length", -1),  # the limits of the guest bound a request
            ("grpc.max_receive_message_length", max(settings.max_answer_bytes, _SMALL_ANSWER)),
        ]
        if has_tls:
            ca, key, cert = settings.credentials.certificates()
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        service = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]

        def method(name: str) -> Any:
            response = getattr(messages, f"{name}Response")
            return self._channel.unary_unary(f"/{service.full_name}/{name}", response_deserializer=response.FromString)

        self._ready, self._metadata, self._infer = map(method, ("ModelReady", "ModelMetadata", "ModelInfer"))

    def described(self, call: Call) -> Any:
        """The `ModelMetadataResponse` of the model, which must be ready. Raises `NNError`, `Unanswered` and `Busy`."""
        ready = self._messages.ModelReadyRequest(name=self.model, version=self.version)
        if not self._answer(self._ready, ready.SerializeToString(), call).ready:
            raise Unanswered(f"{self.name}: the model isn't ready", was_sent=False)
        metadata = self._messages.ModelMetadataRequest(name=self.model, version=self.version)
        return self._answer(self._metadata, metadata.SerializeToString(), call)

    def infer(self, request: bytes, call: Call) -> Any:
        """The `ModelInferResponse` for a serialized request. Raises `NNError`, `Unanswered` and `Busy`."""
        return self._answer(self._infer, request, call)

    def _answer(self, method: Any, request: bytes, call: Call) -> Any:
        import grpc

        token = self._settings.credentials.token()
        metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        future = method.future(request, timeout=call.seconds_left(), metadata=metadata)
        try:
            with call.ended_by(future.cancel):
                return future.result()
        except grpc.FutureCancelledError:
            call.seconds_left()  # raises if the call was stopped
            raise NNError(ErrorCode.RUNTIME_ERROR, f"{self.name}: the call was cancelled") from None
        except grpc.RpcError as error:
            # Without the cause: it has all that the server said.
            raise self._failure(error.code().name, error.details() or "", call) from None
        finally:
            future.cancel()  # of no effect but where an exception such as `KeyboardInterrupt` ends the wait

    def _failure(self, code: str, details: str, call: Call) -> NNError:
        reason = self._settings.credentials.without_tokens(printable(" ".join(details.split())))
        message = f"{self.name}: {reason[:_LONGEST_REASON] or code}"
        if code == "UNAVAILABLE":
            if details.startswith(_NO_CONNECTION):
                return Unanswered(f"{self.name} can't be reached: {reason[:_LONGEST_REASON]}", was_sent=False)
            return Unanswered(message, was_sent=True)
        if code == "RESOURCE_EXHAUSTED":
            # The libraries of gRPC say so of messages that are too large, and servers of too many requests.
            return NNError(ErrorCode.TOO_LARGE, message) if "larger than max" in details else Busy(message)
        if code == "DEADLINE_EXCEEDED" and "Deadline Exceeded" in details:
            return call.late()  # this side's own words
        return NNError(_CODES.get(code, ErrorCode.RUNTIME_ERROR), message)
