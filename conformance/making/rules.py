"""The rules that cases of several interfaces test: sentences, each with its places in the specification."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.specification import exists
from conformance.words import CODES, ERRNOS

# wasi-nn.witx has no words: it refers to wasi-nn.wit for them.
_DIMENSIONS = ["$tensor_dimensions", "wasi-nn.wit: tensor-dimensions"]
_DATA = ["$tensor_data", "wasi-nn.wit: tensor-data"]
_BUILDERS = ["$graph_builder_array", "wasi-nn.wit: graph-builder"]
_LIST, _STRING = "CanonicalABI.md: load_list_from_range", "CanonicalABI.md: load_string_from_range"


class Rule(str):
    """A sentence, with the items that it is about: of `wasi-nn.witx` for core modules, and of `wasi-nn.wit` for
    components, or of another file, `FILE: ITEM`. A sentence that is appended changes no items."""

    core: Sequence[str]
    component: Sequence[str]

    def __new__(cls, says: str, core: Sequence[str] = (), component: Sequence[str] = ()) -> Rule:
        made = super().__new__(cls, says)
        made.core, made.component = core, component
        return made

    def saying(self, says: str) -> Rule:
        """Another sentence about the same items."""
        return Rule(says, self.core, self.component)

    def __add__(self, more: str) -> Rule:
        return self.saying(f"{self}{more}")


def is_component(abi: str) -> bool:
    """Whether an interface is one of components."""
    return abi[0] == "2" or abi == "component-ext"


def sources(abi: str, says: str, functions: Sequence[str], errors: Sequence[int]) -> list[str]:
    """The places of the specification that a case is about: functions, `FILE: ITEM`, the items of its rule, and the
    errors that it expects, by their numbers."""
    component = is_component(abi)
    items = (says.component if component else says.core) if isinstance(says, Rule) else ()
    found = [
        *functions,
        *(each if ": " in each else f"wasi-nn.wit{'' if component else 'x'}: {each}" for each in items),
    ]
    if component:
        found += [f"wasi-nn.wit: error-code.{CODES[number]}" for number in errors]
    else:
        found += [f"wasi-nn.witx: $nn_errno.${ERRNOS[number]}" for number in errors if number < len(ERRNOS)]
    found = list(dict.fromkeys(found))
    assert found, says
    for each in found:
        assert exists(abi, each), f"{each} isn't in the specification of {abi}"
    return found


# Names and models

NAME = Rule("A name that no graph has is not found.")
WRONG_BUILDERS = Rule("Builders that are no model are refused with an error.", ["$graph_builder"], ["graph-builder"])
NUMBER_OF_BUILDERS = Rule(
    "A number of builders that the encoding doesn't have is an error.", _BUILDERS, ["graph-builder"]
)
TARGET = Rule(
    "A target that the host doesn't have is an unsupported operation. Hosts differ: some take another.",
    ["$execution_target"],
    ["execution-target"],
)
AUTODETECT = Rule(
    "Hosts differ: autodetect is a choice of the host, and one without it says so by an error.",
    ["$graph_encoding.$autodetect"],
    ["graph-encoding.autodetect"],
)
NO_BACKEND = Rule(
    "An encoding without a backend is an invalid encoding, a model that can't be read a runtime error.",
    ["$graph_encoding"],
    ["graph-encoding"],
)

# Tensors

DIMENSIONS = Rule("The dimensions must be the graph's.", _DIMENSIONS, ["tensor-dimensions"])
RANK = Rule("The number of dimensions must be the graph's.", _DIMENSIONS, ["tensor-dimensions"])
NO_MINUS = Rule("A dimension is a u32; there is no -1.", _DIMENSIONS, ["tensor-dimensions"])
BYTES = Rule("The data must have the bytes of all elements.", _DATA, ["tensor-data"])
NO_MORE_BYTES = Rule("The data must have the bytes of all elements, and no more.", _DATA, ["tensor-data"])
TYPE = Rule("The type must be the graph's.", ["$tensor_type"], ["tensor-type"])
SINGLE_VALUE = Rule(
    "A single value has the dimensions [1].",
    ["$tensor_dimensions", "wasi-nn.wit: tensor.dimensions"],
    ["tensor.dimensions", "tensor-dimensions"],
)
NO_DIMENSIONS = SINGLE_VALUE.saying("Hosts differ: an empty list of dimensions is a single value, or an error.")
NO_ELEMENTS = DIMENSIONS.saying("Hosts differ: a tensor may have no elements, or that is an error.")
OPEN = DIMENSIONS.saying("A dimension that the model leaves open takes any size.")
OPEN_CHANGES = DIMENSIONS.saying("An open dimension may have another size at each compute.")
OPEN_BESIDE_FIXED = DIMENSIONS.saying("An open dimension doesn't open those beside it.")
OPEN_RANK = RANK.saying("An open dimension leaves the number of dimensions as it is.")
ROW_MAJOR = Rule("The elements are in row-major order.", _DATA, ["tensor-data"])
UNALIGNED_DATA = Rule("The data is a list of u8, and needs no alignment.", _DATA, ["tensor-data", _LIST])


def product(bits: int) -> Rule:
    """The rule on dimensions whose product passes some bits."""
    items = [*_DIMENSIONS, *_DATA], ["tensor-dimensions", "tensor-data"]
    return Rule(f"The product of the dimensions is no number modulo 2**{bits}.", *items)


# Memory

END_OF_MEMORY = Rule("A list may end where the memory ends.", ["memory"], [_LIST])
ACROSS_PAGES = Rule("A list may lie across pages.", ["memory"], [_LIST])
GROWN = Rule("Memory that has grown may be used at once.", ["memory"], [_LIST])
GROWS = Rule("Memory may grow at any time.", ["memory"], [_LIST])

MISSING_MEMORY = Rule(
    "A module that doesn't export its memory lacks one: the errno, which is the exit code here, is missing_memory. "
    "Hosts differ: some trap, or run no such module.",
    ["memory", "$nn_errno.$missing_memory"],
)
FORGOTTEN = Rule("A failed call leaves no trace in those after it.", ["$nn_errno"], ["error"])
HANDLE_OF_A_GRAPH = Rule(
    "The handle of a graph isn't that of a context, but an invalid argument.", ["$graph_execution_context"]
)

# Traps of components

LIST = Rule("A list out of bounds traps.", component=[_LIST])
EMPTY_LIST = Rule("An empty list out of bounds traps, too.", component=[_LIST])
UNALIGNED_LIST = Rule("A list that isn't aligned to 4 bytes traps.", component=[_LIST])
STRING = Rule("A string out of bounds traps.", component=[_STRING])
NOT_UTF8 = Rule("A string that isn't UTF-8 traps.", component=[_STRING])
END_OF_MEMORY_STRING = Rule("A string may end where the memory ends.", component=[_STRING])
ENUM = Rule("A number that is no case of an enum traps.", component=["CanonicalABI.md: lift_flat_variant"])
RESULT = Rule(
    "A result's place that isn't aligned to 4 bytes, or is out of bounds, traps.",
    component=["CanonicalABI.md: lower_flat_values"],
)
RESULT_AT_END = Rule(
    "A result may lie at the very end of the memory.", component=["CanonicalABI.md: lower_flat_values"]
)
NO_HANDLE = Rule("A number that isn't a handle traps.", component=["CanonicalABI.md: lift_borrow"])
DROPPED = Rule("A handle that was dropped is gone: to use it traps.", component=["CanonicalABI.md: lift_borrow"])
DROPPED_TWICE = Rule(
    "A handle that was dropped is gone: to drop it again traps.", component=["CanonicalABI.md: canon_resource_drop"]
)
OTHER_RESOURCE = Rule(
    "A handle of one resource isn't one of another: to use it so traps.", component=["CanonicalABI.md: lift_borrow"]
)
OTHER_DROPPED = Rule(
    "A handle of one resource isn't one of another: to drop it so traps.",
    component=["CanonicalABI.md: canon_resource_drop"],
)
PASSED_ON = Rule(
    "A tensor that is passed belongs to the host: the guest's handle is gone.",
    component=["CanonicalABI.md: lift_own", "CanonicalABI.md: lift_borrow"],
)
PASSED_TWICE = Rule(
    "A tensor is passed as a whole: the same handle twice traps.", component=["CanonicalABI.md: lift_own"]
)
NO_TENSOR = Rule("A tensor that is passed must be the handle of one.", component=["CanonicalABI.md: lift_own"])
