;; core/load/tensorflowlite-unaligned-builders
;;
;; Hosts differ: the array of builders is of u32, and a host may require their alignment.
;;
;; By wasi-nn.witx: load.
;;
;; Needs models in tensorflowlite.
;;
;; Prints:
;;   load 0
;;   init_execution_context 0
;; or:
;;   trap
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)

  (global $builder i32 (i32.const 0x803))
  (data (i32.const 0x803) "\18\00\00\00TFL3\00\00\0e\00\18\00\14\00\10\00\0c\00\08\00\04\00\0e\00\00\00\14\00\00\00 \00\00\00(\00\00\00\dc\00\00\00\03\00\00\00\01\00\00\00\08\00\00\00\04\00\04\00\04\00\00\00\04\00\00\00case\00\00\00\00\01\00\00\00\10\00\00\00\0c\00\14\00\10\00\0c\00\08\00\04\00\0c\00\00\00\10\00\00\00<\00\00\00@\00\00\00D\00\00\00\01\00\00\00\10\00\00\00\00\00\0a\00\0c\00\00\00\08\00\04\00\0a\00\00\00\08\00\00\00\0c\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\00\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\00\00\00\00\02\00\00\000\00\00\00\04\00\00\00\e4\ff\ff\ff\08\00\00\00\0c\00\00\00\01\00\00\00y\00\00\00\01\00\00\00\04\00\00\00\0c\00\0c\00\08\00\00\00\00\00\04\00\0c\00\00\00\08\00\00\00\0c\00\00\00\01\00\00\00x\00\00\00\01\00\00\00\04\00\00\00\01\00\00\00\10\00\00\00\0c\00\0c\00\0b\00\00\00\00\00\04\00\0c\00\00\00\13\00\00\00\00\00\00\13")
  (global $builders i32 (i32.const 0x10001))  ;; each builder's bytes, and their number; unaligned
  (data (i32.const 0x10001) "\03\08\00\00$\01\00\00")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $says.load i32 (i32.const 0x100))
  (data (i32.const 0x100) "\05load ")
  (global $says.init_execution_context i32 (i32.const 0x106))
  (data (i32.const 0x106) "\17init_execution_context ")

  (func (export "_start")
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 1) (i32.const 4) (i32.const 0) (global.get $graph)))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph)) (global.get $context))))

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
