"""Refuses exported programs (.pt2) that are harmful to load.

torch evaluates texts of an archive when it loads it: expressions of dimensions by sympy (whose parser is Python's
`eval`), guards and names by `exec`, and names of operators by looking them up in any of torch's modules. So every text
of an untrusted program is checked first, and must have the plain form that torch writes. A program whose loading would
unpickle Python objects is refused even if it is trusted.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.pytorch.archive import names_in, refused, require_harmless_operator
from wasi_nn.errors import ErrorCode, NNError, printable

if TYPE_CHECKING:
    import torch


def require_no_objects(reader: torch._C.PyTorchFileReader) -> None:
    """Raise `NNError` with `security` for an archive whose loading would unpickle more than tensors.

    Where torch's restricted unpickler refuses a file, torch falls back on Python's, which calls any function.
    """
    import torch

    for name in names_in(reader):
        lower = name.lower()
        if lower.startswith("data/aotinductor/"):
            raise _refused_for(name, "which is native code")
        if lower.startswith("data/") and lower.endswith(".pt"):
            try:
                torch.load(io.BytesIO(reader.get_record(name)), weights_only=True)
            except Exception as error:
                raise _refused_for(
                    name, "which has objects other than tensors, and torch would unpickle them"
                ) from error
        elif lower.startswith("data/") and lower.endswith("_config.json"):
            for key, payload in json.loads(reader.get_record(name).decode())["config"].items():
                if payload["use_pickle"] or not payload["path_name"].startswith(("weight_", "tensor_")):
                    raise _refused_for(key, "which is a pickled object")


def _refused_for(name: str, reason: str) -> NNError:
    return NNError(ErrorCode.SECURITY, printable(f"the program is refused: it has {name!r}, {reason}"))


def require_harmless_programs(reader: torch._C.PyTorchFileReader) -> None:
    """Raise `NNError` with `security` if a text that torch would evaluate isn't of the plain form that torch writes."""
    for name in reader.get_all_records():
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
            raise refused("its weights are in an old, pickled format; export it again with a newer torch")
        if name.startswith("models/") or (name.startswith("data/") and name.endswith(".json")):
            _require_plain(json.loads(reader.get_record(name).decode()), "")


def _require_plain(value: Any, key: str, parent: str = "") -> None:
    """Check every text in a part of a program. The part is under `key`, in a part that is under `parent`."""
    if key == "metadata" and parent in ("nodes", "graph_module") and all(isinstance(it, str) for it in value.values()):
        return  # notes for people, such as the source of a node, which torch doesn't evaluate
    if "custom_obj" in key and value:
        raise refused("it has custom objects")
    if isinstance(value, Mapping):
        for name, item in value.items():
            _CHECKS.get(key, _require_name)(name)
            _require_plain(item, name, key)
    elif isinstance(value, list):
        for item in value:
            _require_plain(item, key, parent)
    elif isinstance(value, str):
        _CHECKS.get(key, _require_name)(value)


_NAME = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
_PATH = re.compile(r"[\w.@]*", re.ASCII)
_VERSION = re.compile(r"[\w.+<=-]*", re.ASCII)
_SYMBOL = re.compile(r"[a-z]{1,4}\d{1,5}", re.ASCII)
_STRING = re.compile(
    r"[^'\"\\\x00-\x1f]*|Runtime assertion failed for expression [^'\"\\\x00-\x1f]* on node '\w+'", re.ASCII
)
_NUMBER = re.compile(r"-?Infinity|NaN")


def _require_form(pattern: re.Pattern[str], noun: str) -> Callable[[str], None]:
    """A check that refuses a text unless all of it matches a pattern."""

    def require(text: str) -> None:
        if not pattern.fullmatch(text):
            raise refused(f"{text[:80]!r} is no {noun}")

    return require


# torch puts names, paths and strings into the Python source that it makes of a program.
_require_name = _require_form(_NAME, "plain name")
_require_path = _require_form(_PATH, "plain path")


# The functions of sympy, and of torch's additions to it (torch.utils._sympy.functions), that expressions may call.
_FUNCTION_NAMES = """
    Symbol Integer Float Rational Add Mul Max Min Abs Not And Or
    Eq Ne Equality Unequality GreaterThan LessThan StrictGreaterThan StrictLessThan
    FloorDiv CeilDiv CleanDiv Mod PythonMod ModularIndexing Where IntTrueDiv FloatTrueDiv
    ToFloat TruncToInt TruncToFloat CeilToInt FloorToInt RoundToInt Identity
"""
_FUNCTIONS = set(_FUNCTION_NAMES.split())
_POWERS = {"Pow", "PowByNatural"}
_METHODS = {"size", "stride", "storage_offset"}
_MAX_EXPRESSION = 4000  # characters of an expression
_MOST_POWERS, _HIGHEST_POWER = 3, 8  # sympy computes powers of numbers, however large the result
_SYNTAX = (  # the nodes of Python's syntax tree that combine parts, and are harmless if these are
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load, ast.keyword),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)


def _require_expression(text: str) -> None:
    """Refuse all but arithmetic over symbols, in the notation of sympy's `srepr` or with Python's operators."""
    _require_tree(text, _is_plain_in_expression)


def _require_guard(text: str) -> None:
    """Refuse all but conditions on the sizes of inputs, such as `L['x'].size()[0] == 2`."""
    _require_tree(text, _is_plain_in_guard)


def _require_tree(text: str, is_plain: Callable[[ast.AST], bool]) -> None:
    try:
        if len(text) > _MAX_EXPRESSION or not text.isascii() or not text.isprintable():
            raise ValueError
        tree = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refused(f"{text[:80]!r} is no valid expression") from error
    powers = sum(_is_call(node, _POWERS) or isinstance(node, ast.Pow) for node in tree)
    if powers > _MOST_POWERS or not all(isinstance(node, _SYNTAX) or is_plain(node) for node in tree):
        raise refused(f"{text[:80]!r} is no plain arithmetic")


def _is_call(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_plain_in_expression(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=bool() | int() | float()):
            return True
        case ast.Constant(value=str(name)) | ast.Name(id=name) if _SYMBOL.fullmatch(name):
            return True
        case ast.Name(id=name):
            return name in _FUNCTIONS | _POWERS | {"true", "false"}
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str())]):
            return True
        case ast.Call(func=ast.Name(id=name), args=[_, exponent], keywords=[]) if name in _POWERS:
            return _is_small(exponent)
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            return name in _FUNCTIONS
    return False


def _is_small(exponent: ast.AST) -> bool:
    match exponent:
        case ast.Call(func=ast.Name(id="Integer"), args=[inner], keywords=[]) | ast.UnaryOp(operand=inner):
            return _is_small(inner)
        case ast.Constant(value=int(value)):
            return abs(value) <= _HIGHEST_POWER
    return False


def _is_plain_in_guard(node: ast.AST) -> bool:
    match node:
        case ast.Subscript() | ast.Constant(value=bool() | int() | float()):
            return True
        case ast.Constant(value=str(key)):
            return _PATH.fullmatch(key) is not None
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]) | ast.Attribute(attr=name):
            return name in _METHODS
        case ast.Call(func=ast.Name(id=name), keywords=[]) | ast.Name(id=name):
            return name in _FUNCTIONS | {"L", "max", "min", "abs"}
    return False


# The operators that call parts of the program, and Python's and sympy's functions of numbers.
_HIGHER_ORDER = {"cond", "while_loop", "scan", "map_impl", "wrap_with_set_grad_enabled", "wrap_with_autocast"}
_ARITHMETIC = {"eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub", "floordiv", "mod", "truediv"}
_ARITHMETIC |= {"and_", "or_", "getitem"}
_SYMBOLIC = re.compile(r"(torch\._?sym_[a-z]+|math\.(trunc|ceil|floor))", re.ASCII)


def _require_operator(text: str) -> None:
    """Refuse the name of a harmful or unknown operator: torch would take any function of its modules for one."""
    parts = text.split(".")
    match parts:
        case ["torch", "ops", "higher_order", name]:
            known = name in _HIGHER_ORDER
        case ["torch", "ops", namespace, name, overload]:
            require_harmless_operator(namespace, name)
            known = _is_operator(namespace, name, overload)
        case ["_operator", name]:
            known = name in _ARITHMETIC
        case _:
            known = _SYMBOLIC.fullmatch(text) is not None
    if not known:
        raise refused(f"it calls {text[:80]!r}, which isn't a known operator")


def _is_operator(namespace: str, name: str, overload: str) -> bool:
    import torch

    packet: Any = getattr(getattr(torch.ops, namespace), name, None)
    return isinstance(packet, torch._ops.OpOverloadPacket) and isinstance(
        getattr(packet, overload, None), torch._ops.OpOverload
    )


_CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}


def _require_containers(text: str) -> None:
    """Refuse inputs or outputs in containers of other types than these, for which torch would import modules."""
    _, specification = json.loads(text)
    todo = [specification]
    while todo:
        node = todo.pop()
        keys = json.loads(node["context"]) if node["context"] is not None else None
        if node["type"] not in _CONTAINERS or not (keys is None or isinstance(keys, list)):
            raise refused(f"its inputs or outputs have the type {node['type']!r}, which isn't allowed")
        for key in keys or ():
            if type(key) is not int:
                _require_path(key if isinstance(key, str) else "?")
        todo += node["children_spec"]


# The check for the texts under each key of the program's JSON. Texts under any other key must be plain names.
_PATHS = ("parameter_name", "buffer_name", "tensor_constant_name", "path_name", "config", "fqn", "opset_version")
_CHECKS: dict[str, Callable[[str], None]] = {
    "expr_str": _require_expression,
    "range_constraints": _require_expression,
    "guards_code": _require_guard,
    "target": _require_operator,
    "as_operator": _require_operator,
    "in_spec": _require_containers,
    "out_spec": _require_containers,
    "torch_version": _require_form(_VERSION, "version"),
    **dict.fromkeys(("as_string", "as_strings"), _require_form(_STRING, "plain text")),
    **dict.fromkeys(("as_float", "as_floats", "as_float_lists", "real", "imag"), _require_form(_NUMBER, "number")),
    **dict.fromkeys(_PATHS, _require_path),
}
