/** @file wnn.h
 * wasi-nn for guests in C: one API over the core ABI and the component ABI.
 *
 * Headers only. A program is built as
 *
 *  - a core module for any host: no macro;
 *  - a core module for WasmEdge's functions, which give graphs and contexts back and stream texts: `-DWNN_WASMEDGE`;
 *  - a component: `-DWNN_COMPONENT`, then `wasm-tools component embed` and `component new` with the adapter of WASI
 *    preview 1.
 *
 * Every function gives a ::wnn_code, WNN_SUCCESS (0) if all went well. What it produces goes to where its last pointers
 * point, and only on success. ::wnn_message then has the reason of a failure in words.
 *
 *     #include <stdio.h>
 *     #include <wnn.h>
 *
 *     int main(void) {
 *         wnn_graph graph;
 *         wnn_context context;
 *         const uint32_t dims[] = {1, 4};
 *         const float x[] = {0.5f, -1, 2, 3};
 *         const wnn_tensor input = WNN_TENSOR(WNN_F32, dims, x);
 *         float y[4];
 *         uint32_t size;
 *
 *         if (wnn_load_by_name("net", &graph) || wnn_init_context(&graph, &context) ||
 *             wnn_set_input_at(&context, 0, "x", &input) || wnn_compute(&context) ||
 *             wnn_output_into(&context, 0, WNN_F32, y, sizeof y, &size)) {
 *             fprintf(stderr, "%s\n", wnn_message());
 *             return 1;
 *         }
 *         printf("%g %g %g %g\n", y[0], y[1], y[2], y[3]);
 *         wnn_context_free(&context);
 *         wnn_graph_free(&graph);
 *         return 0;
 *     }
 *
 * "(Extension.)" says that a function needs a host with the extensions wasi-nn:ext. A guest imports only the functions
 * that it uses.
 *
 * Memory that a function gives is the caller's, to be given back as the function says. It comes from `malloc`.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_H
#define WNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wnn_made_by.h"
#include "wnn_numbers.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A loaded model. It is a handle: a copy of the struct is the same graph. */
typedef struct wnn_graph {
    int32_t handle;
} wnn_graph;

/** An execution context: inputs that are set, and outputs of the last compute. Its fields are the functions' own. A context
 * keeps its graph, which may be freed first. */
typedef struct wnn_context wnn_context;

/** A tensor that is passed to a graph. Elements are in row-major order, little-endian. */
typedef struct wnn_tensor {
    wnn_type type;
    const uint32_t *dims;
    uint32_t rank; /**< The number of dims. */
    const void *data;
    uint32_t size; /**< In bytes: the product of the dims times the size of an element. */
} wnn_tensor;

/** A tensor of an array `DATA` with the dims of an array `DIMS`. Both are arrays, not pointers. */
#define WNN_TENSOR(TYPE, DIMS, DATA) \
    { (TYPE), (DIMS), (uint32_t)(sizeof(DIMS) / sizeof *(DIMS)), (DATA), (uint32_t)sizeof(DATA) }

/** A part of a model: most encodings have one, the whole file. */
typedef struct wnn_builder {
    const void *data;
    uint32_t size; /**< In bytes. */
} wnn_builder;

/** An input with its name. */
typedef struct wnn_named_tensor {
    const char *name;
    wnn_tensor tensor;
} wnn_named_tensor;

/** A tensor that a graph gave, with its name. wnn_owned_free() gives it back. */
typedef struct wnn_owned {
    char *name; /**< Ends with a zero. */
    wnn_type type;
    uint32_t *dims;
    uint32_t rank;
    void *data;
    uint32_t size; /**< In bytes. */
} wnn_owned;

/** A text in UTF-8, or a byte string. No zero ends it. */
typedef struct wnn_text {
    const char *data;
    uint32_t size;
} wnn_text;

/** The type of a described tensor's elements. */
typedef struct wnn_element_type {
    uint8_t kind; /**< A ::wnn_element_kind. */
    uint8_t zeros[3];
    union {
        uint8_t number;  /**< WNN_ELEMENT_NUMBER: a ::wnn_type. */
        wnn_text native; /**< WNN_ELEMENT_NATIVE: the runtime's own name. */
    } of;
} wnn_element_type;

/** The size of a described dimension. */
typedef struct wnn_dimension {
    uint8_t kind; /**< A ::wnn_dimension_kind. */
    uint8_t zeros[3];
    union {
        uint32_t size; /**< WNN_DIMENSION_FIXED. */
        wnn_text name; /**< WNN_DIMENSION_NAMED. */
    } of;
} wnn_dimension;

/** An input or output, as the host describes it. */
typedef struct wnn_tensor_description {
    wnn_text name;
    wnn_element_type type;
    uint8_t has_dims; /**< 0 if even the number of dimensions is open. */
    uint8_t zeros[3];
    wnn_dimension *dims;
    uint32_t rank;
    uint8_t optional; /**< 1 if the input may be left out. */
    uint8_t more_zeros[3];
} wnn_tensor_description;

/** What a model says about itself. */
typedef struct wnn_metadata {
    wnn_text key, text;
} wnn_metadata;

/** A graph, as the host describes it. wnn_description_free() gives it back. */
typedef struct wnn_description {
    uint8_t encoding; /**< A ::wnn_encoding. WNN_AUTODETECT for one that wasi-nn has no word for. */
    uint8_t zeros[3];
    wnn_text runtime, device;
    wnn_text signature; /**< The one that the graph runs. Empty if the model has none with a name. */
    wnn_text *signatures;
    uint32_t signature_count;
    wnn_tensor_description *inputs; /**< In the order of the indexes. */
    uint32_t input_count;
    uint8_t has_outputs; /**< 0 if the model doesn't declare its outputs. */
    uint8_t more_zeros[3];
    wnn_tensor_description *outputs;
    uint32_t output_count;
    wnn_metadata *metadata;
    uint32_t metadata_count;
    void *memory; /**< The functions' own. */
} wnn_description;

/** The name of a code, such as `not-found`. */
static inline const char *wnn_code_name(wnn_code code) {
    return (unsigned)code < sizeof wnn_code_names / sizeof *wnn_code_names ? wnn_code_names[code] : "unknown";
}

/** The encoding of a name, such as `onnx`. -1 if there is none. */
static inline int wnn_encoding_named(const char *name) {
    for (unsigned it = 0; it < sizeof wnn_encoding_names / sizeof *wnn_encoding_names; it++)
        if (!strcmp(name, wnn_encoding_names[it])) return (int)it;
    return -1;
}

/** The reason of the last failure, in words. In a component it is the host's own line; in a core module it names the
 * function and says what the code means, and the host's log has the reason. It stays until the next failure. */
static inline const char *wnn_message(void);

/** After WNN_TOO_LARGE for a buffer that is too small: the bytes that it needs. 0 after any other failure, and in a core
 * module where the host doesn't tell it. */
static inline uint32_t wnn_needed(void);

/** Load a model of `count` builders. The bytes may be freed as soon as this returns. */
static inline wnn_code wnn_load(const wnn_builder *builders, uint32_t count, wnn_encoding encoding, wnn_target target,
                                wnn_graph *graph);

/** Load a graph that the host's operator named. WNN_NOT_FOUND if there is none of this name. */
static inline wnn_code wnn_load_by_name(const char *name, wnn_graph *graph);

/** Give a graph back, as far as the ABI can. */
static inline void wnn_graph_free(wnn_graph *graph);

/** Make an execution context. */
static inline wnn_code wnn_init_context(const wnn_graph *graph, wnn_context *context);

/** Give a context back, as far as the ABI can, and the memory of its inputs. */
static inline void wnn_context_free(wnn_context *context);

/** Set an input, counted from 0 in the model's order. It is copied, and stays set from one compute to the next.
 * WNN_INVALID_ARGUMENT if the dims don't multiply out to the size. In a component the host gets the decimal index as the
 * name, and wnn_compute() says what else is wrong. Set an input always by its index or always by its name there. */
static inline wnn_code wnn_set_input(wnn_context *context, uint32_t index, const wnn_tensor *tensor);

/** Set an input by its name. In a core module this asks the host for the graph's description. (Extension there.) */
static inline wnn_code wnn_set_input_named(wnn_context *context, const char *name, const wnn_tensor *tensor);

/** Set the input that has this index and this name: by the index in a core module, by the name in a component. */
static inline wnn_code wnn_set_input_at(wnn_context *context, uint32_t index, const char *name,
                                        const wnn_tensor *tensor);

/** Run the graph on the inputs that are set. */
static inline wnn_code wnn_compute(wnn_context *context);

/** Copy an output of the last compute, counted from 0, into a buffer of `capacity` bytes; `size` gets its bytes.
 * WNN_TOO_LARGE if the buffer is too small: wnn_needed() has the bytes that it needs. In a component,
 * WNN_INVALID_ARGUMENT if the output is of another type; WNN_U8 gives the bytes of any. */
static inline wnn_code wnn_output_into(wnn_context *context, uint32_t index, wnn_type type, void *buffer,
                                       uint32_t capacity, uint32_t *size);

/** An output, in memory that free() gives back. */
static inline wnn_code wnn_output(wnn_context *context, uint32_t index, wnn_type type, void **data, uint32_t *size);

/** An output with its name, type and dims. (Extension in a core module.) */
static inline wnn_code wnn_output_tensor(wnn_context *context, uint32_t index, wnn_owned *tensor);

/** Give the memory of a tensor back. */
static inline void wnn_owned_free(wnn_owned *tensor) {
    free(tensor->name), free(tensor->dims), free(tensor->data);
    memset(tensor, 0, sizeof *tensor);
}

/** Give the memory of tensors back, and of their array. */
static inline void wnn_outputs_free(wnn_owned *outputs, uint32_t count) {
    for (uint32_t it = 0; it < count; it++) wnn_owned_free(&outputs[it]);
    free(outputs);
}

/** All outputs, by name, for these inputs alone; wnn_outputs_free() gives them back. (Extension in a core module, where
 * inputs that are set stay so.) */
static inline wnn_code wnn_compute_named(wnn_context *context, const wnn_named_tensor *inputs, uint32_t count,
                                         wnn_owned **outputs, uint32_t *output_count);

/** What a graph is, and what inputs and outputs it has. (Extension, as all functions below.) */
static inline wnn_code wnn_describe(const wnn_graph *graph, wnn_description *description);

/** Give the memory of a description back. */
static inline void wnn_description_free(wnn_description *description);

/** The graph of another signature of the model, with the same weights and variables. WNN_NOT_FOUND if the model has no
 * such signature. */
static inline wnn_code wnn_use_signature(const wnn_graph *graph, const char *name, wnn_graph *other);

/** The variables, as the bytes of a safetensors file in memory that free() gives back. Contexts that are made from now on
 * share them. WNN_UNSUPPORTED_OPERATION for a graph without any. */
static inline wnn_code wnn_state(const wnn_graph *graph, void **state, uint32_t *size);

/** Set variables to the values in a safetensors file. WNN_INVALID_ARGUMENT, and no change, for a name, a type or dimensions
 * that the graph doesn't have. */
static inline wnn_code wnn_set_state(const wnn_graph *graph, const void *state, uint32_t size);

/** Begin a sequence on the inputs that are set. */
static inline wnn_code wnn_begin_sequence(wnn_context *context);

/** Make the next piece of the sequence, whose outputs are the context's then. `has_piece` is false after the last one. */
static inline wnn_code wnn_next_of_sequence(wnn_context *context, bool *has_piece);

/** End a sequence early, and drop its outputs. */
static inline wnn_code wnn_end_sequence(wnn_context *context);

/** Set an input of byte strings, in row-major order. */
static inline wnn_code wnn_set_strings(wnn_context *context, uint32_t index, const uint32_t *dims, uint32_t rank,
                                       const wnn_text *strings, uint32_t count);

/** Set an input of byte strings that has this index and this name. */
static inline wnn_code wnn_set_strings_at(wnn_context *context, uint32_t index, const char *name, const uint32_t *dims,
                                          uint32_t rank, const wnn_text *strings, uint32_t count);

/** An output of byte strings, in row-major order. One free() gives the array back, with the strings in it. */
static inline wnn_code wnn_strings(wnn_context *context, uint32_t index, wnn_text **strings, uint32_t *count);

#ifdef WNN_WASMEDGE
/** Load a named graph with a configuration in JSON. A graph that is loaded already keeps the one that it has. */
static inline wnn_code wnn_load_by_name_with_config(const char *name, const char *config, wnn_graph *graph);

/** Make the next piece of a text, the first one after an input was set or a sequence ended. WNN_END_OF_SEQUENCE after the
 * last one. */
static inline wnn_code wnn_compute_single(wnn_context *context);

/** The last piece (index 0), or what is told of the sequence so far (index 1), in memory that free() gives back. */
static inline wnn_code wnn_output_single(wnn_context *context, uint32_t index, void **data, uint32_t *size);

/** End a sequence, and forget it. */
static inline wnn_code wnn_fini_single(wnn_context *context);
#endif

/* What both ABIs share */

/* One for all files of a program. */
__attribute__((weak)) struct wnn_last {
    char message[512];
    uint32_t needed;
} wnn_last;

static inline const char *wnn_message(void) { return wnn_last.message; }
static inline uint32_t wnn_needed(void) { return wnn_last.needed; }

/* A failure with the message `what: why`, of which both may be cut short. */
static inline wnn_code wnn_fail(wnn_code code, const char *what, const char *why, uint32_t why_size) {
    uint32_t at = 0, room = sizeof wnn_last.message - 1;
    for (; *what && at < room; at++) wnn_last.message[at] = *what++;
    for (uint32_t it = 0; it < why_size && at < room; it++) wnn_last.message[at++] = why[it];
    wnn_last.message[at] = 0;
    wnn_last.needed = 0;
    return code;
}

static inline wnn_code wnn_fail_plainly(wnn_code code, const char *why) { return wnn_fail(code, "", why, strlen(why)); }

static inline wnn_code wnn_too_small(uint32_t needed) {
    wnn_fail_plainly(WNN_TOO_LARGE, "the buffer is too small for the output");
    wnn_last.needed = needed;
    return WNN_TOO_LARGE;
}

static inline wnn_code wnn_no_memory(void) { return wnn_fail_plainly(WNN_TOO_LARGE, "the guest has no more memory"); }

static inline wnn_code wnn_check_dims(const wnn_tensor *tensor) {
    uint64_t size = wnn_sizes[tensor->type];
    for (uint32_t it = 0; it < tensor->rank && size <= UINT32_MAX; it++) size *= tensor->dims[it];
    if (size == tensor->size) return WNN_SUCCESS;
    return wnn_fail_plainly(WNN_INVALID_ARGUMENT, "the dims of the tensor don't multiply out to its size");
}

/* The word of an ABI's number, which is in an array of numbers by words from `first` on. */
static inline int wnn_word_of(const uint8_t *numbers, size_t count, size_t first, uint32_t number) {
    for (size_t it = first; it < count; it++)
        if (numbers[it] == number && number != 255) return (int)it;
    return -1;
}

static inline wnn_code wnn_code_of(uint32_t number) {
    int word = wnn_word_of(wnn_abi_codes, sizeof wnn_abi_codes, 1, number);
    return word < 0 ? WNN_UNKNOWN : (wnn_code)word;
}

/* Put the words in the place of the ABI's numbers of types. */
static inline void wnn_read_types(wnn_tensor_description *tensors, uint32_t count) {
    for (uint32_t it = 0; it < count; it++) {
        wnn_element_type *type = &tensors[it].type;
        int word = wnn_word_of(wnn_abi_types, sizeof wnn_abi_types, 0, type->of.number);
        if (type->kind != WNN_ELEMENT_NUMBER) continue;
        if (word < 0) type->kind = WNN_ELEMENT_ANY;
        else type->of.number = (uint8_t)word;
    }
}

static inline void *wnn_copy(const void *data, uint32_t size) {
    void *copy = malloc(size + 1u);
    if (!copy) return NULL;
    memcpy(copy, data, size);
    ((char *)copy)[size] = 0;
    return copy;
}

#ifdef WNN_COMPONENT
#include "wnn_component.h"
#else
#include "wnn_core.h"
#endif

#ifdef __cplusplus
}
#endif

#endif
