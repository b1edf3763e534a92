// The words of wasi-nn, as WIT has them. Written by tools/make_sdk.py.

/** Why a call failed. */
export type Code =
  /** A handle, index, name, shape, type or length that doesn't fit. */
  | 'invalid-argument'
  /** An encoding that doesn't exist, or that the host has no backend for. */
  | 'invalid-encoding'
  /** The call took longer than the host allows. */
  | 'timeout'
  /** The ML runtime failed, or there is no output to read. */
  | 'runtime-error'
  /** A target or operation that the host lacks or doesn't allow. */
  | 'unsupported-operation'
  /** A buffer is too small, or a limit of the host's is passed. */
  | 'too-large'
  /** No graph or signature has this name. */
  | 'not-found'
  /** The host doesn't allow this model, encoding or target. */
  | 'security'
  /** A reason that has no code. */
  | 'unknown';

/** All of them. */
export const codes: readonly Code[];

/** The type of a tensor's elements. */
export type Type =
  | 'f16'
  | 'f32'
  | 'f64'
  /** No core ABI has it. */
  | 'bf16'
  | 'u8'
  | 'i32'
  | 'i64';

/** All of them. */
export const types: readonly Type[];

/** The format of a model. */
export type Encoding =
  /** Two builders: the .xml and the .bin. */
  | 'openvino'
  | 'onnx'
  /** A SavedModel or a frozen graph. */
  | 'tensorflow'
  /** TorchScript, or a program of torch.export. */
  | 'pytorch'
  /** TensorFlow Lite. */
  | 'tensorflowlite'
  /** GGUF; the specification's core ABI lacks it, autodetect finds it there. */
  | 'ggml'
  /** The host tells from the bytes. */
  | 'autodetect';

/** All of them. */
export const encodings: readonly Encoding[];

/** Where a graph should run. */
export type Target =
  | 'cpu'
  | 'gpu'
  | 'tpu';

/** All of them. */
export const targets: readonly Target[];
