;; Stands in the guest for `[constructor]tensor`. If the arguments are invalid, the function itself traps as it should. It
;; also makes the tensors that stay in the bridge.
(module
  (import "guest" "plain" (func $plain (param i32 i32 i32 i32 i32) (result i32)))
  (import "bridge" "new" (func $new (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "bridge" "keeps" (func $keeps (param i32 i32) (result i32)))
  (import "memory" "number" (func $number (param i32) (result i32)))
  (import "memory" "fits" (func $fits (param i32 i64) (result i32)))

  (func (export "call")
    (param $dims i32) (param $rank i32) (param $type i32) (param $data i32) (param $size i32) (result i32)
    (local $memory i32)
    (if (call $keeps (local.get $rank) (local.get $size))
      (then (return (call $plain (local.get $dims) (local.get $rank) (local.get $type) (local.get $data)
                                 (local.get $size)))))
    (local.set $memory (call $number (local.get $size)))
    (if (i32.and
          (i32.and
            (i32.ne (local.get $memory) (i32.const 0))
            (i32.and (i32.lt_u (local.get $type) (i32.const 7)) (i32.eqz (i32.and (local.get $dims) (i32.const 3)))))
          (i32.and
            (call $fits (local.get $data) (i64.extend_i32_u (local.get $size)))
            (call $fits (local.get $dims) (i64.shl (i64.extend_i32_u (local.get $rank)) (i64.const 2)))))
      (then (return (call $new (local.get $memory) (local.get $type) (local.get $data) (local.get $size)
                               (local.get $dims) (local.get $rank)))))
    (call $plain (local.get $dims) (local.get $rank) (local.get $type) (local.get $data) (local.get $size))))
