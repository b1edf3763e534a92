"""What a session keeps bound, so that the next inference that is alike takes less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import finalize, ref

from wasi_nn.errors import NNError
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.limits.usage import Usage
from wasi_nn.session import guest_images
from wasi_nn.session.handles import HandleTable
from wasi_nn.session.tensor import BoundTensor, Tensor

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.image_option import FileReader
    from wasi_nn.graph.bound_compute import BoundCompute
    from wasi_nn.types import Array, TensorType

_AMPLE = 8  # what is kept for speed alone is at most this part of what the guest may still have
_MOST_SPARES = 16  # of each size, and sizes


class Bindings:
    """Binds the tensors and computes of a session, where the limits leave enough room."""

    def __init__(self, usage: Usage, handles: HandleTable) -> None:
        self._usage = usage
        self._handles = handles
        self._spares: dict[int, list[ref[BoundTensor]]] = {}
        self.sees_computes = False
        """Whether the session must see each compute, with its inputs. Then no compute is bound."""

    def take_slots(self, tensors: int, size: int) -> bool:
        """Count `size` bytes for so many tensors that an ABI keeps in the guest's own memory; returns False, and counts
        nothing, if they aren't a small part of what the guest may have. They have no handles."""
        amounts = {"handles": tensors, "tensor_bytes": size}
        if not all(self._usage.has_room(name, _AMPLE * amount) for name, amount in amounts.items()):
            return False
        try:
            self._usage.take("tensor_bytes", size)
        except NNError:  # another guest was faster
            return False
        return True

    def give_slots(self, size: int) -> None:
        """Count the bytes of `take_slots` no longer."""
        self._usage.give_back("tensor_bytes", size)

    def compute(
        self,
        context: ExecutionContext,
        inputs: Sequence[tuple[str, Array]],
        small_bytes: int,
        file_reader: FileReader | None,
    ) -> BoundCompute | None:
        """`ExecutionContext.bind`, if nothing between the guest and the graph must see the inputs of each compute."""
        if self.sees_computes or guest_images.inputs_with_image(context.graph, inputs, file_reader) is not inputs:
            return None
        return context.bind(inputs, small_bytes)

    def tensor(self, tensor: Tensor, elements: Array) -> BoundTensor | None:
        """A tensor over the same memory that an execution context may keep; the same one if it is such a tensor. None
        if the guest has little room for bytes of tensors, if the memory isn't the tensor's own, and for byte strings.
        `elements` is its array."""
        if isinstance(tensor, BoundTensor):
            return tensor
        if tensor.holds_strings or tensor.data.base is not None:
            return None
        amounts = {"handles": 1, "tensor_bytes": tensor.nbytes}
        if not all(self._usage.has_room(name, _AMPLE * amount) for name, amount in amounts.items()):
            return None
        try:
            self._usage.take_all(amounts)
        except NNError:  # another guest was faster
            return None
        finalize(tensor.data, self._usage.give_back_all, amounts).atexit = False
        return BoundTensor(tensor, elements)

    def lend(self, tensor: BoundTensor) -> int:
        """Give the guest a bound tensor; returns its handle."""
        return self._handles.lend(tensor)

    def take_back(self, tensors: Sequence[BoundTensor], handles: Sequence[int]) -> None:
        """Remove the handles of bound tensors, whose memory may be used again then. A handle may be that of the tensor
        from which `tensor` made the bound one."""
        for tensor, handle in zip(tensors, handles, strict=True):
            if tensor.handle == handle:
                self._handles.take_back(tensor)
            else:
                self._handles.discard(handle)
            refs = self._spares.get(len(tensor.data))
            if refs is None:
                if len(self._spares) == _MOST_SPARES:
                    self._spares.clear()
                refs = self._spares[len(tensor.data)] = []
            elif len(refs) == _MOST_SPARES:
                refs.clear()
            refs.append(tensor.ref)

    def take_spare(self, kind: TensorType, size: int, encoded_dims: Array) -> BoundTensor | None:
        """A tensor of this type, of so many bytes of data and of these dimensions, whose data the caller writes again.
        None if there is none."""
        refs = self._spares.get(size)
        tensor = refs.pop(0)() if refs else None  # the first, so that inputs of the same size keep their places
        if tensor is None or tensor.type is not kind or tensor.shape != encoded_dims.tobytes():
            return None
        return tensor
