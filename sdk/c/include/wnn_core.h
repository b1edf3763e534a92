/* wnn_core.h: wnn.h over the core ABI.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_CORE_H
#define WNN_CORE_H

#include "wasi_nn.h"
#include "wasi_nn_ext.h"
#ifdef WNN_WASMEDGE
#include "wasi_nn_wasmedge.h"
#endif

struct wnn_context {
    wasi_nn_context handle;
    wnn_graph graph;
    uint32_t last_size; /* of the output that was read last: the first guess for the next one */
    wnn_description description; /* once the host was asked for it; its `memory` is NULL before */
};

static inline wnn_code wnn_checked(wasi_nn_error error, const char *what) {
    if (!error) return WNN_SUCCESS;
    wnn_code code = wnn_code_of(error);
    return wnn_fail(code, what, wnn_code_texts[code], strlen(wnn_code_texts[code]));
}

/* An answer of unknown size: `ask` writes it into a buffer. The first buffer has `room` bytes. */
typedef wasi_nn_error (*wnn_ask)(uint32_t handle, uint32_t index, void *buffer, uint32_t capacity, uint32_t *size);

static inline wnn_code wnn_answer(const char *what, wnn_ask ask, uint32_t handle, uint32_t index, uint32_t room,
                                  void **data, uint32_t *size) {
    for (;;) {
        void *buffer = malloc(room + 1u);
        if (!buffer) return wnn_no_memory();
        *size = 0;
        wasi_nn_error error = ask(handle, index, buffer, room, size);
        if (!error) {
            ((char *)buffer)[*size] = 0;
            *data = buffer;
            return WNN_SUCCESS;
        }
        free(buffer);
        if (error != WASI_NN_TOO_LARGE || *size <= room) return wnn_checked(error, what);
        room = *size;
    }
}

/* Graphs. WasmEdge's dialect gives all graphs of one name the same handle, so it is counted who has it. */

#ifdef WNN_WASMEDGE
__attribute__((weak)) struct wnn_counts {
    struct { int32_t handle; uint32_t count; } *items;
    uint32_t used, room;
} wnn_counts;

static inline void wnn_take(int32_t handle) {
    for (uint32_t it = 0; it < wnn_counts.used; it++)
        if (wnn_counts.items[it].handle == handle) { wnn_counts.items[it].count++; return; }
    if (wnn_counts.used == wnn_counts.room) {
        uint32_t room = 2 * wnn_counts.room + 4;
        void *items = realloc(wnn_counts.items, room * sizeof *wnn_counts.items);
        if (!items) return; /* the handle stays until the guest ends */
        wnn_counts.items = (__typeof__(wnn_counts.items))items;
        wnn_counts.room = room;
    }
    wnn_counts.items[wnn_counts.used].handle = handle;
    wnn_counts.items[wnn_counts.used++].count = 1;
}

static inline void wnn_give_back(int32_t handle) {
    for (uint32_t it = 0; it < wnn_counts.used; it++)
        if (wnn_counts.items[it].handle == handle && !--wnn_counts.items[it].count) {
            wnn_counts.items[it] = wnn_counts.items[--wnn_counts.used];
            wasi_nn_unload(handle);
        }
}
#else
static inline void wnn_take(int32_t handle) { (void)handle; }
static inline void wnn_give_back(int32_t handle) { (void)handle; }
#endif

static inline wnn_code wnn_made(wasi_nn_error error, const char *what, wasi_nn_graph handle, wnn_graph *graph) {
    wnn_code code = wnn_checked(error, what);
    if (code) return code;
    graph->handle = (int32_t)handle;
    wnn_take(graph->handle);
    return WNN_SUCCESS;
}

static inline wnn_code wnn_load(const wnn_builder *builders, uint32_t count, wnn_encoding encoding, wnn_target target,
                                wnn_graph *graph) {
    wasi_nn_graph handle = 0;
    wasi_nn_error error = wasi_nn_load((const wasi_nn_builder *)builders, count,
                                       (wasi_nn_encoding)wnn_abi_encodings[encoding], (wasi_nn_target)target, &handle);
    return wnn_made(error, "load: ", handle, graph);
}

static inline wnn_code wnn_load_by_name(const char *name, wnn_graph *graph) {
    wasi_nn_graph handle = 0;
    return wnn_made(wasi_nn_load_by_name(name, strlen(name), &handle), "load_by_name: ", handle, graph);
}

static inline void wnn_graph_free(wnn_graph *graph) {
    wnn_give_back(graph->handle);
    graph->handle = 0;
}

/* Contexts */

static inline wnn_code wnn_init_context(const wnn_graph *graph, wnn_context *context) {
    wasi_nn_context handle = 0;
    wnn_code code = wnn_checked(wasi_nn_init_execution_context(graph->handle, &handle), "init_execution_context: ");
    if (code) return code;
    memset(context, 0, sizeof *context);
    context->handle = handle;
    context->graph = *graph;
    wnn_take(graph->handle);
    return WNN_SUCCESS;
}

static inline void wnn_context_free(wnn_context *context) {
#ifdef WNN_WASMEDGE
    wasi_nn_finalize_execution_context(context->handle);
#endif
    wnn_give_back(context->graph.handle);
    wnn_description_free(&context->description);
    memset(context, 0, sizeof *context);
}

static inline wnn_code wnn_set_input(wnn_context *context, uint32_t index, const wnn_tensor *tensor) {
    wnn_code code = wnn_check_dims(tensor);
    if (code) return code;
    if (wnn_abi_types[tensor->type] == 255)
        return wnn_fail_plainly(WNN_UNSUPPORTED_OPERATION, "the core ABI has no tensors of this type");
    const wasi_nn_tensor record = {tensor->dims, tensor->rank, wnn_abi_types[tensor->type], tensor->data, tensor->size};
    return wnn_checked(wasi_nn_set_input(context->handle, index, &record), "set_input: ");
}

static inline wnn_code wnn_set_input_at(wnn_context *context, uint32_t index, const char *name,
                                        const wnn_tensor *tensor) {
    (void)name;
    return wnn_set_input(context, index, tensor);
}

static inline wnn_code wnn_set_input_named(wnn_context *context, const char *name, const wnn_tensor *tensor) {
    const wnn_description *graph = &context->description;
    wnn_code code = graph->memory ? WNN_SUCCESS : wnn_describe(&context->graph, &context->description);
    if (code) return code;
    uint32_t size = strlen(name);
    for (uint32_t index = 0; index < graph->input_count; index++) {
        wnn_text input = graph->inputs[index].name;
        if (input.size == size && !memcmp(input.data, name, size)) return wnn_set_input(context, index, tensor);
    }
    return wnn_fail(WNN_INVALID_ARGUMENT, "no input is named ", name, size);
}

static inline wnn_code wnn_compute(wnn_context *context) {
    return wnn_checked(wasi_nn_compute(context->handle), "compute: ");
}

static inline wnn_code wnn_output_into(wnn_context *context, uint32_t index, wnn_type type, void *buffer,
                                       uint32_t capacity, uint32_t *size) {
    (void)type; /* the core ABI doesn't tell the output's own */
    *size = 0;
    wasi_nn_error error = wasi_nn_get_output(context->handle, index, buffer, capacity, size);
    if (error == WASI_NN_TOO_LARGE && *size > capacity) return wnn_too_small(*size);
    return wnn_checked(error, "get_output: ");
}

/* The first buffer where a host doesn't tell the size of an output, and the most bytes that are tried then. */
enum { WNN_FIRST_ROOM = 4096, WNN_MOST_ROOM = 1 << 30 };

static inline wnn_code wnn_output(wnn_context *context, uint32_t index, wnn_type type, void **data, uint32_t *size) {
    (void)type;
    for (uint32_t room = context->last_size;;) {
        wnn_code code = wnn_answer("get_output: ", wasi_nn_get_output, context->handle, index, room, data, size);
        if (!code) context->last_size = *size;
        if (code != WNN_TOO_LARGE || room == WNN_MOST_ROOM) return code;
        room = room < WNN_FIRST_ROOM ? WNN_FIRST_ROOM : room > WNN_MOST_ROOM / 4 ? WNN_MOST_ROOM : 4 * room;
    }
}

/* The type and dims of an output, in the tensor. */
static inline wnn_code wnn_read_output_description(const wnn_tensor_description *output, wnn_owned *tensor) {
    if (output->type.kind != WNN_ELEMENT_NUMBER)
        return wnn_fail_plainly(WNN_UNSUPPORTED_OPERATION, "the output isn't of numbers that wasi-nn has");
    tensor->type = (wnn_type)output->type.of.number;
    tensor->rank = output->rank;
    tensor->name = (char *)wnn_copy(output->name.data, output->name.size);
    tensor->dims = (uint32_t *)malloc(output->rank * sizeof *tensor->dims + 1);
    if (!tensor->name || !tensor->dims) return wnn_no_memory();
    for (uint32_t it = 0; it < output->rank; it++) tensor->dims[it] = output->dims[it].of.size;
    return WNN_SUCCESS;
}

static inline wnn_code wnn_output_tensor(wnn_context *context, uint32_t index, wnn_owned *tensor) {
    void *record;
    uint32_t size;
    wnn_code code =
        wnn_answer("describe_output: ", wasi_nn_describe_output, context->handle, index, 256, &record, &size);
    if (code) return code;
    memset(tensor, 0, sizeof *tensor);
    wnn_read_types((wnn_tensor_description *)record, 1);
    code = wnn_read_output_description((const wnn_tensor_description *)record, tensor);
    free(record);
    if (!code) code = wnn_output(context, index, tensor->type, &tensor->data, &tensor->size);
    if (code) wnn_owned_free(tensor);
    return code;
}

static inline wnn_code wnn_compute_named(wnn_context *context, const wnn_named_tensor *inputs, uint32_t count,
                                         wnn_owned **outputs, uint32_t *output_count) {
    wnn_code code = WNN_SUCCESS;
    for (uint32_t it = 0; it < count && !code; it++)
        code = wnn_set_input_named(context, inputs[it].name, &inputs[it].tensor);
    if (!code) code = wnn_compute(context);
    if (code) return code;
    wnn_owned *found = NULL;
    for (uint32_t used = 0;; used++) {
        wnn_owned *more = (wnn_owned *)realloc(found, (used + 1) * sizeof *found);
        if (!more) {
            wnn_outputs_free(found, used);
            return wnn_no_memory();
        }
        found = more;
        code = wnn_output_tensor(context, used, &found[used]);
        if (code == WNN_INVALID_ARGUMENT) { /* behind the last output */
            *outputs = found;
            *output_count = used;
            return WNN_SUCCESS;
        }
        if (code) {
            wnn_outputs_free(found, used);
            return code;
        }
    }
}

/* Descriptions */

static inline wasi_nn_error wnn_ask_describe(uint32_t graph, uint32_t index, void *buffer, uint32_t room, uint32_t *size) {
    (void)index;
    return wasi_nn_describe(graph, buffer, room, size);
}

static inline wnn_code wnn_describe(const wnn_graph *graph, wnn_description *description) {
    void *record;
    uint32_t size;
    wnn_code code = wnn_answer("describe: ", wnn_ask_describe, graph->handle, 0, 1024, &record, &size);
    if (code) return code;
    memcpy(description, record, offsetof(wnn_description, memory));
    description->memory = record;
    wnn_read_types(description->inputs, description->input_count);
    wnn_read_types(description->outputs, description->output_count);
    return WNN_SUCCESS;
}

static inline void wnn_description_free(wnn_description *description) {
    free(description->memory);
    memset(description, 0, sizeof *description);
}

/* Signatures and variables */

static inline wnn_code wnn_use_signature(const wnn_graph *graph, const char *name, wnn_graph *other) {
    wasi_nn_graph handle = 0;
    wasi_nn_error error = wasi_nn_use_signature(graph->handle, name, strlen(name), &handle);
    return wnn_made(error, "use_signature: ", handle, other);
}

static inline wasi_nn_error wnn_ask_state(uint32_t graph, uint32_t index, void *buffer, uint32_t room, uint32_t *size) {
    (void)index;
    return wasi_nn_state_get(graph, buffer, room, size);
}

static inline wnn_code wnn_state(const wnn_graph *graph, void **state, uint32_t *size) {
    return wnn_answer("state_get: ", wnn_ask_state, graph->handle, 0, 0, state, size);
}

static inline wnn_code wnn_set_state(const wnn_graph *graph, const void *state, uint32_t size) {
    return wnn_checked(wasi_nn_state_set(graph->handle, state, size), "state_set: ");
}

/* Sequences */

static inline wnn_code wnn_begin_sequence(wnn_context *context) {
    return wnn_checked(wasi_nn_begin_sequence(context->handle), "begin_sequence: ");
}

static inline wnn_code wnn_next_of_sequence(wnn_context *context, bool *has_piece) {
    uint32_t given = 0;
    wnn_code code = wnn_checked(wasi_nn_next_of_sequence(context->handle, &given), "next_of_sequence: ");
    if (!code) *has_piece = given != 0;
    return code;
}

static inline wnn_code wnn_end_sequence(wnn_context *context) {
    return wnn_checked(wasi_nn_end_sequence(context->handle), "end_sequence: ");
}

/* Byte strings: first the end of each one, then the bytes of all. */

static inline wnn_code wnn_set_strings(wnn_context *context, uint32_t index, const uint32_t *dims, uint32_t rank,
                                       const wnn_text *strings, uint32_t count) {
    uint32_t size = 4 * count, end = 0;
    for (uint32_t it = 0; it < count; it++) size += strings[it].size;
    uint8_t *data = (uint8_t *)malloc(size + 1u);
    if (!data) return wnn_no_memory();
    for (uint32_t it = 0; it < count; it++) {
        memcpy(data + 4 * count + end, strings[it].data, strings[it].size);
        end += strings[it].size;
        memcpy(data + 4 * it, &end, 4);
    }
    wasi_nn_error error = wasi_nn_set_byte_strings(context->handle, index, dims, rank, data, size);
    free(data);
    return wnn_checked(error, "set_byte_strings: ");
}

static inline wnn_code wnn_set_strings_at(wnn_context *context, uint32_t index, const char *name, const uint32_t *dims,
                                          uint32_t rank, const wnn_text *strings, uint32_t count) {
    (void)name;
    return wnn_set_strings(context, index, dims, rank, strings, count);
}

static inline wnn_code wnn_strings(wnn_context *context, uint32_t index, wnn_text **strings, uint32_t *count) {
    void *data;
    uint32_t size;
    wnn_code code = wnn_answer("get_byte_strings: ", wasi_nn_get_byte_strings, context->handle, index, 0, &data, &size);
    if (code) return code;
    /* The last end is the size of all that comes after the ends. */
    const uint32_t *ends = (const uint32_t *)data;
    uint32_t found = 0;
    while (4 * found < size && (!found || 4 * found + ends[found - 1] != size)) found++;
    wnn_text *list = (wnn_text *)malloc(found * sizeof *list + size + 1u);
    if (!list) {
        free(data);
        return wnn_no_memory();
    }
    char *bytes = (char *)(list + found);
    memcpy(bytes, (const char *)data + 4 * found, size - 4 * found);
    for (uint32_t it = 0, from = 0; it < found; from = ends[it++]) {
        list[it].data = bytes + from;
        list[it].size = ends[it] - from;
    }
    free(data);
    *strings = list;
    *count = found;
    return WNN_SUCCESS;
}

#ifdef WNN_WASMEDGE
static inline wnn_code wnn_load_by_name_with_config(const char *name, const char *config, wnn_graph *graph) {
    wasi_nn_graph handle = 0;
    wasi_nn_error error = wasi_nn_load_by_name_with_config(name, strlen(name), config, strlen(config), &handle);
    return wnn_made(error, "load_by_name_with_config: ", handle, graph);
}

static inline wnn_code wnn_compute_single(wnn_context *context) {
    return wnn_checked(wasi_nn_compute_single(context->handle), "compute_single: ");
}

static inline wnn_code wnn_output_single(wnn_context *context, uint32_t index, void **data, uint32_t *size) {
    return wnn_answer("get_output_single: ", wasi_nn_get_output_single, context->handle, index, 64, data, size);
}

static inline wnn_code wnn_fini_single(wnn_context *context) {
    return wnn_checked(wasi_nn_fini_single(context->handle), "fini_single: ");
}
#endif

#endif
