"""The items of a WIT file: its types, the cases of its enums, its resources and their functions, and its functions."""

from __future__ import annotations

import re
from pathlib import Path


def wit_items(path: Path) -> set[str]:
    """The names of all items. One in another has a dot between them, such as `tensor.dimensions`."""
    text = re.sub("//.*", "", path.read_text())
    items = set(re.findall(r"(?:type|enum|variant|record|resource) ([\w-]+)", text))
    for name, cases in re.findall(r"enum ([\w-]+) {(.*?)}", text, re.DOTALL):
        items |= {f"{name}.{case}" for case in re.findall(r"[\w-]+", cases)}
    for name, functions in re.findall(r"resource ([\w-]+) {(.*?)}", text, re.DOTALL):
        items |= {
            f"{name}.{function}"
            for function in re.findall(r"([\w-]+): func|(constructor)\(", functions)
            for function in function
            if function
        }
    alone = re.sub(r"resource [\w-]+ {.*?}", "", text, flags=re.DOTALL)
    return items | set(re.findall(r"([\w-]+): func", alone))
