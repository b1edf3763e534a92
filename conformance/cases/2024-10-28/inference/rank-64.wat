;; 2024-10-28/inference/rank-64
;;
;; The number of dimensions must be the graph's. Hosts differ in the code.
;;
;; By wasi-nn.wit: graph-execution-context.compute, tensor-dimensions, error-code.invalid-argument.
;;
;; Needs the graph relu.
;;
;; Prints:
;;   load-by-name ok
;;   init-execution-context ok
;;   compute 0
;; or:
;;   load-by-name ok
;;   init-execution-context ok
;;   compute 0-8
(component
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance $errors
    (export "error" (type $error (sub resource)))
    (type $error-code' (enum "invalid-argument" "invalid-encoding" "timeout" "runtime-error" "unsupported-operation" "too-large" "not-found" "security" "unknown"))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "[method]error.code" (func (param "self" (borrow $error)) (result $error-code)))))
  (alias export $errors "error" (type $error))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance $tensor
    (export "tensor" (type $tensor (sub resource)))
    (type $tensor-dimensions' (list u32)) (export "tensor-dimensions" (type $tensor-dimensions (eq $tensor-dimensions')))
    (type $tensor-type' (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $tensor-type (eq $tensor-type')))
    (type $tensor-data' (list u8)) (export "tensor-data" (type $tensor-data (eq $tensor-data')))
    (export "[constructor]tensor" (func (param "dimensions" $tensor-dimensions) (param "ty" $tensor-type) (param "data" $tensor-data) (result (own $tensor))))))
  (alias export $tensor "tensor" (type $tensor))
  (import "wasi:nn/inference@0.2.0-rc-2024-10-28" (instance $inference
    (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
    (alias outer 1 $tensor (type $tensor')) (export "tensor" (type $tensor (eq $tensor')))
    (type $named-tensor' (tuple string (own $tensor))) (export "named-tensor" (type $named-tensor (eq $named-tensor')))
    (export "graph-execution-context" (type $context (sub resource)))
    (export "[method]graph-execution-context.compute" (func (param "self" (borrow $context)) (param "inputs" (list $named-tensor)) (result (result (list $named-tensor) (error (own $error))))))))
  (alias export $inference "graph-execution-context" (type $context))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance $graph
    (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
    (alias outer 1 $context (type $context')) (export "graph-execution-context" (type $context (eq $context')))
    (export "graph" (type $graph (sub resource)))
    (type $graph-encoding' (enum "openvino" "onnx" "tensorflow" "pytorch" "tensorflowlite" "ggml" "autodetect")) (export "graph-encoding" (type $graph-encoding (eq $graph-encoding')))
    (type $execution-target' (enum "cpu" "gpu" "tpu")) (export "execution-target" (type $execution-target (eq $execution-target')))
    (type $graph-builder' (list u8)) (export "graph-builder" (type $graph-builder (eq $graph-builder')))
    (export "load-by-name" (func (param "name" string) (result (result (own $graph) (error (own $error))))))
    (export "[method]graph.init-execution-context" (func (param "self" (borrow $graph)) (result (result (own $context) (error (own $error))))))))
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
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 2608))
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
  (core func $error.code (canon lower (func $errors "[method]error.code")))
  (core func $load-by-name (canon lower (func $graph "load-by-name") (memory (core memory $memory "memory"))))
  (core func $init-execution-context (canon lower (func $graph "[method]graph.init-execution-context") (memory (core memory $memory "memory"))))
  (core func $tensor (canon lower (func $tensor "[constructor]tensor") (memory (core memory $memory "memory"))))
  (core func $compute (canon lower (func $inference "[method]graph-execution-context.compute") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $drop-error (canon resource.drop $error))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $stream))
  (core module $main-module
    (import "memory" "memory" (memory 1))
    (import "nn" "error.code" (func $error.code (param i32) (result i32)))
    (import "nn" "load-by-name" (func $load-by-name (param i32 i32 i32)))
    (import "nn" "init-execution-context" (func $init-execution-context (param i32 i32)))
    (import "nn" "tensor" (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
    (import "nn" "compute" (func $compute (param i32 i32 i32 i32)))
    (import "nn" "drop-error" (func $drop-error (param i32)))
    (import "nn" "get-stdout" (func $get-stdout (result i32)))
    (import "nn" "write" (func $write (param i32 i32 i32 i32)))
    (import "nn" "drop-stream" (func $drop-stream (param i32)))

    (global $ok i32 (i32.const 0x48))
    (data (i32.const 0x48) "ok\n")
    (global $name i32 (i32.const 0x900))
    (data (i32.const 0x900) "relu")
    (global $graph i32 (i32.const 0x60))
    (global $context i32 (i32.const 0x70))
    (global $tensor i32 (i32.const 0x80))
    (global $dims i32 (i32.const 0x908))  ;; [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4]
    (data (i32.const 0x908) "\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00\04\00\00\00")
    (global $data i32 (i32.const 0xa08))
    (data (i32.const 0xa08) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
    (global $outputs i32 (i32.const 0x90))
    (global $name' i32 (i32.const 0xa18))
    (data (i32.const 0xa18) "x")
    (global $inputs i32 (i32.const 0xa20))  ;; each input's name, its length, and its tensor
    (data (i32.const 0xa20) "\18\0a\00\00\01\00\00\00\00\00\00\00")
    (global $says.load-by-name i32 (i32.const 0x180))
    (data (i32.const 0x180) "\0dload-by-name ")
    (global $says.init-execution-context i32 (i32.const 0x18e))
    (data (i32.const 0x18e) "\17init-execution-context ")
    (global $says.compute i32 (i32.const 0x1a6))
    (data (i32.const 0x1a6) "\08compute ")

    (func (export "run") (result i32)
      (call $load-by-name (global.get $name) (i32.const 4) (global.get $graph))
      (call $tell (global.get $says.load-by-name) (global.get $graph))
      (call $init-execution-context (i32.load offset=4 (global.get $graph)) (global.get $context))
      (call $tell (global.get $says.init-execution-context) (global.get $context))
      (i32.store offset=4 (global.get $tensor) (call $tensor (global.get $dims) (i32.const 0x40) (i32.const 1) (global.get $data) (i32.const 0x10)))
      (i32.store offset=8 (global.get $inputs) (i32.load offset=4 (global.get $tensor)))
      (call $compute (i32.load offset=4 (global.get $context)) (global.get $inputs) (i32.const 1) (global.get $outputs))
      (call $tell (global.get $says.compute) (global.get $outputs))
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
      (export "init-execution-context" (func $init-execution-context))
      (export "tensor" (func $tensor))
      (export "compute" (func $compute))
      (export "drop-error" (func $drop-error))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
