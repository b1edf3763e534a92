;; Takes the place of a guest's import of wasi-nn:serving in the component around the guest, as placeholder.wat does for
;; wasi:nn. Nothing ever calls it.
(component
  (type $request (resource (rep i32)))
  (export "request" (type $request))
  (type $datatype (enum "BOOL" "UINT8" "UINT16" "UINT32" "UINT64" "INT8" "INT16" "INT32" "INT64" "FP16" "BF16" "FP32"
    "FP64" "BYTES"))
  (export $datatype-out "datatype" (type $datatype))
  (type $dims (list u32))
  (type $bytes (list u8))
  (type $tensor
    (record (field "name" string) (field "datatype" $datatype-out) (field "shape" $dims) (field "data" $bytes)))
  (export "tensor" (type $tensor))
  (type $fault (enum "request" "guest"))
  (export "fault" (type $fault)))
