"""The engine's side of requests that guests make: its streams and pollables for each."""

from __future__ import annotations

from wasmtime import Engine

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.values import BOOL, TEXT, U32, U64
from wasi_nn.guests.http.helper_component import HelperComponent, HelperFunctions, Signatures
from wasi_nn.guests.store_limits import GuestStore

_SIGNATURES: Signatures = {
    "send": (TEXT, TEXT, BOOL, U64),
    "request-body": (U32,),
    "finish": (U32,),
    "break-off": (U32,),
    "subscribe": (U32,),
    "wait": (U32,),
    "look": (U32,),
    "response-body": (U32,),
    "end-response": (U32,),
}
"""The functions of `guests/bridge/outgoing.c`, which describes them."""

_PATIENCE = 10**9 * 86400 * 365
"""The nanoseconds that the engine waits for a connection, the head of an answer, and each part of its body. All of that
comes from this process, which has the times of its settings; without a time of ours the engine gives up after ten
minutes, and a guest may take that for the end of a body."""

INSTANCES = 4
"""The most instances and memories that the component has."""


class OutgoingHelper:
    """The component that makes requests, compiled for an engine."""

    def __init__(self, engine: Engine) -> None:
        self._helper = HelperComponent(engine, bridge.outgoing(), _SIGNATURES, http=True)

    def in_store(self, store: GuestStore) -> EngineExchanges:
        """The requests of a store, whose WASI and `wasi:http` are set."""
        return EngineExchanges(self._helper.in_store(store))


class EngineExchanges:
    """The requests of a store, by the numbers that `send` gives. Called on the guest's thread only. A method raises
    `GuestFault` if the engine refuses: the guest was stopped meanwhile, or still holds a stream that it had to drop."""

    def __init__(self, functions: HelperFunctions) -> None:
        self._call = functions.call
        self.count = 0
        """How many requests were sent."""

    def send(self, authority: str, path: str, *, has_body: bool) -> int:
        """Send a request to an authority; returns its number, or 0 if the engine can make no further request."""
        self.count += 1
        return self._call("send", authority, path, has_body, _PATIENCE)

    def request_body(self, number: int) -> int:
        """The output stream of a request's body, as the address of the engine's handle."""
        return self._call("request-body", number)

    def finish(self, number: int) -> bool:
        """End a request's body. Returns False if the connection is closed."""
        return bool(self._call("finish", number) & 0xFF)

    def break_off(self, number: int) -> None:
        """Leave a request's body incomplete."""
        self._call("break-off", number, has_result=False)

    def subscribe(self, number: int) -> int:
        """A pollable that is ready once there is an answer, as the address of the engine's handle."""
        return self._call("subscribe", number)

    def wait(self, number: int) -> None:
        """Wait until `look` gives anything but 0."""
        self._call("wait", number, has_result=False)

    def look(self, number: int) -> int:
        """0 while there is no answer, 1 if there is one, 2 if there will be none."""
        return self._call("look", number) & 0xFFFF_FFFF

    def response_body(self, number: int) -> int:
        """The input stream of an answer's body, as the address of the engine's handle."""
        return self._call("response-body", number)

    def end_response(self, number: int) -> None:
        """Drop an answer's body, whose stream the guest has dropped."""
        self._call("end-response", number, has_result=False)
