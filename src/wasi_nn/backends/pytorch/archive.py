"""PyTorch's archives: which kind of model one holds, and whether torch may load an untrusted one.

TorchScript is a programming language, with operators that write and map files, and torch's reader believes what an
archive says of the sizes in it. What is refused here is known to do harm. It is a fence, not a proof: torch itself
says that untrusted models belong into a sandbox.
"""

from __future__ import annotations

import enum
import io
import pickle
import pickletools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from wasi_nn.backends.formats.archives import open_zip
from wasi_nn.backends.pytorch.code import is_shallow
from wasi_nn.errors import ErrorCode, NNError, printable

if TYPE_CHECKING:
    import torch

_MAX_GROWTH = 20  # times its own size; torch stores weights as they are, and deflates text only
_FREE_GROWTH = 1 << 20  # bytes
_MAX_NESTING = 1000


class Kind(enum.Enum):
    """What an archive holds."""

    TORCHSCRIPT = "a TorchScript model"
    EXPORTED = "an exported program"
    COMPILED = "an AOTInductor package, which is native code"
    OLD_EXPORT = "an exported program in the format of torch 2.7 and before"
    CHECKPOINT = "a checkpoint of torch.save"


def kind_of(model: memoryview) -> Kind | None:
    """What these bytes are, by the entries of the zip file that they should be; None if they are nothing of torch's."""
    archive = open_zip(model)
    infos = archive.infolist() if archive is not None else []
    # Not one that is inside of something else; nor what torch takes for a flatbuffer by this mark, whatever else it is.
    if not infos or infos[0].header_offset or bytes(model[4:8]) == b"PTMF":
        return None
    names = [info.filename for info in infos]
    inside = [name.partition("/")[2] for name in names]
    if any(name.startswith("data/aotinductor/") for name in inside):
        return Kind.COMPILED
    if "archive_format" in inside:
        return Kind.EXPORTED
    if "serialized_exported_program.json" in names:
        return Kind.OLD_EXPORT
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return Kind.TORCHSCRIPT
    return Kind.CHECKPOINT if "data.pkl" in inside else None


_REFUSED = {
    Kind.COMPILED: (ErrorCode.SECURITY, "export the program with torch.export.save instead"),
    Kind.OLD_EXPORT: (ErrorCode.UNSUPPORTED_OPERATION, "export it again with a newer torch"),
    Kind.CHECKPOINT: (
        ErrorCode.RUNTIME_ERROR,
        "which has weights or pickled objects but no program; save the model with torch.export.save or torch.jit.save",
    ),
}


def require_loadable(kind: Kind | None) -> Kind:
    """The kind of a model that can be loaded. Raises `NNError` that says what else it is."""
    if kind is None:
        message = "torch can't load the model: it is neither a TorchScript archive nor an exported program (.pt2)"
        raise NNError(ErrorCode.RUNTIME_ERROR, message)
    if kind in _REFUSED:
        code, advice = _REFUSED[kind]
        raise NNError(code, f"the model is neither TorchScript nor an exported program but {kind.value}: {advice}")
    return kind


def refused(why: str) -> NNError:
    """The error for an archive that might do harm."""
    return NNError(ErrorCode.SECURITY, printable(f"untrusted model refused: {why}"))


def open_bounded(model: bytes) -> torch._C.PyTorchFileReader:
    """torch's own reader of an archive, so that what is looked at is what torch will see.

    Raises `NNError` with `security` if the entries of the archive are out of proportion to it.
    """
    import torch

    archive = open_zip(memoryview(model))
    _require_bounded((info.file_size for info in archive.infolist()) if archive else (), len(model))
    reader = torch._C.PyTorchFileReader(io.BytesIO(model))
    _require_bounded(map(reader.get_record_size, names_in(reader)), len(model))
    return reader


def names_in(reader: torch._C.PyTorchFileReader) -> list[str]:
    """The names of an archive's entries.

    Raises `NNError` with `security` if several have the same: torch finds entries whatever their case, so that which
    of them it would read can't be told.
    """
    names = reader.get_all_records()
    if len({name.lower() for name in names}) != len(names):
        raise NNError(ErrorCode.SECURITY, "the model is refused: entries of its archive have the same name")
    return names


def _require_bounded(sizes: Iterable[int], size: int) -> None:
    if sum(sizes) > size * _MAX_GROWTH + _FREE_GROWTH:
        raise refused(f"it unpacks to more than {_MAX_GROWTH} times its size")


_NAMESPACES = {"aten", "prim", "prims", "quantized"}
_CLASSES = {"quantized"}
_OPERATORS_WITH_FILES = {"save", "load", "from_file"}


def require_harmless_operator(namespace: str, name: str) -> None:
    """Raise `NNError` with `security` for an operator that reaches out of the model, or isn't known not to."""
    if namespace not in _NAMESPACES:
        raise refused(
            f"it calls {namespace}::{name}; only operators of {', '.join(sorted(_NAMESPACES))} are known here"
        )
    if name in _OPERATORS_WITH_FILES:
        raise refused(f"it calls {namespace}::{name}, which reaches files of the host")
    if name.endswith("_unsafe"):
        raise refused(f"it calls {namespace}::{name}, which checks nothing")


def require_harmless_script(reader: torch._C.PyTorchFileReader) -> None:
    """Raise `NNError` with `security` if a TorchScript archive has code or data that might do harm.

    This comes before torch sees the archive: a `__setstate__` in it runs while it is loaded.
    """
    for name in reader.get_all_records():
        lower = name.lower()
        if lower == "model.json":
            raise refused("it is in a format of torch before 1.4")
        if lower.startswith("code/") and not lower.endswith(".debug_pkl"):
            _require_harmless_code(reader.get_record(name).decode(errors="replace"))
        elif lower in ("data.pkl", "constants.pkl"):
            _require_harmless_data(name, reader.get_record(name), _sizes(reader, lower.removesuffix(".pkl")))


def _sizes(reader: torch._C.PyTorchFileReader, folder: str) -> Callable[[str], int]:
    return lambda key: reader.get_record_size(f"{folder}/{key}")


_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d[\d.]*|\s+|.""", re.DOTALL)


def _tokens(code: str) -> Iterator[str]:
    """The tokens of TorchScript without comments and spaces, and with every string empty."""
    for match in _TOKEN.finditer(code):
        token = match[0]
        if token in "\"'":  # the rest of the line would be searched for its end again and again
            raise refused("its code has a string without an end")
        if token[0] in "\"'":
            yield '""'
        elif token[0] != "#" and not token.isspace():
            yield token


def _require_harmless_code(code: str) -> None:
    if '"""' in code or "'''" in code:  # no torch writes these, and they would hide code from what follows
        raise refused("its code has strings over several lines")
    if not is_shallow(code):
        raise refused("its code is too deep for torch to read")
    tokens = [*_tokens(code), "", "", "", "", ""]
    if "\\" in tokens:
        raise refused("its code has lines that go on in the next")
    for place, token in enumerate(tokens[:-5]):
        if token not in ("torch", "ops") or (place and tokens[place - 1] == "."):
            if tokens[place : place + 4] == ["torch", ".", "classes", "."] and tokens[place + 4] not in _CLASSES:
                raise refused(f"it has an object of torch.classes.{tokens[place + 4]}")
            continue
        if tokens[place + 1] == ":":  # declares a name, such as a submodule's
            continue
        if tokens[place + 1] != ".":  # else an operator could be had by another name
            raise refused(f"its code uses the name {token!r} by itself")
        if token == "torch":
            require_harmless_operator("aten", tokens[place + 2])
        else:
            require_harmless_operator(tokens[place + 2], tokens[place + 4])


_ITEM_SIZES = {
    1: ("Bool", "Byte", "Char", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4", "Float8_e5m2", "Float8_e4m3fn"),
    2: ("Short", "Half", "BFloat16", "UInt16"),
    4: ("Int", "Float", "ComplexHalf", "QInt32", "UInt32"),
    8: ("Long", "Double", "ComplexFloat", "UInt64"),
    16: ("ComplexDouble",),
}
_STORAGES = {f"{name}Storage": size for size, names in _ITEM_SIZES.items() for name in names}


def _require_harmless_data(name: str, data: bytes, size_of: Callable[[str], int]) -> None:
    """Read a pickle of TorchScript's without making anything of it but its structure."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if "PUT" in opcode.name and int(argument or 0) > len(data):
                raise refused(f"{name} in it asks for an absurd amount of memory")
        _require_shallow(name, _Looker(io.BytesIO(data), size_of).all_that_is_made())
    except NNError:
        raise
    except Exception as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(f"the model is damaged: {name} in it: {error}")) from error


_Unpickler: Any = pickle._Unpickler  # in Python: that in C makes dicts of its own


class _Looker(_Unpickler):  # type: ignore[misc]
    """Reads a pickle's structure; whatever it names becomes a thing that does nothing.

    So does a dict: to hash a key that is a tuple of tuples can take for ever, or all of the stack.
    """

    dispatch: ClassVar = dict(_Unpickler.dispatch)

    def __init__(self, file: Any, size_of: Callable[[str], int]) -> None:
        super().__init__(file)
        self._size_of = size_of

    def all_that_is_made(self) -> list[Any]:
        """Read the pickle; gives every object that it makes, also those that aren't part of the result."""
        result = self.load()
        return [result, self.stack, self.metastack, *self.memo.values()]

    def find_class(self, module: str, name: str) -> Any:
        qualified = f"{module}.{name}".split(".")
        if qualified[:3] == ["__torch__", "torch", "classes"] and qualified[3] not in _CLASSES:
            raise refused(f"it has an object of torch.classes.{qualified[3]}")
        return name if module == "torch" and name.endswith("Storage") else _Inert

    def persistent_load(self, pid: Any) -> Any:
        _, kind, key, _, count = pid
        if not (isinstance(kind, str) and isinstance(key, str) and type(count) is int and kind in _STORAGES):
            raise refused("it has weights of a type that isn't known here")
        # torch doesn't look: it would give out what lies behind the weights in the host's memory.
        if not 0 <= count * _STORAGES[kind] <= (self._size_of(key) if count else 0):
            raise refused("it has weights that are said to be larger than they are")
        return _Inert()

    def _load_empty_dict(self) -> None:
        self.append(_Inert())

    def _load_dict(self) -> None:
        self.append(_Inert(*self.pop_mark()))

    def _load_set(self) -> None:
        raise ValueError("it has a set, which TorchScript hasn't")

    def _load_call(self) -> None:
        arguments = self.stack.pop()
        if self.stack[-1] is not _Inert or not isinstance(arguments, tuple):
            raise ValueError("it calls what can't be called")
        self.stack[-1] = _Inert(arguments)  # which many calls may share, and may be long

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = _load_call
    dispatch[pickle.EMPTY_DICT[0]] = _load_empty_dict
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.EMPTY_SET[0]] = dispatch[pickle.FROZENSET[0]] = _load_set


class _Inert:
    """Stands for any object of a pickle, and for a dict. It keeps what it is given, in no order."""

    held: list[object]

    def __new__(cls, *given: object, **_: object) -> _Inert:
        made = object.__new__(cls)
        made.held = [*given]
        return made

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.held.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.held += (key, value)

    def append(self, item: object) -> None:
        """As of a list."""
        self.held.append(item)


def _require_shallow(name: str, made: list[Any]) -> None:
    """Refuse what is nested so deep, or in itself, that torch would overflow its stack when it lets go of it."""
    depths: dict[int, int] = {}
    todo: list[tuple[Any, bool]] = [(made, False)]
    while todo:
        item, is_done = todo.pop()
        inside = item.held if isinstance(item, _Inert) else item if isinstance(item, list | tuple) else ()
        if is_done:
            depths[id(item)] = 1 + max((depths[id(part)] for part in inside), default=0)
            if depths[id(item)] > _MAX_NESTING:
                raise refused(f"{name} in it is nested too deep, or in itself")
        elif id(item) not in depths:
            depths[id(item)] = _MAX_NESTING  # until it is done: whatever of its inside has it inside is too deep
            todo.append((item, True))
            todo += ((part, False) for part in inside)


def require_harmless_functions(functions: Iterable[Any]) -> None:
    """Raise `NNError` with `security` for an operator that might do harm in functions of TorchScript's.

    It sees what torch has understood, so it can't be fooled; but what runs while a model is loaded has run by now.
    """
    for function in functions:
        for namespace, name in _operators(function.graph):
            require_harmless_operator(namespace, name)


def _operators(block: Any) -> Iterator[tuple[str, str]]:
    """The namespace and name of each operator in a block of TorchScript's, however deep."""
    for node in block.nodes():
        namespace, _, name = node.kind().partition("::")
        yield namespace, name
        for inner in node.blocks():
            yield from _operators(inner)


def effects_of(graph: Any) -> tuple[bool, bool]:
    """Whether a graph of TorchScript's writes to any tensor, and whether to what its module keeps."""
    import torch

    internal: Any = torch._C
    graph = graph.copy()
    for node in graph.findAllNodes("prim::GetAttr"):
        if node.s("name") == "training":  # what a module does in training it doesn't do here
            false = graph.create("prim::Constant", 1)
            false.i_("value", 0)
            false.output().setType(internal.BoolType.get())
            graph.prependNode(false)
            node.output().replaceAllUsesWith(false.output())
    internal._jit_pass_constant_propagation_immutable_types(graph)
    internal._jit_pass_dce(graph)
    called = {f"{namespace}::{name}" for namespace, name in _operators(graph)}
    opaque = bool(called & {"prim::CallMethod", "prim::CallFunction", "prim::SetAttr"})
    if opaque:
        return True, True
    alias = graph.alias_db()
    writes = any("!" in schema for schema in _schemas(graph))
    kept = [node.output() for node in graph.findAllNodes("prim::GetAttr")]
    return writes, writes and any(alias.has_writers(value) for value in kept)


def _schemas(block: Any) -> Iterator[str]:
    for node in block.nodes():
        yield node.schema()
        for inner in node.blocks():
            yield from _schemas(inner)
