"""The cost of the SDKs for guests: the time of an inference of four numbers by an SDK, beside one by the bare imports.

Each guest makes the same three calls in a loop: it sets the input, computes, and reads the output into its own array.
The time of an inference is that of many, less that of few. `sdk_loops` has the loops; they are built into `build/sdk`,
which needs Zig, npm and Debian's `rustc`. A language whose tools aren't here is left out.
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

Build = Callable[[Path], None]


def loops() -> dict[str, dict[str, Build]]:
    """The loops of each ABI: those of the SDKs by the languages' names, and `bare`."""
    import sys

    sys.path.append(str(LOOPS.parent.parent / "tools"))
    from sdk_languages import assemblyscript, c, cpp, rust

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
    return found


def main() -> None:
    """Print the table."""
    every = loops()
    import sdk_guests
    from sdk_languages.building import BUILD
    from sdk_languages.language import Guest

    print(
        "| ABI | language | an inference | more than by the bare imports, for each of three calls |\n|---|---|---|---|"
    )
    model = onnx_models.relu()
    for abi, builds in every.items():
        times: dict[str, list[float]] = {name: [] for name in builds}
        guests = {}
        for name, build in builds.items():
            guest = Guest("loop", abi, BUILD / f"{name}-loop-{abi}.wasm", build, committed=False)
            guest.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                build(guest.file)
                guests[name] = guest
            except (SystemExit, OSError) as error:  # without a tool
                print(f"| {abi} | {name} | can't be built: {error} | |")
        for _ in range(TURNS):
            for name, guest in guests.items():
                taken = []
                for rounds in (FEW, MANY):
                    begun = time.thread_time()
                    ran = sdk_guests.run(guest, ["net", "x", str(rounds)], {"net": model})
                    taken.append(time.thread_time() - begun)
                    assert ran.exit_code == 0, ran.stderr
                times[name].append((taken[1] - taken[0]) / (MANY - FEW))
        bare = best(times["bare"])
        for name in guests:
            of_one = times[name]
            more = "" if name == "bare" else f"{1e6 * (best(of_one) - bare) / CALLS:.2f} us"
            print(f"| {abi} | {name} | {1e6 * best(of_one):.2f} us | {more} |", flush=True)


if __name__ == "__main__":
    main()
