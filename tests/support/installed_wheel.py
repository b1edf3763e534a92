"""The package as users have it: a wheel, built from this repository and installed into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conftest import REPOSITORY


@dataclass(frozen=True)
class Installation:
    """An environment with the installed wheel."""

    folder: Path

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
        folders = (self.folder / "bin", Path(sys.executable).parent, kept.get("PATH", os.defpath))
        path = os.pathsep.join(map(str, folders))
        return kept | {"PATH": path, "HOME": str(home), "VIRTUAL_ENV": str(self.folder)}


def install(folder: Path) -> Installation:
    """Build the wheel and install it into a new environment, which sees all other packages that this one has. Nothing
    is fetched from a network."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    _run(build, cwd=REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    installation = Installation(folder / "environment")
    _run([sys.executable, "-m", "venv", "--without-pip", str(installation.folder)])
    # The packages of this environment, without its own way to the sources: files that name folders aren't read there.
    (installation.packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(installation.python)]
    _run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)])
    return installation


def _run(command: list[str], cwd: Path | None = None) -> None:
    ended = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout
