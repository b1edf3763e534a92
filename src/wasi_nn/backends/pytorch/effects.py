"""What running a model of torch changes: its inputs, or its own tensors; and whether it computes gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Effects(NamedTuple):
    """Whether a method or program writes to any tensor, whether it writes to tensors of its module, and whether it
    computes gradients."""

    writes: bool
    keeps_state: bool
    learns: bool

    @property
    def needs_own_module(self) -> bool:
        """Whether no other thread may use the module meanwhile: gradients gather in the module's tensors."""
        return self.keeps_state or self.learns


def nodes_of(block: Any) -> Iterator[Any]:
    """The nodes of a block of a TorchScript graph, and of the blocks inside of it."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


_GRADIENTS = {"aten::grad", "aten::backward"}


def effects_of(graph: Any) -> Effects:
    """The effects of a TorchScript graph."""
    import torch

    internal: Any = torch._C
    graph = graph.copy()
    for node in graph.findAllNodes("prim::GetAttr"):
        if node.s("name") == "training":  # false in inference: the passes below then drop the branches for training
            false = graph.create("prim::Constant", 1)
            false.i_("value", 0)
            false.output().setType(internal.BoolType.get())
            graph.prependNode(false)
            node.output().replaceAllUsesWith(false.output())
    internal._jit_pass_constant_propagation_immutable_types(graph)
    internal._jit_pass_dce(graph)
    kinds = {node.kind() for node in nodes_of(graph)}
    learns = not kinds.isdisjoint(_GRADIENTS)
    # The effects of a call aren't in this graph, so the worst is assumed.
    if kinds & {"prim::CallMethod", "prim::CallFunction", "prim::SetAttr"}:
        return Effects(True, True, learns)
    alias = graph.alias_db()
    writes = any("!" in node.schema() for node in nodes_of(graph))  # a schema marks an argument that is written by `!`
    attributes = [node.output() for node in graph.findAllNodes("prim::GetAttr")]
    return Effects(writes, writes and any(alias.has_writers(value) for value in attributes), learns)


def effects_of_program(program: ExportedProgram) -> Effects:
    """The effects of an exported program. It can't compute gradients."""
    kinds = {spec.kind.name for spec in program.graph_signature.output_specs}
    own = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name != "USER_INPUT"}
    keeps_state = not kinds.isdisjoint({"BUFFER_MUTATION", "PARAMETER_MUTATION"})
    writes = keeps_state or "USER_INPUT_MUTATION" in kinds
    for graph in (part.graph for part in program.graph_module.modules() if hasattr(part, "graph")):
        is_inner = graph is not program.graph  # a part that an operator calls, maybe with the program's own tensors
        # The nodes whose values share the program's own tensors.
        views = {node for node in graph.nodes if node.name in own or (is_inner and node.op == "placeholder")}
        for node in graph.nodes:
            schema = getattr(node.target, "_schema", None)
            if node.op != "call_function" or schema is None:
                continue
            # A node has some arguments by position and the others by name.
            values = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
            aliased = [argument for argument in schema.arguments if argument.alias_info is not None]
            written = [argument for argument in aliased if argument.alias_info.is_write]
            writes = writes or bool(written)
            keeps_state = keeps_state or any(values.get(argument.name) in views for argument in written)
            if any(values.get(argument.name) in views for argument in aliased):
                views.add(node)
    return Effects(writes, keeps_state, learns=False)
