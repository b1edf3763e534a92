"""Puts the shim into a guest component, so that the bytes of its tensors and models don't cross to the bridge.

The engine copies a list between two components byte by byte. So the shim, a few small core modules in the guest, takes
the place of the guest's imports that pass bytes: `[constructor]tensor`, `[method]tensor.data` and `load`. It gives the
host the places of the bytes in the guest's memory (see `memories`), through functions that the bridge exports beside
those of wasi:nn; their names begin with `PREFIX`. While the host doesn't see the memory, the shim calls the function
whose place it took.

Each item that is put in shifts the indexes of the items of its sort behind it. So this module writes all items again
that can refer to one, with the new index for each old one. The order of the items stays. A guest with anything that
this module doesn't know stays as it is: then it works with the bridge only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.encoding import (
    ALIAS,
    CANON,
    COMPONENT,
    COMPONENT_SORT,
    CORE_FUNC_SORT,
    CORE_INSTANCE,
    CORE_INSTANCE_SORT,
    CORE_MEMORY_SORT,
    CORE_MODULE,
    CORE_MODULE_SORT,
    CUSTOM,
    EXPORT,
    FROM_CORE_INSTANCE,
    FROM_INSTANCE,
    FUNC_SORT,
    IMPORT,
    INSTANCE,
    INSTANCE_SORT,
    SORTS,
    TYPE,
    TYPE_SORT,
    export_alias,
    u32,
    utf8,
    vector,
)
from wasi_nn.abi.component.extension import PREFIX, extended, types_to_extend
from wasi_nn.abi.component.nesting import given_to_nested, takes_from_outside
from wasi_nn.abi.component.reading import INSTANCE_TYPE, RESOURCE, alias, export, import_, skip_type
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, Malformed, WasmReader, sections

_MAX_ITEMS = 100_000  # of one sort in one component
_DEPTH = 4  # how deep in each other the components are that this module looks into

# The kinds of canonical definitions, and their options.
_LIFT, _LOWER, _ABOUT_RESOURCES = 0, 1, (2, 3, 4)
_LAST_ENCODING, _MEMORY, _REALLOC, _POST_RETURN = 2, 3, 4, 5


class _Replaced(NamedTuple):
    """A function of wasi:nn whose place the shim takes."""

    shim: str
    """The name of the shim's module."""
    direct: tuple[str, ...]
    """The functions that the shim calls, without `PREFIX`, in the same instance."""


_REPLACED = {
    ("tensor", "[constructor]tensor"): _Replaced("constructor", ("keeps", "new")),
    ("tensor", "[method]tensor.data"): _Replaced("data", ("size", "read")),
    ("graph", "load"): _Replaced("load", ("load",)),
}


class _Options(NamedTuple):
    encoded: bytes
    memory: int | None
    realloc: int | None
    plain: bool
    """Whether the shim can stand in for a function with these options."""


def inject(guest: bytes | memoryview) -> bytes | None:
    """A guest component with the shim in it; None if the guest has nothing for the shim, or something unknown."""
    try:
        return _Injection(guest, 0).run()
    except (Malformed, RecursionError):  # recursion: types inside types
        return None


class _Injection:
    """Writes one component again, item by item."""

    def __init__(self, component: bytes | memoryview, depth: int) -> None:
        self.depth = depth
        self.parts = list(sections(component, COMPONENT_HEADER))
        self.written: list[bytes | memoryview] = []
        self.items: list[bytes] = []
        """The items of the current section that aren't written yet."""
        self.number = CUSTOM
        self.places: dict[bytes, list[int]] = {sort: [] for sort in SORTS}
        """For each sort, the new index of each old one."""
        self.counts = dict.fromkeys(SORTS, 0)
        self.nn_types = types_to_extend(self.parts)
        self.nested = given_to_nested(self.parts) if depth < _DEPTH else {}
        self.nn_instances: dict[int, str] = {}
        """The names of the imports of wasi:nn by the indexes of their instances."""
        self.replaced: dict[int, tuple[int, str]] = {}
        """The imported functions whose place the shim takes: the indexes of their instances, and their names."""
        self.modules: dict[str, int] = {}
        self.aliases_of_memories: dict[tuple[int, str | int], int] = {}
        """The new index of the first alias of each memory, by the core instance that exports it, and its name."""
        self.first_aliases: dict[int, int] = {}
        """For each alias of a memory, the first alias of the same memory, both as new indexes."""
        self.memories: dict[int, int] = {}
        """The instances of the shim's `memory` by the index of the guest's memory."""
        self.instances = 0
        """The number of instances of the shim's modules, with those in nested components."""

    def run(self) -> bytes | None:
        for place, (number, body) in enumerate(self.parts):
            if number == CUSTOM:
                self.copy(number, body)
            elif number == CORE_MODULE:
                self.keep(CORE_MODULE_SORT)
                self.copy(number, body)
            elif number == COMPONENT:
                self.component(place, body)
            else:
                self.section(number, body)
        return b"".join((COMPONENT_HEADER, *self.written)) if self.instances else None

    # Indexes

    def keep(self, sort: bytes) -> int:
        """Give the next item of the guest its new index; returns its old one."""
        if sort not in self.places:
            raise Malformed(f"it has an item of an unknown sort ({sort.hex()})")
        if len(self.places[sort]) == _MAX_ITEMS:
            raise Malformed(f"it has more than {_MAX_ITEMS} items of one sort")
        self.places[sort].append(self.counts[sort])
        self.counts[sort] += 1
        return len(self.places[sort]) - 1

    def add(self, sort: bytes) -> int:
        """The index of an item that is put in."""
        self.counts[sort] += 1
        return self.counts[sort] - 1

    def moved(self, sort: bytes, index: int) -> bytes:
        """The new index of an item of the guest."""
        places = self.places.get(sort, [])
        if index >= len(places):
            raise Malformed(f"it refers to an item that it doesn't have (sort {sort.hex()}, index {index})")
        return u32(places[index])

    # Sections

    def copy(self, number: int, body: bytes | memoryview) -> None:
        self.written += [bytes((number,)), u32(len(body)), body]

    def component(self, place: int, body: memoryview) -> None:
        if self.counts[CORE_MODULE_SORT] != len(self.places[CORE_MODULE_SORT]) and takes_from_outside(
            body, CORE_MODULE_SORT
        ):
            raise Malformed("a component in it has modules from outside")
        self.keep(COMPONENT_SORT)
        inner = None
        if place in self.nested:
            injection = _Injection(body, self.depth + 1)
            inner = injection.run()
            self.instances += injection.instances * self.nested[place]
            self.require_few_instances()
        self.copy(COMPONENT, inner or body)

    def section(self, number: int, body: memoryview) -> None:
        read_item = self.READERS.get(number)
        if read_item is None:
            raise Malformed(f"it has a section of number {number}")
        self.number = number
        reader = WasmReader(body)
        for _ in range(reader.u32()):
            item = read_item(self, reader)
            if item is not None:
                self.items.append(item)
        if reader.at != len(reader.content):
            raise Malformed("it has a section that goes on after its last item")
        self.flush()

    def flush(self) -> None:
        """Write the items of the section so far."""
        if self.items:
            self.copy(self.number, vector(self.items))
            self.items.clear()

    # Items: each of these reads one and returns it with its new indexes.

    def index(self, reader: WasmReader, sort: bytes) -> bytes:
        return self.moved(sort, reader.u32())

    def core_instance(self, reader: WasmReader) -> bytes:
        def item(_: int) -> bytes:
            name, sort = utf8(reader.name()), bytes((0, reader.byte()))
            return name + sort[1:] + self.index(reader, sort)

        return self.any_instance(reader, CORE_INSTANCE_SORT, CORE_MODULE_SORT, item)

    def instance(self, reader: WasmReader) -> bytes:
        def item(form: int) -> bytes:
            start = reader.at
            _ = reader.name() if form == 0 else reader.extern_name()
            name, sort = reader.since(start), reader.sort()
            return name + sort + self.index(reader, sort)

        return self.any_instance(reader, INSTANCE_SORT, COMPONENT_SORT, item)

    def any_instance(self, reader: WasmReader, sort: bytes, of: bytes, item: Callable[[int], bytes]) -> bytes:
        """An instance: of a module or component (of the sort `of`) with arguments (form 0), or of exports (form 1).
        `item` reads an argument or an export."""
        form = reader.byte()
        if form > 1:
            raise Malformed(f"it has an instance of an unknown form ({form})")
        instantiated = self.index(reader, of) if form == 0 else b""
        items = vector([item(form) for _ in range(reader.u32())])
        self.keep(sort)
        return bytes((form,)) + instantiated + items

    def alias(self, reader: WasmReader) -> bytes:
        item = alias(reader)
        if isinstance(item.item, int):
            own = item.of == 0
            target = u32(item.of) + (self.moved(item.sort, item.item) if own else u32(item.item))
        else:
            sort = INSTANCE_SORT if item.target == FROM_INSTANCE else CORE_INSTANCE_SORT
            target = self.moved(sort, item.of) + utf8(item.item)
        index = self.keep(item.sort)
        if item.target == FROM_INSTANCE and item.sort == FUNC_SORT and item.of in self.nn_instances:
            self.replaced[index] = item.of, str(item.item)
        if item.target == FROM_CORE_INSTANCE and item.sort == CORE_MEMORY_SORT:
            alias_of = self.places[CORE_MEMORY_SORT][index]
            self.first_aliases[alias_of] = self.aliases_of_memories.setdefault((item.of, item.item), alias_of)
        return item.sort + bytes((item.target,)) + target

    def type_(self, reader: WasmReader) -> bytes:
        start = reader.at
        index = self.keep(TYPE_SORT)
        form = reader.byte()
        if form == RESOURCE:
            representation = reader.byte()
            destructor = self.index(reader, CORE_FUNC_SORT) if reader.byte() else None
            return bytes((form, representation, destructor is not None)) + (destructor or b"")
        if index in self.nn_types and form == INSTANCE_TYPE:
            return extended(reader, self.nn_types[index])
        reader.at = start
        skip_type(reader)
        return reader.since(start)

    def canonical(self, reader: WasmReader) -> bytes | None:
        form = reader.byte()
        if form in _ABOUT_RESOURCES:
            self.keep(CORE_FUNC_SORT)
            return bytes((form,)) + self.index(reader, TYPE_SORT)
        if form not in (_LIFT, _LOWER) or reader.byte() != 0:
            raise Malformed(f"it has a canonical definition of an unknown form ({form})")
        if form == _LIFT:
            function = self.index(reader, CORE_FUNC_SORT)
            lifted = bytes((form, 0)) + function + self.options(reader).encoded + self.index(reader, TYPE_SORT)
            self.keep(FUNC_SORT)
            return lifted
        index = reader.u32()
        function, options = self.moved(FUNC_SORT, index), self.options(reader)
        lowered = bytes((form, 0)) + function + options.encoded
        if self.replace(index, options, lowered):
            return None
        self.keep(CORE_FUNC_SORT)
        return lowered

    def options(self, reader: WasmReader) -> _Options:
        encoded, memory, realloc, plain = [], None, None, True
        for _ in range(reader.u32()):
            option = reader.byte()
            index = b""
            if option > _POST_RETURN:
                raise Malformed(f"it has a canonical option of an unknown form ({option})")
            if option > _LAST_ENCODING:
                old = reader.u32()
                index = self.moved(CORE_MEMORY_SORT if option == _MEMORY else CORE_FUNC_SORT, old)
                place = WasmReader(index).u32()
                if option == _MEMORY:
                    memory = place
                elif option == _REALLOC:
                    realloc = place
                else:
                    plain = False
            encoded.append(bytes((option,)) + index)
        return _Options(vector(encoded), memory, realloc, plain)

    def import_(self, reader: WasmReader) -> bytes:
        item = import_(reader)
        index = self.keep(item.sort)
        if item.sort == INSTANCE_SORT and bridge.interface_of(item.name):
            self.nn_instances[index] = item.name
        return item.encoded

    def export(self, reader: WasmReader) -> bytes:
        item = export(reader)
        encoded = item.before + self.moved(item.sort, item.item) + item.after
        self.keep(item.sort)
        return encoded

    READERS: ClassVar = {
        CORE_INSTANCE: core_instance,
        INSTANCE: instance,
        ALIAS: alias,
        TYPE: type_,
        CANON: canonical,
        IMPORT: import_,
        EXPORT: export,
    }

    # The shim

    def replace(self, function: int, options: _Options, lowered: bytes) -> bool:
        """Put the shim in the place of a lowered function, if the function is one for the shim.

        `lowered` is the canonical definition that the guest has for it.
        """
        if function not in self.replaced:
            return False
        instance, name = self.replaced[function]
        interface = bridge.interface_of(self.nn_instances[instance])
        replaced = _REPLACED.get((interface or "", name))
        version = self.nn_instances[instance].partition("@")[2]
        tensors = next(
            (of for of, imported in self.nn_instances.items() if imported == bridge.nn_name("tensor", version)), None
        )
        needed = (options.memory,) if name != "[method]tensor.data" else (options.memory, options.realloc)
        if replaced is None or tensors is None or not options.plain or None in needed:
            return False
        assert options.memory is not None
        self.flush()
        self.copy(CANON, u32(1) + lowered)
        guest = {"memory": (CORE_MEMORY_SORT, options.memory), "plain": (CORE_FUNC_SORT, self.add(CORE_FUNC_SORT))}
        if options.realloc is not None:
            guest["realloc"] = CORE_FUNC_SORT, options.realloc
        result_in_memory = options.encoded if name == "load" else b"\0"
        directs = {each: (CORE_FUNC_SORT, self.lower(instance, each, result_in_memory)) for each in replaced.direct}
        shim = self.instantiate(
            replaced.shim,
            {
                "guest": self.inline(guest),
                "bridge": self.inline(directs),
                "memory": self.memory(options.memory, tensors),
            },
        )
        self.written.append(export_alias(CORE_FUNC_SORT, shim, "call", FROM_CORE_INSTANCE))
        self.keep(CORE_FUNC_SORT)  # the index that the guest gave to the lowered function
        return True

    def memory(self, memory: int, tensors: int) -> int:
        """The instance of the shim's `memory` for a memory of the guest."""
        memory = self.first_aliases.get(memory, memory)
        if memory not in self.memories:
            functions = {each: (CORE_FUNC_SORT, self.lower(tensors, each)) for each in ("mark", "find")}
            guest = self.inline({"memory": (CORE_MEMORY_SORT, memory)})
            self.memories[memory] = self.instantiate("memory", {"guest": guest, "bridge": self.inline(functions)})
        return self.memories[memory]

    def lower(self, instance: int, function: str, options: bytes = b"\0") -> int:
        """Lower a function for the shim; returns its index."""
        self.written.append(export_alias(FUNC_SORT, self.places[INSTANCE_SORT][instance], PREFIX + function))
        self.copy(CANON, u32(1) + bytes((_LOWER, 0)) + u32(self.add(FUNC_SORT)) + options)
        return self.add(CORE_FUNC_SORT)

    def instantiate(self, module: str, arguments: dict[str, int]) -> int:
        """Instantiate a module of the shim with instances; returns the index of the new instance."""
        if module not in self.modules:
            self.copy(CORE_MODULE, bridge.shim(module))
            self.modules[module] = self.add(CORE_MODULE_SORT)
        named = [utf8(name) + CORE_INSTANCE_SORT[1:] + u32(index) for name, index in arguments.items()]
        self.copy(CORE_INSTANCE, u32(1) + b"\0" + u32(self.modules[module]) + vector(named))
        self.instances += 1
        self.require_few_instances()
        return self.add(CORE_INSTANCE_SORT)

    def require_few_instances(self) -> None:
        if self.instances > bridge.MAX_SHIM_INSTANCES:
            raise Malformed(f"it would have more than {bridge.MAX_SHIM_INSTANCES} instances of the shim's modules")

    def inline(self, items: dict[str, tuple[bytes, int]]) -> int:
        """An instance that exports some items, by their sorts and indexes; returns its index."""
        named = [utf8(name) + sort[1:] + u32(index) for name, (sort, index) in items.items()]
        self.copy(CORE_INSTANCE, u32(1) + b"\1" + vector(named))
        return self.add(CORE_INSTANCE_SORT)
