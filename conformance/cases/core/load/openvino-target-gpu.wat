;; core/load/openvino-target-gpu
;;
;; A target that the host doesn't have is an unsupported operation. Hosts differ: some take another.
;;
;; By wasi-nn.witx: load, $execution_target, $nn_errno.$unsupported_operation.
;;
;; Needs models in openvino.
;;
;; Prints:
;;   load 0|6
;; or:
;;   load 0|1-8
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (global $builder i32 (i32.const 0x800))
  (data (i32.const 0x800) "<?xml version=\221.0\22?>\0a<net name=\22case\22 version=\2211\22>\0a\09<layers>\0a\09\09<layer id=\220\22 name=\22x\22 type=\22Parameter\22 version=\22opset1\22>\0a\09\09\09<data shape=\224\22 element_type=\22f32\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22 names=\22x\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\221\22 name=\22y\22 type=\22ReLU\22 version=\22opset1\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09\09<output>\0a\09\09\09\09<port id=\221\22 precision=\22FP32\22 names=\22y\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\222\22 name=\22Result_260\22 type=\22Result\22 version=\22opset1\22 output_names=\22y\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09</layer>\0a\09</layers>\0a\09<edges>\0a\09\09<edge from-layer=\220\22 from-port=\220\22 to-layer=\221\22 to-port=\220\22 />\0a\09\09<edge from-layer=\221\22 from-port=\221\22 to-layer=\222\22 to-port=\220\22 />\0a\09</edges>\0a\09<rt_info>\0a\09\09<info name=\22OpenVINO Runtime\22 value=\222026.4.1-22982-e213a147257-releases/2026/4\22 />\0a\09</rt_info>\0a</net>\0a")
  (global $builders i32 (i32.const 0xbe0))  ;; each builder's bytes, and their number
  (data (i32.const 0xbe0) "\00\08\00\00\db\03\00\00\00\00\00\00\00\00\00\00")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $says.load i32 (i32.const 0x100))
  (data (i32.const 0x100) "\05load ")

  (func (export "_start")
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 2) (i32.const 0) (i32.const 1) (global.get $graph))))

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
