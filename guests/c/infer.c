/* infer: run any model once, on tensors from files.
 *
 *     infer (--graph NAME | --model FILE) [--repeat N] INPUT... [--output TYPE[:FILE]]...
 *
 * An input is TYPE:DIMS:FILE, such as f32:1x3x224x224:image.bin, in the model's order; the file has the elements, row-major
 * and little-endian. DIMS may be empty, for a scalar. The outputs are taken in the model's order too: the first numbers of each
 * are printed, read as the type says (f16's as bits), and all of it is written to the file, if one is given.
 */
#include "guest.h"

#define USAGE "infer (--graph NAME | --model FILE) [--repeat N] TYPE:DIMS:FILE... [--output TYPE[:FILE]]..."

static const struct {
    const char *name;
    uint8_t type, size;
} TYPES[] = {{"f16", WASI_NN_F16, 2}, {"f32", WASI_NN_F32, 4}, {"f64", WASI_NN_F64, 8},
             {"u8", WASI_NN_U8, 1},   {"i32", WASI_NN_I32, 4}, {"i64", WASI_NN_I64, 8}};

/* The index in TYPES of the word before the next colon; *text is left behind the colon, or at the end. */
static int type_of(const char **text) {
    size_t length = strcspn(*text, ":");
    for (int n = 0; n < (int)(sizeof TYPES / sizeof *TYPES); n++)
        if (strlen(TYPES[n].name) == length && !strncmp(*text, TYPES[n].name, length)) {
            *text += length + ((*text)[length] == ':');
            return n;
        }
    DIE("%s: a type is one of f16, f32, f64, u8, i32, i64", *text);
}

static void set_input(wasi_nn_context context, uint32_t index, const char *text) {
    uint32_t dims[64], rank = 0;
    int type = type_of(&text);
    while (*text && *text != ':' && rank < 64) {
        dims[rank++] = strtoul(text, (char **)&text, 10);
        if (*text == 'x') text++;
        else if (*text != ':') DIE("an input is TYPE:DIMS:FILE, with DIMS such as 1x3x224x224");
    }
    if (*text != ':') DIE("an input is TYPE:DIMS:FILE");
    if (!rank) dims[rank++] = 1;
    bytes file = read_file(text + 1);
    wasi_nn_tensor tensor = {dims, rank, TYPES[type].type, file.data, file.size};
    check(wasi_nn_set_input(context, index, &tensor), "set_input");
    free(file.data);
}

static void take_output(wasi_nn_context context, uint32_t index, const char *text) {
    int type = type_of(&text);
    bytes output = output_of(context, index);
    uint32_t size = TYPES[type].size, count = output.size / size;
    printf("output %u: %u bytes, %u %s:", index, output.size, count, TYPES[type].name);
    for (uint32_t n = 0; n < count && n < 8; n++) print_element(output.data + n * size, TYPES[type].type);
    puts(count > 8 ? " ..." : "");
    if (*text) write_file(text, output.data, output.size);
    free(output.data);
}

int main(int argc, char **argv) {
    const char *graph = NULL, *model = NULL, **inputs = calloc(argc, sizeof *inputs),
               **outputs = calloc(argc, sizeof *outputs);
    uint32_t input_count = 0, output_count = 0;
    int repeat = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--model")) model = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--repeat")) repeat = atoi(value_of(argc, argv, &i));
        else if (!strcmp(argv[i], "--output")) outputs[output_count++] = value_of(argc, argv, &i);
        else if (!strncmp(argv[i], "--", 2)) other_option(argv[i], USAGE);
        else inputs[input_count++] = argv[i];
    }
    wasi_nn_context context = open_graph(graph, model);
    for (uint32_t n = 0; n < input_count; n++) set_input(context, n, inputs[n]);
    double begun = milliseconds();
    for (int n = 0; n < repeat; n++) check(wasi_nn_compute(context), "compute");
    fprintf(stderr, "%d x compute: %.3f ms each\n", repeat, (milliseconds() - begun) / repeat);
    for (uint32_t n = 0; n < output_count; n++) take_output(context, n, outputs[n]);
    return 0;
}
