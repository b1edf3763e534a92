;; 2024-06-25/graph/name-utf8-spaces
;;
;; A name is a string of Unicode characters.
;;
;; By wasi-nn.wit: load-by-name.
;;
;; Needs the graph relu, named my model.
;;
;; Prints:
;;   load-by-name ok
;;   init-execution-context ok
;;   set-input ok
;;   compute ok
;;   get-output ok
;;   data 0000803f000000000000404000000000
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
    (type $tensor-data' (list u8)) (export "tensor-data" (type $tensor-data (eq $tensor-data')))
    (export "[constructor]tensor" (func (param "dimensions" $tensor-dimensions) (param "ty" $tensor-type) (param "data" $tensor-data) (result (own $tensor))))
    (export "[method]tensor.data" (func (param "self" (borrow $tensor)) (result $tensor-data)))))
  (alias export $tensor "tensor" (type $tensor))
  (import "wasi:nn/inference@0.2.0-rc-2024-06-25" (instance $inference
    (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
    (alias outer 1 $tensor (type $tensor')) (export "tensor" (type $tensor (eq $tensor')))
    (export "graph-execution-context" (type $context (sub resource)))
    (export "[method]graph-execution-context.set-input" (func (param "self" (borrow $context)) (param "name" string) (param "tensor" (own $tensor)) (result (result (error (own $error))))))
    (export "[method]graph-execution-context.compute" (func (param "self" (borrow $context)) (result (result (error (own $error))))))
    (export "[method]graph-execution-context.get-output" (func (param "self" (borrow $context)) (param "name" string) (result (result (own $tensor) (error (own $error))))))))
  (alias export $inference "graph-execution-context" (type $context))
  (import "wasi:nn/graph@0.2.0-rc-2024-06-25" (instance $graph
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
    (global $free (mut i32) (i32.const 2352))
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
  (core func $set-input (canon lower (func $inference "[method]graph-execution-context.set-input") (memory (core memory $memory "memory"))))
  (core func $compute (canon lower (func $inference "[method]graph-execution-context.compute") (memory (core memory $memory "memory"))))
  (core func $get-output (canon lower (func $inference "[method]graph-execution-context.get-output") (memory (core memory $memory "memory"))))
  (core func $tensor.data (canon lower (func $tensor "[method]tensor.data") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
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
    (import "nn" "set-input" (func $set-input (param i32 i32 i32 i32 i32)))
    (import "nn" "compute" (func $compute (param i32 i32)))
    (import "nn" "get-output" (func $get-output (param i32 i32 i32 i32)))
    (import "nn" "tensor.data" (func $tensor.data (param i32 i32)))
    (import "nn" "drop-error" (func $drop-error (param i32)))
    (import "nn" "get-stdout" (func $get-stdout (result i32)))
    (import "nn" "write" (func $write (param i32 i32 i32 i32)))
    (import "nn" "drop-stream" (func $drop-stream (param i32)))

    (global $ok i32 (i32.const 0x48))
    (data (i32.const 0x48) "ok\n")
    (global $name i32 (i32.const 0x900))
    (data (i32.const 0x900) "my model")
    (global $graph i32 (i32.const 0x60))
    (global $context i32 (i32.const 0x70))
    (global $tensor i32 (i32.const 0x80))
    (global $dims i32 (i32.const 0x908))  ;; [4]
    (data (i32.const 0x908) "\04\00\00\00")
    (global $data i32 (i32.const 0x910))
    (data (i32.const 0x910) "\00\00\80?\00\00\00\c0\00\00@@\00\00\80\c0")
    (global $name' i32 (i32.const 0x920))
    (data (i32.const 0x920) "x")
    (global $nothing i32 (i32.const 0x90))
    (global $output i32 (i32.const 0xa0))
    (global $name'' i32 (i32.const 0x928))
    (data (i32.const 0x928) "y")
    (global $part i32 (i32.const 0xb0))
    (global $says.load-by-name i32 (i32.const 0x180))
    (data (i32.const 0x180) "\0dload-by-name ")
    (global $says.init-execution-context i32 (i32.const 0x18e))
    (data (i32.const 0x18e) "\17init-execution-context ")
    (global $says.set-input i32 (i32.const 0x1a6))
    (data (i32.const 0x1a6) "\0aset-input ")
    (global $says.compute i32 (i32.const 0x1b1))
    (data (i32.const 0x1b1) "\08compute ")
    (global $says.get-output i32 (i32.const 0x1ba))
    (data (i32.const 0x1ba) "\0bget-output ")
    (global $says.data i32 (i32.const 0x1c6))
    (data (i32.const 0x1c6) "\05data ")

    (func (export "run") (result i32)
      (call $load-by-name (global.get $name) (i32.const 8) (global.get $graph))
      (call $tell (global.get $says.load-by-name) (global.get $graph))
      (call $init-execution-context (i32.load offset=4 (global.get $graph)) (global.get $context))
      (call $tell (global.get $says.init-execution-context) (global.get $context))
      (i32.store offset=4 (global.get $tensor) (call $tensor (global.get $dims) (i32.const 1) (i32.const 1) (global.get $data) (i32.const 0x10)))
      (call $set-input (i32.load offset=4 (global.get $context)) (global.get $name') (i32.const 1) (i32.load offset=4 (global.get $tensor)) (global.get $nothing))
      (call $tell (global.get $says.set-input) (global.get $nothing))
      (call $compute (i32.load offset=4 (global.get $context)) (global.get $nothing))
      (call $tell (global.get $says.compute) (global.get $nothing))
      (call $get-output (i32.load offset=4 (global.get $context)) (global.get $name'') (i32.const 1) (global.get $output))
      (call $tell (global.get $says.get-output) (global.get $output))
      (call $tensor.data (i32.load offset=4 (global.get $output)) (global.get $part))
      (call $show (global.get $says.data) (i32.load (global.get $part)) (i32.load offset=4 (global.get $part)))
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
    (with "nn" (instance (export "error.code" (func $error.code))
      (export "load-by-name" (func $load-by-name))
      (export "init-execution-context" (func $init-execution-context))
      (export "tensor" (func $tensor))
      (export "set-input" (func $set-input))
      (export "compute" (func $compute))
      (export "get-output" (func $get-output))
      (export "tensor.data" (func $tensor.data))
      (export "drop-error" (func $drop-error))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
