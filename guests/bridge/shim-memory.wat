;; The part of the shim that tells the host about the guest's memory. `find` looks for a memory that begins with the mark
;; that `mark` has given, and which this module writes there for that long. The memory never moves, but it grows, and
;; then the host must know its new size.
(module
  (import "guest" "memory" (memory 0))
  (import "bridge" "mark" (func $mark (result i64)))
  (import "bridge" "find" (func $find (param $number i32) (param $pages i32) (result i32)))

  ;; The host's number for the memory: 0 while the host hasn't found it.
  (global $number (mut i32) (i32.const 0))
  ;; The size for which the host has given the number, in pages.
  (global $pages (mut i32) (i32.const 0))
  ;; What a search would have saved so far, in units of the cost of 4 KiB through the bridge, which is also about that of
  ;; a call.
  (global $saved (mut i64) (i64.const 0))

  ;; The host's number for the memory, or 0: then the caller must use the bridge. `size` bytes are about to cross.
  (func (export "number") (param $size i32) (result i32)
    (local $first i64)
    (if (i32.eq (global.get $pages) (memory.size)) (then (return (global.get $number))))
    (global.set $saved (i64.add (global.get $saved)
      (i64.add (i64.const 1) (i64.extend_i32_u (i32.shr_u (local.get $size) (i32.const 12))))))
    (if (i64.lt_u (global.get $saved) (i64.const 64)) (then (return (i32.const 0))))
    (local.set $first (i64.load (i32.const 0)))
    (i64.store (i32.const 0) (call $mark))
    (global.set $number (call $find (global.get $number) (memory.size)))
    (i64.store (i32.const 0) (local.get $first))
    (global.set $pages (memory.size))
    (global.get $number))

  ;; Whether `size` bytes from `at` on lie in the memory.
  (func (export "fits") (param $at i32) (param $size i64) (result i32)
    (i64.le_u
      (i64.add (i64.extend_i32_u (local.get $at)) (local.get $size))
      (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))))
