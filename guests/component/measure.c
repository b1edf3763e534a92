/* measure: times the nn calls of one inference after another, on an input f32[1, 3, 224, 224], as a component.
 *
 *     measure GRAPH ROUNDS INPUT
 *
 * INPUT is the name of the graph's input. Writes to standard output, as little-endian u64: the number of steps in a
 * round (3: making the input's tensor, compute, reading the output's data and dropping its tensor), and for each round
 * the nanoseconds of each step. Then come the bytes of the last output.
 */
#include <stddef.h>
#include <wasi_nn_component.h>

#define WASI(interface, name) __attribute__((__import_module__("wasi:" interface "@0.2.0"), __import_name__(name))) extern

typedef struct { nn_string *items; uint32_t count; } strings;

WASI("cli/environment", "get-arguments") void get_arguments(strings *arguments);
WASI("cli/stdout", "get-stdout") int32_t get_stdout(void);
WASI("io/streams", "[method]output-stream.blocking-write-and-flush")
void write_and_flush(int32_t stream, const void *data, uint32_t size, void *result);
WASI("io/streams", "[resource-drop]output-stream") void stream_drop(int32_t stream);
WASI("clocks/monotonic-clock", "now") uint64_t now(void);

enum { STEPS = 3, MOST_ROUNDS = 100000, DONE = 0, FAILED = 1 };

static float image[3 * 224 * 224];
static uint64_t times[1 + MOST_ROUNDS * STEPS];

/* What the host returns by pointer lies from `top` on, and is overwritten in the next round. */

extern uint8_t __heap_base;
static uintptr_t top;

__attribute__((__export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    if (!top) top = (uintptr_t)&__heap_base;
    uintptr_t at = (top + 15) & ~(uintptr_t)15, room = __builtin_wasm_memory_size(0) << 16;
    top = at + size;
    if (top > room && __builtin_wasm_memory_grow(0, (top - room + 65535) >> 16) == (size_t)-1) __builtin_trap();
    if (old_size) __builtin_memcpy((void *)at, old, old_size);
    return (void *)at;
}

static void write_all(const void *bytes, uint32_t size) {
    enum { MOST = 4096 };
    struct { uint8_t is_error, rest[11]; } result;
    int32_t stream = get_stdout();
    for (const char *at = bytes; size;) {
        uint32_t part = size < MOST ? size : MOST;
        write_and_flush(stream, at, part, &result);
        if (result.is_error) __builtin_trap();
        at += part, size -= part;
    }
    stream_drop(stream);
}

static uint32_t number(nn_string digits) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < digits.size && i < 9; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') return 0;
        value = value * 10 + digits.data[i] - '0';
    }
    return value;
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    nn_result graph, context;
    get_arguments(&arguments);
    uint32_t rounds = arguments.count == 4 ? number(arguments.items[2]) : 0;
    if (rounds < 1 || rounds > MOST_ROUNDS) return FAILED;
    nn_string name = arguments.items[1], input = arguments.items[3];
    nn_load_by_name(name.data, name.size, &graph);
    if (graph.is_error) return FAILED;
    nn_init_execution_context(graph.handle, &context);
    if (context.is_error) return FAILED;
    for (uint32_t i = 0; i < 3 * 224 * 224; i++) image[i] = (i % 251) / 251.0f;
    static const uint32_t dims[] = {1, 3, 224, 224};

    nn_bytes data = {0};
    uint64_t *at = times;
    *at++ = STEPS;
    uintptr_t base = top;
    for (uint32_t round = 0; round < rounds; round++) {
        nn_outputs outputs;
        top = base;
        uint64_t began = now();
        nn_named_tensor tensor = {input, nn_tensor(dims, 4, NN_FP32, image, sizeof image)};
        uint64_t made = now();
        nn_compute(context.handle, &tensor, 1, &outputs);
        uint64_t computed = now();
        if (outputs.is_error || outputs.count != 1) return FAILED;
        nn_tensor_data(outputs.outputs[0].tensor, &data);
        nn_tensor_drop(outputs.outputs[0].tensor);
        uint64_t read = now();
        *at++ = made - began, *at++ = computed - made, *at++ = read - computed;
    }
    write_all(times, (char *)at - (char *)times);
    write_all(data.data, data.size);
    return DONE;
}
