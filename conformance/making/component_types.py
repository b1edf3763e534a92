"""The imports of a component as WebAssembly text: only the functions that a guest calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from conformance.words import CODES

JUNE, AUGUST, OCTOBER = "2024-06-25", "2024-08-19", "2024-10-28"
VERSIONS = (JUNE, AUGUST, OCTOBER)

F16, F32, F64, BF16, U8, I32, I64 = range(7)
ENCODINGS = ("openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml", "autodetect")
CODE = {name: number for number, name in enumerate(CODES)}
INVALID, RUNTIME = CODE["invalid-argument"], CODE["runtime-error"]


@dataclass(frozen=True)
class Function:
    """A function of wasi:nn: where it is, its type, and its type in a core module."""

    interface: str
    name: str
    type: str
    parameters: int
    result: bool = False
    lists: bool = False
    """Whether it returns lists, for which the host asks the guest for memory."""

    @property
    def item(self) -> str:
        """Its name in the specification: that of a resource's function has the resource before it."""
        kind, _, name = self.name.rpartition("]")
        return f"{name}.constructor" if kind == "[constructor" else name

    @property
    def core(self) -> str:
        """Its type in a core module."""
        return f"(param{' i32' * self.parameters})" + (" (result i32)" if self.result else "")


_CONTEXT = "[method]graph-execution-context"
_SELF_TENSOR, _SELF_ERROR = '(param "self" (borrow $tensor))', '(param "self" (borrow $error))'
_FAILS = "(error (own $error))"
_SELF = '(param "self" (borrow $context))'

_COMMON = {
    "tensor": Function(
        "tensor",
        "[constructor]tensor",
        '(param "dimensions" $tensor-dimensions) (param "ty" $tensor-type) (param "data" $tensor-data)'
        " (result (own $tensor))",
        5,
        True,
    ),
    "tensor.dimensions": Function(
        "tensor", "[method]tensor.dimensions", f"{_SELF_TENSOR} (result $tensor-dimensions)", 2, lists=True
    ),
    "tensor.ty": Function("tensor", "[method]tensor.ty", f"{_SELF_TENSOR} (result $tensor-type)", 1, True),
    "tensor.data": Function("tensor", "[method]tensor.data", f"{_SELF_TENSOR} (result $tensor-data)", 2, lists=True),
    "error.code": Function("errors", "[method]error.code", f"{_SELF_ERROR} (result $error-code)", 1, True),
    "error.data": Function("errors", "[method]error.data", f"{_SELF_ERROR} (result string)", 2, lists=True),
    "load": Function(
        "graph",
        "load",
        '(param "builder" (list $graph-builder)) (param "encoding" $graph-encoding) (param "target" $execution-target)'
        f" (result (result (own $graph) {_FAILS}))",
        5,
    ),
    "load-by-name": Function(
        "graph", "load-by-name", f'(param "name" string) (result (result (own $graph) {_FAILS}))', 3
    ),
    "init-execution-context": Function(
        "graph",
        "[method]graph.init-execution-context",
        f'(param "self" (borrow $graph)) (result (result (own $context) {_FAILS}))',
        2,
    ),
}
_STATEFUL = {
    "set-input": Function(
        "inference",
        f"{_CONTEXT}.set-input",
        f'{_SELF} (param "name" string) (param "tensor" (own $tensor)) (result (result {_FAILS}))',
        5,
    ),
    "compute": Function("inference", f"{_CONTEXT}.compute", f"{_SELF} (result (result {_FAILS}))", 2),
    "get-output": Function(
        "inference",
        f"{_CONTEXT}.get-output",
        f'{_SELF} (param "name" string) (result (result (own $tensor) {_FAILS}))',
        4,
    ),
}
FUNCTIONS = {
    JUNE: _COMMON
    | _STATEFUL
    | {
        "error": Function(
            "errors",
            "[constructor]error",
            '(param "code" $error-code) (param "data" string) (result (own $error))',
            3,
            True,
        )
    },
    AUGUST: _COMMON | _STATEFUL,
    OCTOBER: _COMMON
    | {
        "compute": Function(
            "inference",
            f"{_CONTEXT}.compute",
            f'{_SELF} (param "inputs" (list $named-tensor)) (result (result (list $named-tensor) {_FAILS}))',
            4,
            lists=True,
        )
    },
}
"""The functions of each version, by the names that they have in the guests."""

DROPS = ("tensor", "graph", "context", "error")


_TYPE_NAMES = ("FP16", "FP32", "FP64", "BF16", "U8", "I32", "I64")


def exported(name: str) -> str:
    """A type that an instance exports, after its definition."""
    return f'(export "{name}" (type ${name} (eq ${name}\')))'


def outer(*names: str | tuple[str, str]) -> list[str]:
    """Types from outside an instance, each with the name by which it exports it, if that is another one."""
    pairs = ((name, name) if isinstance(name, str) else name for name in names)
    return [
        f"(alias outer 1 ${name} (type ${name}')) (export \"{shown}\" (type ${name} (eq ${name}')))"
        for name, shown in pairs
    ]


def _enum(names: Collection[str]) -> str:
    return "(enum " + " ".join(f'"{name}"' for name in names) + ")"


_NEEDS = {
    "tensor": ("tensor",),
    "errors": ("errors",),
    "inference": ("errors", "tensor", "inference"),
    "graph": ("errors", "tensor", "inference", "graph"),
}
"""Each interface with those whose types it uses."""
_RESOURCES = {"tensor": "tensor", "graph": "graph", "context": "inference", "error": "errors"}


def imports(version: str, functions: Collection[str], drops: Collection[str], others: Collection[str] = ()) -> str:
    """The imports of an instance for each interface that is needed, with the types of its functions. `others` are
    further interfaces that are needed."""
    used: dict[str, list[str]] = {"tensor": [], "errors": [], "graph": [], "inference": []}
    interfaces = (
        {FUNCTIONS[version][name].interface for name in functions} | {_RESOURCES[kind] for kind in drops} | {*others}
    )
    needed = {each for interface in interfaces for each in _NEEDS[interface]}
    for name in functions:
        function = FUNCTIONS[version][name]
        used[function.interface].append(f'(export "{function.name}" (func {function.type}))')

    def instance(interface: str, types: list[str]) -> str:
        lines = "\n    ".join([*types, *used[interface]])
        return f'  (import "wasi:nn/{interface}@0.2.0-rc-{version}" (instance ${interface}\n    {lines}))'

    parts = []
    if "errors" in needed:
        types = ['(export "error" (type $error (sub resource)))']
        types += [f"(type $error-code' {_enum(CODES)})", exported("error-code")]
        parts += [instance("errors", types), '  (alias export $errors "error" (type $error))']
    if "tensor" in needed:
        types = ['(export "tensor" (type $tensor (sub resource)))']
        types += [f"(type $tensor-dimensions' (list u32)) {exported('tensor-dimensions')}"]
        types += [f"(type $tensor-type' {_enum(_TYPE_NAMES)}) {exported('tensor-type')}"]
        types += [f"(type $tensor-data' (list u8)) {exported('tensor-data')}"]
        parts += [instance("tensor", types), '  (alias export $tensor "tensor" (type $tensor))']
    if "inference" in needed:
        types = outer("error", "tensor")
        if version == OCTOBER:
            types += [f"(type $named-tensor' (tuple string (own $tensor))) {exported('named-tensor')}"]
        types += ['(export "graph-execution-context" (type $context (sub resource)))']
        parts += [instance("inference", types)]
        parts += ['  (alias export $inference "graph-execution-context" (type $context))']
    if "graph" in needed:
        types = outer("error", ("context", "graph-execution-context"))
        types += ['(export "graph" (type $graph (sub resource)))']
        types += [f"(type $graph-encoding' {_enum(ENCODINGS)}) {exported('graph-encoding')}"]
        types += [f"(type $execution-target' {_enum(('cpu', 'gpu', 'tpu'))}) {exported('execution-target')}"]
        types += [f"(type $graph-builder' (list u8)) {exported('graph-builder')}"]
        parts += [instance("graph", types), '  (alias export $graph "graph" (type $graph))']
    return "\n".join(parts)


PRINTING = """  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $io-error')) (export "error" (type $io-error (eq $io-error')))
    (export "output-stream" (type $stream (sub resource)))
    (type $stream-error' (variant (case "last-operation-failed" (own $io-error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $stream')) (export "output-stream" (type $stream (eq $stream')))
    (export "get-stdout" (func (result (own $stream))))))"""
"""The imports with which a guest prints."""
