"""The imports of wasi-nn:ext as WebAssembly text: only the functions that a guest calls."""

from __future__ import annotations

from collections.abc import Collection

from conformance.making.component_types import Function, exported, outer

_FAILS = "(error (own $error))"
_GRAPH = '(param "graph" (borrow $graph))'
_TENSOR = '(param "tensor" (borrow $tensor))'
_INPUTS = '(param "inputs" (list $named-tensor))'

EXTENSIONS = {
    "describe": Function(
        "describe", "describe", f"{_GRAPH} (result (result $graph-description {_FAILS}))", 2, lists=True
    ),
    "use-signature": Function(
        "signatures", "use-signature", f'{_GRAPH} (param "name" string) (result (result (own $graph) {_FAILS}))', 4
    ),
    "state-get": Function("state", "state-get", f"{_GRAPH} (result (result (list u8) {_FAILS}))", 2, lists=True),
    "state-set": Function("state", "state-set", f'{_GRAPH} (param "state" (list u8)) (result (result {_FAILS}))', 4),
    "begin": Function(
        "sequences",
        "begin",
        f'(param "context" (borrow $context)) {_INPUTS} (result (result (own $sequence) {_FAILS}))',
        4,
    ),
    "next": Function(
        "sequences",
        "[method]sequence.next",
        f'(param "self" (borrow $sequence)) (result (result (option (list $named-tensor)) {_FAILS}))',
        2,
        lists=True,
    ),
    "new": Function(
        "byte-strings",
        "new",
        '(param "dimensions" $tensor-dimensions) (param "strings" (list (list u8)))'
        f" (result (result (own $tensor) {_FAILS}))",
        5,
    ),
    "strings": Function(
        "byte-strings", "strings", f"{_TENSOR} (result (result (list (list u8)) {_FAILS}))", 2, lists=True
    ),
}
"""The functions, by the names that they have in the guests."""

NEEDS = {
    "describe": ("errors", "tensor", "inference", "graph"),
    "signatures": ("errors", "tensor", "inference", "graph"),
    "state": ("errors", "tensor", "inference", "graph"),
    "sequences": ("errors", "tensor", "inference"),
    "byte-strings": ("errors", "tensor"),
}
"""Each interface with those of wasi:nn whose types it uses."""

_TYPES = """  (import "wasi-nn:ext/types@0.1.0" (instance $types
    {outer}
    (type $named-tensor' (tuple string (own $tensor))) (export "named-tensor" (type $named-tensor (eq $named-tensor')))
    (type $element-type' (variant
      (case "number" $tensor-type) (case "byte-string") (case "native" string) (case "any")))
    (export "element-type" (type $element-type (eq $element-type')))
    (type $dimension' (variant (case "fixed" u32) (case "named" string) (case "unknown")))
    (export "dimension" (type $dimension (eq $dimension')))))
  (alias export $types "named-tensor" (type $named-tensor))
  (alias export $types "element-type" (type $element-type))
  (alias export $types "dimension" (type $dimension))"""
_RECORDS = [
    """(type $tensor-description' (record (field "name" string) (field "element-type" $element-type)
      (field "dimensions" (option (list $dimension))) (field "optional" bool)))""",
    exported("tensor-description"),
    """(type $graph-description' (record (field "encoding" $graph-encoding) (field "runtime" string)
      (field "device" string) (field "signature" string) (field "signatures" (list string))
      (field "inputs" (list $tensor-description)) (field "outputs" (option (list $tensor-description)))
      (field "metadata" (list (tuple string string)))))""",
    exported("graph-description"),
]


def extension_imports(functions: Collection[str], drops: Collection[str]) -> str:
    """The imports of an instance for each interface that is needed, behind those of wasi:nn."""
    used: dict[str, list[str]] = {}
    for name in functions:
        if name in EXTENSIONS:
            function = EXTENSIONS[name]
            used.setdefault(function.interface, []).append(f'(export "{function.name}" (func {function.type}))')
    parts = []
    if "describe" in used:
        parts.append('  (alias export $graph "graph-encoding" (type $graph-encoding))')
    if "describe" in used or "sequences" in used:
        parts.append('  (alias export $tensor "tensor-type" (type $tensor-type))')
        parts.append(_TYPES.format(outer="\n    ".join(outer("tensor", "tensor-type"))))
    if "byte-strings" in used:
        parts.append('  (alias export $tensor "tensor-dimensions" (type $tensor-dimensions))')
    types = {
        "describe": [*outer("error", "graph", "graph-encoding", "dimension", "element-type"), *_RECORDS],
        "signatures": outer("error", "graph"),
        "state": outer("error", "graph"),
        "sequences": [
            *outer("error", ("context", "graph-execution-context"), "named-tensor"),
            '(export "sequence" (type $sequence (sub resource)))',
        ],
        "byte-strings": outer("error", "tensor", "tensor-dimensions"),
    }
    for interface, exports in used.items():
        lines = "\n    ".join([*types[interface], *exports])
        parts.append(f'  (import "wasi-nn:ext/{interface}@0.1.0" (instance ${interface}\n    {lines}))')
    if "sequence" in drops:
        parts.append('  (alias export $sequences "sequence" (type $sequence))')
    return "\n".join(parts)
