/* What the guests here share: options, files, opening a graph, and giving up. */
#ifndef GUEST_H
#define GUEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wasi_nn.h>

/* Give up with a message. */
#define DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

/* Give up if an nn call failed. */
static inline void check(wasi_nn_error error, const char *what) {
    if (error) DIE("%s: %s", what, wasi_nn_error_name(error));
}

static inline double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

typedef struct bytes {
    uint8_t *data;
    uint32_t size;
} bytes;

/* A whole file, with a zero byte behind it. */
static inline bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) DIE("%s: can't be opened (is it in a directory given with --dir?)", path);
    bytes content = {NULL, 0};
    uint32_t room = 0;
    for (size_t got = 1; got; content.size += got) {
        if (content.size + 1 >= room) content.data = realloc(content.data, room = room ? 2 * room : 1 << 16);
        if (!content.data) DIE("%s: too large", path);
        got = fread(content.data + content.size, 1, room - content.size - 1, file);
    }
    if (ferror(file)) DIE("%s: can't be read", path);
    fclose(file);
    content.data[content.size] = 0;
    return content;
}

/* The lines of a text, which is cut up for it; `count` gets their number. */
static inline char **lines_of(bytes text, uint32_t *count) {
    char **lines = NULL;
    *count = 0;
    for (char *line = strtok((char *)text.data, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        if (*count % 256 == 0) lines = realloc(lines, (*count + 256) * sizeof *lines);
        lines[(*count)++] = line;
    }
    return lines;
}

/* The value of the option at argv[*i], which is left at *i. */
static inline const char *value_of(int argc, char **argv, int *i) {
    if (*i + 1 >= argc) DIE("%s needs a value", argv[*i]);
    return argv[++*i];
}

/* An option that a guest doesn't have. The usage is the answer to --help, and the end of the error for any other. */
static inline void other_option(const char *option, const char *usage) {
    if (strcmp(option, "--help")) DIE("no option %s; usage: %s", option, usage);
    printf("usage: %s\n", usage);
    exit(0);
}

/* A graph: that of the name `name`, else the model in the file `path`. */
static inline wasi_nn_graph load_graph(const char *name, const char *path) {
    wasi_nn_graph graph;
    if (name) {
        check(wasi_nn_load_by_name(name, strlen(name), &graph), "load_by_name");
    } else if (path) {
        bytes model = read_file(path);
        wasi_nn_builder builder = {model.data, model.size};
        check(wasi_nn_load(&builder, 1, WASI_NN_AUTODETECT, WASI_NN_CPU, &graph), "load");
        free(model.data);
    } else {
        DIE("no model: give --graph NAME or --model FILE");
    }
    return graph;
}

static inline wasi_nn_context context_on(wasi_nn_graph graph) {
    wasi_nn_context context;
    check(wasi_nn_init_execution_context(graph, &context), "init_execution_context");
    return context;
}

/* An execution context on the graph that `load_graph` gives. */
static inline wasi_nn_context open_graph(const char *name, const char *path) {
    return context_on(load_graph(name, path));
}

/* Write a whole file. */
static inline void write_file(const char *path, const void *data, uint32_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) DIE("%s: can't be written", path);
}

/* Output `index` of the last compute, as large as it is. */
static inline bytes output_of(wasi_nn_context context, uint32_t index) {
    bytes output = {NULL, 0};
    wasi_nn_error error = wasi_nn_get_output(context, index, NULL, 0, &output.size);
    if (error && error != WASI_NN_TOO_LARGE) check(error, "get_output");
    output.data = malloc(output.size + 1);
    if (!output.data) DIE("an output of %u bytes is too large", output.size);
    check(wasi_nn_get_output(context, index, output.data, output.size, &output.size), "get_output");
    return output;
}

/* Print an element of a tensor. */
static inline void print_element(const uint8_t *at, uint8_t type) {
    uint16_t f16;
    float f32;
    double f64;
    int32_t i32;
    int64_t i64;
    switch (type) {
    case WASI_NN_F16: memcpy(&f16, at, 2), printf(" 0x%04x", f16); break;
    case WASI_NN_F32: memcpy(&f32, at, 4), printf(" %.9g", f32); break;
    case WASI_NN_F64: memcpy(&f64, at, 8), printf(" %.17g", f64); break;
    case WASI_NN_U8: printf(" %u", *at); break;
    case WASI_NN_I32: memcpy(&i32, at, 4), printf(" %d", i32); break;
    case WASI_NN_I64: memcpy(&i64, at, 8), printf(" %lld", (long long)i64); break;
    }
}

#endif
