"""Writes the numbers into the SDKs for guests, and builds the SDKs' examples.

    python tools/make_sdk.py numbers                   # the files of numbers of all languages, from the host's tables
    python tools/make_sdk.py guests [LANGUAGE]...      # the examples, beside their sources; those too large to be
                                                       # committed into build/sdk

`make sdk` does both. A test compares the files of numbers.
"""

from __future__ import annotations

import sys

from sdk_languages import assemblyscript, c, cpp, go, javascript, python, rust
from sdk_languages.language import Language
from sdk_languages.table import REPOSITORY

LANGUAGES: tuple[Language, ...] = tuple(it.LANGUAGE for it in (assemblyscript, c, cpp, go, javascript, python, rust))


def stale_numbers() -> dict[str, str]:
    """The files of numbers that aren't as the host's tables have it: their paths in the repository, and new texts."""
    stale = {}
    for language in LANGUAGES:
        for path, write in language.numbers.items():
            text = path.read_text() if path.exists() else ""
            if (new := write(text)) != text:
                stale[str(path.relative_to(REPOSITORY))] = new
    return stale


def build_guests(names: list[str]) -> None:
    """Build the examples of these languages, or of all."""
    known = {language.name: language for language in LANGUAGES}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no SDK is named {unknown[0]!r}: there are {', '.join(known)}")
    for name in names or known:
        for guest in {it.file: it for it in known[name].guests}.values():  # some are in one file
            guest.file.parent.mkdir(parents=True, exist_ok=True)
            guest.build(guest.file)
            guest.file.chmod(0o644)
            print(f"{guest.file.relative_to(REPOSITORY)} {guest.file.stat().st_size} bytes", flush=True)


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1:] == ["numbers"]:
        for name, text in stale_numbers().items():
            (REPOSITORY / name).write_text(text)
            print(f"{name} written")
    elif sys.argv[1:2] == ["guests"]:
        build_guests(sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
