"""Core modules and components that make given file-system calls (steps) on their first directory.

A step is a name of `PREVIEW1` or `WASI_0_2` with its arguments. A guest exits with 0 if all steps succeed, otherwise
with the error of the first step that fails: an errno, or an `error-code` plus one.
"""

from __future__ import annotations

from collections.abc import Sequence

Step = tuple[str, Sequence[int]]

# The addresses of these names in the guests' memory; each name is three bytes long.
OLD, NEW, DIRECTORY = 1000, 1010, 1020
_NAMES = {OLD: "old", NEW: "new", DIRECTORY: "dir"}

CORE_DIRECTORY, CORE_OPENED = 3, 4
"""The descriptors of the directory and of the file that was opened first."""

PREVIEW1 = {
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "path_create_directory": "i32 i32 i32",
    "path_rename": "i32 i32 i32 i32 i32 i32",
    "path_unlink_file": "i32 i32 i32",
    "path_remove_directory": "i32 i32 i32",
    "path_filestat_set_times": "i32 i32 i32 i32 i64 i64 i32",
    "path_link": "i32 i32 i32 i32 i32 i32 i32",
    "path_symlink": "i32 i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "fd_read": "i32 i32 i32 i32",
    "fd_allocate": "i32 i64 i64",
    "fd_filestat_set_size": "i32 i64",
    "fd_filestat_set_times": "i32 i64 i64 i32",
    "fd_close": "i32",
    "fd_renumber": "i32 i32",
}


def core(steps: Sequence[Step], before: str = "", after: str = "") -> bytes:
    """A core module that takes these steps."""
    names = dict.fromkeys(name for name, _ in [*steps, *((name, ()) for name in PREVIEW1)])
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {PREVIEW1[name]}) (result i32)))'
        for name in names
    )
    body = "".join(f"(call $must (call ${name} {_constants(PREVIEW1[name], arguments)}))" for name, arguments in steps)
    return f"""(module {imports} (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) {_names()}
      (func $must (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
      (func (export "_start") (local $n i32) {before} {body} {after}))""".encode()


def _constants(kinds: str, values: Sequence[int]) -> str:
    return " ".join(f"({kind}.const {value})" for kind, value in zip(kinds.split(), values, strict=True))


def _names() -> str:
    return "".join(f'(data (i32.const {at}) "{name}")' for at, name in _NAMES.items())


_FLAGS = '(param "path-flags" $path-flags)'
_PATH = f'{_FLAGS} (param "path" string)'
_OTHER = '(param "new-descriptor" (borrow $d)) (param "new-path" string)'
_TIMES = '(param "data-access-timestamp" $new-timestamp) (param "data-modification-timestamp" $new-timestamp)'
# Each method of a descriptor: its parameters, its result, and its core parameters after the descriptor.
WASI_0_2 = {
    "open-at": (
        f'{_PATH} (param "open-flags" $open-flags) (param "flags" $descriptor-flags)',
        "(result (own $d) (error $error-code))",
        "i32 i32 i32 i32 i32",
    ),
    "create-directory-at": ('(param "path" string)', "(result (error $error-code))", "i32 i32"),
    "rename-at": (f'(param "old-path" string) {_OTHER}', "(result (error $error-code))", "i32 i32 i32 i32 i32"),
    "unlink-file-at": ('(param "path" string)', "(result (error $error-code))", "i32 i32"),
    "remove-directory-at": ('(param "path" string)', "(result (error $error-code))", "i32 i32"),
    "set-times-at": (f"{_PATH} {_TIMES}", "(result (error $error-code))", "i32 i32 i32 i32 i64 i32 i32 i64 i32"),
    "link-at": (
        f'(param "old-path-flags" $path-flags) (param "old-path" string) {_OTHER}',
        "(result (error $error-code))",
        "i32 i32 i32 i32 i32 i32",
    ),
    "symlink-at": (
        '(param "old-path" string) (param "new-path" string)',
        "(result (error $error-code))",
        "i32 i32 i32 i32",
    ),
    "set-size": ('(param "size" u64)', "(result (error $error-code))", "i64"),
    "set-times": (_TIMES, "(result (error $error-code))", "i32 i64 i32 i32 i64 i32"),
    "write": (
        '(param "buffer" (list u8)) (param "offset" u64)',
        "(result u64 (error $error-code))",
        "i32 i32 i64",
    ),
    "read": (
        '(param "length" u64) (param "offset" u64)',
        "(result (tuple (list u8) bool) (error $error-code))",
        "i64 i64",
    ),
}
_PAYLOAD = {"open-at": 4, "write": 8, "read": 4}  # the offset of the error's number in a result; by default 1

_TYPES = """
  (export "descriptor" (type $d (sub resource)))
  (type $error-codes (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
    "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
    "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
    "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
    "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
  (export "error-code" (type $error-code (eq $error-codes)))
  (type $path-flag (flags "symlink-follow")) (export "path-flags" (type $path-flags (eq $path-flag)))
  (type $open-flag (flags "create" "directory" "exclusive" "truncate"))
  (export "open-flags" (type $open-flags (eq $open-flag)))
  (type $descriptor-flag (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
    "mutate-directory"))
  (export "descriptor-flags" (type $descriptor-flags (eq $descriptor-flag)))
  (type $time (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $datetime (eq $time)))
  (type $timestamp (variant (case "no-change") (case "now") (case "timestamp" $datetime)))
  (export "new-timestamp" (type $new-timestamp (eq $timestamp)))"""


def component(steps: Sequence[Step], loop: str = "") -> bytes:
    """A component that takes these steps. The first argument of a step is the descriptor whose method is called: -1
    stands for the directory, -2 for the descriptor that was opened last. `loop` is code for the end, with the locals $d
    (the directory) and $r (the address of results)."""
    methods = dict.fromkeys([*(name for name, _ in steps), "open-at"])
    exports, lowered, given, imports = [], [], [], []
    for name in methods:
        parameters, result, core_kinds = WASI_0_2[name]
        exports.append(
            f'(export "[method]descriptor.{name}" (func (param "self" (borrow $d)) {parameters} (result {result})))'
        )
        lowered.append(
            f'(core func ${name} (canon lower (func $types "[method]descriptor.{name}") '
            f'(memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))'
        )
        given.append(f'(export "{name}" (func ${name}))')
        imports.append(f'(import "" "{name}" (func ${name} (param i32 {core_kinds} i32)))')
    body = "".join(_call(name, arguments) for name, arguments in steps)
    return f"""(component
      (import "wasi:filesystem/types@0.2.0" (instance $types {_TYPES} {" ".join(exports)}))
      (alias export $types "descriptor" (type $descriptor))
      (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $descriptor (type $outer)) (export "descriptor" (type $d (eq $outer)))
        (export "get-directories" (func (result (list (tuple (own $d) string)))))))
      (import "wasi:cli/exit@0.2.12" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
      (core module $memories
        (memory (export "memory") 1) (global $end (mut i32) (i32.const 4096)) {_names()}
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (global.set $end (i32.and (i32.add (global.get $end) (i32.const 7)) (i32.const -8)))
          (global.get $end) (global.set $end (i32.add (global.get $end) (local.get 3)))))
      (core instance $memory (instantiate $memories))
      {" ".join(lowered)}
      (core func $directories (canon lower (func $preopens "get-directories") (memory (core memory $memory "memory"))
        (realloc (core func $memory "realloc"))))
      (core func $exits (canon lower (func $exit "exit-with-code")))
      (core func $drop (canon resource.drop $descriptor))
      (core module $m (import "memory" "memory" (memory 1)) {" ".join(imports)}
        (import "" "directories" (func $directories (param i32))) (import "" "exit" (func $exit (param i32)))
        (import "" "drop" (func $drop (param i32)))
        (func $must (param $error-at i32)
          (if (i32.load8_u (i32.const 64))
            (then (call $exit (i32.add (i32.const 1) (i32.load8_u (i32.add (i32.const 64) (local.get $error-at))))))))
        (func (export "run") (result i32) (local $d i32) (local $opened i32) (local $n i32) (local $r i32)
          (local.set $r (i32.const 64))
          (call $directories (i32.const 8)) (local.set $d (i32.load (i32.load (i32.const 8))))
          {body} {loop} (i32.const 0)))
      (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "" (instance
        (export "directories" (func $directories)) (export "exit" (func $exits)) (export "drop" (func $drop))
        {" ".join(given)}))))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance $interface (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $interface)))""".encode()


def _call(name: str, arguments: Sequence[int]) -> str:
    kinds = f"i32 {WASI_0_2[name][2]}".split()
    values = [
        {-1: "(local.get $d)", -2: "(local.get $opened)"}.get(value, f"({kind}.const {value})")
        for kind, value in zip(kinds, arguments, strict=True)
    ]
    opened = "(local.set $opened (i32.load (i32.const 68)))" if name == "open-at" else ""
    return f"(call ${name} {' '.join(values)} (i32.const 64)) (call $must (i32.const {_PAYLOAD.get(name, 1)})) {opened}"
