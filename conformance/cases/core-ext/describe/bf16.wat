;; core-ext/describe/bf16
;;
;; Types that the core ABI lacks come by name.
;;
;; By extensions.md: describe.
;;
;; Needs the graph bf16.
;;
;; Prints:
;;   load_by_name 0
;;   describe 0
;;   kind 2
;;   type bf16
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_nn_ext" "describe" (func $describe (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $name i32 (i32.const 0x800))
  (data (i32.const 0x800) "bf16")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $buffer i32 (i32.const 0x808))
  (global $written i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $newline i32 (i32.const 0x70))
  (data (i32.const 0x70) "\0a")
  (global $says.load_by_name i32 (i32.const 0x100))
  (data (i32.const 0x100) "\0dload_by_name ")
  (global $says.describe i32 (i32.const 0x10e))
  (data (i32.const 0x10e) "\09describe ")
  (global $says.kind i32 (i32.const 0x118))
  (data (i32.const 0x118) "\05kind ")
  (global $says.type i32 (i32.const 0x11e))
  (data (i32.const 0x11e) "\05type ")

  (func (export "_start")
    (memory.fill (i32.const 0x808) (i32.const 0xee) (i32.const 0x1000))
    (call $say (global.get $says.load_by_name)
      (call $load_by_name (global.get $name) (i32.const 4) (global.get $graph)))
    (call $say (global.get $says.describe)
      (call $describe (i32.load (global.get $graph)) (global.get $buffer) (i32.const 0x1000) (global.get $written)))
    (call $say (global.get $says.kind) (i32.load8_u offset=8 (i32.load offset=36 (global.get $buffer))))
    (call $print (global.get $says.type) (i32.load offset=12 (i32.load offset=36 (global.get $buffer))) (i32.load offset=16 (i32.load offset=36 (global.get $buffer))))
    (call $write (global.get $newline) (i32.const 1)))

  ;; Prints a label, which its length precedes, a space, a number, and the end of the line.
  (func $say (param $label i32) (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 63))
    (i32.store8 (i32.const 63) (i32.const 10))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (br_if $digits (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
    (call $print (local.get $label) (local.get $at) (i32.sub (i32.const 64) (local.get $at))))

  ;; Prints a label and a text, by a call each: a host may write the first part of a list only.
  (func $print (param $label i32) (param $text i32) (param $size i32)
    (call $write (i32.add (local.get $label) (i32.const 1)) (i32.load8_u (local.get $label)))
    (call $write (local.get $text) (local.get $size)))

  (func $write (param $from i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
