"""The cost of the SDKs for guests: the time of an inference of four numbers by an SDK, beside one by the bare imports.

Each guest makes the same three calls in a loop: it sets the input, computes, and reads the output into its own array.
The time of an inference is that of many, less that of few. `sdk_loops` has the loops; they are built into `build/sdk`,
which needs Zig, npm, Go and Debian's `rustc`. A language whose tools aren't here is left out.

    python -m bench.sdk            # the times
    python -m bench.sdk --sizes    # the sizes of these guests, and the times of their builds

A guest of these is the smallest that does an inference: a graph by its name, an input, a compute, and an output. The time
of a build is that after a change of the guest's source, the quickest of three.
"""

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
from sdk_languages import assemblyscript, c, cpp, go, rust
from sdk_languages.building import BUILD
from sdk_languages.language import Guest

LOOPS = Path(__file__).parent / "sdk_loops"
CHANGED = BUILD.parent / "sdk_loops"
FEW, MANY, TURNS, CALLS, BUILDS = 1_000, 11_000, 15, 3, 3

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
    return found


def changed(number: int) -> dict[str, dict[str, Build]]:
    """The loops with another number in each source, so that no toolchain takes its last result."""
    CHANGED.mkdir(parents=True, exist_ok=True)  # as far below the repository's root as the sources are
    for source in LOOPS.iterdir():
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


def times() -> None:
    """Print the table of times."""
    model = onnx_models.relu()
    taken: dict[tuple[str, str], list[float]] = {}
    every = {(abi, name): guest_of(abi, name, build) for abi, builds in loops().items() for name, build in builds.items()}
    guests = {key: guest for key, guest in every.items() if guest is not None}
    for _ in range(TURNS):
        for key, guest in guests.items():
            of_rounds = []
            for rounds in (FEW, MANY):
                begun = time.thread_time()
                ran = sdk_guests.run(guest, ["net", "x", str(rounds)], {"net": model})
                of_rounds.append(time.thread_time() - begun)
                assert ran.exit_code == 0, ran.stderr
            taken.setdefault(key, []).append((of_rounds[1] - of_rounds[0]) / (MANY - FEW))
    print("| ABI | language | an inference | more than by the bare imports, for each of three calls |\n|---|---|---|---|")
    for abi, name in guests:
        of_one, bare = best(taken[abi, name]), best(taken[abi, "bare"])
        more = "" if name == "bare" else f"{1e6 * (of_one - bare) / CALLS:.2f} us"
        print(f"| {abi} | {name} | {1e6 * of_one:.2f} us | {more} |")


if __name__ == "__main__":
    sizes() if sys.argv[1:] == ["--sizes"] else times()
