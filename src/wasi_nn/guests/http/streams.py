"""The engine's streams for the bodies of a request and its answer.

The engine gives a guest's store two streams of our choice: standard input and standard output. So these two are the
bodies, as pipes. A component of a few instructions (`helper_component`) asks the engine for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from wasmtime import Engine
from wasmtime.component import Linker, LinkerInstance

from wasi_nn.abi.component.typed_functions import define
from wasi_nn.abi.component.values import U64
from wasi_nn.abi.http.types import Running, Streams
from wasi_nn.abi.http.vocabulary import STREAM
from wasi_nn.guests.http.helper_component import HelperComponent, HelperFunctions, Signatures
from wasi_nn.guests.store_limits import GuestStore

_HELPER = """
(component
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "input-stream" (type (sub resource)))
    (export "output-stream" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $input (type $t)) (export "input-stream" (type $stream (eq $t)))
    (export "get-stdin" (func (result (own $stream))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $t)) (export "output-stream" (type $stream (eq $t)))
    (export "get-stdout" (func (result (own $stream))))))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $output (type $t)) (export "output-stream" (type $stream (eq $t)))
    (export "get-stderr" (func (result (own $stream))))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $t)) (export "pollable" (type $ready (eq $t)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $ready))))))
  (alias export $stdin "get-stdin" (func $get-stdin))
  (alias export $stdout "get-stdout" (func $get-stdout))
  (alias export $stderr "get-stderr" (func $get-stderr))
  (alias export $clock "subscribe-duration" (func $subscribe))
  (core func $in (canon lower (func $get-stdin)))
  (core func $out (canon lower (func $get-stdout)))
  (core func $err (canon lower (func $get-stderr)))
  (core func $wait (canon lower (func $subscribe)))
  (core module $code
    (import "host" "in" (func $in (result i32)))
    (import "host" "out" (func $out (result i32)))
    (import "host" "err" (func $err (result i32)))
    (import "host" "wait" (func $wait (param i64) (result i32)))
    (func (export "in") (result i32) (call $in))
    (func (export "out") (result i32) (call $out))
    (func (export "err") (result i32) (call $err))
    (func (export "after") (param i64) (result i32) (call $wait (local.get 0))))
  (core instance $host
    (export "in" (func $in)) (export "out" (func $out)) (export "err" (func $err)) (export "wait" (func $wait)))
  (core instance $guest (instantiate $code (with "host" (instance $host))))
  (alias core export $guest "in" (core func $call-in))
  (alias core export $guest "out" (core func $call-out))
  (alias core export $guest "err" (core func $call-err))
  (alias core export $guest "after" (core func $call-after))
  (func (export "request-body") (result (own $input)) (canon lift (core func $call-in)))
  (func (export "response-body") (result (own $output)) (canon lift (core func $call-out)))
  (func (export "errors") (result (own $output)) (canon lift (core func $call-err)))
  (func (export "after") (param "when" u64) (result (own $pollable)) (canon lift (core func $call-after))))
"""

_STDOUT, _CLOCK = "wasi:cli/stdout@0.2.", "wasi:clocks/monotonic-clock@0.2."
_SIGNATURES: Signatures = {"request-body": (), "response-body": (), "errors": (), "after": (U64,)}


class StreamsHelper:
    """The component that asks for streams, compiled for an engine."""

    def __init__(self, engine: Engine) -> None:
        self._helper = HelperComponent(engine, _HELPER, _SIGNATURES)

    def in_store(self, store: GuestStore) -> EngineStreams:
        """The streams of a store, whose WASI is set."""
        return EngineStreams(self._helper.in_store(store))


class EngineStreams(Streams):
    """The streams of a store."""

    def __init__(self, functions: HelperFunctions) -> None:
        self._functions = functions

    def request_body(self) -> int:
        return self._functions.call("request-body")

    def response_body(self) -> int:
        return self._functions.call("response-body")

    def errors(self) -> int:
        return self._functions.call("errors")

    def after(self, nanoseconds: int) -> int:
        return self._functions.call("after", nanoseconds)


def send_stdout_to_stderr(linker: Linker, imports: Iterable[str]) -> None:
    """Have what a guest prints go to the log with its errors, since standard output is the answer's body here."""
    for instance in _replaced(linker, imports, _STDOUT):
        define(instance, "get-stdout", (), STREAM, _errors)


def bound_sleep(linker: Linker, imports: Iterable[str]) -> None:
    """Have a guest that sleeps wake at the end of its time at the latest. It is stopped then, as soon as it runs its
    own code again: the engine can't stop one that sleeps."""
    for instance in _replaced(linker, imports, _CLOCK):
        define(instance, "now", (), U64, _now)
        define(instance, "resolution", (), U64, _resolution)
        define(instance, "subscribe-instant", (U64,), STREAM, _at)
        define(instance, "subscribe-duration", (U64,), STREAM, _after)


def _replaced(linker: Linker, imports: Iterable[str], interface: str) -> Iterator[LinkerInstance]:
    """The imported versions of one of the engine's interfaces, for functions that take the place of the engine's."""
    linker.allow_shadowing = True
    with linker.root() as root:
        for name in imports:
            if name.startswith(interface):
                with root.add_instance(name) as instance:
                    yield instance
    linker.allow_shadowing = False


def _errors(running: Running) -> int:
    return running.streams.errors()


def _now(_: Running) -> int:
    return time.monotonic_ns()


def _resolution(_: Running) -> int:
    return 1


def _at(running: Running, instant: int) -> int:
    return _after(running, max(0, instant - time.monotonic_ns()))


def _after(running: Running, duration: int) -> int:
    left = running.until - time.monotonic()
    return running.streams.after(duration if duration < 1e9 * left else max(0, int(1e9 * left)))
