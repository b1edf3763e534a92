/* What the component guests here share: memory, text, files, and giving up. PROGRAM is the guest's name. */
#ifndef GUEST_H
#define GUEST_H

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

/* Memory is taken upwards, and given back at the most from some place on: the guest's life is short. */

extern uint8_t __heap_base;
static uint64_t top;

__attribute__((__export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    if (!top) top = (uintptr_t)&__heap_base;
    uint64_t at = (top + 15) & ~15ull, have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    top = at + size;
    if (top > have && __builtin_wasm_memory_grow(0, (top - have + 65535) >> 16) == (size_t)-1) __builtin_trap();
    if (old_size) __builtin_memcpy((void *)(uintptr_t)at, old, old_size);
    return (void *)(uintptr_t)at;
}

static inline void *take(size_t size) { return cabi_realloc(NULL, 0, 16, size); }
static inline void give_back(const void *from) { top = (uintptr_t)from; }

/* Text: a line is put together, and then written. */

static inline uint32_t length_of(const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    return length;
}

static inline bool starts_with(nn_string text, const char *word, uint32_t size) {
    if (text.size < size) return false;
    for (uint32_t i = 0; i < size; i++)
        if (text.data[i] != word[i]) return false;
    return true;
}

static inline bool equals(nn_string text, const char *word) {
    return text.size == length_of(word) && starts_with(text, word, text.size);
}

static char line[4096];
static uint32_t line_size;

static inline void say_string(nn_string text) {
    for (uint32_t i = 0; i < text.size && line_size < sizeof line - 1; i++) line[line_size++] = text.data[i];
}

static inline void say(const char *text) { say_string((nn_string){text, length_of(text)}); }

static inline void say_unsigned(uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits;
    do digits[--at] = '0' + number % 10; while (number /= 10);
    say_string((nn_string){digits + at, sizeof digits - at});
}

/* With up to four decimals; what has no digits to show is told in a word. */
static inline void say_float(float number) {
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

static inline void write_line(int32_t stream) {
    struct { uint8_t is_error, rest[11]; } result;
    line[line_size++] = '\n';
    write_and_flush(stream, line, line_size, &result);
    stream_drop(stream);
    line_size = 0;
}

/* Giving up: say why, and fail. */

enum { DONE, FAILED };

static inline int give_up(const char *why, nn_string what) {
    say(PROGRAM ": "), say(why), say_string(what);
    write_line(get_stderr());
    return FAILED;
}

static inline int give_up_with(nn_handle error) {
    static const char *const codes[] = {"invalid-argument", "invalid-encoding", "timeout", "runtime-error",
                                        "unsupported-operation", "too-large", "not-found", "security", "unknown"};
    nn_string data;
    nn_error_data(error, &data);
    say(PROGRAM ": "), say_string(data), say(" ["), say(codes[nn_error_code(error)]), say("]");
    write_line(get_stderr());
    nn_error_drop(error);
    return FAILED;
}

/* A file under one of the guest's directories, whole. False if it can't be read. */
static inline bool read_file(nn_string path, nn_bytes *content) {
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

/* The graph of a name, or the model in a file of the guest's directories. False after a message if there is none. */
static inline bool open_graph(bool by_name, nn_string model, nn_result *graph) {
    if (by_name) {
        nn_load_by_name(model.data, model.size, graph);
    } else {
        nn_bytes content;
        if (!read_file(model, &content))
            return give_up("can't read (is it in a directory given with --dir?): ", model), false;
        nn_load(&content, 1, NN_AUTODETECT, NN_CPU, graph);
    }
    return !graph->is_error || (give_up_with(graph->handle), false);
}

/* A decimal number at `*at`, which is left behind it. */
static inline float number_at(const char **at, const char *end) {
    double number = 0, scale = 1;
    bool negative = *at < end && **at == '-', after_point = false;
    for (*at += negative; *at < end && ((**at >= '0' && **at <= '9') || **at == '.'); ++*at) {
        if (**at == '.') { after_point = true; continue; }
        number = number * 10 + (**at - '0');
        if (after_point) scale *= 10;
    }
    return (float)((negative ? -number : number) / scale);
}

#endif
