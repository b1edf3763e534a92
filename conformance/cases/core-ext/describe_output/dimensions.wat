;; core-ext/describe_output/dimensions
;;
;; The dimensions are those of the output of the last compute.
;;
;; By extensions.md: describe_output.
;;
;; Needs the graph rows.
;;
;; Prints:
;;   load_by_name 0
;;   init_execution_context 0
;;   set_input 0
;;   compute 0
;;   describe_output 0
;;   name y
;;   numbers 0
;;   type 1
;;   rank is known 1
;;   rank 2
;;   open 0
;;   size 3
;;   open 0
;;   size 2
;;   may be left out 0
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_nn_ext" "describe_output" (func $describe_output (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $name i32 (i32.const 0x800))
  (data (i32.const 0x800) "rows")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $dims i32 (i32.const 0x808))  ;; [3, 2]
  (data (i32.const 0x808) "\03\00\00\00\02\00\00\00")
  (global $data i32 (i32.const 0x810))
  (data (i32.const 0x810) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0\00\00\a0@\00\00\c0\c0")
  (global $tensor i32 (i32.const 0x828))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0x828) "\08\08\00\00\02\00\00\00\01\aa\bb\cc\10\08\00\00\18\00\00\00")
  (global $buffer i32 (i32.const 0x840))
  (global $written i32 (i32.const 0x70))
  (data (i32.const 0x70) "\ee\ee\ee\ee")
  (global $newline i32 (i32.const 0x78))
  (data (i32.const 0x78) "\0a")
  (global $says.load_by_name i32 (i32.const 0x100))
  (data (i32.const 0x100) "\0dload_by_name ")
  (global $says.init_execution_context i32 (i32.const 0x10e))
  (data (i32.const 0x10e) "\17init_execution_context ")
  (global $says.set_input i32 (i32.const 0x126))
  (data (i32.const 0x126) "\0aset_input ")
  (global $says.compute i32 (i32.const 0x131))
  (data (i32.const 0x131) "\08compute ")
  (global $says.describe_output i32 (i32.const 0x13a))
  (data (i32.const 0x13a) "\10describe_output ")
  (global $says.name i32 (i32.const 0x14b))
  (data (i32.const 0x14b) "\05name ")
  (global $says.numbers i32 (i32.const 0x151))
  (data (i32.const 0x151) "\08numbers ")
  (global $says.type i32 (i32.const 0x15a))
  (data (i32.const 0x15a) "\05type ")
  (global $says.rank-is-known i32 (i32.const 0x160))
  (data (i32.const 0x160) "\0erank is known ")
  (global $says.rank i32 (i32.const 0x16f))
  (data (i32.const 0x16f) "\05rank ")
  (global $says.open i32 (i32.const 0x175))
  (data (i32.const 0x175) "\05open ")
  (global $says.size i32 (i32.const 0x17b))
  (data (i32.const 0x17b) "\05size ")
  (global $says.may-be-left-out i32 (i32.const 0x181))
  (data (i32.const 0x181) "\10may be left out ")

  (func (export "_start")
    (memory.fill (i32.const 0x840) (i32.const 0xee) (i32.const 0x1000))
    (call $say (global.get $says.load_by_name)
      (call $load_by_name (global.get $name) (i32.const 4) (global.get $graph)))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph)) (global.get $context)))
    (call $say (global.get $says.set_input)
      (call $set_input (i32.load (global.get $context)) (i32.const 0) (global.get $tensor)))
    (call $say (global.get $says.compute)
      (call $compute (i32.load (global.get $context))))
    (call $say (global.get $says.describe_output)
      (call $describe_output (i32.load (global.get $context)) (i32.const 0) (global.get $buffer) (i32.const 0x1000) (global.get $written)))
    (call $print (global.get $says.name) (i32.load offset=0 (global.get $buffer)) (i32.load offset=4 (global.get $buffer)))
    (call $write (global.get $newline) (i32.const 1))
    (call $say (global.get $says.numbers) (i32.load8_u offset=8 (global.get $buffer)))
    (call $say (global.get $says.type) (i32.load8_u offset=12 (global.get $buffer)))
    (call $say (global.get $says.rank-is-known) (i32.load8_u offset=20 (global.get $buffer)))
    (call $say (global.get $says.rank) (i32.load offset=28 (global.get $buffer)))
    (call $say (global.get $says.open) (i32.ne (i32.const 0) (i32.load8_u offset=0 (i32.load offset=24 (global.get $buffer)))))
    (call $say (global.get $says.size) (i32.load offset=4 (i32.load offset=24 (global.get $buffer))))
    (call $say (global.get $says.open) (i32.ne (i32.const 0) (i32.load8_u offset=0 (i32.add (i32.load offset=24 (global.get $buffer)) (i32.const 0xc)))))
    (call $say (global.get $says.size) (i32.load offset=4 (i32.add (i32.load offset=24 (global.get $buffer)) (i32.const 0xc))))
    (call $say (global.get $says.may-be-left-out) (i32.load8_u offset=32 (global.get $buffer))))

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
