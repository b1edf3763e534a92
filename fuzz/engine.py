"""Runs one target in the fuzzer: `python -m fuzz.engine TARGET [libFuzzer's arguments]`.

Atheris traces which code of `wasi_nn` an input reaches, and libFuzzer mutates the inputs that reach new code.
"""

from __future__ import annotations

import sys

import atheris

import fuzz


def main() -> None:
    """Fuzz until the time is over or something is found, and end the process."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["wasi_nn"]):
        target = fuzz.target(name)
    mutate = getattr(target, "mutate", None)
    mutator = {} if mutate is None else {"custom_mutator": lambda *given: mutate(*given, atheris.Mutate)}
    atheris.Setup([name, f"-max_len={target.MAX_SIZE}", *arguments], target.run, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
