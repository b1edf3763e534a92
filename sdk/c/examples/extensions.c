/* The extensions: descriptions, signatures, variables, byte strings and sequences. In a build for WasmEdge's functions,
 * its streaming too.
 *
 * The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back, and
 * `speller`, which spells a word letter by letter and fails at `?`.
 */
#include "guest.h"

static const uint32_t two[] = {2}, three[] = {3};

static void say(const char *what, wnn_code code) { printf("%s: %s\n", what, wnn_code_name(code)); }

static void named(void) {
    static const int64_t i64[] = {7, -8};
    static const uint16_t f16[] = {0, 0};
    static const uint8_t u8[] = {5, 6};
    static const float f32[] = {1, 2};
    static const double f64[] = {3, 4};
    static const int32_t i32[] = {3, 4};
    const wnn_named_tensor inputs[] = {
        {"i64", WNN_TENSOR(WNN_I64, two, i64)}, {"f16", WNN_TENSOR(WNN_F16, two, f16)},
        {"u8", WNN_TENSOR(WNN_U8, two, u8)},    {"f32", WNN_TENSOR(WNN_F32, two, f32)},
        {"f64", WNN_TENSOR(WNN_F64, two, f64)}, {"i32", WNN_TENSOR(WNN_I32, two, i32)},
    };
    const wnn_named_tensor unknown = {"none", WNN_TENSOR(WNN_U8, two, u8)};
    wnn_graph graph;
    wnn_context context;
    wnn_owned *outputs, output;
    uint32_t count;
    check(wnn_load_by_name("types", &graph));
    check(wnn_init_context(&graph, &context));
    check(wnn_compute_named(&context, inputs, 6, &outputs, &count));
    for (uint32_t it = 0; it < count; it++)
        printf("%s: %s [%u], %u bytes\n", outputs[it].name, wnn_type_names[outputs[it].type], outputs[it].dims[0],
               outputs[it].size);
    wnn_outputs_free(outputs, count);
    say("unknown input", wnn_compute_named(&context, &unknown, 1, &outputs, &count));
    for (uint32_t it = 0; it < 6; it++) check(wnn_set_input_named(&context, inputs[it].name, &inputs[it].tensor));
    check(wnn_compute(&context));
    check(wnn_output_tensor(&context, 5, &output));
    const int64_t *numbers = (const int64_t *)output.data;
    printf("by name: %s [%lld, %lld]\n", output.name, (long long)numbers[0], (long long)numbers[1]);
    printf("of another type: %s\n", wnn_code_name(output.type == WNN_F64 ? WNN_SUCCESS : WNN_INVALID_ARGUMENT));
    wnn_owned_free(&output);
    wnn_context_free(&context);
    wnn_graph_free(&graph);
}

static void show_tensor(const char *what, const wnn_tensor_description *tensor) {
    const wnn_element_type *type = &tensor->type;
    printf("%s %.*s: ", what, (int)tensor->name.size, tensor->name.data);
    if (type->kind == WNN_ELEMENT_NUMBER) printf("%s [", wnn_type_names[type->of.number]);
    else if (type->kind == WNN_ELEMENT_BYTE_STRING) printf("byte strings [");
    else if (type->kind == WNN_ELEMENT_NATIVE) printf("%.*s [", (int)type->of.native.size, type->of.native.data);
    else printf("any numbers [");
    if (!tensor->has_dims) printf("...");
    for (uint32_t it = 0; it < tensor->rank; it++) {
        const wnn_dimension *dim = &tensor->dims[it];
        if (it) printf(", ");
        if (dim->kind == WNN_DIMENSION_FIXED) printf("%u", dim->of.size);
        else if (dim->kind == WNN_DIMENSION_NAMED) printf("%.*s", (int)dim->of.name.size, dim->of.name.data);
        else printf("?");
    }
    puts("]");
}

static void show(const wnn_description *graph) {
    printf("%s on %.*s (%.*s)\n", wnn_encoding_names[graph->encoding], (int)graph->runtime.size, graph->runtime.data,
           (int)graph->device.size, graph->device.data);
    printf("signature %.*s of ", (int)graph->signature.size, graph->signature.data);
    for (uint32_t it = 0; it < graph->signature_count; it++)
        printf("%s%.*s", it ? ", " : "", (int)graph->signatures[it].size, graph->signatures[it].data);
    puts("");
    for (uint32_t it = 0; it < graph->input_count; it++) show_tensor("input", &graph->inputs[it]);
    for (uint32_t it = 0; it < graph->output_count; it++) show_tensor("output", &graph->outputs[it]);
    for (uint32_t it = 0; it < graph->metadata_count; it++)
        printf("%.*s: %.*s\n", (int)graph->metadata[it].key.size, graph->metadata[it].key.data,
               (int)graph->metadata[it].text.size, graph->metadata[it].text.data);
}

static void learn(const char *what, wnn_context *context, float first, float second) {
    const float x[] = {first, second};
    const wnn_tensor tensor = WNN_TENSOR(WNN_F32, two, x);
    float y[2];
    uint32_t size;
    check(wnn_set_input_at(context, 0, "x", &tensor));
    check(wnn_compute(context));
    check(wnn_output_into(context, 0, WNN_F32, y, sizeof y, &size));
    printf("%s: [%d, %d]\n", what, (int)y[0], (int)y[1]);
}

static void infer(const char *what, const wnn_graph *graph) {
    wnn_context context;
    check(wnn_init_context(graph, &context));
    learn(what, &context, 1, 1);
    wnn_context_free(&context);
}

static void learner(void) {
    wnn_graph graph, training, echo;
    wnn_context context;
    wnn_description description;
    void *state, *none;
    uint32_t size;
    check(wnn_load_by_name("learner", &graph));
    check(wnn_describe(&graph, &description));
    show(&description);
    wnn_description_free(&description);
    say("unknown signature", wnn_use_signature(&graph, "none", &training));
    check(wnn_use_signature(&graph, "train", &training));
    check(wnn_init_context(&training, &context));
    learn("train", &context, 1, 2);
    check(wnn_state(&graph, &state, &size));
    printf("state: %u bytes\n", size);
    learn("train", &context, 1, 2);
    infer("infer", &graph);
    check(wnn_set_state(&graph, state, size));
    infer("restored", &graph);
    say("bad state", wnn_set_state(&graph, "no state", 8));
    check(wnn_load_by_name("echo", &echo));
    say("no state", wnn_state(&echo, &none, &size));
    free(state);
    wnn_context_free(&context);
    wnn_graph_free(&training);
    wnn_graph_free(&graph);
    wnn_graph_free(&echo);
}

static void strings(void) {
    static const wnn_text texts[] = {{"ab", 2}, {"", 0}, {"\xc3\xa9", 2}};
    wnn_graph graph;
    wnn_context context;
    wnn_description description;
    wnn_text *found;
    uint32_t count;
    check(wnn_load_by_name("echo", &graph));
    check(wnn_describe(&graph, &description));
    show_tensor("input", &description.inputs[0]);
    wnn_description_free(&description);
    check(wnn_init_context(&graph, &context));
    check(wnn_set_strings_at(&context, 0, "x", three, 1, texts, 3));
    check(wnn_compute(&context));
    check(wnn_strings(&context, 0, &found, &count));
    printf("strings:");
    for (uint32_t it = 0; it < count; it++) printf(" '%.*s'", (int)found[it].size, found[it].data);
    puts("");
    free(found);
    /* A core module learns it at once, a component when it computes. */
    wnn_code code = wnn_set_strings_at(&context, 0, "x", two, 1, texts, 3);
    say("wrong number", code ? code : wnn_compute(&context));
    wnn_context_free(&context);
    wnn_graph_free(&graph);
}

static void set_prompt(wnn_context *context, const char *word) {
    const uint32_t dims[] = {(uint32_t)strlen(word)};
    const wnn_tensor prompt = {WNN_U8, dims, 1, word, dims[0]};
    check(wnn_set_input_at(context, 0, "prompt", &prompt));
}

static void spell(const char *what, wnn_context *context, const char *word) {
    bool has_piece;
    wnn_code code;
    set_prompt(context, word);
    check(wnn_begin_sequence(context));
    printf("%s:", what);
    while (!(code = wnn_next_of_sequence(context, &has_piece)) && has_piece) {
        char letter[2] = {0};
        uint32_t size;
        check(wnn_output_into(context, 0, WNN_U8, letter, 1, &size));
        printf(" %s", letter);
    }
    printf(" %s\n", code ? wnn_code_name(code) : "end");
}

static void sequences(void) {
    wnn_graph graph;
    wnn_context context;
    bool has_piece;
    uint8_t letter;
    uint32_t size;
    check(wnn_load_by_name("speller", &graph));
    check(wnn_init_context(&graph, &context));
    spell("sequence", &context, "abc");
    spell("failing", &context, "d?");
    set_prompt(&context, "xyz");
    check(wnn_begin_sequence(&context));
    check(wnn_next_of_sequence(&context, &has_piece));
    check(wnn_end_sequence(&context));
    say("after its end", wnn_output_into(&context, 0, WNN_U8, &letter, 1, &size));
    wnn_context_free(&context);
    wnn_graph_free(&graph);
}

#ifdef WNN_WASMEDGE
static void streaming(void) {
    wnn_graph graph;
    wnn_context context;
    wnn_code code;
    say("configured", wnn_load_by_name_with_config("speller", "{}", &graph));
    check(wnn_load_by_name_with_config("speller", "", &graph));
    check(wnn_init_context(&graph, &context));
    set_prompt(&context, "abc");
    printf("streaming:");
    while (!(code = wnn_compute_single(&context))) {
        char *letter;
        uint32_t size;
        check(wnn_output_single(&context, 0, (void **)&letter, &size));
        printf(" %s", letter);
        free(letter);
    }
    printf(" %s\n", wnn_code_name(code));
    check(wnn_fini_single(&context));
    wnn_context_free(&context);
    wnn_graph_free(&graph);
}
#endif

int main(void) {
    named();
    learner();
    strings();
    sequences();
#ifdef WNN_WASMEDGE
    streaming();
#endif
    return 0;
}
