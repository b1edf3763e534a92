"""The words and numbers of both ABIs, for all languages. The host's own tables are the source of every number.

A word is in kebab case, as in WIT. A language writes it in its own way: `invalid-argument` is
`WNN_INVALID_ARGUMENT` in C and `Code::InvalidArgument` in Rust.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wasi_nn.abi.component.bridge import EXTENSIONS_NAMESPACE, EXTENSIONS_VERSION, NAMESPACE, VERSIONS
from wasi_nn.abi.component.numbers import ERROR_CODES, TARGETS as WIT_TARGETS, TENSOR_TYPES as WIT_TYPES
from wasi_nn.abi.core import extensions, spec, wasmedge
from wasi_nn.abi.wit_encodings import ENCODINGS as WIT_ENCODINGS
from wasi_nn.types import GraphEncoding, TensorType

REPOSITORY = Path(__file__).parent.parent.parent
SDK_VERSION = "0.1.0"
"""The version of the SDKs, which guests tell."""


@dataclass(frozen=True, order=True)
class Word:
    """A word that both ABIs number, each in its own way. None where an ABI lacks it."""

    name: str
    text: str
    """A sentence for the documentation, without a full stop."""
    core: int | None = None
    """The number in the specification's core ABI."""
    wasmedge: int | None = None
    """The number in WasmEdge's dialect of the core ABI."""
    wit: int | None = None
    """The number in wasi:nn's newest version."""
    size: int = 0
    """Of a tensor type: the bytes of an element."""

    def styled(self, style: str = "upper_snake") -> str:
        """The name in a language's style: `upper_snake`, `snake`, `pascal` or `camel`."""
        parts = self.name.split("-")
        if style == "upper_snake":
            return "_".join(parts).upper()
        if style == "snake":
            return "_".join(parts)
        pascal = "".join(part[0].upper() + part[1:] for part in parts)
        return pascal if style == "pascal" else parts[0] + pascal[len(parts[0]) :]


@dataclass(frozen=True)
class Function:
    """A function that a core module imports. All its parameters are i32, and its result is an errno."""

    module: str
    name: str
    parameters: int
    interface: str = ""
    """The interface of wasi-nn:ext that it belongs to, if it belongs to one."""


_ERRNOS = (
    "success",
    "invalid-argument",
    "invalid-encoding",
    "missing-memory",
    "busy",
    "runtime-error",
    "unsupported-operation",
    "too-large",
    "not-found",
)
"""The specification's errnos (wasi-nn.witx), from 0 on."""

_WASMEDGE_ERRNOS = {
    "end-of-sequence": wasmedge.END_OF_SEQUENCE,
    "context-full": wasmedge.CONTEXT_FULL,
    "prompt-too-long": wasmedge.PROMPT_TOO_LONG,
    "model-not-found": wasmedge.MODEL_NOT_FOUND,
}

_TEXTS: Mapping[str, str] = {
    "success": "the call did what it was asked for",
    "invalid-argument": "a handle, index, name, shape, type or length that doesn't fit",
    "invalid-encoding": "an encoding that doesn't exist, or that the host has no backend for",
    "missing-memory": "the module doesn't export its memory",
    "busy": "the host can't take the call now",
    "timeout": "the call took longer than the host allows",
    "runtime-error": "the ML runtime failed, or there is no output to read",
    "unsupported-operation": "a target or operation that the host lacks or doesn't allow",
    "too-large": "a buffer is too small, or a limit of the host's is passed",
    "not-found": "no graph or signature has this name",
    "security": "the host doesn't allow this model, encoding or target",
    "unknown": "a reason that has no code",
    "end-of-sequence": "all pieces were given",
    "context-full": "the text ends where the model's context does; it can be read",
    "prompt-too-long": "the prompt doesn't fit into the model's context",
    "model-not-found": "the graph has a name, but its file is gone",
    "openvino": "two builders: the .xml and the .bin",
    "tensorflow": "a SavedModel or a frozen graph",
    "pytorch": "TorchScript, or a program of torch.export",
    "tensorflowlite": "TensorFlow Lite",
    "ggml": "GGUF; the specification's core ABI lacks it, autodetect finds it there",
    "autodetect": "the host tells from the bytes",
    "bf16": "no core ABI has it",
    "number": "numbers of a type that wasi-nn has",
    "byte-string": "byte strings of any length",
    "native": "elements that wasi-nn has no type for, by the runtime's own name",
    "any": "numbers of any type: the model doesn't say",
    "fixed": "this size only",
    "named": "any size; all dimensions of one name have the same size in a compute",
    "unknown-size": "any size",
}


def _word(name: str, **numbers: int | None) -> Word:
    return Word(name, _TEXTS.get(name, ""), **{key: it for key, it in numbers.items() if it is not None})


def errors() -> list[Word]:
    """Every reason of a failed call: those of wasi:nn in its order, then those that only core ABIs have."""
    for code in ERROR_CODES:  # an errno's name and the host's number for it are the same word
        assert code.value not in _ERRNOS or _ERRNOS[spec.ERRNO[code]] == code.value, code
    of_wit = {code.value: number for number, code in enumerate(ERROR_CODES)}
    of_core = {name: number for number, name in enumerate(_ERRNOS) if number}
    names = dict.fromkeys([*of_wit, *of_core, *_WASMEDGE_ERRNOS])
    return [
        _word(
            name, core=of_core.get(name), wasmedge=of_core.get(name, _WASMEDGE_ERRNOS.get(name)), wit=of_wit.get(name)
        )
        for name in names
    ]


def success() -> Word:
    """The errno of a call that didn't fail."""
    return _word("success", core=0, wasmedge=0)


def specification_encoding(word: Word) -> int:
    """The number of an encoding in the specification's core ABI: autodetect's for an encoding that it lacks."""
    return next(it.core or 0 for it in encodings() if it.name == "autodetect") if word.core is None else word.core


def tensor_types() -> list[Word]:
    """The types of a tensor's elements, each with its size, in wasi:nn's order."""
    of_core = {TensorType.of(dtype): number for number, dtype in spec.TENSOR_TYPES.items()}
    return [
        _word(it.value, core=of_core.get(it), wasmedge=of_core.get(it), wit=number, size=it.dtype.itemsize)
        for number, it in enumerate(WIT_TYPES)
    ]


def wit_tensor_type(word: Word) -> str:
    """WIT's own word for a type, such as `FP32` for `f32`."""
    assert word.wit is not None
    wit = (REPOSITORY / "guests" / "bridge" / "wasi-nn.wit").read_text()
    names = wit.partition("enum tensor-type {")[2].partition("}")[0]
    return names.split(",")[word.wit].strip()


def encodings() -> list[Word]:
    """The formats of models, in wasi:nn's order."""
    of_core, of_wasmedge = _first(spec.ENCODINGS), _first(wasmedge.WasmEdgeAbi.encodings)
    return [
        _word(it.value, core=of_core.get(it), wasmedge=of_wasmedge.get(it), wit=number)
        for number, it in enumerate(WIT_ENCODINGS)
    ]


def _first(numbered: Mapping[int, GraphEncoding]) -> dict[GraphEncoding, int]:
    """The least number of each encoding."""
    return {it: number for number, it in sorted(numbered.items(), reverse=True)}


def targets() -> list[Word]:
    """The kinds of devices."""
    of_core = {it: number for number, it in spec.TARGETS.items()}
    return [
        _word(it.value, core=of_core[it], wasmedge=of_core[it], wit=number) for number, it in enumerate(WIT_TARGETS)
    ]


def element_kinds() -> list[Word]:
    """The kinds of elements in a description, by the tags of wasi-nn:ext."""
    return _variant("element-type")


def dimension_kinds() -> list[Word]:
    """The kinds of dimensions in a description, by the tags of wasi-nn:ext."""
    return [
        it if it.name != "unknown" else _word("unknown-size", core=it.core, wit=it.wit) for it in _variant("dimension")
    ]


def _variant(name: str) -> list[Word]:
    wit = (REPOSITORY / "guests" / "bridge" / "wasi-nn-ext.wit").read_text()
    _, _, after = wit.partition(f"  variant {name} {{\n")
    body = after.partition("\n  }")[0]
    cases = re.findall(r"^    ([a-z-]+)(?:\(.*\))?,$", body, re.MULTILINE)
    assert cases, name
    return [_word(case, core=tag, wasmedge=tag, wit=tag) for tag, case in enumerate(cases)]


def functions() -> list[Function]:
    """The functions of the core ABI: the specification's, WasmEdge's and those of `wasi_nn_ext`."""
    return [
        *(Function(spec.MODULE, name, count) for name, count in spec.FUNCTIONS.items()),
        *(Function(spec.MODULE, name, count) for name, count in wasmedge.EXTENSIONS.items()),
        *(Function(extensions.MODULE, name, it.parameters, it.interface) for name, it in extensions.FUNCTIONS.items()),
    ]


CORE_MODULE, EXTENSIONS_MODULE = spec.MODULE, extensions.MODULE
WIT_NAMESPACE, WIT_VERSION = NAMESPACE, VERSIONS[-1]
WIT_EXTENSIONS_NAMESPACE, WIT_EXTENSIONS_VERSION = EXTENSIONS_NAMESPACE, EXTENSIONS_VERSION


def between(text: str, name: str, content: Iterable[str]) -> str:
    """A text with other lines between its lines that say `begin NAME` and `end NAME`. Raises `ValueError` if there are
    no such lines."""
    pattern = re.compile(
        rf"(^[^\n]*\bbegin {name}\b[^\n]*\n).*?(^[^\n]*\bend {name}\b[^\n]*$)", re.MULTILINE | re.DOTALL
    )
    if not pattern.search(text):
        raise ValueError(f"no lines say 'begin {name}' and 'end {name}'")
    lines = "".join(f"{line}\n" for line in content)
    return pattern.sub(lambda found: f"{found[1]}{lines}{found[2]}", text)
