;; 2024-08-19/tensor/i32
;;
;; A tensor gives back its dimensions, its type i32 and its data.
;;
;; By wasi-nn.wit: tensor.constructor, tensor.dimensions, tensor.ty, tensor.data.
;;
;; Prints:
;;   dimensions 04000000
;;   type 5
;;   data 0000000001000000feffffff00001000
(component
  (import "wasi:nn/tensor@0.2.0-rc-2024-08-19" (instance $tensor
    (export "tensor" (type $tensor (sub resource)))
    (type $tensor-dimensions' (list u32)) (export "tensor-dimensions" (type $tensor-dimensions (eq $tensor-dimensions')))
    (type $tensor-type' (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $tensor-type (eq $tensor-type')))
    (type $tensor-data' (list u8)) (export "tensor-data" (type $tensor-data (eq $tensor-data')))
    (export "[constructor]tensor" (func (param "dimensions" $tensor-dimensions) (param "ty" $tensor-type) (param "data" $tensor-data) (result (own $tensor))))
    (export "[method]tensor.dimensions" (func (param "self" (borrow $tensor)) (result $tensor-dimensions)))
    (export "[method]tensor.ty" (func (param "self" (borrow $tensor)) (result $tensor-type)))
    (export "[method]tensor.data" (func (param "self" (borrow $tensor)) (result $tensor-data)))))
  (alias export $tensor "tensor" (type $tensor))
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $io-error')) (export "error" (type $io-error (eq $io-error')))
    (export "output-stream" (type $stream (sub resource)))
    (type $stream-error' (variant (case "last-operation-failed" (own $io-error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $stream')) (export "output-stream" (type $stream (eq $stream')))
    (export "get-stdout" (func (result (own $stream))))))

  (core module $memory-module
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 2328))
    ;; Gives the host memory for what it returns.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $new)))
      (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (then
        (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
            (i32.shr_u (i32.sub (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16)))))
          (then (unreachable)))))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (core func $tensor (canon lower (func $tensor "[constructor]tensor") (memory (core memory $memory "memory"))))
  (core func $tensor.dimensions (canon lower (func $tensor "[method]tensor.dimensions") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $tensor.ty (canon lower (func $tensor "[method]tensor.ty")))
  (core func $tensor.data (canon lower (func $tensor "[method]tensor.data") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $drop-tensor (canon resource.drop $tensor))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $stream))
  (core module $main-module
    (import "memory" "memory" (memory 1))
    (import "nn" "tensor" (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
    (import "nn" "tensor.dimensions" (func $tensor.dimensions (param i32 i32)))
    (import "nn" "tensor.ty" (func $tensor.ty (param i32) (result i32)))
    (import "nn" "tensor.data" (func $tensor.data (param i32 i32)))
    (import "nn" "drop-tensor" (func $drop-tensor (param i32)))
    (import "nn" "get-stdout" (func $get-stdout (result i32)))
    (import "nn" "write" (func $write (param i32 i32 i32 i32)))
    (import "nn" "drop-stream" (func $drop-stream (param i32)))

    (global $ok i32 (i32.const 0x48))
    (data (i32.const 0x48) "ok\n")
    (global $tensor i32 (i32.const 0x60))
    (global $dims i32 (i32.const 0x900))  ;; [4]
    (data (i32.const 0x900) "\04\00\00\00")
    (global $data i32 (i32.const 0x908))
    (data (i32.const 0x908) "\00\00\00\00\01\00\00\00\fe\ff\ff\ff\00\00\10\00")
    (global $part i32 (i32.const 0x70))
    (global $says.dimensions i32 (i32.const 0x180))
    (data (i32.const 0x180) "\0bdimensions ")
    (global $says.type i32 (i32.const 0x18c))
    (data (i32.const 0x18c) "\05type ")
    (global $says.data i32 (i32.const 0x192))
    (data (i32.const 0x192) "\05data ")

    (func (export "run") (result i32)
      (i32.store offset=4 (global.get $tensor) (call $tensor (global.get $dims) (i32.const 1) (i32.const 5) (global.get $data) (i32.const 0x10)))
      (call $tensor.dimensions (i32.load offset=4 (global.get $tensor)) (global.get $part))
      (call $show (global.get $says.dimensions) (i32.load (global.get $part)) (i32.mul (i32.const 4) (i32.load offset=4 (global.get $part))))
      (call $say (global.get $says.type) (call $tensor.ty (i32.load offset=4 (global.get $tensor))))
      (call $tensor.data (i32.load offset=4 (global.get $tensor)) (global.get $part))
      (call $show (global.get $says.data) (i32.load (global.get $part)) (i32.load offset=4 (global.get $part)))
      (call $drop-tensor (i32.load offset=4 (global.get $tensor)))
      (i32.const 0))

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

    (func $print (param $label i32) (param $text i32) (param $size i32)
      (local $stdout i32)
      (local.set $stdout (call $get-stdout))
      (call $write (local.get $stdout)
        (i32.add (local.get $label) (i32.const 1)) (i32.load8_u (local.get $label)) (i32.const 0))
      (call $write (local.get $stdout) (local.get $text) (local.get $size) (i32.const 0))
      (call $drop-stream (local.get $stdout)))

    ;; Prints a label, and bytes in hexadecimal.
    (func $show (param $label i32) (param $from i32) (param $size i32)
      (local $to i32)
      (local.set $to (i32.const 0x300))
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
      (call $print (local.get $label) (i32.const 0x300) (i32.sub (local.get $to) (i32.const 0x2ff))))

    (func $digit (param i32) (result i32)
      (i32.add (local.get 0) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get 0) (i32.const 10))))))
  (core instance $main (instantiate $main-module (with "memory" (instance $memory))
    (with "nn" (instance (export "tensor" (func $tensor))
      (export "tensor.dimensions" (func $tensor.dimensions))
      (export "tensor.ty" (func $tensor.ty))
      (export "tensor.data" (func $tensor.data))
      (export "drop-tensor" (func $drop-tensor))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
