;; Stands in the guest for `load`. If the arguments are invalid, the function itself traps or fails as it should.
(module
  (import "guest" "memory" (memory 0))
  (import "guest" "plain" (func $plain (param i32 i32 i32 i32 i32)))
  (import "bridge" "load" (func $load (param i32 i32 i32 i32 i32 i32)))
  (import "memory" "number" (func $number (param i32) (result i32)))
  (import "memory" "fits" (func $fits (param i32 i64) (result i32)))

  ;; The most builders of which the host loads a graph.
  (global $most i32 (i32.const 1024))

  (func (export "call")
    (param $builders i32) (param $count i32) (param $encoding i32) (param $target i32) (param $result i32)
    (local $memory i32)
    (local.set $memory (call $number (call $size (local.get $builders) (local.get $count))))
    (if (i32.and
          (i32.ne (local.get $memory) (i32.const 0))
          (i32.and
            (i32.lt_u (local.get $encoding) (i32.const 7))
            (i32.and (i32.lt_u (local.get $target) (i32.const 3)) (call $fit (local.get $builders) (local.get $count)))))
      (then
        (call $load (local.get $memory) (local.get $encoding) (local.get $target) (local.get $builders)
                    (local.get $count) (local.get $result))
        (return)))
    (call $plain (local.get $builders) (local.get $count) (local.get $encoding) (local.get $target)
                 (local.get $result)))

  ;; Whether the list of builders, and each of them, lies in the memory.
  (func $fit (param $at i32) (param $count i32) (result i32)
    (if (i32.or
          (i32.gt_u (local.get $count) (global.get $most))
          (i32.or
            (i32.and (local.get $at) (i32.const 3))
            (i32.eqz (call $fits (local.get $at) (i64.shl (i64.extend_i32_u (local.get $count)) (i64.const 3))))))
      (then (return (i32.const 0))))
    (loop $next
      (if (i32.eqz (local.get $count)) (then (return (i32.const 1))))
      (if (i32.eqz (call $fits (i32.load (local.get $at)) (i64.extend_i32_u (i32.load offset=4 (local.get $at)))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; The size of all builders together in bytes, as far as it is known without a look at invalid places.
  (func $size (param $at i32) (param $count i32) (result i32)
    (local $sum i64)
    (if (i32.or
          (i32.gt_u (local.get $count) (global.get $most))
          (i32.eqz (call $fits (local.get $at) (i64.shl (i64.extend_i32_u (local.get $count)) (i64.const 3)))))
      (then (return (i32.const 0))))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $count)))
        (local.set $sum (i64.add (local.get $sum) (i64.load32_u offset=4 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (i64.gt_u (local.get $sum) (i64.const 0xffffffff)) (then (return (i32.const -1))))
    (i32.wrap_i64 (local.get $sum))))
