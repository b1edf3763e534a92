;; 2024-06-25/tensor/data-result-partly-past-memory
;;
;; A result's place that isn't aligned to 4 bytes, or is out of bounds, traps.
;;
;; By wasi-nn.wit: tensor.constructor, tensor.data; CanonicalABI.md: lower_flat_values.
;;
;; Prints:
;;   trap
(component
  (import "wasi:nn/tensor@0.2.0-rc-2024-06-25" (instance $tensor
    (export "tensor" (type $tensor (sub resource)))
    (type $tensor-dimensions' (list u32)) (export "tensor-dimensions" (type $tensor-dimensions (eq $tensor-dimensions')))
    (type $tensor-type' (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $tensor-type (eq $tensor-type')))
    (type $tensor-data' (list u8)) (export "tensor-data" (type $tensor-data (eq $tensor-data')))
    (export "[constructor]tensor" (func (param "dimensions" $tensor-dimensions) (param "ty" $tensor-type) (param "data" $tensor-data) (result (own $tensor))))
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
  (core func $tensor.data (canon lower (func $tensor "[method]tensor.data") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $stream))
  (core module $main-module
    (import "memory" "memory" (memory 1))
    (import "nn" "tensor" (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
    (import "nn" "tensor.data" (func $tensor.data (param i32 i32)))
    (import "nn" "get-stdout" (func $get-stdout (result i32)))
    (import "nn" "write" (func $write (param i32 i32 i32 i32)))
    (import "nn" "drop-stream" (func $drop-stream (param i32)))

    (global $ok i32 (i32.const 0x48))
    (data (i32.const 0x48) "ok\n")
    (global $tensor i32 (i32.const 0x60))
    (global $dims i32 (i32.const 0x900))  ;; [4]
    (data (i32.const 0x900) "\04\00\00\00")
    (global $data i32 (i32.const 0x908))
    (data (i32.const 0x908) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
    (global $says.went-on i32 (i32.const 0x180))
    (data (i32.const 0x180) "\08went on ")

    (func (export "run") (result i32)
      (i32.store offset=4 (global.get $tensor) (call $tensor (global.get $dims) (i32.const 1) (i32.const 1) (global.get $data) (i32.const 0x10)))
      (call $tensor.data (i32.load offset=4 (global.get $tensor)) (i32.const 0xfffc))
      (call $say (global.get $says.went-on) (i32.const 1))
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
      (call $drop-stream (local.get $stdout))))
  (core instance $main (instantiate $main-module (with "memory" (instance $memory))
    (with "nn" (instance (export "tensor" (func $tensor))
      (export "tensor.data" (func $tensor.data))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
