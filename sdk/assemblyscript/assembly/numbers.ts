// The words of wasi-nn, with their numbers in the core ABI. Written by tools/make_sdk.py.

// @ts-ignore: `asc --use WASI_NN_WASMEDGE=1` defines it
const IS_WASMEDGE = isDefined(WASI_NN_WASMEDGE);

/** Why a call failed. */
export enum Code {
  /** A handle, index, name, shape, type or length that doesn't fit. */
  InvalidArgument,
  /** An encoding that doesn't exist, or that the host has no backend for. */
  InvalidEncoding,
  /** The call took longer than the host allows. */
  Timeout,
  /** The ML runtime failed, or there is no output to read. */
  RuntimeError,
  /** A target or operation that the host lacks or doesn't allow. */
  UnsupportedOperation,
  /** A buffer is too small, or a limit of the host's is passed. */
  TooLarge,
  /** No graph or signature has this name. */
  NotFound,
  /** The host doesn't allow this model, encoding or target. */
  Security,
  /** A reason that has no code. */
  Unknown,
  /** The module doesn't export its memory. */
  MissingMemory,
  /** The host can't take the call now. */
  Busy,
  /** All pieces were given. */
  EndOfSequence,
  /** The text ends where the model's context does; it can be read. */
  ContextFull,
  /** The prompt doesn't fit into the model's context. */
  PromptTooLong,
  /** The graph has a name, but its file is gone. */
  ModelNotFound,
}

/** The reason that an errno stands for. */
export function codeOf(errno: u32): Code {
  switch (errno) {
    case 1: return Code.InvalidArgument;
    case 2: return Code.InvalidEncoding;
    case 5: return Code.RuntimeError;
    case 6: return Code.UnsupportedOperation;
    case 7: return Code.TooLarge;
    case 8: return Code.NotFound;
    case 3: return Code.MissingMemory;
    case 4: return Code.Busy;
    case 100: return Code.EndOfSequence;
    case 101: return Code.ContextFull;
    case 102: return Code.PromptTooLong;
    case 103: return Code.ModelNotFound;
    default: return Code.Unknown;
  }
}

/** The reason as a word. */
export function nameOfCode(value: Code): string {
  switch (value) {
    case Code.InvalidArgument: return "invalid-argument";
    case Code.InvalidEncoding: return "invalid-encoding";
    case Code.Timeout: return "timeout";
    case Code.RuntimeError: return "runtime-error";
    case Code.UnsupportedOperation: return "unsupported-operation";
    case Code.TooLarge: return "too-large";
    case Code.NotFound: return "not-found";
    case Code.Security: return "security";
    case Code.Unknown: return "unknown";
    case Code.MissingMemory: return "missing-memory";
    case Code.Busy: return "busy";
    case Code.EndOfSequence: return "end-of-sequence";
    case Code.ContextFull: return "context-full";
    case Code.PromptTooLong: return "prompt-too-long";
    case Code.ModelNotFound: return "model-not-found";
    default: return "";
  }
}

/** The reason in words. */
export function textOfCode(value: Code): string {
  switch (value) {
    case Code.InvalidArgument: return "a handle, index, name, shape, type or length that doesn't fit";
    case Code.InvalidEncoding: return "an encoding that doesn't exist, or that the host has no backend for";
    case Code.Timeout: return "the call took longer than the host allows";
    case Code.RuntimeError: return "the ML runtime failed, or there is no output to read";
    case Code.UnsupportedOperation: return "a target or operation that the host lacks or doesn't allow";
    case Code.TooLarge: return "a buffer is too small, or a limit of the host's is passed";
    case Code.NotFound: return "no graph or signature has this name";
    case Code.Security: return "the host doesn't allow this model, encoding or target";
    case Code.Unknown: return "a reason that has no code";
    case Code.MissingMemory: return "the module doesn't export its memory";
    case Code.Busy: return "the host can't take the call now";
    case Code.EndOfSequence: return "all pieces were given";
    case Code.ContextFull: return "the text ends where the model's context does; it can be read";
    case Code.PromptTooLong: return "the prompt doesn't fit into the model's context";
    case Code.ModelNotFound: return "the graph has a name, but its file is gone";
    default: return "";
  }
}

/** The type of a tensor's elements. */
export enum Type {
  /** F16. */
  F16,
  /** F32. */
  F32,
  /** F64. */
  F64,
  /** No core ABI has it. */
  Bf16,
  /** U8. */
  U8,
  /** I32. */
  I32,
  /** I64. */
  I64,
}

/** The type as a word. */
export function nameOfType(value: Type): string {
  switch (value) {
    case Type.F16: return "f16";
    case Type.F32: return "f32";
    case Type.F64: return "f64";
    case Type.Bf16: return "bf16";
    case Type.U8: return "u8";
    case Type.I32: return "i32";
    case Type.I64: return "i64";
    default: return "";
  }
}

/** The bytes of an element. */
export function sizeOfType(value: Type): u32 {
  switch (value) {
    case Type.F16: return 2;
    case Type.F32: return 4;
    case Type.F64: return 8;
    case Type.Bf16: return 2;
    case Type.U8: return 1;
    case Type.I32: return 4;
    case Type.I64: return 8;
    default: return 0;
  }
}

/** The number in the ABI; -1 if it has none. */
export function numberOfType(value: Type): i32 {
  switch (value) {
    case Type.F16: return 0;
    case Type.F32: return 1;
    case Type.F64: return 2;
    case Type.Bf16: return -1;
    case Type.U8: return 3;
    case Type.I32: return 4;
    case Type.I64: return 5;
    default: return -1;
  }
}

/** The type of a number of the ABI; -1 if there is none. */
export function typeOfNumber(number: u32): i32 {
  switch (number) {
    case 0: return Type.F16;
    case 1: return Type.F32;
    case 2: return Type.F64;
    case 3: return Type.U8;
    case 4: return Type.I32;
    case 5: return Type.I64;
    default: return -1;
  }
}

/** The format of a model. */
export enum Encoding {
  /** Two builders: the .xml and the .bin. */
  Openvino,
  /** Onnx. */
  Onnx,
  /** A SavedModel or a frozen graph. */
  Tensorflow,
  /** TorchScript, or a program of torch.export. */
  Pytorch,
  /** TensorFlow Lite. */
  Tensorflowlite,
  /** GGUF; the specification's core ABI lacks it, autodetect finds it there. */
  Ggml,
  /** The host tells from the bytes. */
  Autodetect,
}

/** The encoding as a word. */
export function nameOfEncoding(value: Encoding): string {
  switch (value) {
    case Encoding.Openvino: return "openvino";
    case Encoding.Onnx: return "onnx";
    case Encoding.Tensorflow: return "tensorflow";
    case Encoding.Pytorch: return "pytorch";
    case Encoding.Tensorflowlite: return "tensorflowlite";
    case Encoding.Ggml: return "ggml";
    case Encoding.Autodetect: return "autodetect";
    default: return "";
  }
}

/** The number in the ABI; -1 if it has none. */
export function numberOfEncoding(value: Encoding): i32 {
  switch (value) {
    case Encoding.Openvino: return 0;
    case Encoding.Onnx: return 1;
    case Encoding.Tensorflow: return 2;
    case Encoding.Pytorch: return 3;
    case Encoding.Tensorflowlite: return 4;
    case Encoding.Ggml: return IS_WASMEDGE ? 6 : 5;
    case Encoding.Autodetect: return 5;
    default: return -1;
  }
}

/** The encoding of a number in a description. */
export function encodingOf(number: u32): Encoding {
  switch (number) {
    case 0: return Encoding.Openvino;
    case 1: return Encoding.Onnx;
    case 2: return Encoding.Tensorflow;
    case 3: return Encoding.Pytorch;
    case 4: return Encoding.Tensorflowlite;
    case 5: return Encoding.Ggml;
    case 6: return Encoding.Autodetect;
    default: return Encoding.Autodetect;
  }
}

/** The encoding of this name; -1 if there is none. */
export function encodingNamed(name: string): i32 {
  if (name == "openvino") return Encoding.Openvino;
  if (name == "onnx") return Encoding.Onnx;
  if (name == "tensorflow") return Encoding.Tensorflow;
  if (name == "pytorch") return Encoding.Pytorch;
  if (name == "tensorflowlite") return Encoding.Tensorflowlite;
  if (name == "ggml") return Encoding.Ggml;
  if (name == "autodetect") return Encoding.Autodetect;
  return -1;
}

/** Where a graph should run. */
export enum Target {
  /** Cpu. */
  Cpu,
  /** Gpu. */
  Gpu,
  /** Tpu. */
  Tpu,
}

/** The number in the ABI; -1 if it has none. */
export function numberOfTarget(value: Target): i32 {
  switch (value) {
    case Target.Cpu: return 0;
    case Target.Gpu: return 1;
    case Target.Tpu: return 2;
    default: return -1;
  }
}

/** What a described tensor has. */
export enum ElementKind {
  /** Numbers of a type that wasi-nn has. */
  Number = 0,
  /** Byte strings of any length. */
  ByteString = 1,
  /** Elements that wasi-nn has no type for, by the runtime's own name. */
  Native = 2,
  /** Numbers of any type: the model doesn't say. */
  Any = 3,
}

/** The kinds of described dimensions. */
export enum DimensionKind {
  /** This size only. */
  Fixed = 0,
  /** Any size; all dimensions of one name have the same size in a compute. */
  Named = 1,
  /** Any size. */
  UnknownSize = 2,
}
