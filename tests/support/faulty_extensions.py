"""Deliberate faults of this host's extensions: `FAULTS` of `faulty_hosts` has them once this is imported."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from faulty_hosts import Patch, fault

from wasi_nn import NNError, Session
from wasi_nn.abi import description_record
from wasi_nn.abi.component.extension_functions import ExtendedAbi
from wasi_nn.abi.core import extensions
from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.graph.byte_strings import decoded


@fault("core-ext/describe/zam")
def a_description_has_inputs_in_the_order_of_their_names(patch: Patch) -> None:
    describe = Session.describe

    def in_order(session: Session, graph: int) -> Any:
        description = describe(session, graph)
        return replace(description, inputs=tuple(sorted(description.inputs, key=lambda info: info.name)))

    patch.setattr(Session, "describe", in_order)


@fault("core-ext/describe/size-first")
def a_description_that_does_not_fit_is_cut_off(patch: Patch) -> None:
    def cut(memory: GuestMemory, what: str, content: memoryview, buffer: int, room: int, out: int) -> None:
        memory.bytes[buffer : buffer + min(room, len(content))] = content[:room]
        memory.write_u32(out, len(content))

    patch.setattr(extensions, "deliver", cut)


@fault("component-ext/describe/rows")
def a_dimension_with_a_name_has_a_size(patch: Patch) -> None:
    patch.setattr(description_record, "_NAMED", 0)


@fault("core-ext/use_signature/other-case")
def signatures_are_in_lower_case(patch: Patch) -> None:
    use = Session.use_signature
    patch.setattr(Session, "use_signature", lambda session, graph, name: use(session, graph, name.lower()))


@fault("component-ext/signatures/unknown")
def a_signature_that_is_unknown_is_the_first_one(patch: Patch) -> None:
    use = Session.use_signature

    def first(session: Session, graph: int, name: str) -> int:
        names = session.describe(graph).signatures
        return use(session, graph, name if name in names or not names else names[0])

    patch.setattr(Session, "use_signature", first)


@fault("core-ext/state/other-*")
def a_state_that_does_not_fit_is_passed_over(patch: Patch) -> None:
    state_set = Session.state_set

    def silent(session: Session, graph: int, content: memoryview | bytes) -> None:
        with suppress(NNError):
            state_set(session, graph, content)

    patch.setattr(Session, "state_set", silent)


@fault("component-ext/state/there-and-back")
def the_last_byte_of_a_state_is_missing(patch: Patch) -> None:
    state_get = Session.state_get
    patch.setattr(Session, "state_get", lambda session, graph: state_get(session, graph)[:-1])


@fault("core-ext/sequences/pieces")
def a_sequence_never_ends(patch: Patch) -> None:
    next_piece = Session.next_piece
    patch.setattr(Session, "next_piece", lambda session, context: next_piece(session, context) or True)


@fault("core-ext/sequences/end-early")
def a_sequence_cannot_be_ended(patch: Patch) -> None:
    patch.setattr(Session, "end_sequence", lambda session, context: None)


@fault("component-ext/sequences/pieces")
def the_last_piece_of_a_sequence_is_an_empty_one(patch: Patch) -> None:
    following = Session.next_of_sequence
    patch.setattr(Session, "next_of_sequence", lambda session, sequence: following(session, sequence) or [])


@fault("core-ext/byte_strings/works")
def strings_are_in_reverse_order(patch: Patch) -> None:
    patch.setattr("wasi_nn.session.extension_calls.decoded", lambda *arguments: decoded(*arguments)[::-1])


@fault("component-ext/byte-strings/of-numbers")
def every_tensor_has_strings(patch: Patch) -> None:
    patch.setattr(ExtendedAbi, "strings_count", lambda abi, tensor: 1)
