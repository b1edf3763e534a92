/* A guest component under a test's control: each export makes one call of wasi:nn with its arguments, without checking
 * handles and enums. So a test can make the calls of a well-behaved or of a hostile guest.
 *
 * Large data is passed as text: the low four bits of every byte, then the high four bits of every byte. */
#include <stdbool.h>
#include <stddef.h>
#include <wasi_nn_component.h>

#define EXPORT(name) __attribute__((__export_name__(name)))
#define RESET(name) EXPORT("cabi_post_" name)

extern uint8_t __heap_base;
static uint64_t staged_size, staged_room, top;

static uint8_t *staged(void) { return &__heap_base; }

static void require(uint64_t end) {
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1) __builtin_trap();
}

/* Staged data is at the start of the heap; the memory for calls is above it. */
static void reset(void) { top = ((uintptr_t)staged() + staged_room + 15) & ~15ull; }

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    if (!top) reset();
    void *at = (void *)(uintptr_t)top;
    top = (top + size + 15) & ~15ull;
    require(top);
    if (old_size) __builtin_memcpy(at, old, old_size < size ? old_size : size);
    return at;
}

static uint64_t outcome(nn_result result) {
    return result.is_error ? (uint64_t)(uint32_t)result.handle << 32 : (uint32_t)result.handle;
}

EXPORT("stage-room") void stage_room(uint32_t room) {
    staged_size = 0, staged_room = room;
    reset();
    require(top);
}

EXPORT("stage") void stage(const uint8_t *planes, uint32_t length) {
    uint32_t size = length / 2;
    if (staged_size + size > staged_room) __builtin_trap();
    for (uint32_t i = 0; i < size; i++) staged()[staged_size + i] = planes[i] | planes[size + i] << 4;
    staged_size += size;
    reset();
}

EXPORT("tensor") nn_handle tensor(const uint32_t *dims, uint32_t rank, uint32_t type) {
    nn_handle made = nn_tensor(dims, rank, type, staged(), staged_size);
    reset();
    return made;
}

EXPORT("tensor-dimensions") nn_dims *tensor_dimensions(nn_handle tensor) {
    static nn_dims dims;
    nn_tensor_dimensions(tensor, &dims);
    return &dims;
}
RESET("tensor-dimensions") void after_dimensions(void *result) { (void)result; reset(); }

EXPORT("tensor-type") uint32_t tensor_type(nn_handle tensor) { return nn_tensor_type(tensor); }

EXPORT("tensor-data") nn_bytes *tensor_data(nn_handle tensor) {
    static nn_bytes out;
    nn_bytes data;
    nn_tensor_data(tensor, &data);
    uint8_t *planes = cabi_realloc(NULL, 0, 1, 2 * data.size);
    for (uint32_t i = 0; i < data.size; i++) planes[i] = data.data[i] & 15, planes[data.size + i] = data.data[i] >> 4;
    out = (nn_bytes){planes, 2 * data.size};
    return &out;
}
RESET("tensor-data") void after_data(void *result) { (void)result; reset(); }

EXPORT("load") uint64_t load(const uint32_t *sizes, uint32_t count, uint32_t encoding, uint32_t target) {
    nn_bytes *builders = cabi_realloc(NULL, 0, 4, count * sizeof *builders);
    const uint8_t *at = staged();
    for (uint32_t i = 0; i < count; i++) builders[i] = (nn_bytes){at, sizes[i]}, at += sizes[i];
    nn_result graph;
    nn_load(builders, count, encoding, target, &graph);
    reset();
    return outcome(graph);
}

EXPORT("load-by-name") uint64_t load_by_name(const char *name, uint32_t length) {
    nn_result graph;
    nn_load_by_name(name, length, &graph);
    reset();
    return outcome(graph);
}

EXPORT("init-execution-context") uint64_t init_execution_context(nn_handle graph) {
    nn_result context;
    nn_init_execution_context(graph, &context);
    return outcome(context);
}

#if WASI_NN_VERSION >= 20241028

/* Results: `first` is the error's handle or the number of outputs, which are in `outputs`. */
static nn_outputs outputs;

EXPORT("compute") uint64_t compute(nn_handle context, const nn_string *names, uint32_t count, const nn_handle *tensors,
                                    uint32_t tensors_count) {
    if (tensors_count != count) __builtin_trap();
    nn_named_tensor *inputs = cabi_realloc(NULL, 0, 4, count * sizeof *inputs);
    for (uint32_t i = 0; i < count; i++) inputs[i] = (nn_named_tensor){names[i], tensors[i]};
    nn_compute(context, inputs, count, &outputs);
    return outputs.is_error ? (uint64_t)(uint32_t)outputs.error << 32 : outputs.count;
}
EXPORT("output-name") nn_string *output_name(uint32_t index) { return &outputs.outputs[index].name; }
EXPORT("output-tensor") nn_handle output_tensor(uint32_t index) { return outputs.outputs[index].tensor; }

/* Infer some times on the staged data, read every output and drop it; returns an error's handle, or 0. */
EXPORT("infer") nn_handle infer(nn_handle context, const char *name, uint32_t length, const uint32_t *dims, uint32_t rank,
                                uint32_t type, uint32_t times) {
    uint64_t mine = top;
    nn_handle error = 0;
    while (times-- && !error) {
        nn_named_tensor input = {{name, length}, nn_tensor(dims, rank, type, staged(), staged_size)};
        nn_compute(context, &input, 1, &outputs);
        if (outputs.is_error) error = outputs.error;
        for (uint32_t i = 0; !error && i < outputs.count; i++) {
            nn_bytes data;
            nn_tensor_data(outputs.outputs[i].tensor, &data);
            nn_tensor_drop(outputs.outputs[i].tensor);
        }
        top = mine;
    }
    reset();
    return error;
}

#else

EXPORT("set-input") uint32_t set_input(nn_handle context, const char *name, uint32_t length, nn_handle tensor) {
    nn_result result;
    nn_set_input(context, name, length, tensor, &result);
    reset();
    return result.is_error ? result.handle : 0;
}

EXPORT("compute") uint32_t compute(nn_handle context) {
    nn_result result;
    nn_compute(context, &result);
    return result.is_error ? result.handle : 0;
}

EXPORT("get-output") uint64_t get_output(nn_handle context, const char *name, uint32_t length) {
    nn_result tensor;
    nn_get_output(context, name, length, &tensor);
    reset();
    return outcome(tensor);
}

#endif

#if WASI_NN_VERSION < 20240819
EXPORT("error") nn_handle error(uint32_t code, const char *data, uint32_t length) {
    nn_handle made = nn_error(code, data, length);
    reset();
    return made;
}
#endif

EXPORT("error-code") uint32_t error_code(nn_handle error) { return nn_error_code(error); }

EXPORT("error-data") nn_string *error_data(nn_handle error) {
    static nn_string data;
    nn_error_data(error, &data);
    return &data;
}
RESET("error-data") void after_error_data(void *result) { (void)result; reset(); }

/* Make tensors of the staged data and drop them, or read one tensor, some times: to measure the cost of a byte. */
EXPORT("make-tensors") void make_tensors(uint32_t times) {
    while (times--) nn_tensor_drop(nn_tensor(NULL, 0, NN_U8, staged(), staged_size));
}
EXPORT("read-tensor") void read_tensor(nn_handle tensor, uint32_t times) {
    nn_bytes data;
    for (uint64_t mine = top; times--; top = mine) nn_tensor_data(tensor, &data);
    reset();
}

EXPORT("drop-tensor") void drop_tensor(nn_handle tensor) { nn_tensor_drop(tensor); }
EXPORT("drop-graph") void drop_graph(nn_handle graph) { nn_graph_drop(graph); }
EXPORT("drop-context") void drop_context(nn_handle context) { nn_context_drop(context); }
EXPORT("drop-error") void drop_error(nn_handle error) { nn_error_drop(error); }
