"""The places of the specification that cases name as their sources: the items of each file.

`wasi-nn.witx` and each version of `wasi-nn.wit` are those of the repository WebAssembly/wasi-nn. `CanonicalABI.md` is
that of the component model: its functions say when a component traps. `wasi-nn-ext.wit` and `extensions.md` have the
extensions. WasmEdge registers its functions in `wasinnmodule.cpp`, WAMR those of its first module in `wasi_nn.c`.
"""

from __future__ import annotations

from collections.abc import Mapping

from conformance.words import CODES, ERRNOS

_WITX = {
    "": "memory load load_by_name init_execution_context set_input compute get_output $buffer_size $nn_errno $tensor "
    "$tensor_dimensions $tensor_type $tensor_data $graph $graph_builder $graph_builder_array $graph_encoding "
    "$execution_target $graph_execution_context",
    "$nn_errno.$": " ".join(ERRNOS),
    "$tensor_type.$": "f16 f32 f64 u8 i32 i64",
    "$graph_encoding.$": "openvino onnx tensorflow pytorch tensorflowlite autodetect",
    "$execution_target.$": "cpu gpu tpu",
}
_WIT = {
    "": "tensor tensor-dimensions tensor-type tensor-data graph graph-encoding execution-target graph-builder load "
    "load-by-name graph-execution-context error-code error",
    "tensor.": "constructor dimensions ty data",
    "tensor-type.": "FP16 FP32 FP64 BF16 U8 I32 I64",
    "graph.": "init-execution-context",
    "graph-encoding.": "openvino onnx tensorflow pytorch tensorflowlite ggml autodetect",
    "execution-target.": "cpu gpu tpu",
    "graph-execution-context.": "compute",
    "error-code.": " ".join(CODES),
    "error.": "code data",
}
_WIT_OF = {
    "2024-06-25": {"graph-execution-context.": "set-input get-output", "error.": "constructor"},
    "2024-08-19": {"graph-execution-context.": "set-input get-output"},
    "2024-10-28": {"": "named-tensor"},
}
_CANONICAL_ABI = (
    "load_list_from_range load_string_from_range lift_flat_variant lift_own lift_borrow lower_flat_values "
    "canon_resource_drop"
)
_EXT = {
    "": "named-tensor element-type dimension tensor-description graph-description describe use-signature state-get "
    "state-set sequence begin new strings",
    "sequence.": "next",
}
_EXT_OF_CORE = (
    "describe describe_output use_signature state_get state_set begin_sequence next_of_sequence end_sequence "
    "set_byte_strings get_byte_strings"
)
_WASMEDGE = "load_by_name_with_config compute_single get_output_single fini_single unload finalize_execution_context"
_WAMR = "load load_by_name init_execution_context set_input compute get_output"


def _items(*parts: Mapping[str, str]) -> frozenset[str]:
    return frozenset(f"{before}{name}" for part in parts for before, names in part.items() for name in names.split())


_COMPONENTS = {
    version: {"wasi-nn.wit": _items(_WIT, own), "CanonicalABI.md": _items({"": _CANONICAL_ABI})}
    for version, own in _WIT_OF.items()
}
_CORE = {"wasi-nn.witx": _items(_WITX), "wasi-nn.wit": _COMPONENTS["2024-10-28"]["wasi-nn.wit"]}
ITEMS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "core": _CORE,
    **_COMPONENTS,
    "wasmedge": {**_CORE, "wasinnmodule.cpp": _items({"": _WASMEDGE})},
    "wamr": {**_CORE, "wasi_nn.c": _items({"": _WAMR})},
    "core-ext": {**_CORE, "extensions.md": _items({"": _EXT_OF_CORE})},
    "component-ext": {**_COMPONENTS["2024-10-28"], "wasi-nn-ext.wit": _items(_EXT)},
}
"""For each interface, the files of its specification with their items. An item in another has a dot between them, as in
`$nn_errno.$not_found` and `tensor.dimensions`."""


def exists(abi: str, source: str) -> bool:
    """Whether a source, `FILE: ITEM`, is in the specification of an interface."""
    file, _, item = source.partition(": ")
    return item in ITEMS[abi].get(file, ())
