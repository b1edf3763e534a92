/* Arrays of every type in and out, a model from bytes, and the errors of mistakes.
 *
 *     tour ENCODING FILE...
 *
 * The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
 * one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].
 */
#include "guest.h"

static const uint32_t two[] = {2}, three[] = {3}, four[] = {4};

/* The name of the error of a call that fails. */
static void say(const char *what, wnn_code code) { printf("%s: %s\n", what, wnn_code_name(code)); }

/* Bytes where f32 belongs. A core module learns it at once, a component when it computes. */
static wnn_code wrong_type(const wnn_graph *graph) {
    static const uint8_t bytes[] = {1, 2};
    const wnn_tensor tensor = WNN_TENSOR(WNN_U8, two, bytes);
    wnn_context context;
    check(wnn_init_context(graph, &context));
    wnn_code code = wnn_set_input_at(&context, 1, "f32", &tensor);
    if (!code) code = wnn_compute(&context);
    wnn_context_free(&context);
    return code;
}

/* Numbers of a type that the core ABI lacks. */
static wnn_code bf16(uint16_t numbers[2]) {
    static const uint16_t values[] = {0x3f80, 0xc000};
    const wnn_tensor tensor = WNN_TENSOR(WNN_BF16, two, values);
    wnn_graph graph;
    wnn_context context;
    uint32_t size;
    check(wnn_load_by_name("bf16", &graph));
    check(wnn_init_context(&graph, &context));
    wnn_code code = wnn_set_input_at(&context, 0, "x", &tensor);
    if (!code) code = wnn_compute(&context);
    if (!code) code = wnn_output_into(&context, 0, WNN_BF16, numbers, 4, &size);
    wnn_context_free(&context);
    wnn_graph_free(&graph);
    return code;
}

int main(int argc, char **argv) {
    wnn_graph graph, again, other;
    wnn_context context, empty;
    uint32_t size;
    float wrong[] = {1, -2};

    wnn_code code = wnn_load_by_name("no such graph", &graph);
    printf("unknown name: %s, with a message: %s\n", wnn_code_name(code), *wnn_message() ? "true" : "false");
    check(wnn_load_by_name("types", &graph));
    check(wnn_init_context(&graph, &empty));
    say("no inputs", wnn_compute(&empty));
    say("wrong dims", wnn_set_input_at(&empty, 1, "f32", &(wnn_tensor)WNN_TENSOR(WNN_F32, three, wrong)));
    wnn_context_free(&empty);
    say("wrong type", wrong_type(&graph));

    static const uint16_t f16[] = {0x3c00, 0xc000};
    static const float f32[] = {1, -2};
    static const double f64[] = {1, -2};
    static const uint8_t u8[] = {1, 254};
    static const int32_t i32[] = {1, -2};
    static const int64_t i64[] = {1, -9007199254740993};
    const wnn_named_tensor inputs[] = {
        {"f16", WNN_TENSOR(WNN_F16, two, f16)}, {"f32", WNN_TENSOR(WNN_F32, two, f32)},
        {"f64", WNN_TENSOR(WNN_F64, two, f64)}, {"u8", WNN_TENSOR(WNN_U8, two, u8)},
        {"i32", WNN_TENSOR(WNN_I32, two, i32)}, {"i64", WNN_TENSOR(WNN_I64, two, i64)},
    };
    check(wnn_init_context(&graph, &context));
    for (uint32_t it = 0; it < 6; it++) check(wnn_set_input_at(&context, it, inputs[it].name, &inputs[it].tensor));
    float y32[4];
    say("no output yet", wnn_output_into(&context, 1, WNN_F32, y32, sizeof y32, &size));
    for (int times = 0; times < 2; times++) check(wnn_compute(&context)); /* inputs stay set */
    uint16_t y16[2];
    double y64[2];
    uint8_t *bytes;
    int32_t large[3] = {0};
    int64_t i64s[2];
    check(wnn_output_into(&context, 0, WNN_F16, y16, sizeof y16, &size));
    printf("f16: [%u, %u]\n", y16[0], y16[1]);
    check(wnn_output_into(&context, 1, WNN_F32, y32, sizeof y32, &size));
    printf("f32: [%d, %d]\n", (int)y32[0], (int)y32[1]);
    check(wnn_output_into(&context, 2, WNN_F64, y64, sizeof y64, &size));
    printf("f64: [%d, %d]\n", (int)y64[0], (int)y64[1]);
    check(wnn_output(&context, 3, WNN_U8, (void **)&bytes, &size));
    printf("u8: [%u, %u]\n", bytes[0], bytes[1]);
    free(bytes);
    check(wnn_output_into(&context, 4, WNN_I32, large, sizeof large, &size));
    printf("i32: [%d, %d]\n", large[0], large[1]);
    check(wnn_output_into(&context, 5, WNN_I64, i64s, sizeof i64s, &size));
    printf("i64: [%lld, %lld]\n", (long long)i64s[0], (long long)i64s[1]);
    say("no such output", wnn_output_into(&context, 6, WNN_F32, y32, sizeof y32, &size));
    code = wnn_output_into(&context, 5, WNN_I64, i64s, sizeof *i64s, &size);
    printf("small buffer: %s, %u bytes needed\n", wnn_code_name(code), wnn_needed());
    check(wnn_output_into(&context, 4, WNN_I32, large, sizeof large, &size));
    printf("large buffer: %u of [%d, %d, %d]\n", size / 4, large[0], large[1], large[2]);
    wnn_context_free(&context);

    code = bf16(y16);
    if (code) say("bf16", code);
    else printf("bf16: [%d, %d]\n", y16[0] == 0x3f80 ? 1 : 0, y16[1] == 0xc000 ? -2 : 0);

    int encoding = argc > 1 ? wnn_encoding_named(argv[1]) : -1;
    if (encoding < 0) {
        fputs("usage: tour ENCODING FILE...\n", stderr);
        return 1;
    }
    wnn_builder builders[8];
    uint32_t count = 0;
    for (int it = 2; it < argc && count < 8; it++, count++) builders[count].data = read_file(argv[it], &builders[count].size);
    check(wnn_load(builders, count, (wnn_encoding)encoding, WNN_CPU, &other));
    check(wnn_init_context(&other, &context));
    wnn_graph_free(&other); /* the context keeps it */
    static const float x[] = {-1, 2, -3, 4};
    check(wnn_set_input_at(&context, 0, "x", &(wnn_tensor)WNN_TENSOR(WNN_F32, four, x)));
    check(wnn_compute(&context));
    check(wnn_output_into(&context, 0, WNN_F32, y32, sizeof y32, &size));
    printf("from bytes: [%d, %d, %d, %d]\n", (int)y32[0], (int)y32[1], (int)y32[2], (int)y32[3]);
    wnn_context_free(&context);
    builders[0] = (wnn_builder){"no model", 8};
    printf("bad model: %s\n", wnn_load(builders, 1, (wnn_encoding)encoding, WNN_CPU, &other) ? "true" : "false");

    check(wnn_load_by_name("types", &again)); /* of the same name, while the first one is there */
    wnn_graph_free(&graph);
    code = wnn_init_context(&again, &context);
    say("after a drop", code);
    if (!code) wnn_context_free(&context);
    wnn_graph_free(&again);
    return 0;
}
