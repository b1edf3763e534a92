;; core/load/onnx-bytes-may-change-after
;;
;; A graph doesn't depend on the bytes that it was loaded from.
;;
;; By wasi-nn.witx: load.
;;
;; Needs models in onnx.
;;
;; Prints:
;;   load 0
;;   init_execution_context 0
;;   set_input 0
;;   compute 0
;;   get_output 0
;;   written 16
;;   output 0000803f000000000000404000000000
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $builder i32 (i32.const 0x800))
  (data (i32.const 0x800) "\08\08:6\0a\0c\0a\01x\12\01y\22\04Relu\12\04caseZ\0f\0a\01x\12\0a\0a\08\08\01\12\04\0a\02\08\04b\0f\0a\01y\12\0a\0a\08\08\01\12\04\0a\02\08\04B\04\0a\00\10\11")
  (global $builders i32 (i32.const 0x840))  ;; each builder's bytes, and their number
  (data (i32.const 0x840) "\00\08\00\00@\00\00\00")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $dims i32 (i32.const 0x848))  ;; [4]
  (data (i32.const 0x848) "\04\00\00\00")
  (global $data i32 (i32.const 0x850))
  (data (i32.const 0x850) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
  (global $tensor i32 (i32.const 0x860))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0x860) "H\08\00\00\01\00\00\00\01\aa\bb\ccP\08\00\00\10\00\00\00")
  (global $buffer i32 (i32.const 0x878))
  (global $written i32 (i32.const 0x70))
  (data (i32.const 0x70) "\ee\ee\ee\ee")
  (global $says.load i32 (i32.const 0x100))
  (data (i32.const 0x100) "\05load ")
  (global $says.init_execution_context i32 (i32.const 0x106))
  (data (i32.const 0x106) "\17init_execution_context ")
  (global $says.set_input i32 (i32.const 0x11e))
  (data (i32.const 0x11e) "\0aset_input ")
  (global $says.compute i32 (i32.const 0x129))
  (data (i32.const 0x129) "\08compute ")
  (global $says.get_output i32 (i32.const 0x132))
  (data (i32.const 0x132) "\0bget_output ")
  (global $says.written i32 (i32.const 0x13e))
  (data (i32.const 0x13e) "\08written ")
  (global $says.output i32 (i32.const 0x147))
  (data (i32.const 0x147) "\07output ")

  (func (export "_start")
    (memory.fill (i32.const 0x878) (i32.const 0xee) (i32.const 0x10))
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 1) (i32.const 1) (i32.const 0) (global.get $graph)))
    (memory.fill (global.get $builder) (i32.const 0) (i32.const 64))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph)) (global.get $context)))
    (call $say (global.get $says.set_input)
      (call $set_input (i32.load (global.get $context)) (i32.const 0) (global.get $tensor)))
    (call $say (global.get $says.compute)
      (call $compute (i32.load (global.get $context))))
    (call $say (global.get $says.get_output)
      (call $get_output (i32.load (global.get $context)) (i32.const 0) (global.get $buffer) (i32.const 0x10) (global.get $written)))
    (call $say (global.get $says.written) (i32.load (global.get $written)))
    (call $show (global.get $says.output) (global.get $buffer) (i32.const 16)))

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
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; Prints a label, and bytes in hexadecimal.
  (func $show (param $label i32) (param $from i32) (param $size i32)
    (local $to i32)
    (local.set $to (i32.const 0x200))
    (if (i32.eqz (local.get $size)) (then (i32.store8 (local.get $to) (i32.const 45))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))))
    (loop $bytes
      (if (local.get $size) (then
        (i32.store8 (local.get $to) (call $digit (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4))))
        (i32.store8 offset=1 (local.get $to) (call $digit (i32.and (i32.load8_u (local.get $from)) (i32.const 15))))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $bytes))))
    (i32.store8 (local.get $to) (i32.const 10))
    (call $print (local.get $label) (i32.const 0x200) (i32.sub (local.get $to) (i32.const 0x1ff))))

  (func $digit (param i32) (result i32)
    (i32.add (local.get 0) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get 0) (i32.const 10))))))
