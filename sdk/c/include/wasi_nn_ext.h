/* wasi_nn_ext.h: the extensions of wasi-nn for core modules, for guests in C and C++.
 * docs/reference/extensions.md explains them.
 *
 * A guest may import any of these functions beside those of any dialect. They are the interfaces of wasi-nn:ext:
 *
 *     describe       what a graph is, and what inputs and outputs it has
 *     signatures     models with several entry points
 *     state          the variables of a graph, such as weights that a signature `train` improves
 *     sequences      outputs piece by piece
 *     byte-strings   tensors of byte strings
 *
 * A host that lacks an interface, or doesn't allow it, doesn't run a guest that imports a function of it.
 *
 * A function with a buffer writes the size of its answer to `size`, also if the answer doesn't fit into the `capacity` bytes
 * of the buffer: the function then gives WASI_NN_TOO_LARGE, and the buffer stays as it was. So a capacity of 0 asks for the
 * size. WASI_NN_TOO_LARGE by a limit of the host writes no size: set `size` to 0 before the call to tell these apart.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WASI_NN_EXT_H
#define WASI_NN_EXT_H

#include "wasi_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WASI_NN_EXT_IMPORT(name) __attribute__((__import_module__("wasi_nn_ext"), __import_name__(name)))

/* Descriptions. The host writes a record into the guest's buffer, with all that belongs to it; the addresses in it are
 * addresses in that buffer. The guest reads the record in place, and must not move it. A list of 0 items, and a text of 0
 * bytes, may have any address. */

/* A text in UTF-8, without a final zero. 8 bytes: 0 data, 4 size. */
typedef struct wasi_nn_text {
    const char *data;
    uint32_t size;
} wasi_nn_text;

/* What the elements of a tensor are. */
typedef enum wasi_nn_element_kind {
    WASI_NN_NUMBERS = 0,      /* numbers of the type `number` */
    WASI_NN_BYTE_STRINGS = 1, /* see wasi_nn_set_byte_strings */
    WASI_NN_NATIVE = 2,       /* elements that the core ABI has no type for: `native` is the runtime's name for them */
    WASI_NN_ANY_NUMBERS = 3   /* numbers of any type: the model doesn't say */
} wasi_nn_element_kind;

/* The type of a tensor's elements. 12 bytes: 0 kind, 1 zeros, 4 number (one byte) or native. */
typedef struct wasi_nn_element_type {
    uint8_t kind; /* a wasi_nn_element_kind */
    uint8_t zeros[3];
    union {
        uint8_t number; /* a wasi_nn_type; in WAMR's dialect, WAMR's number */
        wasi_nn_text native;
    };
} wasi_nn_element_type;

typedef enum wasi_nn_dimension_kind {
    WASI_NN_FIXED = 0,  /* `size` only */
    WASI_NN_NAMED = 1,  /* any size; all dimensions of one name have the same size in a compute */
    WASI_NN_UNKNOWN = 2 /* any size */
} wasi_nn_dimension_kind;

/* The size of a dimension. 12 bytes: 0 kind, 1 zeros, 4 size or name. */
typedef struct wasi_nn_dimension {
    uint8_t kind; /* a wasi_nn_dimension_kind */
    uint8_t zeros[3];
    union {
        uint32_t size;
        wasi_nn_text name;
    };
} wasi_nn_dimension;

/* An input or output. 36 bytes: 0 name, 8 type, 20 has_dims, 21 zeros, 24 dims, 28 rank, 32 optional, 33 zeros. */
typedef struct wasi_nn_tensor_description {
    wasi_nn_text name;
    wasi_nn_element_type type;
    uint8_t has_dims; /* 0 if even the number of dimensions is open: `rank` is 0 then too */
    uint8_t zeros[3];
    const wasi_nn_dimension *dims;
    uint32_t rank;
    uint8_t optional; /* 1 if the input may be left out */
    uint8_t more_zeros[3];
} wasi_nn_tensor_description;

/* What the model says about itself. 16 bytes: 0 key, 8 text. */
typedef struct wasi_nn_metadata {
    wasi_nn_text key, text;
} wasi_nn_metadata;

/* A graph. 64 bytes: 0 encoding, 1 zeros, 4 runtime, 12 device, 20 signature, 28 signatures, 32 signature_count, 36 inputs,
 * 40 input_count, 44 has_outputs, 45 zeros, 48 outputs, 52 output_count, 56 metadata, 60 metadata_count. */
typedef struct wasi_nn_graph_description {
    uint8_t encoding; /* 0 openvino, 1 onnx, 2 tensorflow, 3 pytorch, 4 tensorflowlite, 5 ggml, 6 any other */
    uint8_t zeros[3];
    wasi_nn_text runtime;   /* the ML runtime that runs the graph, such as onnxruntime */
    wasi_nn_text device;    /* such as cpu or cuda:0 */
    wasi_nn_text signature; /* the signature that the graph runs; empty if the model has none with a name */
    const wasi_nn_text *signatures;
    uint32_t signature_count;
    const wasi_nn_tensor_description *inputs; /* in the order of the indexes */
    uint32_t input_count;
    uint8_t has_outputs; /* 0 if the model doesn't declare its outputs */
    uint8_t more_zeros[3];
    const wasi_nn_tensor_description *outputs;
    uint32_t output_count;
    const wasi_nn_metadata *metadata; /* none if the host's operator doesn't show it */
    uint32_t metadata_count;
} wasi_nn_graph_description;

#ifndef __cplusplus
_Static_assert(sizeof(wasi_nn_element_type) == 12 && sizeof(wasi_nn_dimension) == 12, "12 bytes");
_Static_assert(sizeof(wasi_nn_tensor_description) == 36 && sizeof(wasi_nn_metadata) == 16, "36 and 16 bytes");
_Static_assert(sizeof(wasi_nn_graph_description) == 64, "a description of a graph is 64 bytes, and what it points to");
#endif

/* Describe a graph: a wasi_nn_graph_description goes to the beginning of `buffer`. */
WASI_NN_EXT_IMPORT("describe")
wasi_nn_error wasi_nn_describe(wasi_nn_graph graph, void *buffer, uint32_t capacity, uint32_t *size);

/* Describe an output as the last compute gave it, or the current piece of a sequence: a wasi_nn_tensor_description goes to the
 * beginning of `buffer`. Its dimensions are all fixed. WASI_NN_INVALID_ARGUMENT for an index that no output has: the outputs
 * of a model that doesn't declare them end there. */
WASI_NN_EXT_IMPORT("describe_output")
wasi_nn_error wasi_nn_describe_output(wasi_nn_context context, uint32_t index, void *buffer, uint32_t capacity,
                                      uint32_t *size);

/* The graph of another signature of the model, with the same weights and variables. The name is UTF-8, `length` bytes.
 * WASI_NN_NOT_FOUND if the model has no such signature. */
WASI_NN_EXT_IMPORT("use_signature")
wasi_nn_error wasi_nn_use_signature(wasi_nn_graph graph, const char *name, uint32_t length, wasi_nn_graph *other);

/* Variables. A context has variables of its own, until the guest calls one of these functions, or wasi_nn_use_signature, on the
 * graph. Contexts that are made afterwards, on that handle and on those of its other signatures, share one set of variables,
 * which begins with the model's own values; contexts that were made before keep theirs. Both functions give WASI_NN_UNSUPPORTED_OPERATION for a graph without any. */

/* Copy the variables to `buffer`, as a safetensors file. */
WASI_NN_EXT_IMPORT("state_get")
wasi_nn_error wasi_nn_state_get(wasi_nn_graph graph, void *buffer, uint32_t capacity, uint32_t *size);

/* Set variables to the values in a safetensors file. Those that the file lacks keep theirs. WASI_NN_INVALID_ARGUMENT, and no
 * change, for a name, a type or dimensions that the graph doesn't have. */
WASI_NN_EXT_IMPORT("state_set")
wasi_nn_error wasi_nn_state_set(wasi_nn_graph graph, const void *state, uint32_t size);

/* Sequences. A context has one at a time: another one, a compute, a new input or an error ends it. */

/* Begin a sequence on the inputs that are set. */
WASI_NN_EXT_IMPORT("begin_sequence")
wasi_nn_error wasi_nn_begin_sequence(wasi_nn_context context);

/* Make the next piece: `has_piece` gets 1, and the outputs of the context are those of the piece. After the last piece it gets
 * 0, and the outputs are those of the whole sequence. */
WASI_NN_EXT_IMPORT("next_of_sequence")
wasi_nn_error wasi_nn_next_of_sequence(wasi_nn_context context, uint32_t *has_piece);

/* End a sequence early, and drop its outputs. Of no effect if none is under way. */
WASI_NN_EXT_IMPORT("end_sequence")
wasi_nn_error wasi_nn_end_sequence(wasi_nn_context context);

/* Byte strings. The bytes of a tensor are first the end of each string, counted from the beginning of the first one, as a
 * little-endian u32, in row-major order; then the bytes of all strings. Two strings "ab" and "c" are
 *
 *     02 00 00 00  03 00 00 00  61 62 63
 */

/* Set an input to a tensor of byte strings. It is copied. */
WASI_NN_EXT_IMPORT("set_byte_strings")
wasi_nn_error wasi_nn_set_byte_strings(wasi_nn_context context, uint32_t index, const uint32_t *dims, uint32_t rank,
                                       const void *data, uint32_t size);

/* Copy an output of byte strings to `buffer`. */
WASI_NN_EXT_IMPORT("get_byte_strings")
wasi_nn_error wasi_nn_get_byte_strings(wasi_nn_context context, uint32_t index, void *buffer, uint32_t capacity,
                                       uint32_t *size);

/* The name of the encoding in a description. */
static inline const char *wasi_nn_described_encoding(const wasi_nn_graph_description *graph) {
    static const char *const names[] = {
        /* begin encoding-names: written by tools/make_sdk.py */
        "openvino",
        "onnx",
        "tensorflow",
        "pytorch",
        "tensorflowlite",
        "ggml",
        /* end encoding-names */
    };
    return graph->encoding < sizeof names / sizeof *names ? names[graph->encoding] : "another encoding";
}

#ifdef __cplusplus
}
#endif

#endif
