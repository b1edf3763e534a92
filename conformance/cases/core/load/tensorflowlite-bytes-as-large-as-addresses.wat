;; core/load/tensorflowlite-bytes-as-large-as-addresses
;;
;; Hosts differ: a builder's bytes out of bounds trap, or are an error.
;;
;; By wasi-nn.witx: load.
;;
;; Needs models in tensorflowlite.
;;
;; Prints:
;;   trap
;; or:
;;   load 1-8
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $builders i32 (i32.const 0x800))  ;; each builder's bytes, and their number
  (data (i32.const 0x800) "\00\00\00\00\ff\ff\ff\ff")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $says.load i32 (i32.const 0x100))
  (data (i32.const 0x100) "\05load ")

  (func (export "_start")
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 1) (i32.const 4) (i32.const 0) (global.get $graph))))

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
