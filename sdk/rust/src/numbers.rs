//! The words of wasi-nn, with their numbers in both ABIs. Written by tools/make_sdk.py.

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A handle, index, name, shape, type or length that doesn't fit.
    InvalidArgument,
    /// An encoding that doesn't exist, or that the host has no backend for.
    InvalidEncoding,
    /// The call took longer than the host allows.
    Timeout,
    /// The ML runtime failed, or there is no output to read.
    RuntimeError,
    /// A target or operation that the host lacks or doesn't allow.
    UnsupportedOperation,
    /// A buffer is too small, or a limit of the host's is passed.
    TooLarge,
    /// No graph or signature has this name.
    NotFound,
    /// The host doesn't allow this model, encoding or target.
    Security,
    /// A reason that has no code.
    Unknown,
    /// The module doesn't export its memory.
    MissingMemory,
    /// The host can't take the call now.
    Busy,
    /// All pieces were given.
    EndOfSequence,
    /// The text ends where the model's context does; it can be read.
    ContextFull,
    /// The prompt doesn't fit into the model's context.
    PromptTooLong,
    /// The graph has a name, but its file is gone.
    ModelNotFound,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 15] = [
        Code::InvalidArgument,
        Code::InvalidEncoding,
        Code::Timeout,
        Code::RuntimeError,
        Code::UnsupportedOperation,
        Code::TooLarge,
        Code::NotFound,
        Code::Security,
        Code::Unknown,
        Code::MissingMemory,
        Code::Busy,
        Code::EndOfSequence,
        Code::ContextFull,
        Code::PromptTooLong,
        Code::ModelNotFound,
    ];

    /// The word, as WIT has it.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid-argument",
            Code::InvalidEncoding => "invalid-encoding",
            Code::Timeout => "timeout",
            Code::RuntimeError => "runtime-error",
            Code::UnsupportedOperation => "unsupported-operation",
            Code::TooLarge => "too-large",
            Code::NotFound => "not-found",
            Code::Security => "security",
            Code::Unknown => "unknown",
            Code::MissingMemory => "missing-memory",
            Code::Busy => "busy",
            Code::EndOfSequence => "end-of-sequence",
            Code::ContextFull => "context-full",
            Code::PromptTooLong => "prompt-too-long",
            Code::ModelNotFound => "model-not-found",
        }
    }

    /// The one with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|it| it.name() == name)
    }

    /// The meaning, in words.
    pub fn text(self) -> &'static str {
        match self {
            Code::InvalidArgument => "a handle, index, name, shape, type or length that doesn't fit",
            Code::InvalidEncoding => "an encoding that doesn't exist, or that the host has no backend for",
            Code::Timeout => "the call took longer than the host allows",
            Code::RuntimeError => "the ML runtime failed, or there is no output to read",
            Code::UnsupportedOperation => "a target or operation that the host lacks or doesn't allow",
            Code::TooLarge => "a buffer is too small, or a limit of the host's is passed",
            Code::NotFound => "no graph or signature has this name",
            Code::Security => "the host doesn't allow this model, encoding or target",
            Code::Unknown => "a reason that has no code",
            Code::MissingMemory => "the module doesn't export its memory",
            Code::Busy => "the host can't take the call now",
            Code::EndOfSequence => "all pieces were given",
            Code::ContextFull => "the text ends where the model's context does; it can be read",
            Code::PromptTooLong => "the prompt doesn't fit into the model's context",
            Code::ModelNotFound => "the graph has a name, but its file is gone",
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_core(number: u32) -> Option<Code> {
        match number {
            1 => Some(Code::InvalidArgument),
            2 => Some(Code::InvalidEncoding),
            5 => Some(Code::RuntimeError),
            6 => Some(Code::UnsupportedOperation),
            7 => Some(Code::TooLarge),
            8 => Some(Code::NotFound),
            3 => Some(Code::MissingMemory),
            4 => Some(Code::Busy),
            _ => None,
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_wasmedge(number: u32) -> Option<Code> {
        match number {
            1 => Some(Code::InvalidArgument),
            2 => Some(Code::InvalidEncoding),
            5 => Some(Code::RuntimeError),
            6 => Some(Code::UnsupportedOperation),
            7 => Some(Code::TooLarge),
            8 => Some(Code::NotFound),
            3 => Some(Code::MissingMemory),
            4 => Some(Code::Busy),
            100 => Some(Code::EndOfSequence),
            101 => Some(Code::ContextFull),
            102 => Some(Code::PromptTooLong),
            103 => Some(Code::ModelNotFound),
            _ => None,
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_wit(number: u32) -> Option<Code> {
        match number {
            0 => Some(Code::InvalidArgument),
            1 => Some(Code::InvalidEncoding),
            2 => Some(Code::Timeout),
            3 => Some(Code::RuntimeError),
            4 => Some(Code::UnsupportedOperation),
            5 => Some(Code::TooLarge),
            6 => Some(Code::NotFound),
            7 => Some(Code::Security),
            8 => Some(Code::Unknown),
            _ => None,
        }
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// F16.
    F16,
    /// F32.
    F32,
    /// F64.
    F64,
    /// No core ABI has it.
    Bf16,
    /// U8.
    U8,
    /// I32.
    I32,
    /// I64.
    I64,
}

impl Type {
    /// All of them.
    pub const ALL: [Type; 7] = [
        Type::F16,
        Type::F32,
        Type::F64,
        Type::Bf16,
        Type::U8,
        Type::I32,
        Type::I64,
    ];

    /// The word, as WIT has it.
    pub fn name(self) -> &'static str {
        match self {
            Type::F16 => "f16",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Bf16 => "bf16",
            Type::U8 => "u8",
            Type::I32 => "i32",
            Type::I64 => "i64",
        }
    }

    /// The one with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Type> {
        Type::ALL.iter().copied().find(|it| it.name() == name)
    }

    /// The size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Type::F16 => 2,
            Type::F32 => 4,
            Type::F64 => 8,
            Type::Bf16 => 2,
            Type::U8 => 1,
            Type::I32 => 4,
            Type::I64 => 8,
        }
    }

    #[allow(dead_code)]
    pub(crate) fn core(self) -> Option<u8> {
        match self {
            Type::F16 => Some(0),
            Type::F32 => Some(1),
            Type::F64 => Some(2),
            Type::Bf16 => None,
            Type::U8 => Some(3),
            Type::I32 => Some(4),
            Type::I64 => Some(5),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_core(number: u32) -> Option<Type> {
        match number {
            0 => Some(Type::F16),
            1 => Some(Type::F32),
            2 => Some(Type::F64),
            3 => Some(Type::U8),
            4 => Some(Type::I32),
            5 => Some(Type::I64),
            _ => None,
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wasmedge(self) -> Option<u8> {
        match self {
            Type::F16 => Some(0),
            Type::F32 => Some(1),
            Type::F64 => Some(2),
            Type::Bf16 => None,
            Type::U8 => Some(3),
            Type::I32 => Some(4),
            Type::I64 => Some(5),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_wasmedge(number: u32) -> Option<Type> {
        match number {
            0 => Some(Type::F16),
            1 => Some(Type::F32),
            2 => Some(Type::F64),
            3 => Some(Type::U8),
            4 => Some(Type::I32),
            5 => Some(Type::I64),
            _ => None,
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wit(self) -> Option<u8> {
        match self {
            Type::F16 => Some(0),
            Type::F32 => Some(1),
            Type::F64 => Some(2),
            Type::Bf16 => Some(3),
            Type::U8 => Some(4),
            Type::I32 => Some(5),
            Type::I64 => Some(6),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_wit(number: u32) -> Option<Type> {
        match number {
            0 => Some(Type::F16),
            1 => Some(Type::F32),
            2 => Some(Type::F64),
            3 => Some(Type::Bf16),
            4 => Some(Type::U8),
            5 => Some(Type::I32),
            6 => Some(Type::I64),
            _ => None,
        }
    }
}

/// The format of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Two builders: the .xml and the .bin.
    Openvino,
    /// Onnx.
    Onnx,
    /// A SavedModel or a frozen graph.
    Tensorflow,
    /// TorchScript, or a program of torch.export.
    Pytorch,
    /// TensorFlow Lite.
    Tensorflowlite,
    /// GGUF; the specification's core ABI lacks it, autodetect finds it there.
    Ggml,
    /// The host tells from the bytes.
    Autodetect,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Encoding; 7] = [
        Encoding::Openvino,
        Encoding::Onnx,
        Encoding::Tensorflow,
        Encoding::Pytorch,
        Encoding::Tensorflowlite,
        Encoding::Ggml,
        Encoding::Autodetect,
    ];

    /// The word, as WIT has it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Openvino => "openvino",
            Encoding::Onnx => "onnx",
            Encoding::Tensorflow => "tensorflow",
            Encoding::Pytorch => "pytorch",
            Encoding::Tensorflowlite => "tensorflowlite",
            Encoding::Ggml => "ggml",
            Encoding::Autodetect => "autodetect",
        }
    }

    /// The one with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::ALL.iter().copied().find(|it| it.name() == name)
    }

    #[allow(dead_code)]
    pub(crate) fn core(self) -> Option<u8> {
        match self {
            Encoding::Openvino => Some(0),
            Encoding::Onnx => Some(1),
            Encoding::Tensorflow => Some(2),
            Encoding::Pytorch => Some(3),
            Encoding::Tensorflowlite => Some(4),
            Encoding::Ggml => Some(5),
            Encoding::Autodetect => Some(5),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wasmedge(self) -> Option<u8> {
        match self {
            Encoding::Openvino => Some(0),
            Encoding::Onnx => Some(1),
            Encoding::Tensorflow => Some(2),
            Encoding::Pytorch => Some(3),
            Encoding::Tensorflowlite => Some(4),
            Encoding::Ggml => Some(6),
            Encoding::Autodetect => Some(5),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wit(self) -> Option<u8> {
        match self {
            Encoding::Openvino => Some(0),
            Encoding::Onnx => Some(1),
            Encoding::Tensorflow => Some(2),
            Encoding::Pytorch => Some(3),
            Encoding::Tensorflowlite => Some(4),
            Encoding::Ggml => Some(5),
            Encoding::Autodetect => Some(6),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn from_wit(number: u32) -> Option<Encoding> {
        match number {
            0 => Some(Encoding::Openvino),
            1 => Some(Encoding::Onnx),
            2 => Some(Encoding::Tensorflow),
            3 => Some(Encoding::Pytorch),
            4 => Some(Encoding::Tensorflowlite),
            5 => Some(Encoding::Ggml),
            6 => Some(Encoding::Autodetect),
            _ => None,
        }
    }
}

/// Where a graph should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Cpu.
    Cpu,
    /// Gpu.
    Gpu,
    /// Tpu.
    Tpu,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [
        Target::Cpu,
        Target::Gpu,
        Target::Tpu,
    ];

    /// The word, as WIT has it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Cpu => "cpu",
            Target::Gpu => "gpu",
            Target::Tpu => "tpu",
        }
    }

    /// The one with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.iter().copied().find(|it| it.name() == name)
    }

    #[allow(dead_code)]
    pub(crate) fn core(self) -> Option<u8> {
        match self {
            Target::Cpu => Some(0),
            Target::Gpu => Some(1),
            Target::Tpu => Some(2),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wasmedge(self) -> Option<u8> {
        match self {
            Target::Cpu => Some(0),
            Target::Gpu => Some(1),
            Target::Tpu => Some(2),
        }
    }

    #[allow(dead_code)]
    pub(crate) fn wit(self) -> Option<u8> {
        match self {
            Target::Cpu => Some(0),
            Target::Gpu => Some(1),
            Target::Tpu => Some(2),
        }
    }
}

#[allow(dead_code)]
pub(crate) const ELEMENT_NUMBER: u8 = 0;
#[allow(dead_code)]
pub(crate) const ELEMENT_BYTE_STRING: u8 = 1;
#[allow(dead_code)]
pub(crate) const ELEMENT_NATIVE: u8 = 2;
#[allow(dead_code)]
pub(crate) const ELEMENT_ANY: u8 = 3;
#[allow(dead_code)]
pub(crate) const DIMENSION_FIXED: u8 = 0;
#[allow(dead_code)]
pub(crate) const DIMENSION_NAMED: u8 = 1;
#[allow(dead_code)]
pub(crate) const DIMENSION_UNKNOWN_SIZE: u8 = 2;
