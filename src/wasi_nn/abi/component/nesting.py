"""Finds the components inside a guest that get their wasi:nn from the guest's own imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.encoding import (
    ALIAS,
    COMPONENT,
    COMPONENT_SORT,
    EXPORT,
    FROM_OUTER,
    IMPORT,
    INSTANCE,
    INSTANCE_SORT,
)
from wasi_nn.abi.component.reading import aliases, exports, imports
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, WasmReader, sections

_DEPTH = 8  # how deep in each other the components are in which this module looks for aliases


def given_to_nested(parts: Sequence[tuple[int, memoryview]]) -> dict[int, int]:
    """The places, among a component's sections, of nested components for which this holds wherever one is used: it is
    instantiated, and each import of wasi:nn that it gets is the outer component's import of the same name. With each
    place comes the number of instances."""
    return _Nested().given(parts)


class _Nested:
    def __init__(self) -> None:
        self.components: list[int | None] = []
        """For each component, the place of its section. None: it comes from elsewhere."""
        self.instances: list[str | None] = []
        """For each instance, the name of wasi:nn by which it is imported. None: it is another instance."""
        self.instantiated: Counter[int] = Counter()
        self.used_otherwise: set[int] = set()

    def given(self, parts: Sequence[tuple[int, memoryview]]) -> dict[int, int]:
        for place, (number, body) in enumerate(parts):
            if number == COMPONENT:
                self.components.append(place)
                if takes_from_outside(body, COMPONENT_SORT):
                    return {}
            elif number == IMPORT:
                for item in imports(body):
                    self._defined(item.sort, item.name if bridge.interface_of(item.name) else None)
            elif number == ALIAS:
                for alias in aliases(body):
                    if alias.target == FROM_OUTER and isinstance(alias.item, int):
                        self._refer(alias.sort, alias.item)
                    self._defined(alias.sort, None)
            elif number == EXPORT:
                for export in exports(body):
                    self._refer(export.sort, export.item)
                    self._defined(export.sort, None)
            elif number == INSTANCE:
                self._instances(body)
        return {place: count for place, count in self.instantiated.items() if place not in self.used_otherwise}

    def _defined(self, sort: bytes, nn_name: str | None) -> None:
        if sort == INSTANCE_SORT:
            self.instances.append(nn_name)
        elif sort == COMPONENT_SORT:
            self.components.append(None)

    def _refer(self, sort: bytes, index: int) -> None:
        """Something other than an instantiation refers to an item."""
        if sort == COMPONENT_SORT and index < len(self.components):
            place = self.components[index]
            if place is not None:
                self.used_otherwise.add(place)

    def _instances(self, body: memoryview) -> None:
        reader = WasmReader(body)
        for _ in range(reader.u32()):
            form = reader.byte()
            index = reader.u32() if form == 0 else len(self.components)
            place = self.components[index] if index < len(self.components) else None
            if place is not None:
                self.instantiated[place] += 1
            for _ in range(reader.u32()):
                name = reader.name() if form == 0 else reader.extern_name()
                sort, item = reader.sort(), reader.u32()
                self._refer(sort, item)
                if place is not None and bridge.interface_of(name):
                    given = self.instances[item] if sort == INSTANCE_SORT and item < len(self.instances) else None
                    if given != name:
                        self.used_otherwise.add(place)
            self._defined(INSTANCE_SORT, None)


def takes_from_outside(component: memoryview, sort: bytes, depth: int = 0) -> bool:
    """Whether a component, or one inside it, has aliases of a sort to items outside itself, as far as this module
    looks."""
    if depth == _DEPTH:
        return True
    for number, body in sections(component, COMPONENT_HEADER):
        if number == COMPONENT and takes_from_outside(body, sort, depth + 1):
            return True
        if number == ALIAS and any(
            item.target == FROM_OUTER and item.sort == sort and item.of > 0 for item in aliases(body)
        ):
            return True
    return False
