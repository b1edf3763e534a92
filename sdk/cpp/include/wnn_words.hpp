/* wnn_words.hpp: the words of wasi-nn as enumerations of C++. Written by tools/make_sdk.py.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_WORDS_HPP
#define WNN_WORDS_HPP

#include <wnn_numbers.h>

namespace wnn {

/** Why a call failed. */
enum class Code {
    invalid_argument = WNN_INVALID_ARGUMENT, /**< a handle, index, name, shape, type or length that doesn't fit. */
    invalid_encoding = WNN_INVALID_ENCODING, /**< an encoding that doesn't exist, or that the host has no backend for. */
    timeout = WNN_TIMEOUT, /**< the call took longer than the host allows. */
    runtime_error = WNN_RUNTIME_ERROR, /**< the ML runtime failed, or there is no output to read. */
    unsupported_operation = WNN_UNSUPPORTED_OPERATION, /**< a target or operation that the host lacks or doesn't allow. */
    too_large = WNN_TOO_LARGE, /**< a buffer is too small, or a limit of the host's is passed. */
    not_found = WNN_NOT_FOUND, /**< no graph or signature has this name. */
    security = WNN_SECURITY, /**< the host doesn't allow this model, encoding or target. */
    unknown = WNN_UNKNOWN, /**< a reason that has no code. */
    missing_memory = WNN_MISSING_MEMORY, /**< the module doesn't export its memory. */
    busy = WNN_BUSY, /**< the host can't take the call now. */
    end_of_sequence = WNN_END_OF_SEQUENCE, /**< all pieces were given. */
    context_full = WNN_CONTEXT_FULL, /**< the text ends where the model's context does; it can be read. */
    prompt_too_long = WNN_PROMPT_TOO_LONG, /**< the prompt doesn't fit into the model's context. */
    model_not_found = WNN_MODEL_NOT_FOUND, /**< the graph has a name, but its file is gone. */
};

/** The type of a tensor's elements. */
enum class Type {
    f16 = WNN_F16,
    f32 = WNN_F32,
    f64 = WNN_F64,
    bf16 = WNN_BF16, /**< no core ABI has it. */
    u8 = WNN_U8,
    i32 = WNN_I32,
    i64 = WNN_I64,
};

/** The format of a model. */
enum class Encoding {
    openvino = WNN_OPENVINO, /**< two builders: the .xml and the .bin. */
    onnx = WNN_ONNX,
    tensorflow = WNN_TENSORFLOW, /**< a SavedModel or a frozen graph. */
    pytorch = WNN_PYTORCH, /**< TorchScript, or a program of torch.export. */
    tensorflowlite = WNN_TENSORFLOWLITE, /**< TensorFlow Lite. */
    ggml = WNN_GGML, /**< GGUF; the specification's core ABI lacks it, autodetect finds it there. */
    autodetect = WNN_AUTODETECT, /**< the host tells from the bytes. */
};

/** Where a graph should run. */
enum class Target {
    cpu = WNN_CPU,
    gpu = WNN_GPU,
    tpu = WNN_TPU,
};

} // namespace wnn

#endif
