"""The cost of the SDKs for guests: the time of an inference of four numbers by an SDK, beside one by the bare imports;
and for Python and JavaScript that of 600 kB in and out, which shows the cost of a byte.

Each guest makes the same three calls in a loop: it sets the input, computes, and reads the output into its own array.
The time of an inference is that of many, less that of few. `sdk_loops` has the loops; they are built into `build/sdk`,
which needs Zig, npm, componentize-py and Debian's `rustc`. A language whose tools aren't here is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx_models

from bench.ratios import best

LOOPS = Path(__file__).parent / "sdk_loops"
FEW, MANY, TURNS, CALLS = 1_000, 11_000, 15, 3
LARGE, FEW_LARGE, MANY_LARGE = 150_528, 10, 60  # f32: 602,112 bytes

Build = Callable[[Path], None]


def loops() -> dict[str, dict[str, Build]]:
    """The loops of each ABI: those of the SDKs by the languages' names, and `bare`."""
    import sys

    sys.path.append(str(LOOPS.parent.parent / "tools"))
    from sdk_languages import assemblyscript, c, cpp, javascript, python, rust

    found: dict[str, dict[str, Build]] = {}
    for abi in ("core", "component"):
        found[abi] = {
            "bare": partial(c.build, LOOPS / "bare.c", abi),
            "C": partial(c.build, LOOPS / "loop.c", abi),
            "C++": partial(c.build, LOOPS / "loop.cpp", abi, compiler=cpp.COMPILER),
        }
        source = str(LOOPS / "loop.rs")
        rusts: Build = partial(rust.build_module, source, "")
        found[abi]["Rust"] = partial(rust.build_component, source) if abi == "component" else rusts
    found["core"]["AssemblyScript"] = partial(assemblyscript.build, str(LOOPS / "loop"), False)
    found["component"]["Python"] = partial(python.build, ["loop"], "guest", folders=[LOOPS])
    found["component"]["JavaScript"] = partial(javascript.build, LOOPS / "loop.js", "guest")
    return found


def main() -> None:
    """Print the tables."""
    every = loops()
    import sdk_guests
    from sdk_languages.building import BUILD
    from sdk_languages.language import Guest

    def inference(guest: Guest, few: int, many: int, *count: int) -> float:
        taken, model = [], onnx_models.relu(count or (4,))
        for rounds in (few, many):
            begun = time.thread_time()
            arguments = ["net", "x", *map(str, (rounds, *count))]
            ran = sdk_guests.run(guest, arguments, {"net": model}, is_timed=True)
            taken.append(time.thread_time() - begun)
            assert ran.exit_code == 0, ran.stderr
        return (taken[1] - taken[0]) / (many - few)

    print(
        "| ABI | language | an inference | more than by the bare imports, for each of three calls |\n|---|---|---|---|"
    )
    guests: dict[str, dict[str, Guest]] = {}
    for abi, builds in every.items():
        times: dict[str, list[float]] = {name: [] for name in builds}
        guests[abi] = {}
        for name, build in builds.items():
            guest = Guest("loop", abi, BUILD / f"{name}-loop-{abi}.wasm", build, committed=False)
            guest.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                build(guest.file)
                guests[abi][name] = guest
            except (SystemExit, OSError) as error:  # without a tool
                print(f"| {abi} | {name} | can't be built: {error} | |")
        for _ in range(TURNS):
            for name, guest in guests[abi].items():
                times[name].append(inference(guest, FEW, MANY))
        bare = best(times["bare"])
        for name in guests[abi]:
            of_one = times[name]
            more = "" if name == "bare" else f"{1e6 * (best(of_one) - bare) / CALLS:.2f} us"
            print(f"| {abi} | {name} | {1e6 * best(of_one):.2f} us | {more} |", flush=True)

    print(f"\n| component | an inference of {4 * LARGE} bytes in and out | ns a byte, each way |\n|---|---|---|")
    large = {name: guest for name, guest in guests["component"].items() if name in ("Python", "JavaScript")}
    of_large: dict[str, list[float]] = {name: [] for name in large}
    for _ in range(TURNS):
        for name, guest in large.items():
            of_large[name].append(inference(guest, FEW_LARGE, MANY_LARGE, LARGE))
    for name, taken in of_large.items():
        print(f"| {name} | {1e3 * best(taken):.2f} ms | {1e9 * best(taken) / LARGE / 8:.2f} |")


if __name__ == "__main__":
    main()
