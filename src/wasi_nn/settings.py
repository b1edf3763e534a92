"""The names of a setting in Python, on the command line and in a file of graphs: the one phrase for them in errors."""

from __future__ import annotations

from typing import Any


def how_to_set(python: str, flag: str = "", key: str = "") -> str:
    """A setting by its names, for the end of an error message. `key` is its line in a file of graphs."""
    return ", ".join(name for name in (python, flag, key and f"{key} in graphs.toml") if name)


def how_to_set_option(name: str, value: Any) -> str:
    """How to give a graph an option of its backend."""
    import json
    import shlex

    text = json.dumps(value, ensure_ascii=False)
    text = "".join(it if it.isprintable() else json.dumps(it)[1:-1] for it in text)  # the value may be a model's
    is_word = isinstance(value, str) and value.isidentifier() and value not in ("true", "false", "null")
    flag = f"--graph-option {shlex.quote(f'NAME:{name}={value if is_word else text}')}"
    return how_to_set(f"options={{{name!r}: {value!r}}}", flag, f"options.{name} = {text}")


def how_to_install_extra(extra: str) -> str:
    """How to install what an extra of the package needs."""
    return f"pip install 'wasi-nn[{extra}]'"


BY_PATH = "the operator can load it by its path, without a sha256"
"""How to load a model that is refused from bytes, for errors. A model with a sha256 is loaded from bytes too."""


def how_to_run_by(encoding: str, runtime: str, extra: str) -> str:
    """How to run a model by another runtime, which this extra of the package installs."""
    how = how_to_set(f"runtime={runtime!r}", f"--runtime {encoding}={runtime}", f'runtime = "{runtime}"')
    return f"run it by {runtime}: {how}; if that isn't installed, {how_to_install_extra(extra)}"
