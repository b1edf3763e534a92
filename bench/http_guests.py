"""The cost of guests that answer HTTP requests, compared with a plain echo of Starlette: requests, sandboxes, bodies.

The server is the command in a process of its own. One guest is a small component in C; the other one has CPython in it
(18 MB), as componentize-py builds it. Each is served twice: with a fresh sandbox for each request, and with
sandboxes that are used again. The guests and the echo send the body of a request back.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_models
import serving
from build_components import HTTP_SCRIPT
from conftest import SUPPORT
from python_guests import python_guest

from bench.ratios import best, side_by_side
from bench.serving import Call, memory, posting, rate

ROUNDS = 60
COUNTED, MANY = 1500, 5000  # requests
SIZES = {"10 bytes": 10, "600 kB": 600_000, "5 MB": 5_000_000}


def echo(listening: Any) -> None:
    """Serve a plain echo by Starlette and uvicorn; tells the port."""
    import asyncio

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def back(request: Request) -> Response:
        return Response(await request.body())

    async def serve() -> None:
        application = Starlette(routes=[Route("/", back, methods=["POST"])])
        server = uvicorn.Server(
            uvicorn.Config(application, http="httptools", port=0, access_log=False, log_level="error")
        )
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        listening.send(server.servers[0].sockets[0].getsockname()[1])
        await task

    asyncio.run(serve())


@contextmanager
def plain_echo() -> Iterator[tuple[tuple[str, int], int]]:
    """The address of the plain echo, and its process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=echo, args=(theirs,), daemon=True)
    process.start()
    try:
        port = ours.recv()
        assert process.pid is not None  # it runs
        yield ("127.0.0.1", port), process.pid
    finally:
        process.kill()
        process.join()


def makes(server: serving.Command, plain: tuple[str, int], size: int) -> dict[str, Callable[[], Call]]:
    """The functions that send a body of this size to each echo."""
    body = bytes(size)
    return {
        "a plain echo of Starlette": lambda: posting(plain, "/", body, {}),
        "a guest in C": lambda: posting(server.http, "/guests/c/echo", body, {}),
        "a guest in C, reused": lambda: posting(server.http, "/guests/c-reused/echo", body, {}),
        "a guest in Python": lambda: posting(server.http, "/guests/python/echo", body, {}),
        "a guest in Python, reused": lambda: posting(server.http, "/guests/python-reused/echo", body, {}),
    }


def latencies(server: serving.Command, plain: tuple[str, int]) -> None:
    """Print the times of one request."""
    print("| one client, ms: least (median) | " + " | ".join(SIZES) + " |\n|---|---|---|---|")
    columns = []
    for size in SIZES.values():
        calls = {name: make() for name, make in makes(server, plain, size).items()}
        columns.append(side_by_side(calls, ROUNDS))
    for name in columns[0]:
        cells = [f"{1e3 * best(times[name]):.2f} ({1e3 * statistics.median(times[name]):.2f})" for times in columns]
        print(f"| {name} | {' | '.join(cells)} |")


def rates(server: serving.Command, plain: tuple[str, int]) -> None:
    """Print the requests a second."""
    print("\n| 10 bytes, requests a second | 1 client | 16 clients |\n|---|---|---|")
    for name, make in makes(server, plain, 10).items():
        print(f"| {name} | {rate(make, 1):.0f} | {rate(make, 16):.0f} |")


def processor_time(process: int) -> float:
    """The processor time of a process so far, in seconds, to a hundredth."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def costs(server: serving.Command, plain: tuple[str, int], plain_process: int) -> None:
    """Print the processor time of the server for a request, which other work on the machine hardly changes."""
    print("\n| 10 bytes | processor time of the server for a request, ms |\n|---|---|")
    for name, make in makes(server, plain, 10).items():
        call, process = make(), plain_process if "plain" in name else server.process.pid
        for _ in range(COUNTED // 10):
            call()
        began = processor_time(process)
        for _ in range(COUNTED):
            call()
        print(f"| {name} | {1e3 * (processor_time(process) - began) / COUNTED:.2f} |")


def growth(server: serving.Command, plain: tuple[str, int]) -> None:
    """Print the memory and the open files of the server after many requests."""
    calls = [make() for name, make in makes(server, plain, 10_000).items() if "guest" in name]
    sizes = []
    for _ in range(5):
        for _ in range(MANY // 10):
            for call in calls:
                call()
        files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        sizes.append(f"{memory(server.process.pid) / 2**20:.1f} ({files})")
    print(f"\nMiB of the server's own memory (and open files) after each fifth of {MANY} requests: {', '.join(sizes)}")


def main() -> None:
    """Print all tables."""
    guests = {"c": SUPPORT / "http" / "guest.wasm", "python": python_guest(HTTP_SCRIPT)}
    with tempfile.TemporaryDirectory() as folder, plain_echo() as (plain, plain_process):
        graphs = serving.write_graphs(Path(folder), {"net": onnx_models.relu()})
        with graphs.open("a") as file:
            for name, path in guests.items():
                file.write(f'[guests.{name}]\npath = "{path}"\n[guests.{name}-reused]\npath = "{path}"\nreuse = true\n')
        with serving.command("--graphs", str(graphs)) as server:
            for name in guests:
                for kind in (name, f"{name}-reused"):
                    while server.ask("POST", f"/guests/{kind}/echo", b"")[0] != 200:
                        pass
            latencies(server, plain)
            costs(server, plain, plain_process)
            rates(server, plain)
            growth(server, plain)


if __name__ == "__main__":
    main()
