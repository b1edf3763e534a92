/* wasi_nn.h: the core ABI of wasi-nn, for guests in C and C++.
 *
 * One header, nothing to link. Build with any compiler that targets wasm32-wasi, for example
 *
 *     zig cc --target=wasm32-wasi -O2 -I sdk/c/include guest.c -o guest.wasm
 *
 * A guest loads a graph (from its own bytes, or by a name that the host's operator gave), makes an execution context on
 * it, and then sets inputs, computes and reads outputs as often as it likes. Inputs stay set from one compute to the next.
 *
 * Every function gives a wasi_nn_error, WASI_NN_SUCCESS (0) if all went well; what it produces goes to where its last
 * parameter points, and only on success, but for wasi_nn_get_output. A pointer to memory that the guest doesn't have traps.
 *
 * The functions and numbers are those of wasi-nn.witx in the wasi-nn specification, as of August 2023 and later.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WASI_NN_H
#define WASI_NN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WASI_NN_IMPORT(name) __attribute__((__import_module__("wasi_ephemeral_nn"), __import_name__(name)))

/* Why a call failed. The host's log says it in words. */
typedef enum wasi_nn_error {
    /* begin errors: written by tools/make_sdk.py */
    WASI_NN_SUCCESS = 0, /* the call did what it was asked for */
    WASI_NN_INVALID_ARGUMENT = 1, /* a handle, index, name, shape, type or length that doesn't fit */
    WASI_NN_INVALID_ENCODING = 2, /* an encoding that doesn't exist, or that the host has no backend for */
    WASI_NN_MISSING_MEMORY = 3, /* the module doesn't export its memory */
    WASI_NN_BUSY = 4, /* the host can't take the call now */
    WASI_NN_RUNTIME_ERROR = 5, /* the ML runtime failed, or there is no output to read */
    WASI_NN_UNSUPPORTED_OPERATION = 6, /* a target or operation that the host lacks or doesn't allow */
    WASI_NN_TOO_LARGE = 7, /* a buffer is too small, or a limit of the host's is passed */
    WASI_NN_NOT_FOUND = 8, /* no graph or signature has this name */
    /* end errors */
} wasi_nn_error;

/* The type of a tensor's elements. */
typedef enum wasi_nn_type {
    /* begin types: written by tools/make_sdk.py */
    WASI_NN_F16 = 0,
    WASI_NN_F32 = 1,
    WASI_NN_F64 = 2,
    WASI_NN_U8 = 3,
    WASI_NN_I32 = 4,
    WASI_NN_I64 = 5,
    /* end types */
} wasi_nn_type;

/* The format of a model. */
typedef enum wasi_nn_encoding {
    /* begin encodings: written by tools/make_sdk.py */
    WASI_NN_OPENVINO = 0, /* two builders: the .xml and the .bin */
    WASI_NN_ONNX = 1,
    WASI_NN_TENSORFLOW = 2, /* a SavedModel or a frozen graph */
    WASI_NN_PYTORCH = 3, /* TorchScript, or a program of torch.export */
    WASI_NN_TENSORFLOWLITE = 4, /* TensorFlow Lite */
    WASI_NN_AUTODETECT = 5, /* the host tells from the bytes */
    /* end encodings */
} wasi_nn_encoding;

/* Where a graph should run. */
typedef enum wasi_nn_target {
    /* begin targets: written by tools/make_sdk.py */
    WASI_NN_CPU = 0,
    WASI_NN_GPU = 1,
    WASI_NN_TPU = 2,
    /* end targets */
} wasi_nn_target;

/* Handles. A handle stands for nothing else, ever, in the guest that got it. */
typedef uint32_t wasi_nn_graph;
typedef uint32_t wasi_nn_context;

/* A part of a model: most encodings have one, the whole file. */
typedef struct wasi_nn_builder {
    const void *data;
    uint32_t size; /* in bytes */
} wasi_nn_builder;

/* A tensor: elements in row-major order, little-endian. A scalar has the dims {1}. */
typedef struct wasi_nn_tensor {
    const uint32_t *dims;
    uint32_t rank; /* the number of dims */
    uint8_t type;  /* a wasi_nn_type */
    const void *data;
    uint32_t size; /* in bytes: the product of the dims times the size of an element */
} wasi_nn_tensor;

#ifndef __cplusplus
_Static_assert(sizeof(wasi_nn_builder) == 8, "a builder is 8 bytes");
_Static_assert(sizeof(wasi_nn_tensor) == 20 && offsetof(wasi_nn_tensor, data) == 12, "a tensor is 20 bytes");
#endif

/* Load a model of `count` builders. The bytes may be freed as soon as this returns. */
WASI_NN_IMPORT("load")
wasi_nn_error wasi_nn_load(const wasi_nn_builder *builders, uint32_t count, wasi_nn_encoding encoding,
                           wasi_nn_target target, wasi_nn_graph *graph);

/* Load a graph that the host's operator named. The name is UTF-8, `length` bytes without a final zero. */
WASI_NN_IMPORT("load_by_name")
wasi_nn_error wasi_nn_load_by_name(const char *name, uint32_t length, wasi_nn_graph *graph);

/* Make an execution context. Contexts on one graph know nothing of each other,
 * unless the guest has them share variables (wasi_nn_ext.h). */
WASI_NN_IMPORT("init_execution_context")
wasi_nn_error wasi_nn_init_execution_context(wasi_nn_graph graph, wasi_nn_context *context);

/* Set an input, counted from 0 in the model's order. The tensor is copied. */
WASI_NN_IMPORT("set_input")
wasi_nn_error wasi_nn_set_input(wasi_nn_context context, uint32_t index, const wasi_nn_tensor *tensor);

/* Run the graph on the inputs that are set. */
WASI_NN_IMPORT("compute")
wasi_nn_error wasi_nn_compute(wasi_nn_context context);

/* Copy an output of the last compute, counted from 0, to `buffer`, which has room for `capacity` bytes.
 * `size` gets the output's size in bytes; also on WASI_NN_TOO_LARGE, when the buffer is too small and stays as it was, so
 * that a capacity of 0 asks for the size. */
WASI_NN_IMPORT("get_output")
wasi_nn_error wasi_nn_get_output(wasi_nn_context context, uint32_t index, void *buffer, uint32_t capacity,
                                 uint32_t *size);

/* The name of an error, as the specification has it. */
static inline const char *wasi_nn_error_name(wasi_nn_error error) {
    static const char *const names[] = {
        /* begin error-names: written by tools/make_sdk.py */
        "success",
        "invalid_argument",
        "invalid_encoding",
        "missing_memory",
        "busy",
        "runtime_error",
        "unsupported_operation",
        "too_large",
        "not_found",
        /* end error-names */
    };
    return (uint32_t)error < sizeof names / sizeof *names ? names[error] : "an unknown error";
}

#ifdef __cplusplus
}
#endif

#endif
