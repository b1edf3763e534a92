;; core/load/openvino-large-model
;;
;; A model may have 16 MiB.
;;
;; By wasi-nn.witx: load.
;;
;; Needs models in openvino.
;;
;; Prints:
;;   load 0
;;   init_execution_context 0
;;   set_input 0
;;   compute 0
;;   get_output 0
;;   written 16
;;   output 0000803f000000c000004040000080c0
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 260)

  (global $builder i32 (i32.const 0x800))
  (data (i32.const 0x800) "<?xml version=\221.0\22?>\0a<net name=\22case\22 version=\2211\22>\0a\09<layers>\0a\09\09<layer id=\220\22 name=\22x\22 type=\22Parameter\22 version=\22opset1\22>\0a\09\09\09<data shape=\224\22 element_type=\22f32\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22 names=\22x\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\221\22 name=\22weights\22 type=\22Const\22 version=\22opset1\22>\0a\09\09\09<data element_type=\22f32\22 shape=\224194304\22 offset=\220\22 size=\2216777216\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4194304</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\222\22 name=\22axes\22 type=\22Const\22 version=\22opset1\22>\0a\09\09\09<data element_type=\22i64\22 shape=\221\22 offset=\2216777216\22 size=\228\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22I64\22>\0a\09\09\09\09\09<dim>1</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\223\22 name=\22bias\22 type=\22ReduceSum\22 version=\22opset1\22>\0a\09\09\09<data keep_dims=\22true\22 />\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4194304</dim>\0a\09\09\09\09</port>\0a\09\09\09\09<port id=\221\22 precision=\22I64\22>\0a\09\09\09\09\09<dim>1</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09\09<output>\0a\09\09\09\09<port id=\222\22 precision=\22FP32\22 names=\22bias\22>\0a\09\09\09\09\09<dim>1</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\224\22 name=\22y\22 type=\22Add\22 version=\22opset1\22>\0a\09\09\09<data auto_broadcast=\22numpy\22 />\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09\09<port id=\221\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>1</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09\09<output>\0a\09\09\09\09<port id=\222\22 precision=\22FP32\22 names=\22y\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\225\22 name=\22Result_271\22 type=\22Result\22 version=\22opset1\22 output_names=\22y\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09</layer>\0a\09</layers>\0a\09<edges>\0a\09\09<edge from-layer=\220\22 from-port=\220\22 to-layer=\224\22 to-port=\220\22 />\0a\09\09<edge from-layer=\221\22 from-port=\220\22 to-layer=\223\22 to-port=\220\22 />\0a\09\09<edge from-layer=\222\22 from-port=\220\22 to-layer=\223\22 to-port=\221\22 />\0a\09\09<edge from-layer=\223\22 from-port=\222\22 to-layer=\224\22 to-port=\221\22 />\0a\09\09<edge from-layer=\224\22 from-port=\222\22 to-layer=\225\22 to-port=\220\22 />\0a\09</edges>\0a\09<rt_info>\0a\09\09<info name=\22OpenVINO Runtime\22 value=\222026.4.1-22982-e213a147257-releases/2026/4\22 />\0a\09</rt_info>\0a</net>\0a")
  (global $builder' i32 (i32.const 0x1048))
  (global $builders i32 (i32.const 0x1001050))  ;; each builder's bytes, and their number
  (data (i32.const 0x1001050) "\00\08\00\00C\08\00\00H\10\00\00\08\00\00\01")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $dims i32 (i32.const 0x1001060))  ;; [4]
  (data (i32.const 0x1001060) "\04\00\00\00")
  (global $data i32 (i32.const 0x1001068))
  (data (i32.const 0x1001068) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
  (global $tensor i32 (i32.const 0x1001078))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0x1001078) "`\10\00\01\01\00\00\00\01\aa\bb\cch\10\00\01\10\00\00\00")
  (global $buffer i32 (i32.const 0x1001090))
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
    (memory.fill (i32.const 0x1001090) (i32.const 0xee) (i32.const 0x10))
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 2) (i32.const 0) (i32.const 0) (global.get $graph)))
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
