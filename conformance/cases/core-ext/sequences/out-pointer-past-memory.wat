;; core-ext/sequences/out-pointer-past-memory
;;
;; A pointer out of bounds traps, as in the core ABI.
;;
;; By extensions.md: begin_sequence, next_of_sequence.
;;
;; Needs the graph alphabet, tensors of u8.
;;
;; Prints:
;;   load_by_name 0
;;   init_execution_context 0
;;   set_input 0
;;   begin_sequence 0
;;   trap
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_nn_ext" "begin_sequence" (func $begin_sequence (param i32) (result i32)))
  (import "wasi_nn_ext" "next_of_sequence" (func $next_of_sequence (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $name i32 (i32.const 0x800))
  (data (i32.const 0x800) "alphabet")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $dims i32 (i32.const 0x808))  ;; [1]
  (data (i32.const 0x808) "\01\00\00\00")
  (global $data i32 (i32.const 0x810))
  (data (i32.const 0x810) "a")
  (global $tensor i32 (i32.const 0x818))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0x818) "\08\08\00\00\01\00\00\00\03\aa\bb\cc\10\08\00\00\01\00\00\00")
  (global $says.load_by_name i32 (i32.const 0x100))
  (data (i32.const 0x100) "\0dload_by_name ")
  (global $says.init_execution_context i32 (i32.const 0x10e))
  (data (i32.const 0x10e) "\17init_execution_context ")
  (global $says.set_input i32 (i32.const 0x126))
  (data (i32.const 0x126) "\0aset_input ")
  (global $says.begin_sequence i32 (i32.const 0x131))
  (data (i32.const 0x131) "\0fbegin_sequence ")
  (global $says.next_of_sequence i32 (i32.const 0x141))
  (data (i32.const 0x141) "\11next_of_sequence ")

  (func (export "_start")
    (call $say (global.get $says.load_by_name)
      (call $load_by_name (global.get $name) (i32.const 8) (global.get $graph)))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph)) (global.get $context)))
    (call $say (global.get $says.set_input)
      (call $set_input (i32.load (global.get $context)) (i32.const 0) (global.get $tensor)))
    (call $say (global.get $says.begin_sequence)
      (call $begin_sequence (i32.load (global.get $context))))
    (call $say (global.get $says.next_of_sequence)
      (call $next_of_sequence (i32.load (global.get $context)) (i32.const 0xfffe))))

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
