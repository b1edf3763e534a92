/* wnn_numbers.h: the words of wasi-nn, with their numbers in both ABIs, for wnn.h. Written by tools/make_sdk.py.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_NUMBERS_H
#define WNN_NUMBERS_H

#include <stdint.h>

/** Why a call failed. */
typedef enum wnn_code {
    WNN_SUCCESS = 0, /**< The call did what it was asked for. */
    WNN_INVALID_ARGUMENT = 1, /**< a handle, index, name, shape, type or length that doesn't fit. */
    WNN_INVALID_ENCODING = 2, /**< an encoding that doesn't exist, or that the host has no backend for. */
    WNN_TIMEOUT = 3, /**< the call took longer than the host allows. */
    WNN_RUNTIME_ERROR = 4, /**< the ML runtime failed, or there is no output to read. */
    WNN_UNSUPPORTED_OPERATION = 5, /**< a target or operation that the host lacks or doesn't allow. */
    WNN_TOO_LARGE = 6, /**< a buffer is too small, or a limit of the host's is passed. */
    WNN_NOT_FOUND = 7, /**< no graph or signature has this name. */
    WNN_SECURITY = 8, /**< the host doesn't allow this model, encoding or target. */
    WNN_UNKNOWN = 9, /**< a reason that has no code. */
    WNN_MISSING_MEMORY = 10, /**< the module doesn't export its memory. */
    WNN_BUSY = 11, /**< the host can't take the call now. */
    WNN_END_OF_SEQUENCE = 12, /**< all pieces were given. */
    WNN_CONTEXT_FULL = 13, /**< the text ends where the model's context does; it can be read. */
    WNN_PROMPT_TOO_LONG = 14, /**< the prompt doesn't fit into the model's context. */
    WNN_MODEL_NOT_FOUND = 15, /**< the graph has a name, but its file is gone. */
} wnn_code;

/** The type of a tensor's elements. */
typedef enum wnn_type {
    WNN_F16 = 0,
    WNN_F32 = 1,
    WNN_F64 = 2,
    WNN_BF16 = 3, /**< no core ABI has it. */
    WNN_U8 = 4,
    WNN_I32 = 5,
    WNN_I64 = 6,
} wnn_type;

/** The format of a model. */
typedef enum wnn_encoding {
    WNN_OPENVINO = 0, /**< two builders: the .xml and the .bin. */
    WNN_ONNX = 1,
    WNN_TENSORFLOW = 2, /**< a SavedModel or a frozen graph. */
    WNN_PYTORCH = 3, /**< TorchScript, or a program of torch.export. */
    WNN_TENSORFLOWLITE = 4, /**< TensorFlow Lite. */
    WNN_GGML = 5, /**< GGUF; the specification's core ABI lacks it, autodetect finds it there. */
    WNN_AUTODETECT = 6, /**< the host tells from the bytes. */
} wnn_encoding;

/** Where a graph should run. */
typedef enum wnn_target {
    WNN_CPU = 0,
    WNN_GPU = 1,
    WNN_TPU = 2,
} wnn_target;

/** What a described tensor has. */
typedef enum wnn_element_kind {
    WNN_ELEMENT_NUMBER = 0, /**< numbers of a type that wasi-nn has. */
    WNN_ELEMENT_BYTE_STRING = 1, /**< byte strings of any length. */
    WNN_ELEMENT_NATIVE = 2, /**< elements that wasi-nn has no type for, by the runtime's own name. */
    WNN_ELEMENT_ANY = 3, /**< numbers of any type: the model doesn't say. */
} wnn_element_kind;

/** What a described dimension is. */
typedef enum wnn_dimension_kind {
    WNN_DIMENSION_FIXED = 0, /**< this size only. */
    WNN_DIMENSION_NAMED = 1, /**< any size; all dimensions of one name have the same size in a compute. */
    WNN_DIMENSION_UNKNOWN_SIZE = 2, /**< any size. */
} wnn_dimension_kind;

/* The size of an element in bytes, by wnn_type. */
static const uint8_t wnn_sizes[] = {2, 4, 8, 2, 1, 4, 8};
/* The numbers of the ABI, by the words above; 255 for a word that the ABI lacks. */
#ifdef WNN_COMPONENT
static const uint8_t wnn_abi_types[] = {0, 1, 2, 3, 4, 5, 6};
static const uint8_t wnn_abi_encodings[] = {0, 1, 2, 3, 4, 5, 6};
static const uint8_t wnn_abi_codes[] = {0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255};
#elif defined(WNN_WASMEDGE)
static const uint8_t wnn_abi_types[] = {0, 1, 2, 255, 3, 4, 5};
static const uint8_t wnn_abi_encodings[] = {0, 1, 2, 3, 4, 6, 5};
static const uint8_t wnn_abi_codes[] = {0, 1, 2, 255, 5, 6, 7, 8, 255, 255, 3, 4, 100, 101, 102, 103};
#else
static const uint8_t wnn_abi_types[] = {0, 1, 2, 255, 3, 4, 5};
static const uint8_t wnn_abi_encodings[] = {0, 1, 2, 3, 4, 5, 5};
static const uint8_t wnn_abi_codes[] = {0, 1, 2, 255, 5, 6, 7, 8, 255, 255, 3, 4, 255, 255, 255, 255};
#endif
/* The words themselves, as WIT has them. */
static const char *const wnn_code_names[] = {
    "success", "invalid-argument", "invalid-encoding", "timeout", "runtime-error", "unsupported-operation", "too-large", "not-found", "security", "unknown", "missing-memory", "busy", "end-of-sequence", "context-full", "prompt-too-long", "model-not-found"};
static const char *const wnn_code_texts[] = {
    "the call did what it was asked for",
    "a handle, index, name, shape, type or length that doesn't fit",
    "an encoding that doesn't exist, or that the host has no backend for",
    "the call took longer than the host allows",
    "the ML runtime failed, or there is no output to read",
    "a target or operation that the host lacks or doesn't allow",
    "a buffer is too small, or a limit of the host's is passed",
    "no graph or signature has this name",
    "the host doesn't allow this model, encoding or target",
    "a reason that has no code",
    "the module doesn't export its memory",
    "the host can't take the call now",
    "all pieces were given",
    "the text ends where the model's context does; it can be read",
    "the prompt doesn't fit into the model's context",
    "the graph has a name, but its file is gone",
};
static const char *const wnn_type_names[] = {"f16", "f32", "f64", "bf16", "u8", "i32", "i64"};
static const char *const wnn_encoding_names[] = {"openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml", "autodetect"};

#endif
