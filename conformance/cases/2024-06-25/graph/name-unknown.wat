;; 2024-06-25/graph/name-unknown
;;
;; A name that no graph has is not found.
;;
;; By wasi-nn.wit: load-by-name, error-code.not-found.
;;
;; Needs the graph relu.
;;
;; Prints:
;;   load-by-name 6
(component
  (import "wasi:nn/errors@0.2.0-rc-2024-06-25" (instance $errors
    (export "error" (type $error (sub resource)))
    (type $error-code' (enum "invalid-argument" "invalid-encoding" "timeout" "runtime-error" "unsupported-operation" "too-large" "not-found" "security" "unknown"))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "[method]error.code" (func (param "self" (borrow $error)) (result $error-code)))))
  (alias export $errors "error" (type $error))
  (import "wasi:nn/tensor@0.2.0-rc-2024-06-25" (instance $tensor
    (export "tensor" (type $tensor (sub resource)))
    (type $tensor-dimensions' (list u32)) (export "tensor-dimensions" (type $tensor-dimensions (eq $tensor-dimensions')))
    (type $tensor-type' (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $tensor-type (eq $tensor-type')))
    (type $tensor-data' (list u8)) (export "tensor-data" (type $tensor-data (eq $tensor-data')))))
  (alias export $tensor "tensor" (type $tensor))
  (import "wasi:nn/inference@0.2.0-rc-2024-06-25" (instance $inference
    (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
    (alias outer 1 $tensor (type $tensor')) (export "tensor" (type $tensor (eq $tensor')))
    (export "graph-execution-context" (type $context (sub resource)))))
  (alias export $inference "graph-execution-context" (type $context))
  (import "wasi:nn/graph@0.2.0-rc-2024-06-25" (instance $graph
    (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
    (alias outer 1 $context (type $context')) (export "graph-execution-context" (type $context (eq $context')))
    (export "graph" (type $graph (sub resource)))
    (type $graph-encoding' (enum "openvino" "onnx" "tensorflow" "pytorch" "tensorflowlite" "ggml" "autodetect")) (export "graph-encoding" (type $graph-encoding (eq $graph-encoding')))
    (type $execution-target' (enum "cpu" "gpu" "tpu")) (export "execution-target" (type $execution-target (eq $execution-target')))
    (type $graph-builder' (list u8)) (export "graph-builder" (type $graph-builder (eq $graph-builder')))
    (export "load-by-name" (func (param "name" string) (result (result (own $graph) (error (own $error))))))))
  (alias export $graph "graph" (type $graph))
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
    (memory (export "memory") 2))
  (core instance $memory (instantiate $memory-module))
  (core func $error.code (canon lower (func $errors "[method]error.code")))
  (core func $load-by-name (canon lower (func $graph "load-by-name") (memory (core memory $memory "memory"))))
  (core func $drop-error (canon resource.drop $error))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $stream))
  (core module $main-module
    (import "memory" "memory" (memory 1))
    (import "nn" "error.code" (func $error.code (param i32) (result i32)))
    (import "nn" "load-by-name" (func $load-by-name (param i32 i32 i32)))
    (import "nn" "drop-error" (func $drop-error (param i32)))
    (import "nn" "get-stdout" (func $get-stdout (result i32)))
    (import "nn" "write" (func $write (param i32 i32 i32 i32)))
    (import "nn" "drop-stream" (func $drop-stream (param i32)))

    (global $ok i32 (i32.const 0x48))
    (data (i32.const 0x48) "ok\n")
    (global $name i32 (i32.const 0x900))
    (data (i32.const 0x900) "nobody")
    (global $graph i32 (i32.const 0x60))
    (global $says.load-by-name i32 (i32.const 0x180))
    (data (i32.const 0x180) "\0dload-by-name ")

    (func (export "run") (result i32)
      (call $load-by-name (global.get $name) (i32.const 6) (global.get $graph))
      (call $tell (global.get $says.load-by-name) (global.get $graph))
      (i32.const 0))

    ;; Prints a label, which its length precedes, and `ok` or the number of an error's code, as a result says.
    (func $tell (param $label i32) (param $result i32)
      (if (i32.load8_u (local.get $result))
        (then
          (call $say (local.get $label) (call $error.code (i32.load offset=4 (local.get $result))))
          (call $drop-error (i32.load offset=4 (local.get $result))))
        (else (call $print (local.get $label) (global.get $ok) (i32.const 3)))))

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
    (with "nn" (instance (export "error.code" (func $error.code))
      (export "load-by-name" (func $load-by-name))
      (export "drop-error" (func $drop-error))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
