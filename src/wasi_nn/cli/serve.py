"""`wasi-nn serve`: serves named graphs over HTTP and gRPC."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import PROGRAM, UsageError, graph_options, json_output
from wasi_nn.cli.limit_options import count, seconds, size
from wasi_nn.cli.steps import report_steps
from wasi_nn.settings import how_to_install_extra

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser
    from wasi_nn.serving.server import ServerSettings

_FIRST = (
    *("--graph", "--graphs", "--host", "--http-port", "--grpc-port"),
    *("--token-file", "--tls-cert", "--tls-key", "--admin", "--log-json"),
)
_EPILOG = """\
Clients speak the Open Inference Protocol, as those of Triton and KServe do:

  wasi-nn serve --graph colours=colours.onnx
  curl localhost:8000/v2/models/colours
  curl localhost:8000/v2/models/colours/infer -d \\
      '{"inputs": [{"name": "picture", "datatype": "FP32",
                    "shape": [1, 3, 1, 1], "data": [0.9, -0.9, -0.9]}]}'

The model is in the folder of the example that wasi-nn sdk names.

A file of graphs may describe guests too, each as a model that answers in a
sandbox (docs/how-to/guest-endpoints.md) or as a program that answers
HTTP (docs/how-to/http-guests.md).

For graphs of llama.cpp, OpenAI's client works too, with
http://localhost:8000/v1 as its base_url. In a browser, http://localhost:8000
is a page that shows how the server does, and lets you try each model.

SIGTERM ends the server once the requests that are under way have ended. SIGHUP
has it read the files of graphs and of tokens again, while requests go on.
"""

_LIMITS: dict[str, tuple[Any, str, str]] = {
    "computes": (count, "N", "computes at the same time (default: one for each processor)"),
    "queue": (count, "N", "requests of one model that wait for their turn; further ones are refused (default: 64)"),
    "total_queue": (count, "N", "requests of all models that wait for their turn (default: 256)"),
    "request_time": (seconds, "TIME", "time of a request, from its arrival to its outputs (default: 1m)"),
    "body_time": (seconds, "TIME", "time for a client to send a request's body (default: 30s)"),
    "header_time": (seconds, "TIME", "time for a client to send a request's headers (default: 10s)"),
    "idle_time": (seconds, "TIME", "time for which a connection is kept without a request (default: 1m)"),
    "drain_time": (seconds, "TIME", "time for requests that are under way when the server ends (default: 30s)"),
    "body_bytes": (size, "BYTES", "a request, also when it is decompressed (default: 64M)"),
    "json_bytes": (size, "BYTES", "the JSON in a request (default: 8M)"),
    "total_bytes": (size, "BYTES", "all requests that are under way, together (default: 1G)"),
    "header_bytes": (size, "BYTES", "the headers of a request (default: 64K)"),
    "guests": (count, "N", "requests that guests answer at the same time (default: 64)"),
    "tensors": (count, "N", "inputs and outputs that a request names (default: 256)"),
    "connections": (count, "N", "connections at the same time (default: 1024)"),
    "traces": (count, "N", "files in the directory of traces; the oldest ones are removed (default: 100)"),
}

_NEEDED = ("starlette", "uvicorn", "httptools", "grpc", "google.protobuf", "prometheus_client", "jinja2")


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `serve` to the command's parser."""
    parser = subcommands.add_parser(
        "serve",
        usage=f"{PROGRAM} serve [OPTIONS]",
        help="serve graphs over HTTP and gRPC",
        description="Serve named graphs over HTTP and gRPC, by the Open Inference Protocol\n(version 2).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    graph_options.add(parser, "graphs to serve, each as a model of its name")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, which only this machine reaches)",
    )
    for protocol, port in (("http", 8000), ("grpc", 8001)):
        parser.add_argument(
            f"--{protocol}-port",
            type=_port,
            default=port,
            metavar="PORT",
            help=f"the port for {'HTTP' if protocol == 'http' else 'gRPC'}; 0 for a free one, none for no such server "
            f"(default: {port})",
        )
    parser.add_argument(
        "--guests-port",
        type=_port,
        metavar="PORT",
        help="a further port for guests that answer HTTP, where their pages are no part of the server's for a browser; "
        "0 for a free one (default: none)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file of tokens, one a line: each request must have one (Authorization: Bearer TOKEN), but for health",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="a certificate (PEM, with its chain): serve by TLS only")
    parser.add_argument("--tls-key", metavar="FILE", help="the key of the certificate (PEM)")
    parser.add_argument(
        "--admin", action="store_true", help="let clients list, load and unload models (the model repository calls)"
    )
    parser.add_argument("--log-json", action="store_true", help="log each request on stderr as a line of JSON")
    json_output.add_option(parser, "print the addresses as a line of JSON, once the server listens")
    parser.add_argument("--no-page", action="store_true", help="have no page for browsers at /")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the server; needed for names with a dot, without tokens (repeatable)",
    )
    parser.add_argument(
        "--trace-dir",
        metavar="DIR",
        help="write traces of requests that ask for one (X-Trace: 1) into this directory, which must exist; "
        "answers name the file",
    )
    group = parser.add_argument_group(
        "limits of the server", "BYTES: 65536, 512M, 2G. TIME: 10 (seconds), 500ms, 10m, 1h.\nN: a whole number."
    )
    for name, (kind, metavar, text) in _LIMITS.items():
        flag = f"--max-{name.replace('_', '-')}"
        group.add_argument(flag, type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text)
    parser.first_options = _FIRST
    parser.set_defaults(main=main, module="wasi_nn.loading.registry")


def main(options: argparse.Namespace) -> int:
    """Serve until the server is asked to end; returns the exit code."""
    import asyncio

    if not (options.graphs or options.graph or options.nn_graph or options.nn_preload):
        raise UsageError("there are no graphs to serve: name some by --graphs FILE or --graph NAME=PATH")
    settings = _settings(options)
    registry = graph_options.registry(options, graph_options.rules(options))
    report_steps()
    from wasi_nn.serving.event_loop import loop_factory
    from wasi_nn.serving.observing.telemetry import set_up_by_environment
    from wasi_nn.serving.server import Server

    if settings.host not in ("127.0.0.1", "::1", "localhost") and settings.token_file is None:
        print(f"{PROGRAM}: whoever reaches {settings.host} may use the server: see --token-file", file=sys.stderr)
    with set_up_by_environment(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Server(registry, settings).run(_announce_as_json if options.json else _announce))
    return 0


def _announce(addresses: dict[str, str]) -> None:
    shown = [f"{address} (guests)" if name == "guests" else address for name, address in addresses.items()]
    print(f"serving on {' and '.join(shown)}", flush=True)


def _announce_as_json(addresses: dict[str, str]) -> None:
    print(json.dumps({"http": None, "grpc": None} | addresses), flush=True)


def _settings(options: argparse.Namespace) -> ServerSettings:
    """The settings that the options give. Raises `UsageError`."""
    missing = [module for module in _NEEDED if not _is_installed(module)]
    if missing:
        raise UsageError(f"{missing[0]} isn't installed: {how_to_install_extra('serve')}")
    from wasi_nn.serving.server import ServerSettings
    from wasi_nn.serving.settings import ServingLimits

    if options.http_port is None and options.grpc_port is None:
        raise UsageError("there is nothing to serve: --http-port and --grpc-port are both none")
    if options.http_port is None and options.guests_port is not None:
        raise UsageError("--guests-port is a further port of HTTP: give --http-port another value than none")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together: give both")
    values = {name: getattr(options, f"max_{name}") for name in _LIMITS if hasattr(options, f"max_{name}")}
    return ServerSettings(
        host=options.host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        guests_port=options.guests_port,
        token_file=None if options.token_file is None else Path(options.token_file),
        tls=None if options.tls_cert is None else (Path(options.tls_cert), Path(options.tls_key)),
        has_admin=options.admin,
        log_json=options.log_json,
        has_page=not options.no_page,
        names=tuple(options.allow_host),
        trace_dir=None if options.trace_dir is None else Path(options.trace_dir),
        limits=ServingLimits(**values),
    )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it isn't there
        return False


def _port(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a port is a number up to 65535, or none")
    return int(text)
