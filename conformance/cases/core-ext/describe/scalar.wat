;; core-ext/describe/scalar
;;
;; A scalar has a known number of dimensions, which is 0.
;;
;; By extensions.md: describe.
;;
;; Needs the graph scalar.
;;
;; Prints:
;;   load_by_name 0
;;   describe 0
;;   has an encoding 1
;;   has a runtime 1
;;   has a device 1
;;   inputs 1
;;   declares outputs 1
;;   outputs 1
;;   name x
;;   numbers 0
;;   type 1
;;   rank is known 1
;;   rank 0
;;   may be left out 0
;;   name y
;;   numbers 0
;;   type 1
;;   rank is known 1
;;   rank 0
;;   may be left out 0
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_nn_ext" "describe" (func $describe (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $name i32 (i32.const 0x800))
  (data (i32.const 0x800) "scalar")
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
  (global $says.has-an-encoding i32 (i32.const 0x118))
  (data (i32.const 0x118) "\10has an encoding ")
  (global $says.has-a-runtime i32 (i32.const 0x129))
  (data (i32.const 0x129) "\0ehas a runtime ")
  (global $says.has-a-device i32 (i32.const 0x138))
  (data (i32.const 0x138) "\0dhas a device ")
  (global $says.inputs i32 (i32.const 0x146))
  (data (i32.const 0x146) "\07inputs ")
  (global $says.declares-outputs i32 (i32.const 0x14e))
  (data (i32.const 0x14e) "\11declares outputs ")
  (global $says.outputs i32 (i32.const 0x160))
  (data (i32.const 0x160) "\08outputs ")
  (global $says.name i32 (i32.const 0x169))
  (data (i32.const 0x169) "\05name ")
  (global $says.numbers i32 (i32.const 0x16f))
  (data (i32.const 0x16f) "\08numbers ")
  (global $says.type i32 (i32.const 0x178))
  (data (i32.const 0x178) "\05type ")
  (global $says.rank-is-known i32 (i32.const 0x17e))
  (data (i32.const 0x17e) "\0erank is known ")
  (global $says.rank i32 (i32.const 0x18d))
  (data (i32.const 0x18d) "\05rank ")
  (global $says.may-be-left-out i32 (i32.const 0x193))
  (data (i32.const 0x193) "\10may be left out ")

  (func (export "_start")
    (memory.fill (i32.const 0x808) (i32.const 0xee) (i32.const 0x1000))
    (call $say (global.get $says.load_by_name)
      (call $load_by_name (global.get $name) (i32.const 6) (global.get $graph)))
    (call $say (global.get $says.describe)
      (call $describe (i32.load (global.get $graph)) (global.get $buffer) (i32.const 0x1000) (global.get $written)))
    (call $say (global.get $says.has-an-encoding) (i32.lt_u (i32.load8_u offset=0 (global.get $buffer)) (i32.const 6)))
    (call $say (global.get $says.has-a-runtime) (i32.ne (i32.const 0) (i32.load offset=8 (global.get $buffer))))
    (call $say (global.get $says.has-a-device) (i32.ne (i32.const 0) (i32.load offset=16 (global.get $buffer))))
    (call $say (global.get $says.inputs) (i32.load offset=40 (global.get $buffer)))
    (call $say (global.get $says.declares-outputs) (i32.load8_u offset=44 (global.get $buffer)))
    (call $say (global.get $says.outputs) (i32.load offset=52 (global.get $buffer)))
    (call $print (global.get $says.name) (i32.load offset=0 (i32.load offset=36 (global.get $buffer))) (i32.load offset=4 (i32.load offset=36 (global.get $buffer))))
    (call $write (global.get $newline) (i32.const 1))
    (call $say (global.get $says.numbers) (i32.load8_u offset=8 (i32.load offset=36 (global.get $buffer))))
    (call $say (global.get $says.type) (i32.load8_u offset=12 (i32.load offset=36 (global.get $buffer))))
    (call $say (global.get $says.rank-is-known) (i32.load8_u offset=20 (i32.load offset=36 (global.get $buffer))))
    (call $say (global.get $says.rank) (i32.load offset=28 (i32.load offset=36 (global.get $buffer))))
    (call $say (global.get $says.may-be-left-out) (i32.load8_u offset=32 (i32.load offset=36 (global.get $buffer))))
    (call $print (global.get $says.name) (i32.load offset=0 (i32.load offset=48 (global.get $buffer))) (i32.load offset=4 (i32.load offset=48 (global.get $buffer))))
    (call $write (global.get $newline) (i32.const 1))
    (call $say (global.get $says.numbers) (i32.load8_u offset=8 (i32.load offset=48 (global.get $buffer))))
    (call $say (global.get $says.type) (i32.load8_u offset=12 (i32.load offset=48 (global.get $buffer))))
    (call $say (global.get $says.rank-is-known) (i32.load8_u offset=20 (i32.load offset=48 (global.get $buffer))))
    (call $say (global.get $says.rank) (i32.load offset=28 (i32.load offset=48 (global.get $buffer))))
    (call $say (global.get $says.may-be-left-out) (i32.load8_u offset=32 (i32.load offset=48 (global.get $buffer)))))

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
