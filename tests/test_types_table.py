"""The table of element types in the documentation: each cell is tried again."""

from __future__ import annotations

import pytest
from conftest import need

for _module, _extra in (("openvino", "openvino"), ("torch", "pytorch"), ("tensorflow", "tensorflow")):
    need(_module, f"'wasi-nn[{_extra}]'")

import types_table  # noqa: E402


@pytest.mark.filterwarnings("ignore")  # warnings of the tools that write the models
def test_every_cell_is_as_the_page_has_it() -> None:
    assert types_table.page().splitlines() == types_table.PAGE.read_text().splitlines()


def test_every_type_of_the_specification_works_somewhere_both_ways() -> None:
    page = types_table.PAGE.read_text()
    assert "WRONG" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ONNX, onnxruntime")]
    assert rows[0] == "| ONNX, onnxruntime | in |" + " yes |" * len(types_table.SPECIFIED)
