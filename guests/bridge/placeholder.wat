;; Takes the place of a guest's import of wasi:nn in the component around the guest. Other imports of the guest may refer
;; to wasi:nn's types, and need an instance that has the types. Nothing ever calls it.
(component
  (type $tensor (resource (rep i32)))
  (type $graph (resource (rep i32)))
  (type $context (resource (rep i32)))
  (type $error (resource (rep i32)))
  (export $tensor-out "tensor" (type $tensor))
  (export "graph" (type $graph))
  (export "graph-execution-context" (type $context))
  (export "error" (type $error))
  (type $tensor-dimensions (list u32))
  (export "tensor-dimensions" (type $tensor-dimensions))
  (type $tensor-type (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64"))
  (export "tensor-type" (type $tensor-type))
  (type $tensor-data (list u8))
  (export "tensor-data" (type $tensor-data))
  (type $named-tensor (tuple string (own $tensor-out)))
  (export "named-tensor" (type $named-tensor))
  (type $graph-encoding (enum "openvino" "onnx" "tensorflow" "pytorch" "tensorflowlite" "ggml" "autodetect"))
  (export "graph-encoding" (type $graph-encoding))
  (type $execution-target (enum "cpu" "gpu" "tpu"))
  (export "execution-target" (type $execution-target))
  (type $graph-builder (list u8))
  (export "graph-builder" (type $graph-builder))
  (type $error-code
    (enum "invalid-argument" "invalid-encoding" "timeout" "runtime-error" "unsupported-operation" "too-large"
      "not-found" "security" "unknown"))
  (export "error-code" (type $error-code)))
