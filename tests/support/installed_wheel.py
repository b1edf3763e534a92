"""The package as users have it: a wheel, built from this repository and installed into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import make_dist
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Installation:
    """An environment with the installed wheel. `files` are the source archive and the wheel that was built from it. If
    it `is_alone`, no programs of this environment are on its path."""

    folder: Path
    files: tuple[Path, ...] = ()
    is_alone: bool = False

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """The folder of its packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def environment(self, home: Path) -> Mapping[str, str]:
        """Variables for programs that run in it, with a home of their own: nothing leads to the sources."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XDG_", "WASI_NN"))}
        others = [] if self.is_alone else [Path(sys.executable).parent]
        folders = (self.folder / "bin", *others, kept.get("PATH", os.defpath))
        path = os.pathsep.join(map(str, folders))
        return kept | {"PATH": path, "HOME": str(home), "VIRTUAL_ENV": str(self.folder)}


def install(folder: Path) -> Installation:
    """Build a release, and install its wheel into a new environment, which sees all other packages that this one has.
    Nothing is fetched from a network."""
    archive, wheel = make_dist.built(folder / "dist")
    installation = Installation(folder / "environment", (archive, wheel))
    _install_wheel(installation, wheel)
    # The packages of this environment, without its own way to the sources: files that name folders aren't read there.
    (installation.packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return installation


def install_alone(folder: Path, wheel: Path, extra: str) -> Installation:
    """Install a wheel into a new environment that has the packages that it asks for with an extra, and no others."""
    installation = Installation(folder / "environment", (wheel,), is_alone=True)
    _install_wheel(installation, wheel)
    own = next(installation.packages.glob("wasi_nn-*.dist-info"))
    todo = _needed(PathDistribution(own), {extra})
    linked: set[str] = set()
    while todo:
        name, extras = todo.popitem()
        package = distribution(name)
        if name not in linked:
            linked.add(name)
            _link(package, installation.packages)
            todo |= _needed(package, extras)
    return installation


def _needed(package: Distribution, extras: set[str]) -> dict[str, set[str]]:
    """The packages that one needs here with some of its extras, each with the extras that are needed of it."""
    needed: dict[str, set[str]] = {}
    for requirement in map(Requirement, package.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            needed.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
    return needed


def _link(package: Distribution, folder: Path) -> None:
    """Have the files of an installed package in another folder too, as links."""
    for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
        if top != "__pycache__" and not (folder / top).exists():
            (folder / top).symlink_to(Path(str(package.locate_file(top))))


def _install_wheel(installation: Installation, wheel: Path) -> None:
    _run([sys.executable, "-m", "venv", "--without-pip", str(installation.folder)])
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(installation.python)]
    _run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)])


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout
