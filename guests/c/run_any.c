/* run_any: run any model of any encoding, without knowing it.
 *
 *     run_any (--graph NAME | --model FILE) [--signature NAME] [--dim NAME=SIZE]... [--inputs DIRECTORY]
 *             [--save DIRECTORY]
 *
 * The model's description says what the inputs are. Each is read from the file of its name in the directory of inputs (a
 * slash in a name is a _ there): numbers row-major and little-endian; for byte strings a text, one string a line. An input
 * without a file is zeros, or left out if it may be. --dim sets the size of a dimension that has this name; the last open
 * dimension of a file's tensor takes what the file has, and all other open ones are 1. The inputs and outputs are printed,
 * with the first elements; --save writes the outputs as files of their names.
 */
#include "describe.h"

#define USAGE                                                                                                            \
    "run_any (--graph NAME | --model FILE) [--signature NAME] [--dim NAME=SIZE]... [--inputs DIRECTORY] [--save DIRECTORY]"
#define MOST_SHOWN 8

/* The sizes of dimensions with names. */
static struct {
    wasi_nn_text name;
    uint32_t size;
} *sizes;
static uint32_t size_count;

static uint32_t *size_named(wasi_nn_text name) {
    for (uint32_t n = 0; n < size_count; n++)
        if (name.size == sizes[n].name.size && !memcmp(name.data, sizes[n].name.data, name.size)) return &sizes[n].size;
    return NULL;
}

static void set_size(wasi_nn_text name, uint32_t size) {
    sizes = realloc(sizes, (size_count + 1) * sizeof *sizes);
    sizes[size_count].name = name;
    sizes[size_count++].size = size;
}

static void set_size_of_option(const char *option) {
    const char *equals = strchr(option, '=');
    if (!equals || equals == option) DIE("--dim %s: it takes NAME=SIZE", option);
    set_size((wasi_nn_text){option, equals - option}, strtoul(equals + 1, NULL, 10));
}

/* The path of the file for a tensor in a directory. */
static char *path_of(const char *directory, wasi_nn_text name) {
    char *path = malloc(strlen(directory) + name.size + 2);
    int length = sprintf(path, "%s/", directory);
    for (uint32_t n = 0; n < name.size; n++) path[length + n] = name.data[n] == '/' ? '_' : name.data[n];
    path[length + name.size] = 0;
    return path;
}

/* Read the file for an input, if there is one. */
static int read_input(const char *directory, wasi_nn_text name, bytes *content) {
    char *path = path_of(directory ? directory : ".", name);
    FILE *file = directory ? fopen(path, "rb") : NULL;
    if (file) {
        fclose(file);
        *content = read_file(path);
    }
    free(path);
    return file != NULL;
}

/* The lines of a text as a tensor of byte strings; `count` gets their number. */
static bytes strings_of(bytes text, uint32_t *count) {
    *count = 0;
    for (uint32_t n = 0; n < text.size; n++) *count += text.data[n] == '\n';
    if (text.size && text.data[text.size - 1] != '\n') ++*count;
    bytes strings = {malloc(4 * *count + text.size + 1), 0};
    uint32_t end = 0, line = 0;
    for (uint32_t n = 0; n < text.size; n++) {
        if (text.data[n] != '\n') strings.data[4 * *count + end++] = text.data[n];
        if (text.data[n] == '\n' || n + 1 == text.size) memcpy(strings.data + 4 * line++, &end, 4);
    }
    strings.size = 4 * *count + end;
    return strings;
}

/* Fill in the dimensions of a tensor of `count` elements; a `count` of -1 is any. Gives the number of dimensions. */
static uint32_t fill_dims(const wasi_nn_tensor_description *tensor, int64_t count, uint32_t *dims) {
    uint64_t known = 1;
    int64_t last_open = -1;
    if (!tensor->has_dims) { /* of any rank */
        dims[0] = count < 0 ? 1 : count;
        return 1;
    }
    for (uint32_t n = 0; n < tensor->rank; n++) {
        const wasi_nn_dimension *dim = &tensor->dims[n];
        const uint32_t *size = dim->kind == WASI_NN_FIXED ? &dim->size : NULL;
        if (dim->kind == WASI_NN_NAMED) size = size_named(dim->name);
        dims[n] = size ? *size : 1;
        known *= dims[n];
        if (!size) last_open = n;
    }
    if (last_open >= 0 && count >= 0 && known) dims[last_open] = count / known;
    for (uint32_t n = 0; n < tensor->rank; n++)
        if (tensor->dims[n].kind == WASI_NN_NAMED && !size_named(tensor->dims[n].name)) set_size(tensor->dims[n].name, dims[n]);
    return tensor->rank;
}

/* Print the first elements of a tensor of `count`. */
static void print_elements(const wasi_nn_element_type *type, bytes data, uint32_t count) {
    for (uint32_t n = 0; n < count && n < MOST_SHOWN; n++) {
        if (type->kind != WASI_NN_BYTE_STRINGS) {
            print_element(data.data + n * element_size(type), number_type(type));
            continue;
        }
        uint32_t begin = 0, end;
        if (n) memcpy(&begin, data.data + 4 * (n - 1), 4);
        memcpy(&end, data.data + 4 * n, 4);
        printf(" \"");
        for (const uint8_t *at = data.data + 4 * count + begin; at < data.data + 4 * count + end; at++)
            printf(*at < 32 || *at == '"' || *at == 127 ? "\\x%02x" : "%c", *at);
        putchar('"');
    }
    puts(count > MOST_SHOWN ? " ..." : "");
}

static void print_tensor(const char *what, const wasi_nn_tensor_description *tensor) {
    printf("%s %.*s: ", what, SHOWN(tensor->name));
    print_type(tensor);
}

/* Set an input: to the file's content, or to zeros. */
static void set_input(wasi_nn_context context, uint32_t index, const wasi_nn_tensor_description *tensor, const bytes *file) {
    uint32_t dims[64], count = 1;
    int is_strings = tensor->type.kind == WASI_NN_BYTE_STRINGS;
    uint32_t size = is_strings ? 4 : element_size(&tensor->type);
    if (!size) DIE("input %.*s has elements that wasi-nn lacks: %.*s", SHOWN(tensor->name), SHOWN(tensor->type.native));
    bytes data = {NULL, 0};
    if (file) data = is_strings ? strings_of(*file, &count) : *file;
    if (file && !is_strings) count = file->size / size;
    uint32_t rank = fill_dims(tensor, file ? (int64_t)count : -1, dims);
    uint64_t needed = 1;
    for (uint32_t n = 0; n < rank; n++) needed *= dims[n];
    if (file && (needed != count || (!is_strings && file->size % size)))
        DIE("the file for input %.*s has %u bytes, which don't fit its dimensions", SHOWN(tensor->name), file->size);
    if (!file) {
        count = needed;
        data = (bytes){calloc(needed + 1, size), needed * size};
        if (!data.data) DIE("input %.*s is too large", SHOWN(tensor->name));
    }
    print_tensor("input", tensor);
    printf("%s:", file ? "" : ", zeros");
    print_elements(&tensor->type, data, count);
    if (is_strings) {
        check(wasi_nn_set_byte_strings(context, index, dims, rank, data.data, data.size), "set_byte_strings");
    } else {
        wasi_nn_tensor given = {dims, rank, number_type(&tensor->type), data.data, data.size};
        check(wasi_nn_set_input(context, index, &given), "set_input");
    }
}

/* The bytes of an output of byte strings. */
static bytes strings_output(wasi_nn_context context, uint32_t index) {
    bytes output = {NULL, 0};
    wasi_nn_error error = wasi_nn_get_byte_strings(context, index, NULL, 0, &output.size);
    if (error && error != WASI_NN_TOO_LARGE) check(error, "get_byte_strings");
    output.data = malloc(output.size + 1);
    if (!output.data) DIE("an output of %u bytes is too large", output.size);
    check(wasi_nn_get_byte_strings(context, index, output.data, output.size, &output.size), "get_byte_strings");
    return output;
}

static void show_output(wasi_nn_context context, uint32_t index, wasi_nn_tensor_description *tensor, const char *directory) {
    uint32_t count = 1;
    for (uint32_t n = 0; n < tensor->rank; n++) count *= tensor->dims[n].size;
    print_tensor("output", tensor);
    if (tensor->type.kind == WASI_NN_NATIVE) {
        puts(", which wasi-nn can't give");
        return;
    }
    int is_strings = tensor->type.kind == WASI_NN_BYTE_STRINGS;
    bytes output = is_strings ? strings_output(context, index) : output_of(context, index);
    putchar(':');
    print_elements(&tensor->type, output, count);
    if (directory) {
        char *path = path_of(directory, tensor->name);
        write_file(path, output.data, output.size);
        free(path);
    }
    free(output.data);
}

int main(int argc, char **argv) {
    const char *name = NULL, *model = NULL, *signature = NULL, *inputs = NULL, *save = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--graph")) name = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--model")) model = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--signature")) signature = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--dim")) set_size_of_option(value_of(argc, argv, &i));
        else if (!strcmp(argv[i], "--inputs")) inputs = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--save")) save = value_of(argc, argv, &i);
        else other_option(argv[i], USAGE);
    }
    wasi_nn_graph graph = load_graph(name, model);
    if (signature) graph = signature_of(graph, signature);
    const wasi_nn_graph_description *description = describe(graph);
    printf("%s on %.*s (%.*s)\n", wasi_nn_described_encoding(description), SHOWN(description->runtime),
           SHOWN(description->device));
    wasi_nn_context context = context_on(graph);
    bytes *files = calloc(description->input_count + 1, sizeof *files);
    for (uint32_t n = 0; n < description->input_count; n++) /* first those with files, which settle dimensions */
        if (read_input(inputs, description->inputs[n].name, &files[n]))
            set_input(context, n, &description->inputs[n], &files[n]);
    for (uint32_t n = 0; n < description->input_count; n++)
        if (!files[n].data && !description->inputs[n].optional) set_input(context, n, &description->inputs[n], NULL);
    check(wasi_nn_compute(context), "compute");
    wasi_nn_tensor_description *output;
    for (uint32_t n = 0; (!description->has_outputs || n < description->output_count); n++) {
        if (!(output = describe_output(context, n))) break;
        show_output(context, n, output, save);
        free(output);
    }
    return 0;
}
