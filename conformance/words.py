"""The words for the numbers that guests print."""

from __future__ import annotations

ERRNOS = (
    "success",
    "invalid_argument",
    "invalid_encoding",
    "missing_memory",
    "busy",
    "runtime_error",
    "unsupported_operation",
    "too_large",
    "not_found",
)
CODES = (
    "invalid-argument",
    "invalid-encoding",
    "timeout",
    "runtime-error",
    "unsupported-operation",
    "too-large",
    "not-found",
    "security",
    "unknown",
)
SPECIFIED = {
    "invalid-argument": "Caller module passed an invalid argument.",
    "invalid-encoding": "Invalid encoding.",
    "timeout": "The operation timed out.",
    "runtime-error": "Runtime Error.",
    "unsupported-operation": "Unsupported operation.",
    "too-large": "Graph is too large.",
    "not-found": "Graph not found.",
    "security": "The operation is insecure or has insufficient privilege to be performed.",
    "unknown": "The operation failed for an unspecified reason.",
}
"""What the specification says of each code, in wasi-nn.wit."""
_CALLS = {
    *("load", "load_by_name", "init_execution_context", "set_input", "compute", "get_output", "unload"),
    *("load-by-name", "init-execution-context", "set-input", "get-output", "exit"),
    *("load_by_name_with_config", "compute_single", "get_output_single", "fini_single", "finalize_execution_context"),
    *("describe", "describe_output", "use_signature", "state_get", "state_set", "set_byte_strings", "get_byte_strings"),
    *("begin_sequence", "next_of_sequence", "end_sequence"),
    *("use-signature", "state-get", "state-set", "begin", "next", "new", "strings"),
}


def in_words(line: str, abi: str) -> str:
    """A line of a guest's output, with the word for the errno or code at its end: `compute 5 (runtime_error)`."""
    component = abi.startswith("2") or abi == "component-ext"
    names = CODES if component else ERRNOS
    label, _, values = line.rpartition(" ")
    shown = f"{label} {values.replace('|', ' or ')}".strip()
    if label not in _CALLS or (label == "exit" and component):
        return shown
    words = [names[int(each)] for each in values.split("|") if each.isdigit() and int(each) < len(names)]
    return f"{shown} ({', '.join(words)})" if words else shown
