"""The policy: which models, targets and names a guest may ask for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wasi_nn.arguments import as_flag, as_items, as_texts, shown
from wasi_nn.backends import Backend
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.loading.rules import LoadRules
from wasi_nn.settings import how_to_set
from wasi_nn.types import ExecutionTarget, GraphEncoding, Word, parse_enum

EXTENSIONS = ("describe", "signatures", "state", "sequences", "byte-strings")
"""The interfaces of wasi-nn:ext."""


@dataclass(frozen=True)
class Policy:
    """What a guest may load, and on which targets.

    allow_load       the encodings of which the guest may load models from bytes. True: those whose runtime is safe for
                     untrusted models, by itself or in isolation. False: none
    allow_targets    execution targets. None: all
    allow_names      names of graphs, in which `*` stands for any characters. None: all
    extensions       the interfaces of wasi-nn:ext that a guest may import
    metadata         whether descriptions of graphs have what the models say about themselves
    """

    allow_load: bool | frozenset[GraphEncoding] = True
    allow_targets: frozenset[ExecutionTarget] | None = None
    allow_names: tuple[str, ...] | None = None
    extensions: frozenset[str] = frozenset(EXTENSIONS)
    metadata: bool = True

    @classmethod
    def of(
        cls,
        allow_load: bool | Collection[GraphEncoding | str],
        allow_targets: Collection[ExecutionTarget | str] | None,
        allow_names: Collection[str] | None,
        extensions: bool | Collection[str] = True,
        metadata: bool = True,
    ) -> Policy:
        """A policy from names of encodings, targets and extensions. Raises `NNError` with `invalid-argument` for an
        unknown name, or for one text in place of a collection of texts."""
        return cls(
            allow_load if isinstance(allow_load, bool) else _words("allow_load", GraphEncoding, allow_load),
            None if allow_targets is None else _words("allow_targets", ExecutionTarget, allow_targets),
            as_patterns("allow_names", allow_names),
            as_extensions("extensions", extensions),
            as_flag("show_metadata", metadata),
        )

    def require_load(self, target: ExecutionTarget) -> None:
        """Raise `NNError` with `security` if no model may be loaded from bytes, or none for this target."""
        if not self.allow_load:
            how = how_to_set("allow_load=True", "without --no-load")
            raise NNError(ErrorCode.SECURITY, f"this host loads graphs by name only, not from a guest's bytes ({how})")
        self.require_target(target)

    def require_target(self, target: ExecutionTarget) -> None:
        """Raise `NNError` with `security` if the guest may not ask for this target."""
        if self.allow_targets is not None and target not in self.allow_targets:
            names = ", ".join(sorted(it.value for it in self.allow_targets)) or "none"
            how = how_to_set("allow_targets", f"--allow-target {target.value}")
            message = f"this guest may not use the target {target.value}; it may use: {names} ({how})"
            raise NNError(ErrorCode.SECURITY, message)

    def lets_load(self, backend: Backend, rules: LoadRules) -> bool:
        """Whether the guest may load models of this backend from bytes."""
        if isinstance(self.allow_load, bool):
            return self.allow_load and rules.let_guests_load(backend)
        return backend.encoding in self.allow_load

    def lets_name(self, name: str) -> bool:
        """Whether the guest may load the graph of this name."""
        return self.allow_names is None or any(fnmatchcase(name, allowed) for allowed in self.allow_names)


def as_extensions(name: str, extensions: bool | Collection[str]) -> frozenset[str]:
    """Names of interfaces of wasi-nn:ext; True is all of them, False none. Raises `NNError` with `invalid-argument` for
    a name that no interface has."""
    if isinstance(extensions, bool):
        return frozenset(EXTENSIONS if extensions else ())
    names = as_texts(name, extensions, "['describe', 'sequences']")
    for unknown in names:
        if unknown not in EXTENSIONS:
            there = f"there are {', '.join(EXTENSIONS)}{nearest(unknown, EXTENSIONS)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{name}: no extension is named {shown(unknown)}; {there}")
    return frozenset(names)


def as_patterns(name: str, patterns: Collection[str] | None) -> tuple[str, ...] | None:
    """Names of graphs, in which `*` stands for any characters. Raises `NNError` with `invalid-argument`."""
    return None if patterns is None else tuple(as_texts(name, patterns, "['mobilenet', 'test-*']"))


_WANTED = {
    "allow_load": "True, False, or a collection of encodings, such as ['onnx']",
    "allow_targets": "a collection of targets, such as ['cpu'], or None for all",
}


def _words(name: str, kind: type[Word], words: Collection[Word | str]) -> frozenset[Word]:
    return frozenset(parse_enum(kind, word, name) for word in as_items(name, words, _WANTED[name]))
