/* The driver with the functions of wasi-nn:ext. What a function returns at an address is read by `read-memory`, and stays there
 * until the next call of another function. */
#include <wasi_nn_component_ext.h>

#include "driver.c"

static uint64_t kept_top;

EXPORT("read-memory") nn_bytes *read_memory(uint32_t at, uint32_t size) {
    static nn_bytes out;
    kept_top = top;
    uint8_t *planes = cabi_realloc(NULL, 0, 1, 2 * size);
    const uint8_t *from = (const uint8_t *)at;
    for (uint32_t i = 0; i < size; i++) planes[i] = from[i] & 15, planes[size + i] = from[i] >> 4;
    out = (nn_bytes){planes, 2 * size};
    return &out;
}
RESET("read-memory") void after_memory(void *result) { (void)result; top = kept_top; }

static uint64_t at_or_error(uint8_t is_error, nn_handle error, const void *at) {
    return is_error ? (uint64_t)(uint32_t)error << 32 : (uintptr_t)at;
}

EXPORT("describe") uint64_t describe(nn_handle graph) {
    static nn_description description;
    reset();
    nn_describe(graph, &description);
    return at_or_error(description.is_error, description.error, &description.graph);
}

/* Describe a graph some times, to measure the cost. */
EXPORT("describe-often") void describe_often(nn_handle graph, uint32_t times) {
    nn_description description;
    while (times--) reset(), nn_describe(graph, &description);
}

EXPORT("use-signature") uint64_t use_signature(nn_handle graph, const char *name, uint32_t length) {
    nn_result other;
    nn_use_signature(graph, name, length, &other);
    reset();
    return outcome(other);
}

EXPORT("state-get") uint64_t state_get(nn_handle graph) {
    static nn_state state;
    reset();
    nn_state_get(graph, &state);
    return at_or_error(state.is_error, state.error, &state.bytes);
}

EXPORT("state-set") nn_handle state_set(nn_handle graph) {
    nn_result nothing;
    nn_state_set(graph, staged(), staged_size, &nothing);
    return nothing.is_error ? nothing.handle : 0;
}

EXPORT("begin") uint64_t begin(nn_handle context, const nn_string *names, uint32_t count, const nn_handle *tensors,
                               uint32_t tensors_count) {
    if (tensors_count != count) __builtin_trap();
    nn_named_tensor *inputs = cabi_realloc(NULL, 0, 4, count * sizeof *inputs);
    for (uint32_t i = 0; i < count; i++) inputs[i] = (nn_named_tensor){names[i], tensors[i]};
    nn_result sequence;
    nn_begin_sequence(context, inputs, count, &sequence);
    reset();
    return outcome(sequence);
}

/* 0 after the last piece, else the number of outputs and 1. */
EXPORT("next") uint64_t next(nn_handle sequence) {
    nn_piece piece;
    reset();
    nn_next(sequence, &piece);
    if (piece.is_error) return (uint64_t)(uint32_t)piece.error << 32;
    outputs.outputs = piece.outputs;
    return piece.has_outputs ? 1 + piece.count : 0;
}

EXPORT("strings-new") uint64_t strings_new(const uint32_t *dims, uint32_t rank, const uint32_t *sizes, uint32_t count) {
    nn_string *strings = cabi_realloc(NULL, 0, 4, count * sizeof *strings);
    const char *at = (const char *)staged();
    for (uint32_t i = 0; i < count; i++) strings[i] = (nn_string){at, sizes[i]}, at += sizes[i];
    nn_result tensor;
    nn_strings_tensor(dims, rank, strings, count, &tensor);
    reset();
    return outcome(tensor);
}

EXPORT("strings") uint64_t strings(nn_handle tensor) {
    static nn_strings found;
    reset();
    nn_strings_of(tensor, &found);
    return at_or_error(found.is_error, found.error, &found.items);
}

EXPORT("drop-sequence") void drop_sequence(nn_handle sequence) { nn_sequence_drop(sequence); }
