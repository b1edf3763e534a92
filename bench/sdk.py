"""The cost of the SDKs for guests: the time of an inference of four numbers by an SDK, compared with one by the bare
imports; and for Python and JavaScript that of 600 kB in and out, which shows the cost of a byte.

Each guest makes the same three calls in a loop: it sets the input, computes, and reads the output into its own array.
The time of an inference is that of many, less that of few. `sdk_loops` has the loops; they are built into `build/sdk`,
which needs Zig, npm, Go, componentize-py and Debian's `rustc`. A language whose tools aren't here is left out.

    python -m bench.sdk            # the times
    python -m bench.sdk --sizes    # the sizes of these guests, and the times of their builds

Each of these guests is the smallest one that makes an inference in its language: a graph by its name, an input, a
compute, and an output. The time of a build is that after a change of the guest's source, the quickest of three."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import onnx_models

from bench.ratios import best

sys.path.append(str(Path(__file__).parent.parent / "tools"))

import sdk_guests
from sdk_languages import assemblyscript, c, cpp, go, javascript, python, rust
from sdk_languages.building import BUILD
from sdk_languages.language import Guest

LOOPS = Path(__file__).parent / "sdk_loops"
CHANGED = BUILD.parent / "sdk_loops"
FEW, MANY, TURNS, CALLS, BUILDS = 1_000, 11_000, 15, 3, 3
LARGE, FEW_LARGE, MANY_LARGE = 150_528, 10, 60  # f32: 602,112 bytes

Build = Callable[[Path], None]


def loops(folder: Path = LOOPS) -> dict[str, dict[str, Build]]:
    """The loops of each ABI, from a folder: those of the SDKs by the languages' names, and `bare`."""
    found: dict[str, dict[str, Build]] = {}
    for abi in ("core", "component"):
        found[abi] = {
            "bare": partial(c.build, folder / "bare.c", abi),
            "C": partial(c.build, folder / "loop.c", abi),
            "C++": partial(c.build, folder / "loop.cpp", abi, compiler=cpp.COMPILER),
        }
        source = str(folder / "loop.rs")
        rusts: Build = partial(rust.build_module, source, "")
        found[abi]["Rust"] = partial(rust.build_component, source) if abi == "component" else rusts
    found["core"]["Go"] = partial(go.build, str(folder / "loop.go"), False)
    found["core"]["AssemblyScript"] = partial(assemblyscript.build, str(folder / "loop"), False)
    found["component"]["Python"] = partial(python.build, ["loop"], "guest", folders=[folder])
    found["component"]["JavaScript"] = partial(javascript.build, folder / "loop.js", "guest")
    return found


def changed(number: int) -> dict[str, dict[str, Build]]:
    """The loops with another number in each source, so that no toolchain takes its last result."""
    CHANGED.mkdir(parents=True, exist_ok=True)  # as far below the repository's root as the sources are
    for source in filter(Path.is_file, LOOPS.iterdir()):
        text, count = re.subn(r"-1\b", f"-{number}", source.read_text())
        assert count, source
        (CHANGED / source.name).write_text(text)
    return loops(CHANGED)


def guest_of(abi: str, name: str, build: Build) -> Guest | None:
    """A loop that is built; None, with a line on the standard error, without the language's tools."""
    guest = Guest("loop", abi, BUILD / f"{name}-loop-{abi}.wasm", build, committed=False)
    guest.file.parent.mkdir(parents=True, exist_ok=True)
    try:
        build(guest.file)
    except (SystemExit, OSError, CalledProcessError) as error:
        print(f"the guest in {name} for the ABI {abi} can't be built: {error}", file=sys.stderr)
        return None
    return guest


def sizes() -> None:
    """Print the table of sizes."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for turn in range(1 + BUILDS):
        for abi, builds in changed(2 + time.time_ns() % 1_000_000).items():
            for name, build in builds.items():
                begun = time.perf_counter()
                guest = guest_of(abi, name, build)
                if guest is not None and turn:  # the first one builds what all programs of the language share
                    taken = time.perf_counter() - begun
                    found.setdefault((abi, name), []).append((taken, guest.file.stat().st_size))
    print("| ABI | language | size | build |\n|---|---|---|---|")
    for (abi, name), all_built in found.items():
        seconds, size = min(all_built)
        print(f"| {abi} | {name} | {size / 1000:,.0f} kB | {seconds:.1f} s |")


def inference(guest: Guest, few: int, many: int, count: int = 4) -> float:
    """The seconds of an inference of so many numbers."""
    of_rounds = []
    for rounds in (few, many):
        arguments = ["net", "x", str(rounds), *([] if count == 4 else [str(count)])]
        begun = time.thread_time()
        ran = sdk_guests.run(guest, arguments, {"net": onnx_models.relu((count,))}, is_timed=True)
        of_rounds.append(time.thread_time() - begun)
        assert ran.exit_code == 0, ran.stderr
    return (of_rounds[1] - of_rounds[0]) / (many - few)


def times() -> None:
    """Print the tables of times."""
    taken: dict[tuple[str, str], list[float]] = {}
    large: dict[str, list[float]] = {}
    every = {
        (abi, name): guest_of(abi, name, build) for abi, builds in loops().items() for name, build in builds.items()
    }
    guests = {key: guest for key, guest in every.items() if guest is not None}
    for _ in range(TURNS):
        for key, guest in guests.items():
            taken.setdefault(key, []).append(inference(guest, FEW, MANY))
            if key[1] in ("Python", "JavaScript"):
                large.setdefault(key[1], []).append(inference(guest, FEW_LARGE, MANY_LARGE, LARGE))
    print(
        "| ABI | language | an inference | more than by the bare imports, for each of three calls |\n|---|---|---|---|"
    )
    for abi, name in guests:
        of_one, bare = best(taken[abi, name]), best(taken[abi, "bare"])
        more = "" if name == "bare" else f"{1e6 * (of_one - bare) / CALLS:.2f} us"
        print(f"| {abi} | {name} | {1e6 * of_one:.2f} us | {more} |")
    print(f"\n| component | an inference of {4 * LARGE} bytes in and out | a byte, each way |\n|---|---|---|")
    for name, times_of_it in large.items():
        print(f"| {name} | {1e3 * best(times_of_it):.2f} ms | {1e9 * best(times_of_it) / LARGE / 8:.2f} ns |")


if __name__ == "__main__":
    sizes() if sys.argv[1:] == ["--sizes"] else times()
