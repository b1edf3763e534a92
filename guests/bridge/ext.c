/* The bridge for guests that import wasi-nn:ext beside wasi:nn: bridge.c, and the functions of wasi-nn-ext.wit.
 *
 * A state crosses as the data of a tensor of bytes does, in parts. A description comes as it lies in memory: the bridge
 * tells the host the address. */
#include "bridge.c"

#define EXT_HOST(name) \
    __attribute__((__import_module__("wasi-nn:bridge/extensions"), __import_name__(name))) extern
#define EXT_OWN(interface, name) \
    __attribute__((__import_module__("[export]wasi-nn:ext/" interface "@0.1.0"), __import_name__(name))) extern
#define EXT_NAME(interface, name) "wasi-nn:ext/" interface "@0.1.0#" name
#define EXT_EXPORT(interface, name) __attribute__((__export_name__(EXT_NAME(interface, name))))
#define EXT_EXPORT_POINTER(interface, name) \
    __attribute__((__export_name__("cabi_post_" EXT_NAME(interface, name)))) \
    void POST(__LINE__)(void *result) { (void)result; give_back(); } \
    EXT_EXPORT(interface, name)

enum {
    GRAPH_DESCRIPTION = 64, /* bytes of the record */
    NO_TENSORS = 0xffffffff,
};

typedef struct { uint8_t is_error; union { int32_t error; uint32_t graph[GRAPH_DESCRIPTION / 4]; }; } description_result;
typedef struct { uint8_t is_error; union { int32_t error; bytes bytes; }; } bytes_result;
typedef struct { uint8_t is_error; union { int32_t error; uint8_t has_tensors; }; named_tensor *tensors; uint32_t count; } piece_result;
typedef struct { uint8_t is_error; union { int32_t error; bytes *strings; }; uint32_t count; } strings_result;

EXT_HOST("describe") void host_describe(uint32_t graph, uint32_t address, bytes *record);
EXT_HOST("use-signature") uint64_t host_use_signature(uint32_t graph, const void *name, uint32_t length);
EXT_HOST("bytes-new") uint64_t host_bytes_new(uint32_t size, uint32_t rank);
EXT_HOST("state-get") uint64_t host_state_get(uint32_t graph);
EXT_HOST("state-set") uint32_t host_state_set(uint32_t graph, uint32_t state);
EXT_HOST("begin-sequence") uint64_t host_begin_sequence(uint32_t context, const void *inputs, uint32_t length);
EXT_HOST("next-of-sequence") void host_next_of_sequence(uint32_t sequence, bytes *outputs);
EXT_HOST("strings-new") uint64_t host_strings_new(uint32_t tensor, uint32_t count);
EXT_HOST("strings-count") uint64_t host_strings_count(uint32_t tensor);

EXT_OWN("sequences", "[resource-new]sequence") int32_t sequence_resource(uint32_t handle);

static union {
    result result;
    description_result description;
    bytes_result bytes;
    piece_result piece;
    strings_result strings;
} ext_out;

/* Bytes and dimensions as a tensor at the host. The outcome is the tensor's handle. */
static uint64_t new_bytes(bytes data, dimensions dims) {
    uint64_t outcome = host_bytes_new(data.size, dims.rank);
    uint32_t tensor = (uint32_t)outcome;
    if (outcome >> 32) return outcome;
    uint8_t *text = take(2 * PART);
    write_tensor(tensor, 0, data.data, data.size, text);
    write_tensor(tensor, data.size, (const uint8_t *)dims.dims, 4 * dims.rank, text);
    return outcome;
}

/* wasi-nn:ext/describe */

EXT_EXPORT_POINTER("describe", "describe")
description_result *describe(uint32_t graph) {
    /* The engine takes memory for the text, and for nothing else, so the text comes where this is. */
    uint8_t *record = take(0);
    bytes text;
    host_describe(graph, (uint32_t)(uintptr_t)record, &text);
    ext_out.description = (description_result){.is_error = text.size == DIGITS};
    if (text.size == DIGITS) {
        ext_out.description.error = error_resource(get_number(text.data));
        return &ext_out.description;
    }
    uint32_t size = text.size / 2;
    if (text.data != record || size < GRAPH_DESCRIPTION) __builtin_trap();
    for (uint32_t i = 0; i < size; i++) record[i] |= (uint8_t)(record[size + i] << 4);
    __builtin_memcpy(ext_out.description.graph, record, GRAPH_DESCRIPTION);
    return &ext_out.description;
}

/* wasi-nn:ext/signatures */

EXT_EXPORT_POINTER("signatures", "use-signature")
result *use_signature(uint32_t graph, const char *name, uint32_t length) {
    return outcome(host_use_signature(graph, name, length), graph_resource);
}

/* wasi-nn:ext/state */

EXT_EXPORT_POINTER("state", "state-get")
bytes_result *state_get(uint32_t graph) {
    uint64_t outcome = host_state_get(graph);
    uint32_t state = (uint32_t)outcome, error = outcome >> 32;
    ext_out.bytes = (bytes_result){.is_error = error != 0};
    if (error) {
        ext_out.bytes.error = error_resource(error);
        return &ext_out.bytes;
    }
    ext_out.bytes.bytes = read_tensor(state, 0, size_of(state));
    host_drop(state);
    return &ext_out.bytes;
}

EXT_EXPORT_POINTER("state", "state-set")
result *state_set(uint32_t graph, const uint8_t *state, uint32_t size) {
    uint64_t outcome = new_bytes((bytes){state, size}, (dimensions){NULL, 0});
    uint32_t error = outcome >> 32;
    return failed(error ? error : host_state_set(graph, (uint32_t)outcome));
}

/* wasi-nn:ext/sequences */

EXT_EXPORT_POINTER("sequences", "begin")
result *begin(uint32_t context, const named_tensor *inputs, uint32_t count) {
    bytes given = put_tensors(inputs, count);
    uint64_t sequence = host_begin_sequence(context, given.data, given.size);
    consume_all(inputs, count);
    return outcome(sequence, sequence_resource);
}

EXT_EXPORT_POINTER("sequences", "[method]sequence.next")
piece_result *sequence_next(uint32_t sequence) {
    bytes outputs;
    host_next_of_sequence(sequence, &outputs);
    uint32_t error = get_number(outputs.data), count = get_number(outputs.data + DIGITS);
    ext_out.piece = (piece_result){.is_error = error != 0};
    if (error) {
        ext_out.piece.error = error_resource(error);
    } else if (count != NO_TENSORS) {
        ext_out.piece.has_tensors = true;
        ext_out.piece.tensors = get_tensors(outputs.data + 2 * DIGITS, count);
        ext_out.piece.count = count;
    }
    return &ext_out.piece;
}

EXT_EXPORT("sequences", "[dtor]sequence")
void sequence_destructor(uint32_t sequence) { host_drop(sequence); }

/* wasi-nn:ext/byte-strings: the end of each string, and then all strings, are the data of a tensor. */

EXT_EXPORT_POINTER("byte-strings", "new")
result *strings_new(const uint32_t *dims, uint32_t rank, const bytes *strings, uint32_t count) {
    uint64_t size = 4ull * count, end = 0;
    for (uint32_t i = 0; i < count; i++) size += strings[i].size;
    uint8_t *data = take(size), *at = data + 4 * count;
    for (uint32_t i = 0; i < count; i++) {
        end += strings[i].size;
        ((uint32_t *)(void *)data)[i] = (uint32_t)end;
        __builtin_memcpy(at, strings[i].data, strings[i].size);
        at += strings[i].size;
    }
    uint64_t tensor = new_bytes((bytes){data, size}, (dimensions){dims, rank});
    if (!(tensor >> 32)) tensor = host_strings_new((uint32_t)tensor, count);
    return outcome(tensor, tensor_resource);
}

EXT_EXPORT_POINTER("byte-strings", "strings")
strings_result *strings(uint32_t given) {
    uint32_t tensor = at_host(given);
    uint64_t outcome = host_strings_count(tensor);
    if (is_kept(given)) host_drop(tensor);
    uint32_t count = (uint32_t)outcome, error = outcome >> 32, start = 0;
    ext_out.strings = (strings_result){.is_error = error != 0, .count = count};
    if (error) {
        ext_out.strings.error = error_resource(error);
        return &ext_out.strings;
    }
    bytes data = read_tensor(tensor, 0, size_of(tensor));
    const uint8_t *first = data.data + 4ull * count;
    ext_out.strings.strings = take(count * (uint64_t)sizeof(bytes));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = ((const uint32_t *)(const void *)data.data)[i];
        ext_out.strings.strings[i] = (bytes){first + start, end - start};
        start = end;
    }
    return &ext_out.strings;
}
