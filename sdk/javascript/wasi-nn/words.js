// The words of wasi-nn, as WIT has them. Written by tools/make_sdk.py.

/** Why a call failed. */
export const codes = Object.freeze(['invalid-argument', 'invalid-encoding', 'timeout', 'runtime-error', 'unsupported-operation', 'too-large', 'not-found', 'security', 'unknown']);

/** The type of a tensor's elements. */
export const types = Object.freeze(['f16', 'f32', 'f64', 'bf16', 'u8', 'i32', 'i64']);

/** The format of a model. */
export const encodings = Object.freeze(['openvino', 'onnx', 'tensorflow', 'pytorch', 'tensorflowlite', 'ggml', 'autodetect']);

/** Where a graph should run. */
export const targets = Object.freeze(['cpu', 'gpu', 'tpu']);

/** The bytes of an element of each type. */
export const sizes = Object.freeze({ f16: 2, f32: 4, f64: 8, bf16: 2, u8: 1, i32: 4, i64: 8 });

/** WIT's word for each type. */
export const ofTypes = Object.freeze({ f16: 'FP16', f32: 'FP32', f64: 'FP64', bf16: 'BF16', u8: 'U8', i32: 'I32', i64: 'I64' });

/** The type of each of WIT's words. */
export const witTypes = Object.freeze({ FP16: 'f16', FP32: 'f32', FP64: 'f64', BF16: 'bf16', U8: 'u8', I32: 'i32', I64: 'i64' });
