"""The extension for model repositories: the parameters of a load."""

from __future__ import annotations

from collections.abc import Iterable

from wasi_nn.serving.failures import Reason, ServingError


def require_no_changes(parameters: Iterable[str]) -> None:
    """Raise `ServingError` for parameters that would give a model another configuration, or other files: these are the
    operator's, in the file of graphs."""
    for name in parameters:
        if name == "config" or name.startswith("file:"):
            message = f"parameter {name!r}: a model's configuration and files are those of the server's file of graphs"
            raise ServingError(Reason.FORBIDDEN, message)
