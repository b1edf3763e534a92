;; core/load/openvino-twice
;;
;; Each load makes a graph; both are usable.
;;
;; By wasi-nn.witx: load.
;;
;; Needs models in openvino.
;;
;; Prints:
;;   load 0
;;   load 0
;;   init_execution_context 0
;;   init_execution_context 0
;;   set_input 0
;;   compute 0
;;   get_output 0
;;   written 16
;;   output 0000803f000000000000404000000000
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
  (data (i32.const 0x800) "<?xml version=\221.0\22?>\0a<net name=\22case\22 version=\2211\22>\0a\09<layers>\0a\09\09<layer id=\220\22 name=\22x\22 type=\22Parameter\22 version=\22opset1\22>\0a\09\09\09<data shape=\224\22 element_type=\22f32\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22 names=\22x\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\221\22 name=\22y\22 type=\22ReLU\22 version=\22opset1\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09\09<output>\0a\09\09\09\09<port id=\221\22 precision=\22FP32\22 names=\22y\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\222\22 name=\22Result_260\22 type=\22Result\22 version=\22opset1\22 output_names=\22y\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09</layer>\0a\09</layers>\0a\09<edges>\0a\09\09<edge from-layer=\220\22 from-port=\220\22 to-layer=\221\22 to-port=\220\22 />\0a\09\09<edge from-layer=\221\22 from-port=\221\22 to-layer=\222\22 to-port=\220\22 />\0a\09</edges>\0a\09<rt_info>\0a\09\09<info name=\22OpenVINO Runtime\22 value=\222026.4.1-22982-e213a147257-releases/2026/4\22 />\0a\09</rt_info>\0a</net>\0a")
  (global $builders i32 (i32.const 0xbe0))  ;; each builder's bytes, and their number
  (data (i32.const 0xbe0) "\00\08\00\00\db\03\00\00\00\00\00\00\00\00\00\00")
  (global $graph i32 (i32.const 0x60))
  (data (i32.const 0x60) "\ee\ee\ee\ee")
  (global $builder' i32 (i32.const 0xbf0))
  (data (i32.const 0xbf0) "<?xml version=\221.0\22?>\0a<net name=\22case\22 version=\2211\22>\0a\09<layers>\0a\09\09<layer id=\220\22 name=\22x\22 type=\22Parameter\22 version=\22opset1\22>\0a\09\09\09<data shape=\224\22 element_type=\22f32\22 />\0a\09\09\09<output>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22 names=\22x\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\221\22 name=\22y\22 type=\22ReLU\22 version=\22opset1\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09\09<output>\0a\09\09\09\09<port id=\221\22 precision=\22FP32\22 names=\22y\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</output>\0a\09\09</layer>\0a\09\09<layer id=\222\22 name=\22Result_260\22 type=\22Result\22 version=\22opset1\22 output_names=\22y\22>\0a\09\09\09<input>\0a\09\09\09\09<port id=\220\22 precision=\22FP32\22>\0a\09\09\09\09\09<dim>4</dim>\0a\09\09\09\09</port>\0a\09\09\09</input>\0a\09\09</layer>\0a\09</layers>\0a\09<edges>\0a\09\09<edge from-layer=\220\22 from-port=\220\22 to-layer=\221\22 to-port=\220\22 />\0a\09\09<edge from-layer=\221\22 from-port=\221\22 to-layer=\222\22 to-port=\220\22 />\0a\09</edges>\0a\09<rt_info>\0a\09\09<info name=\22OpenVINO Runtime\22 value=\222026.4.1-22982-e213a147257-releases/2026/4\22 />\0a\09</rt_info>\0a</net>\0a")
  (global $builders' i32 (i32.const 0xfd0))  ;; each builder's bytes, and their number
  (data (i32.const 0xfd0) "\f0\0b\00\00\db\03\00\00\00\00\00\00\00\00\00\00")
  (global $graph2 i32 (i32.const 0x68))
  (data (i32.const 0x68) "\ee\ee\ee\ee")
  (global $context i32 (i32.const 0x70))
  (data (i32.const 0x70) "\ee\ee\ee\ee")
  (global $context2 i32 (i32.const 0x78))
  (data (i32.const 0x78) "\ee\ee\ee\ee")
  (global $dims i32 (i32.const 0xfe0))  ;; [4]
  (data (i32.const 0xfe0) "\04\00\00\00")
  (global $data i32 (i32.const 0xfe8))
  (data (i32.const 0xfe8) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
  (global $tensor i32 (i32.const 0xff8))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0xff8) "\e0\0f\00\00\01\00\00\00\01\aa\bb\cc\e8\0f\00\00\10\00\00\00")
  (global $buffer i32 (i32.const 0x1010))
  (global $written i32 (i32.const 0x80))
  (data (i32.const 0x80) "\ee\ee\ee\ee")
  (global $dims' i32 (i32.const 0x1020))  ;; [4]
  (data (i32.const 0x1020) "\04\00\00\00")
  (global $data' i32 (i32.const 0x1028))
  (data (i32.const 0x1028) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
  (global $tensor' i32 (i32.const 0x1038))  ;; dims, their number, type, padding, data, its length
  (data (i32.const 0x1038) " \10\00\00\01\00\00\00\01\aa\bb\cc(\10\00\00\10\00\00\00")
  (global $buffer' i32 (i32.const 0x1050))
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
    (memory.fill (i32.const 0x1010) (i32.const 0xee) (i32.const 0x10))
    (memory.fill (i32.const 0x1050) (i32.const 0xee) (i32.const 0x10))
    (call $say (global.get $says.load)
      (call $load (global.get $builders) (i32.const 2) (i32.const 0) (i32.const 0) (global.get $graph)))
    (call $say (global.get $says.load)
      (call $load (global.get $builders') (i32.const 2) (i32.const 0) (i32.const 0) (global.get $graph2)))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph)) (global.get $context)))
    (call $say (global.get $says.init_execution_context)
      (call $init_execution_context (i32.load (global.get $graph2)) (global.get $context2)))
    (call $say (global.get $says.set_input)
      (call $set_input (i32.load (global.get $context)) (i32.const 0) (global.get $tensor)))
    (call $say (global.get $says.compute)
      (call $compute (i32.load (global.get $context))))
    (call $say (global.get $says.get_output)
      (call $get_output (i32.load (global.get $context)) (i32.const 0) (global.get $buffer) (i32.const 0x10) (global.get $written)))
    (call $say (global.get $says.written) (i32.load (global.get $written)))
    (call $show (global.get $says.output) (global.get $buffer) (i32.const 16))
    (call $say (global.get $says.set_input)
      (call $set_input (i32.load (global.get $context2)) (i32.const 0) (global.get $tensor')))
    (call $say (global.get $says.compute)
      (call $compute (i32.load (global.get $context2))))
    (call $say (global.get $says.get_output)
      (call $get_output (i32.load (global.get $context2)) (i32.const 0) (global.get $buffer') (i32.const 0x10) (global.get $written)))
    (call $say (global.get $says.written) (i32.load (global.get $written)))
    (call $show (global.get $says.output) (global.get $buffer') (i32.const 16)))

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
