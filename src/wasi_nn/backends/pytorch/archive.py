"""PyTorch's archives: finds out what kind of model an archive holds, and refuses harmful ones.

TorchScript is a programming language with operators that write and map files, and torch's reader believes the sizes
that an archive states. The checks here refuse what is known to do harm. They are a fence, not a proof: torch itself
says that untrusted models belong in a sandbox.
"""

from __future__ import annotations

import enum
import io
import pickle
import pickletools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from wasi_nn.backends.formats.archives import entries, open_zip
from wasi_nn.backends.pytorch.code import is_shallow
from wasi_nn.backends.pytorch.effects import nodes_of
from wasi_nn.errors import ErrorCode, NNError, printable

if TYPE_CHECKING:
    import torch

# An archive may unpack to this many times its size, and this many bytes more. torch compresses text, but no weights.
_MAX_GROWTH = 20
_FREE_GROWTH = 1 << 20
_MAX_NESTING = 1000  # of lists, tuples and objects in a pickle: torch releases them by recursion


class Kind(enum.Enum):
    """What an archive holds."""

    TORCHSCRIPT = "a TorchScript model"
    EXPORTED = "an exported program"
    COMPILED = "an AOTInductor package, which is native code"
    OLD_EXPORT = "an exported program in the format of torch 2.7 and before"
    CHECKPOINT = "a checkpoint of torch.save"


_MARKS = ("/archive_format", "serialized_exported_program.json", "/constants.pkl", "/data.pkl")  # see `kind_of`


def kind_of(model: memoryview) -> Kind | None:
    """The kind of an archive of torch, by the names of its entries; None for bytes that are no such archive."""
    if not any(name.endswith(_MARKS) or "/data/aotinductor/" in name for name in entries(model)):
        return None
    archive = open_zip(model)
    infos = archive.infolist() if archive is not None else []
    # An archive has to start at byte 0. torch reads any file with the mark PTMF as a flatbuffer, which is unchecked.
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
    Kind.COMPILED: (ErrorCode.SECURITY, ": save the program with torch.export.save instead"),
    Kind.OLD_EXPORT: (ErrorCode.UNSUPPORTED_OPERATION, ": export the program again with a newer torch"),
    Kind.CHECKPOINT: (
        ErrorCode.RUNTIME_ERROR,
        ", which has weights or objects but no program: save the model with torch.export.save or torch.jit.save",
    ),
}


def require_loadable(kind: Kind | None) -> Kind:
    """The kind of a model, if torch can load it. Raises an `NNError` that says what the model is instead."""
    if kind is None:
        message = "torch can't load the model: it is neither a TorchScript archive nor an exported program (.pt2)"
        raise NNError(ErrorCode.RUNTIME_ERROR, message)
    if kind in _REFUSED:
        code, advice = _REFUSED[kind]
        raise NNError(code, f"the model is neither TorchScript nor an exported program but {kind.value}{advice}")
    return kind


def refused(reason: str) -> NNError:
    """The error for an untrusted model that might do harm."""
    return NNError(ErrorCode.SECURITY, printable(f"untrusted model refused: {reason}"))


def open_bounded(model: bytes) -> torch._C.PyTorchFileReader:
    """Open an archive with torch's own reader, so that the checks see what torch will load.

    Raises `NNError` with `security` if the archive unpacks to far more than its size.
    """
    import torch

    archive = open_zip(memoryview(model))
    _require_bounded((info.file_size for info in archive.infolist()) if archive else (), len(model))
    reader = torch._C.PyTorchFileReader(io.BytesIO(model))
    _require_bounded(map(reader.get_record_size, names_in(reader)), len(model))
    return reader


def names_in(reader: torch._C.PyTorchFileReader) -> list[str]:
    """The names of an archive's entries.

    Raises `NNError` with `security` if two differ only in case, or not at all: torch ignores the case of names, so it
    might load another entry than the one that was checked.
    """
    names = reader.get_all_records()
    if len({name.lower() for name in names}) != len(names):
        raise NNError(
            ErrorCode.SECURITY,
            "the model is refused: two entries of its archive have the same name, or names that differ only in case",
        )
    return names


def _require_bounded(sizes: Iterable[int], size: int) -> None:
    if sum(sizes) > size * _MAX_GROWTH + _FREE_GROWTH:
        raise refused(f"it unpacks to more than {_MAX_GROWTH} times its size")


_NAMESPACES = {"aten", "prim", "prims", "quantized"}
_CLASSES = {"quantized"}
_OPERATORS_WITH_FILES = {"save", "load", "from_file"}


def require_harmless_operator(namespace: str, name: str) -> None:
    """Raise `NNError` with `security` for an operator that has effects outside of the model, or might have."""
    if namespace not in _NAMESPACES:
        known = ", ".join(sorted(_NAMESPACES))
        raise refused(f"it calls {namespace}::{name}; only operators of {known} are allowed")
    if name in _OPERATORS_WITH_FILES:
        raise refused(f"it calls {namespace}::{name}, which reaches files of the host")
    if name.endswith("_unsafe"):
        raise refused(f"it calls {namespace}::{name}, which doesn't check its arguments")


def require_harmless_script(reader: torch._C.PyTorchFileReader) -> None:
    """Raise `NNError` with `security` if a TorchScript archive has code or data that might do harm.

    This has to happen before torch loads the archive, because loading runs the `__setstate__` methods in it.
    """
    for name in reader.get_all_records():
        lower = name.lower()
        if lower == "model.json":
            raise refused("it is in the format of torch before 1.4: save it again with a newer torch")
        if lower.startswith("code/") and not lower.endswith(".debug_pkl"):
            require_harmless_code(reader.get_record(name).decode(errors="replace"))
        elif lower in ("data.pkl", "constants.pkl"):
            require_harmless_data(name, reader.get_record(name), _weight_sizes(reader, lower.removesuffix(".pkl")))


def _weight_sizes(reader: torch._C.PyTorchFileReader, folder: str) -> Callable[[str], int]:
    return lambda key: reader.get_record_size(f"{folder}/{key}")


_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d[\d.]*|\s+|.""", re.DOTALL)


def _tokens(code: str) -> Iterator[str]:
    """The tokens of TorchScript code, without comments and spaces. Every string becomes an empty one."""
    for match in _TOKEN.finditer(code):
        token = match[0]
        # For each such quote, the expression would search the rest of the line again: quadratic time.
        if token in "\"'":
            raise refused("its code has a string that doesn't end")
        if token[0] in "\"'":
            yield '""'
        elif token[0] != "#" and not token.isspace():
            yield token


def require_harmless_code(code: str) -> None:
    """Raise `NNError` with `security` for TorchScript code that might do harm, or hides its operators."""
    # torch writes no such strings, and `_tokens` would take the code after one for its inside.
    if '"""' in code or "'''" in code:
        raise refused("its code has strings over several lines")
    if not is_shallow(code):
        raise refused("its code is nested too deep for torch to read")
    tokens = [*_tokens(code), "", "", "", "", ""]  # the checks look ahead
    if "\\" in tokens:
        raise refused("its code continues a line with a backslash")
    for place, token in enumerate(tokens[:-5]):
        if token not in ("torch", "ops") or (place and tokens[place - 1] == "."):
            if tokens[place : place + 4] == ["torch", ".", "classes", "."] and tokens[place + 4] not in _CLASSES:
                raise refused(f"it has an object of torch.classes.{tokens[place + 4]}")
            continue
        if tokens[place + 1] == ":":  # a declaration, for example of a submodule called `ops`
            continue
        if tokens[place + 1] != ".":  # after `t = torch`, operators could be called by another name
            raise refused(f"its code uses the name {token!r} alone, not to call an operator")
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


def require_harmless_data(name: str, data: bytes, size_of: Callable[[str], int]) -> None:
    """Raise `NNError` with `security` for a pickle that might harm torch. No object that the pickle names is made.

    `name` is the entry of the pickle, for errors. `size_of` gives the stored bytes of a weight, by its key.
    """
    try:
        for opcode, argument, _ in pickletools.genops(data):
            # The argument of a PUT is an index into torch's memo, which torch makes as long as that.
            if "PUT" in opcode.name and int(argument or 0) > len(data):
                raise refused(
                    f"its entry {name} has an index beyond its {len(data)} bytes, for which torch would allocate memory"
                )
        _require_shallow(name, _InertUnpickler(io.BytesIO(data), size_of).load_all())
    except NNError:
        raise
    except Exception as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(f"the model is damaged: its entry {name}: {error}")) from error


# The unpickler in Python, because the one in C lets no subclass decide how dicts and calls are made.
_Unpickler: Any = pickle._Unpickler


class _InertUnpickler(_Unpickler):  # type: ignore[misc]
    """Reads the structure of a pickle; every object in it becomes an `_Inert`, which does nothing.

    So does every dict: hashing a key that is a tuple of tuples can take for ever, or overflow the stack.
    """

    dispatch: ClassVar = dict(_Unpickler.dispatch)

    def __init__(self, file: Any, size_of: Callable[[str], int]) -> None:
        super().__init__(file)
        self._size_of = size_of

    def load_all(self) -> list[Any]:
        """Read the pickle, and return every object that it makes, also those that aren't part of the result."""
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
            raise refused("it has weights of an unknown element type")
        # torch doesn't check this: the model could read the host's memory behind the weights.
        if not 0 <= count * _STORAGES[kind] <= (self._size_of(key) if count else 0):
            raise refused("it declares weights that are larger than their stored bytes")
        return _Inert()

    def _load_empty_dict(self) -> None:
        self.append(_Inert())

    def _load_dict(self) -> None:
        self.append(_Inert(*self.pop_mark()))

    def _load_set(self) -> None:
        raise ValueError("it has a set, a type that TorchScript doesn't have")

    def _load_call(self) -> None:
        arguments = self.stack.pop()
        if self.stack[-1] is not _Inert or not isinstance(arguments, tuple):
            raise ValueError("it calls an object that isn't a class")
        self.stack[-1] = _Inert(arguments)  # one item, not a copy: many calls may share a long tuple of arguments

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = _load_call
    dispatch[pickle.EMPTY_DICT[0]] = _load_empty_dict
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.EMPTY_SET[0]] = dispatch[pickle.FROZENSET[0]] = _load_set


class _Inert:
    """Stands for an object or a dict of a pickle, and keeps all objects that the pickle puts into it."""

    held: list[object]

    def __new__(cls, *arguments: object, **_: object) -> _Inert:
        made = object.__new__(cls)
        made.held = [*arguments]
        return made

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.held.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.held += (key, value)

    def append(self, item: object) -> None:
        """Keep an item. Pickles of subclasses of list call this."""
        self.held.append(item)


def _require_shallow(name: str, made: list[Any]) -> None:
    """Refuse objects that are nested too deep, or in themselves: torch would overflow its stack when it frees them."""
    depths: dict[int, int] = {}
    todo: list[tuple[Any, bool]] = [(made, False)]
    while todo:
        item, is_done = todo.pop()
        inside = item.held if isinstance(item, _Inert) else item if isinstance(item, list | tuple) else ()
        if is_done:
            depths[id(item)] = 1 + max((depths[id(part)] for part in inside), default=0)
            if depths[id(item)] > _MAX_NESTING:
                raise refused(f"its entry {name} is nested too deep, or contains itself")
        elif id(item) not in depths:
            depths[id(item)] = _MAX_NESTING  # until its parts are measured: a part that contains the item is too deep
            todo.append((item, True))
            todo += ((part, False) for part in inside)


def require_harmless_functions(functions: Iterable[Any]) -> None:
    """Raise `NNError` with `security` if a loaded TorchScript function calls an operator that might do harm.

    This checks the operators that torch itself parsed, so no code can hide them. But code that runs during loading has
    run by then.
    """
    for function in functions:
        for node in nodes_of(function.graph):
            namespace, _, name = node.kind().partition("::")
            require_harmless_operator(namespace, name)
