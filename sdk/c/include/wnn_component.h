/* wnn_component.h: wnn.h over the component ABI.
 *
 * wasi:nn has no inputs that stay set: a context keeps their bytes here, and makes tensors of them at each compute.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_COMPONENT_H
#define WNN_COMPONENT_H

#include "wasi_nn_component.h"
#include "wasi_nn_component_ext.h"

/* An input that is set. */
typedef struct wnn_input {
    char *name;
    uint32_t *dims;
    uint32_t rank;
    wnn_type type;
    void *data;
    uint32_t size, room; /* of the data, in bytes */
    uint32_t count;      /* of strings: `data` has a wnn_text for each, and then their bytes */
    /* Makes a tensor: of strings or of numbers. A guest without strings imports nothing for them. */
    wnn_code (*make)(const struct wnn_input *input, nn_handle *tensor);
} wnn_input;

struct wnn_context {
    nn_handle handle;
    wnn_input *inputs;
    uint32_t input_count;
    nn_named_tensor *outputs; /* of the last compute: their names and tensors are the guest's */
    uint32_t output_count;
    nn_handle sequence;                /* 0 if none is under way */
    void (*drop_sequence)(nn_handle); /* a guest without sequences imports nothing for them */
};

/* The memory for what a call returns. The host asks for it. */
__attribute__((weak, __export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    if (!size) return (void *)align; /* nothing: wnn_give_back frees none of it */
    void *memory = realloc(old, size);
    if (!memory) __builtin_trap();
    return memory;
}

/* Give back memory that a call returned. */
static inline void wnn_give_back(const void *memory, uint32_t count) {
    if (count) free((void *)memory);
}

static inline wnn_code wnn_failed(nn_handle error) {
    nn_string data;
    nn_error_data(error, &data);
    wnn_code code = wnn_code_of(nn_error_code(error));
    nn_error_drop(error);
    wnn_fail(code, "", data.data, data.size);
    wnn_give_back(data.data, data.size);
    return code;
}

static inline wnn_code wnn_handle_of(nn_result result, int32_t *handle) {
    if (result.is_error) return wnn_failed(result.handle);
    if (handle) *handle = result.handle;
    return WNN_SUCCESS;
}

/* Graphs */

static inline wnn_code wnn_load(const wnn_builder *builders, uint32_t count, wnn_encoding encoding, wnn_target target,
                                wnn_graph *graph) {
    nn_result result;
    nn_load((const nn_bytes *)builders, count, wnn_abi_encodings[encoding], target, &result);
    return wnn_handle_of(result, &graph->handle);
}

static inline wnn_code wnn_load_by_name(const char *name, wnn_graph *graph) {
    nn_result result;
    nn_load_by_name(name, strlen(name), &result);
    return wnn_handle_of(result, &graph->handle);
}

static inline void wnn_graph_free(wnn_graph *graph) {
    nn_graph_drop(graph->handle);
    graph->handle = 0;
}

/* Contexts */

static inline wnn_code wnn_init_context(const wnn_graph *graph, wnn_context *context) {
    nn_result result;
    nn_init_execution_context(graph->handle, &result);
    memset(context, 0, sizeof *context);
    return wnn_handle_of(result, &context->handle);
}

static inline void wnn_drop_outputs(wnn_context *context) {
    for (uint32_t it = 0; it < context->output_count; it++) {
        nn_tensor_drop(context->outputs[it].tensor);
        wnn_give_back(context->outputs[it].name.data, context->outputs[it].name.size);
    }
    wnn_give_back(context->outputs, context->output_count);
    context->outputs = NULL;
    context->output_count = 0;
}

static inline void wnn_drop_sequence(wnn_context *context) {
    if (context->sequence) context->drop_sequence(context->sequence);
    context->sequence = 0;
}

static inline void wnn_context_free(wnn_context *context) {
    wnn_drop_sequence(context);
    wnn_drop_outputs(context);
    for (uint32_t it = 0; it < context->input_count; it++) {
        wnn_input *input = &context->inputs[it];
        free(input->name), free(input->dims), free(input->data);
    }
    free(context->inputs);
    nn_context_drop(context->handle);
    memset(context, 0, sizeof *context);
}

/* Inputs */

static inline wnn_code wnn_make_numbers(const wnn_input *input, nn_handle *tensor) {
    *tensor = nn_tensor(input->dims, input->rank, wnn_abi_types[input->type], input->data, input->size);
    return WNN_SUCCESS;
}

static inline wnn_code wnn_make_strings(const wnn_input *input, nn_handle *tensor) {
    nn_result result;
    nn_strings_tensor(input->dims, input->rank, (const nn_string *)input->data, input->count, &result);
    return wnn_handle_of(result, tensor);
}

/* The input of a name, with room for so many bytes and these dims. NULL if there is no memory. */
static inline wnn_input *wnn_input_of(wnn_context *context, const char *name, const uint32_t *dims, uint32_t rank,
                                      uint32_t size) {
    uint32_t place = 0;
    wnn_drop_sequence(context);
    while (place < context->input_count && strcmp(context->inputs[place].name, name)) place++;
    if (place == context->input_count) {
        wnn_input *more = (wnn_input *)realloc(context->inputs, (place + 1) * sizeof *more);
        char *copy = (char *)wnn_copy(name, strlen(name));
        if (more) context->inputs = more;
        if (!more || !copy) {
            free(copy);
            return NULL;
        }
        memset(&more[place], 0, sizeof *more);
        more[place].name = copy;
        more[place].make = wnn_make_numbers;
        context->input_count++;
    }
    wnn_input *input = &context->inputs[place];
    if (input->rank != rank || !input->dims) {
        uint32_t *room = (uint32_t *)realloc(input->dims, rank * sizeof *dims + 1);
        if (!room) return NULL;
        input->dims = room;
    }
    if (input->room < size || !input->data) {
        void *room = realloc(input->data, size + 1u);
        if (!room) return NULL;
        input->data = room;
        input->room = size;
    }
    memcpy(input->dims, dims, rank * sizeof *dims);
    input->rank = rank;
    input->size = size;
    return input;
}

static inline wnn_code wnn_set_input_at(wnn_context *context, uint32_t index, const char *name,
                                        const wnn_tensor *tensor) {
    (void)index;
    wnn_code code = wnn_check_dims(tensor);
    if (code) return code;
    wnn_input *input = wnn_input_of(context, name, tensor->dims, tensor->rank, tensor->size);
    if (!input) return wnn_no_memory();
    memcpy(input->data, tensor->data, tensor->size);
    input->type = tensor->type;
    input->make = wnn_make_numbers;
    return WNN_SUCCESS;
}

/* An index as text: a component names its inputs. */
static inline const char *wnn_decimal(uint32_t number, char digits[11]) {
    char *at = digits + 10;
    *at = 0;
    do *--at = (char)('0' + number % 10); while (number /= 10);
    return at;
}

static inline wnn_code wnn_set_input(wnn_context *context, uint32_t index, const wnn_tensor *tensor) {
    char digits[11];
    return wnn_set_input_at(context, index, wnn_decimal(index, digits), tensor);
}

static inline wnn_code wnn_set_input_named(wnn_context *context, const char *name, const wnn_tensor *tensor) {
    return wnn_set_input_at(context, 0, name, tensor);
}

static inline void wnn_drop_tensors(nn_named_tensor *tensors, uint32_t count) {
    for (uint32_t it = 0; it < count; it++) nn_tensor_drop(tensors[it].tensor);
    free(tensors);
}

/* Tensors of all inputs that are set, which a call takes. free() gives the array back. */
static inline wnn_code wnn_make_inputs(const wnn_context *context, nn_named_tensor **made) {
    nn_named_tensor *tensors = (nn_named_tensor *)malloc(context->input_count * sizeof *tensors + 1);
    if (!tensors) return wnn_no_memory();
    for (uint32_t it = 0; it < context->input_count; it++) {
        const wnn_input *input = &context->inputs[it];
        tensors[it].name.data = input->name;
        tensors[it].name.size = strlen(input->name);
        wnn_code code = input->make(input, &tensors[it].tensor);
        if (code) {
            wnn_drop_tensors(tensors, it);
            return code;
        }
    }
    *made = tensors;
    return WNN_SUCCESS;
}

/* Compute on tensors, and keep the outputs. */
static inline wnn_code wnn_compute_with(wnn_context *context, const nn_named_tensor *inputs, uint32_t count) {
    nn_outputs outputs;
    wnn_drop_sequence(context);
    wnn_drop_outputs(context);
    nn_compute(context->handle, inputs, count, &outputs);
    if (outputs.is_error) return wnn_failed(outputs.error);
    context->outputs = outputs.outputs;
    context->output_count = outputs.count;
    return WNN_SUCCESS;
}

static inline wnn_code wnn_compute(wnn_context *context) {
    nn_named_tensor *inputs;
    wnn_code code = wnn_make_inputs(context, &inputs);
    if (code) return code;
    code = wnn_compute_with(context, inputs, context->input_count);
    free(inputs);
    return code;
}

/* Outputs */

static inline wnn_code wnn_find(const wnn_context *context, uint32_t index, nn_handle *tensor) {
    if (!context->output_count) return wnn_fail_plainly(WNN_RUNTIME_ERROR, "there is no output: compute first");
    if (index >= context->output_count) return wnn_fail_plainly(WNN_INVALID_ARGUMENT, "no output has this index");
    *tensor = context->outputs[index].tensor;
    return WNN_SUCCESS;
}

/* The bytes of an output, which wnn_give_back() gives back. */
static inline wnn_code wnn_read(const wnn_context *context, uint32_t index, wnn_type type, nn_bytes *data) {
    nn_handle tensor;
    wnn_code code = wnn_find(context, index, &tensor);
    if (code) return code;
    if (type != WNN_U8 && nn_tensor_type(tensor) != wnn_abi_types[type])
        return wnn_fail_plainly(WNN_INVALID_ARGUMENT, "the output is of another type");
    nn_tensor_data(tensor, data);
    return WNN_SUCCESS;
}

static inline wnn_code wnn_output_into(wnn_context *context, uint32_t index, wnn_type type, void *buffer,
                                       uint32_t capacity, uint32_t *size) {
    nn_bytes data;
    wnn_code code = wnn_read(context, index, type, &data);
    if (code) return code;
    if (data.size > capacity) code = wnn_too_small(data.size);
    else if (data.size) memcpy(buffer, data.data, data.size);
    wnn_give_back(data.data, data.size);
    *size = data.size;
    return code;
}

static inline wnn_code wnn_output(wnn_context *context, uint32_t index, wnn_type type, void **output, uint32_t *size) {
    nn_bytes data;
    wnn_code code = wnn_read(context, index, type, &data);
    if (code) return code;
    *output = data.size ? (void *)data.data : wnn_copy("", 0);
    *size = data.size;
    return *output ? WNN_SUCCESS : wnn_no_memory();
}

static inline wnn_code wnn_output_tensor(wnn_context *context, uint32_t index, wnn_owned *tensor) {
    nn_handle handle;
    nn_dims dims;
    wnn_code code = wnn_find(context, index, &handle);
    if (code) return code;
    memset(tensor, 0, sizeof *tensor);
    int type = wnn_word_of(wnn_abi_types, sizeof wnn_abi_types, 0, nn_tensor_type(handle));
    if (type < 0) return wnn_fail_plainly(WNN_UNKNOWN, "the output has a type that this guest doesn't know");
    code = wnn_output(context, index, WNN_U8, &tensor->data, &tensor->size);
    if (code) return code;
    nn_tensor_dimensions(handle, &dims);
    tensor->type = (wnn_type)type;
    tensor->dims = dims.count ? (uint32_t *)dims.data : NULL;
    tensor->rank = dims.count;
    tensor->name = (char *)wnn_copy(context->outputs[index].name.data, context->outputs[index].name.size);
    if (tensor->name) return WNN_SUCCESS;
    wnn_owned_free(tensor);
    return wnn_no_memory();
}

static inline wnn_code wnn_compute_named(wnn_context *context, const wnn_named_tensor *inputs, uint32_t count,
                                         wnn_owned **outputs, uint32_t *output_count) {
    nn_named_tensor *tensors = (nn_named_tensor *)malloc(count * sizeof *tensors + 1);
    if (!tensors) return wnn_no_memory();
    for (uint32_t it = 0; it < count; it++) {
        const wnn_tensor *tensor = &inputs[it].tensor;
        wnn_code code = wnn_check_dims(tensor);
        if (code) {
            wnn_drop_tensors(tensors, it);
            return code;
        }
        tensors[it].name.data = inputs[it].name;
        tensors[it].name.size = strlen(inputs[it].name);
        tensors[it].tensor =
            nn_tensor(tensor->dims, tensor->rank, wnn_abi_types[tensor->type], tensor->data, tensor->size);
    }
    wnn_code code = wnn_compute_with(context, tensors, count);
    free(tensors);
    if (code) return code;
    wnn_owned *found = (wnn_owned *)calloc(context->output_count + 1, sizeof *found);
    if (!found) return wnn_no_memory();
    for (uint32_t it = 0; it < context->output_count; it++) {
        code = wnn_output_tensor(context, it, &found[it]);
        if (code) {
            wnn_outputs_free(found, it);
            return code;
        }
    }
    *outputs = found;
    *output_count = context->output_count;
    return WNN_SUCCESS;
}

/* Descriptions */

static inline wnn_code wnn_describe(const wnn_graph *graph, wnn_description *description) {
    nn_description result;
    memset(&result, 0, sizeof result);
    nn_describe(graph->handle, &result);
    if (result.is_error) return wnn_failed(result.error);
    memset(description, 0, sizeof *description);
    memcpy(description, &result.graph, sizeof result.graph);
    wnn_read_types(description->inputs, description->input_count);
    if (!description->has_outputs) description->output_count = 0;
    wnn_read_types(description->outputs, description->output_count);
    return WNN_SUCCESS;
}

static inline void wnn_text_free(wnn_text text) { wnn_give_back(text.data, text.size); }

static inline void wnn_descriptions_free(wnn_tensor_description *tensors, uint32_t count) {
    for (uint32_t it = 0; it < count; it++) {
        wnn_text_free(tensors[it].name);
        if (tensors[it].type.kind == WNN_ELEMENT_NATIVE) wnn_text_free(tensors[it].type.of.native);
        if (!tensors[it].has_dims) continue;
        for (uint32_t dim = 0; dim < tensors[it].rank; dim++)
            if (tensors[it].dims[dim].kind == WNN_DIMENSION_NAMED) wnn_text_free(tensors[it].dims[dim].of.name);
        wnn_give_back(tensors[it].dims, tensors[it].rank);
    }
    wnn_give_back(tensors, count);
}

static inline void wnn_description_free(wnn_description *description) {
    wnn_text_free(description->runtime), wnn_text_free(description->device), wnn_text_free(description->signature);
    for (uint32_t it = 0; it < description->signature_count; it++) wnn_text_free(description->signatures[it]);
    wnn_give_back(description->signatures, description->signature_count);
    wnn_descriptions_free(description->inputs, description->input_count);
    wnn_descriptions_free(description->outputs, description->output_count);
    for (uint32_t it = 0; it < description->metadata_count; it++)
        wnn_text_free(description->metadata[it].key), wnn_text_free(description->metadata[it].text);
    wnn_give_back(description->metadata, description->metadata_count);
    memset(description, 0, sizeof *description);
}

/* Signatures and variables */

static inline wnn_code wnn_use_signature(const wnn_graph *graph, const char *name, wnn_graph *other) {
    nn_result result;
    nn_use_signature(graph->handle, name, strlen(name), &result);
    return wnn_handle_of(result, &other->handle);
}

static inline wnn_code wnn_state(const wnn_graph *graph, void **state, uint32_t *size) {
    nn_state result;
    nn_state_get(graph->handle, &result);
    if (result.is_error) return wnn_failed(result.error);
    *state = result.bytes.size ? (void *)result.bytes.data : wnn_copy("", 0);
    *size = result.bytes.size;
    return *state ? WNN_SUCCESS : wnn_no_memory();
}

static inline wnn_code wnn_set_state(const wnn_graph *graph, const void *state, uint32_t size) {
    nn_result result;
    nn_state_set(graph->handle, state, size, &result);
    return wnn_handle_of(result, NULL);
}

/* Sequences */

static inline void wnn_sequence_drop(nn_handle sequence) { nn_sequence_drop(sequence); }

static inline wnn_code wnn_begin_sequence(wnn_context *context) {
    nn_named_tensor *inputs;
    nn_result result;
    wnn_drop_sequence(context);
    wnn_drop_outputs(context);
    wnn_code code = wnn_make_inputs(context, &inputs);
    if (code) return code;
    nn_begin_sequence(context->handle, inputs, context->input_count, &result);
    free(inputs);
    context->drop_sequence = wnn_sequence_drop;
    return wnn_handle_of(result, &context->sequence);
}

static inline wnn_code wnn_next_of_sequence(wnn_context *context, bool *has_piece) {
    nn_piece piece;
    if (!context->sequence) return wnn_fail_plainly(WNN_INVALID_ARGUMENT, "no sequence is under way");
    wnn_drop_outputs(context);
    nn_next(context->sequence, &piece);
    if (piece.is_error) {
        wnn_drop_sequence(context);
        return wnn_failed(piece.error);
    }
    *has_piece = piece.has_outputs;
    if (piece.has_outputs) {
        context->outputs = piece.outputs;
        context->output_count = piece.count;
    }
    return WNN_SUCCESS;
}

static inline wnn_code wnn_end_sequence(wnn_context *context) {
    if (context->sequence) wnn_drop_outputs(context);
    wnn_drop_sequence(context);
    return WNN_SUCCESS;
}

/* Byte strings */

static inline wnn_code wnn_set_strings_at(wnn_context *context, uint32_t index, const char *name, const uint32_t *dims,
                                          uint32_t rank, const wnn_text *strings, uint32_t count) {
    (void)index;
    uint32_t size = count * sizeof *strings;
    for (uint32_t it = 0; it < count; it++) size += strings[it].size;
    wnn_input *input = wnn_input_of(context, name, dims, rank, size);
    if (!input) return wnn_no_memory();
    wnn_text *list = (wnn_text *)input->data;
    char *at = (char *)(list + count);
    for (uint32_t it = 0; it < count; at += strings[it++].size) {
        memcpy(at, strings[it].data, strings[it].size);
        list[it].data = at;
        list[it].size = strings[it].size;
    }
    input->count = count;
    input->make = wnn_make_strings;
    return WNN_SUCCESS;
}

static inline wnn_code wnn_set_strings(wnn_context *context, uint32_t index, const uint32_t *dims, uint32_t rank,
                                       const wnn_text *strings, uint32_t count) {
    char digits[11];
    return wnn_set_strings_at(context, index, wnn_decimal(index, digits), dims, rank, strings, count);
}

static inline wnn_code wnn_strings(wnn_context *context, uint32_t index, wnn_text **strings, uint32_t *count) {
    nn_handle tensor;
    nn_strings found;
    wnn_code code = wnn_find(context, index, &tensor);
    if (code) return code;
    nn_strings_of(tensor, &found);
    if (found.is_error) return wnn_failed(found.error);
    uint32_t size = found.count * sizeof **strings;
    for (uint32_t it = 0; it < found.count; it++) size += found.items[it].size;
    wnn_text *list = (wnn_text *)malloc(size + 1u);
    if (!list) code = wnn_no_memory();
    char *at = (char *)(list + found.count);
    for (uint32_t it = 0; it < found.count; it++) {
        nn_string string = found.items[it];
        if (list) {
            memcpy(at, string.data, string.size);
            list[it].data = at;
            list[it].size = string.size;
            at += string.size;
        }
        wnn_give_back(string.data, string.size);
    }
    wnn_give_back(found.items, found.count);
    *strings = list;
    *count = found.count;
    return code;
}

#endif
