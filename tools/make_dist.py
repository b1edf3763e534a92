"""Builds a release into `dist/` and checks it: `python tools/make_dist.py [DIRECTORY]`.

The source archive is built from the files of git, and the wheel from the source archive. Both are built twice, and must
be the same to the byte: the time of each file is that of the last commit (`SOURCE_DATE_EPOCH`). The exit code is 1 if a
check fails.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.metadata import Metadata

REPOSITORY = Path(__file__).parents[1]
LEFT_OUT = (".ci/",)
"""Files of the repository that no user of the source archive needs."""
IN_WHEEL = ("wasi_nn/", "wasi_nn-")
LARGEST = 5 * 2**20  # bytes of a wheel: more would be a model or a runtime that got in


def main(arguments: list[str]) -> int:
    """Build and check; returns the exit code."""
    folder = Path(arguments[0]) if arguments else REPOSITORY / "dist"
    with tempfile.TemporaryDirectory() as again:
        files = built(folder)
        problems = [*problems_of(files), *differences(files, built(Path(again)))]
    for problem in problems:
        print(f"make_dist: {problem}", file=sys.stderr)
    for file in files:
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")
    return 1 if problems else 0


def built(folder: Path) -> list[Path]:
    """Build the source archive, and from it the wheel; returns the paths of both, the archive first."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("wasi_nn-*.tar.gz"), *folder.glob("wasi_nn-*.whl")):
        old.unlink()
    command = [sys.executable, "-I", "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    environment = {"SOURCE_DATE_EPOCH": last_commit(), **os.environ}
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        raise SystemExit(f"make_dist: the build failed:\n{ended.stdout}")
    return [next(folder.glob("wasi_nn-*.tar.gz")), next(folder.glob("wasi_nn-*.whl"))]


def last_commit() -> str:
    """The time of the last commit, in seconds since 1970; 1 January 2020 outside of git."""
    asked = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else "1577836800"


def problems_of(files: Iterable[Path]) -> list[str]:
    """What is wrong with a source archive and a wheel."""
    archive, wheel = files
    problems = []
    missing = sorted(tracked() - set(names_in(archive)))
    if missing:
        problems.append(f"{archive.name} lacks {', '.join(missing[:5])}: see [tool.hatch.build.targets.sdist]")
    names = names_in(wheel)
    strange = sorted(name for name in names if not name.startswith(IN_WHEEL))
    if strange:
        problems.append(f"{wheel.name} has {', '.join(strange[:5])}")
    if wheel.stat().st_size > LARGEST:
        problems.append(f"{wheel.name} has {wheel.stat().st_size:,} bytes, more than {LARGEST:,}")
    return problems + problems_of_metadata(wheel)


def problems_of_metadata(wheel: Path) -> list[str]:
    """What an index would refuse in the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        content = archive.read(name)
    try:
        metadata = Metadata.from_email(content, validate=True)
    except ExceptionGroup as group:
        return [f"{wheel.name}: {error}" for error in group.exceptions]
    problems = []
    if metadata.description_content_type != "text/markdown" or not metadata.description:
        problems.append(f"{wheel.name}: the description isn't the README in Markdown")
    if metadata.license_expression != "Apache-2.0" or metadata.license_files != ["LICENSE"]:
        problems.append(f"{wheel.name}: the licence isn't told")
    return problems


def differences(files: Iterable[Path], again: Iterable[Path]) -> list[str]:
    """The files that a second build made differently."""
    return [
        f"{one.name} isn't the same when it is built again"
        for one, other in zip(files, again, strict=True)
        if one.read_bytes() != other.read_bytes()
    ]


def names_in(file: Path) -> list[str]:
    """The files in an archive: those of a source archive without their common folder."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return wheel.namelist()
    with tarfile.open(file) as archive:
        return [member.name.partition("/")[2] for member in archive if member.isfile()]


def tracked() -> set[str]:
    """The files of the repository that belong into a source archive; none outside of git."""
    asked = ["git", "-C", str(REPOSITORY), "ls-files", "-z"]
    ended = subprocess.run(asked, capture_output=True, check=False)
    names = ended.stdout.decode().split("\0")[:-1] if ended.returncode == 0 else []
    return {name for name in names if not name.startswith(LEFT_OUT) and (REPOSITORY / name).is_file()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
