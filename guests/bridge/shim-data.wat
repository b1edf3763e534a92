;; Stands in the guest for `[method]tensor.data`. If something is invalid, the function itself traps as it should. It also
;; reads the tensors that stay in the bridge.
(module
  (import "guest" "memory" (memory 0))
  (import "guest" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "guest" "plain" (func $plain (param i32 i32)))
  (import "bridge" "size" (func $size (param i32) (result i32)))
  (import "bridge" "read" (func $read (param i32 i32 i32 i32)))
  (import "memory" "number" (func $number (param i32) (result i32)))
  (import "memory" "fits" (func $fits (param i32 i64) (result i32)))

  (func (export "call") (param $tensor i32) (param $result i32)
    (local $bytes i32) (local $memory i32) (local $to i32)
    (local.set $bytes (call $size (local.get $tensor)))
    (if (i32.eq (local.get $bytes) (i32.const -1))
      (then (call $plain (local.get $tensor) (local.get $result)) (return)))
    (if (i32.and
          (i32.ne (call $number (local.get $bytes)) (i32.const 0))
          (i32.and
            (i32.eqz (i32.and (local.get $result) (i32.const 3)))
            (call $fits (local.get $result) (i64.const 8))))
      (then
        (local.set $to (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $bytes)))
        ;; The memory may have grown, so its number is asked for again.
        (local.set $memory (call $number (i32.const 0)))
        (if (i32.and
              (i32.ne (local.get $memory) (i32.const 0))
              (call $fits (local.get $to) (i64.extend_i32_u (local.get $bytes))))
          (then
            (call $read (local.get $tensor) (local.get $memory) (local.get $to) (local.get $bytes))
            (i32.store (local.get $result) (local.get $to))
            (i32.store offset=4 (local.get $result) (local.get $bytes))
            (return)))))
    (call $plain (local.get $tensor) (local.get $result))))
