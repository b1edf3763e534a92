;; core-ext/sequences/handle-12345
;;
;; A number that isn't a context's handle is an invalid argument.
;;
;; By extensions.md: begin_sequence, end_sequence, next_of_sequence; wasi-nn.witx: $nn_errno.$invalid_argument.
;;
;; Prints:
;;   begin_sequence 1
;;   end_sequence 1
;;   next_of_sequence 1
(module
  (import "wasi_nn_ext" "begin_sequence" (func $begin_sequence (param i32) (result i32)))
  (import "wasi_nn_ext" "end_sequence" (func $end_sequence (param i32) (result i32)))
  (import "wasi_nn_ext" "next_of_sequence" (func $next_of_sequence (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $more i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $says.begin_sequence i32 (i32.const 0x100))
  (data (i32.const 0x100) "\0fbegin_sequence ")
  (global $says.end_sequence i32 (i32.const 0x110))
  (data (i32.const 0x110) "\0dend_sequence ")
  (global $says.next_of_sequence i32 (i32.const 0x11e))
  (data (i32.const 0x11e) "\11next_of_sequence ")

  (func (export "_start")
    (call $say (global.get $says.begin_sequence)
      (call $begin_sequence (i32.const 0x3039)))
    (call $say (global.get $says.end_sequence)
      (call $end_sequence (i32.const 0x3039)))
    (call $say (global.get $says.next_of_sequence)
      (call $next_of_sequence (i32.const 0x3039) (global.get $more))))

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
