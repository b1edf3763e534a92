/* infer: a component guest without any library. Feeds numbers to a graph's inputs and prints its outputs, all FP32.
 *
 *     infer (--graph NAME | --model FILE) [INPUT=FP32:DIMS:VALUES]...
 *
 * for example `x=FP32:1,4:0.5,1,-2,3`. DIMS and VALUES are separated by commas; one value alone fills the tensor.
 */
#include <stdbool.h>
#include <stddef.h>
#include <wasi_nn_component.h>

#define WASI(interface, name) __attribute__((__import_module__("wasi:" interface "@0.2.0"), __import_name__(name))) extern

typedef struct { nn_string *items; uint32_t count; } strings;
typedef struct { int32_t descriptor; nn_string path; } directory;
typedef struct { directory *items; uint32_t count; } directories;
typedef struct { uint8_t is_error; union { int32_t handle; uint8_t code; }; } opened;
typedef struct { uint8_t is_error; union { struct { nn_bytes content; uint8_t is_end; }; uint8_t code; }; } part;

WASI("cli/environment", "get-arguments") void get_arguments(strings *arguments);
WASI("cli/stdout", "get-stdout") int32_t get_stdout(void);
WASI("cli/stderr", "get-stderr") int32_t get_stderr(void);
WASI("io/streams", "[method]output-stream.blocking-write-and-flush")
void write_and_flush(int32_t stream, const char *data, uint32_t size, void *result);
WASI("io/streams", "[resource-drop]output-stream") void stream_drop(int32_t stream);
WASI("filesystem/preopens", "get-directories") void get_directories(directories *found);
WASI("filesystem/types", "[method]descriptor.open-at")
void open_at(int32_t directory, uint32_t path_flags, const char *path, uint32_t length, uint32_t open_flags,
             uint32_t flags, opened *file);
WASI("filesystem/types", "[method]descriptor.read")
void read_at(int32_t file, uint64_t length, uint64_t offset, part *read);
WASI("filesystem/types", "[resource-drop]descriptor") void descriptor_drop(int32_t descriptor);

/* Memory is taken and never given back: the guest's life is short. */

extern uint8_t __heap_base;

__attribute__((__export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    static uint64_t top;
    (void)align;
    if (!top) top = (uintptr_t)&__heap_base;
    uint64_t at = (top + 15) & ~15ull, have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    top = at + size;
    if (top > have && __builtin_wasm_memory_grow(0, (top - have + 65535) >> 16) == (size_t)-1) __builtin_trap();
    if (old_size) __builtin_memcpy((void *)(uintptr_t)at, old, old_size);
    return (void *)(uintptr_t)at;
}

static void *take(size_t size) { return cabi_realloc(NULL, 0, 16, size); }

/* Text: a line is put together, and then written. */

static uint32_t length_of(const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    return length;
}

static bool starts_with(nn_string text, const char *word, uint32_t size) {
    if (text.size < size) return false;
    for (uint32_t i = 0; i < size; i++)
        if (text.data[i] != word[i]) return false;
    return true;
}

static bool equals(nn_string text, const char *word) {
    return text.size == length_of(word) && starts_with(text, word, text.size);
}

static char line[4096];
static uint32_t line_size;

static void say_string(nn_string text) {
    for (uint32_t i = 0; i < text.size && line_size < sizeof line - 1; i++) line[line_size++] = text.data[i];
}

static void say(const char *text) { say_string((nn_string){text, length_of(text)}); }

static void say_unsigned(uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits;
    do digits[--at] = '0' + number % 10; while (number /= 10);
    say_string((nn_string){digits + at, sizeof digits - at});
}

/* With up to four decimals; what has no digits to show is told in a word. */
static void say_float(float number) {
    double rest = number < 0 ? -(double)number : number;
    if (number < 0) say("-");
    if (number != number) { say("nan"); return; }
    if (rest >= 1e18) { say(rest > 3.5e38 ? "inf" : "huge"); return; }
    uint64_t ten_thousandths = (uint64_t)(rest * 10000 + 0.5), decimals = ten_thousandths % 10000;
    say_unsigned(ten_thousandths / 10000);
    if (!decimals) return;
    char text[5] = {'.', '0' + decimals / 1000, '0' + decimals / 100 % 10, '0' + decimals / 10 % 10, '0' + decimals % 10};
    uint32_t size = sizeof text;
    while (text[size - 1] == '0') size--;
    say_string((nn_string){text, size});
}

static void write_line(int32_t stream) {
    struct { uint8_t is_error, rest[11]; } result;
    line[line_size++] = '\n';
    write_and_flush(stream, line, line_size, &result);
    stream_drop(stream);
    line_size = 0;
}

/* Giving up: say why, and fail. */

enum { DONE, FAILED };

static int give_up(const char *why, nn_string what) {
    say("infer: "), say(why), say_string(what);
    write_line(get_stderr());
    return FAILED;
}

static int give_up_with(nn_handle error) {
    static const char *const codes[] = {"invalid-argument", "invalid-encoding", "timeout", "runtime-error",
                                        "unsupported-operation", "too-large", "not-found", "security", "unknown"};
    nn_string data;
    nn_error_data(error, &data);
    say("infer: "), say_string(data), say(" ["), say(codes[nn_error_code(error)]), say("]");
    write_line(get_stderr());
    nn_error_drop(error);
    return FAILED;
}

/* A file under one of the guest's directories, whole. False if it can't be read. */
static bool read_file(nn_string path, nn_bytes *content) {
    enum { FOLLOW_LINKS = 1, READ = 1, STEP = 1 << 20 };
    directories found;
    get_directories(&found);
    for (uint32_t i = 0; i < found.count; i++) {
        directory in = found.items[i];
        while (in.path.size && in.path.data[in.path.size - 1] == '/') in.path.size--;
        if (!starts_with(path, in.path.data, in.path.size) || path.data[in.path.size] != '/') continue;
        opened file;
        open_at(in.descriptor, FOLLOW_LINKS, path.data + in.path.size + 1, path.size - in.path.size - 1, 0, READ, &file);
        if (file.is_error) continue;
        uint8_t *data = take(0);
        part read = {0};
        content->size = 0;
        while (!read.is_error && !read.is_end) {
            read_at(file.handle, STEP, content->size, &read);
            if (read.is_error) break;
            /* The parts lie one after another, but for what was put between them. */
            __builtin_memmove(data + content->size, read.content.data, read.content.size);
            content->size += read.content.size;
        }
        descriptor_drop(file.handle);
        content->data = data;
        return !read.is_error;
    }
    return false;
}

/* A decimal number at `*at`, which is left behind it. */
static float number_at(const char **at, const char *end) {
    double number = 0, scale = 1;
    bool negative = *at < end && **at == '-', after_point = false;
    for (*at += negative; *at < end && ((**at >= '0' && **at <= '9') || **at == '.'); ++*at) {
        if (**at == '.') { after_point = true; continue; }
        number = number * 10 + (**at - '0');
        if (after_point) scale *= 10;
    }
    return (float)((negative ? -number : number) / scale);
}

/* INPUT=FP32:DIMS:VALUES as an input. False if it isn't one. */
static bool parse_input(nn_string text, nn_named_tensor *input) {
    static const char type[] = "=FP32:";
    const char *at = text.data, *end = text.data + text.size;
    while (at < end && !starts_with((nn_string){at, end - at}, type, sizeof type - 1)) at++;
    if (at == end) return false;
    input->name = (nn_string){text.data, at - text.data};
    at += sizeof type - 2;

    uint32_t dims[16], rank = 0;
    uint64_t count = 1, given = 0;
    do {
        if (rank == sizeof dims / sizeof *dims) return false;
        at++;
        dims[rank] = (uint32_t)number_at(&at, end);
        count *= dims[rank++];
        if (count > 1 << 28) return false;
    } while (at < end && *at == ',');

    float *values = take(count * sizeof *values);
    while (at < end && given < count) {
        at++;
        values[given++] = number_at(&at, end);
    }
    for (; given && given < count; given++) values[given] = values[given - 1];
    input->tensor = nn_tensor(dims, rank, NN_FP32, values, count * sizeof *values);
    return true;
}

static void print_output(nn_named_tensor output) {
    nn_dims dims;
    nn_bytes data;
    nn_tensor_dimensions(output.tensor, &dims);
    nn_tensor_data(output.tensor, &data);
    say_string(output.name), say(": FP32 [");
    for (uint32_t i = 0; i < dims.count; i++) say(i ? ", " : ""), say_unsigned(dims.data[i]);
    say("]: ");
    const float *values = (const float *)data.data;
    uint32_t count = data.size / sizeof *values;
    for (uint32_t i = 0; i < count && i < 10; i++) say(i ? ", " : ""), say_float(values[i]);
    if (count > 10) say(", ... ("), say_unsigned(count), say(" values)");
    write_line(get_stdout());
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    nn_result graph, context;
    get_arguments(&arguments);
    bool by_name = arguments.count > 2 && equals(arguments.items[1], "--graph");
    if (!by_name && !(arguments.count > 2 && equals(arguments.items[1], "--model")))
        return give_up("usage: infer (--graph NAME | --model FILE) [INPUT=FP32:DIMS:VALUES]...", (nn_string){0});

    nn_string model = arguments.items[2];
    if (by_name) {
        nn_load_by_name(model.data, model.size, &graph);
    } else {
        nn_bytes content;
        if (!read_file(model, &content)) return give_up("can't read (is it in a directory given with --dir?): ", model);
        nn_load(&content, 1, NN_AUTODETECT, NN_CPU, &graph);
    }
    if (graph.is_error) return give_up_with(graph.handle);
    nn_init_execution_context(graph.handle, &context);
    nn_graph_drop(graph.handle);
    if (context.is_error) return give_up_with(context.handle);

    uint32_t count = arguments.count - 3;
    nn_named_tensor *inputs = take(count * sizeof *inputs);
    for (uint32_t i = 0; i < count; i++)
        if (!parse_input(arguments.items[3 + i], &inputs[i])) return give_up("no input: ", arguments.items[3 + i]);
    nn_outputs outputs;
    nn_compute(context.handle, inputs, count, &outputs);
    nn_context_drop(context.handle);
    if (outputs.is_error) return give_up_with(outputs.error);
    for (uint32_t i = 0; i < outputs.count; i++) {
        if (nn_tensor_type(outputs.outputs[i].tensor) != NN_FP32)
            return give_up("this output isn't FP32: ", outputs.outputs[i].name);
        print_output(outputs.outputs[i]);
        nn_tensor_drop(outputs.outputs[i].tensor);
    }
    return DONE;
}
