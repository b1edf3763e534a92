"""Errors in OpenAI's form."""

from __future__ import annotations

from wasi_nn.arguments import shown
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.texts.text import PromptDoesNotFit

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class WrongParameter(ServingError):
    """A parameter of a request is wrong, or asks for something that the server lacks."""

    def __init__(self, parameter: str, message: str, reason: Reason = Reason.INVALID) -> None:
        super().__init__(reason, message)
        self.parameter = parameter


def wrong(parameter: str, wanted: str, value: object) -> WrongParameter:
    """The error for a parameter with a value that it can't have."""
    return WrongParameter(parameter, f"{parameter!r} is {wanted}, not {shown(value)}")


def unsupported(parameter: str, message: str) -> WrongParameter:
    """The error for a parameter that asks for something that the server lacks."""
    return WrongParameter(parameter, message, Reason.UNSUPPORTED)


def error_content(status: int, message: str, error: ServingError | None) -> dict[str, object]:
    """The JSON of an error: its text, its kind, the parameter that is wrong, and a code where clients know one."""
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    parameter, code = None, None
    if isinstance(error, WrongParameter):
        parameter = error.parameter
    elif isinstance(error, PromptDoesNotFit):
        code = "context_length_exceeded"
    elif error is not None and error.reason is Reason.NOT_FOUND:
        parameter, code = "model", "model_not_found"
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}
