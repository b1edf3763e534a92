;; core-ext/use_signature/empty
;;
;; A name that no signature has is not found.
;;
;; By extensions.md: use_signature; wasi-nn.witx: $nn_errno.$not_found.
;;
;; Needs the graph sums.
;;
;; Prints:
;;   load_by_name 0
;;   use_signature 8
;;   other 4008636142
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_nn_ext" "use_signature" (func $use_signature (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $name i32 (i32.const 0x800))
  (data (i32.const 0x800) "sums")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $signature i32 (i32.const 0x808))
  (global $other i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $says.load_by_name i32 (i32.const 0x100))
  (data (i32.const 0x100) "\0dload_by_name ")
  (global $says.use_signature i32 (i32.const 0x10e))
  (data (i32.const 0x10e) "\0euse_signature ")
  (global $says.other i32 (i32.const 0x11d))
  (data (i32.const 0x11d) "\06other ")

  (func (export "_start")
    (call $say (global.get $says.load_by_name)
      (call $load_by_name (global.get $name) (i32.const 4) (global.get $graph)))
    (call $say (global.get $says.use_signature)
      (call $use_signature (i32.load (global.get $graph)) (global.get $signature) (i32.const 0) (global.get $other)))
    (call $say (global.get $says.other) (i32.load (global.get $other))))

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
