/* A guest in C: it tells the colour of a red square. Your own begins here. */
#include <stdio.h>
#include <stdlib.h>
#include <wnn.h>

enum { SIZE = 8, AREA = SIZE * SIZE };

static const char *const labels[] = {"black", "white", "red", "green", "blue", "yellow"};

/* End with the reason of a call's failure. */
static void check(wnn_code code) {
    if (!code) return;
    fprintf(stderr, "%s: %s\n", wnn_code_name(code), wnn_message());
    exit(1);
}

/* The model that the operator named, or else the one in the guest's own directory. */
static wnn_graph colours(void) {
    static char model[65536];
    wnn_graph graph;
    wnn_code code = wnn_load_by_name("colours", &graph);
    if (!code) return graph;
    if (code != WNN_NOT_FOUND) check(code);
    puts("no graph is named colours here: loading colours.onnx");
    FILE *file = fopen("colours.onnx", "rb");
    if (!file) {
        fputs("colours.onnx can't be opened: give the guest this directory, --dir .\n", stderr);
        exit(1);
    }
    const wnn_builder builder = {(const uint8_t *)model, (uint32_t)fread(model, 1, sizeof model, file)};
    fclose(file);
    check(wnn_load(&builder, 1, WNN_ONNX, WNN_CPU, &graph));
    return graph;
}

int main(void) {
    wnn_graph graph = colours();
    wnn_context context;
    check(wnn_init_context(&graph, &context));

    float picture[3 * AREA], *scores;
    for (int at = 0; at < 3 * AREA; at++) picture[at] = at < AREA ? 0.9f : -0.9f; /* the red channel comes first */
    const uint32_t dims[] = {1, 3, SIZE, SIZE};
    const wnn_tensor input = WNN_TENSOR(WNN_F32, dims, picture);
    check(wnn_set_input_at(&context, 0, "picture", &input));
    check(wnn_compute(&context));

    uint32_t size, best = 0;
    check(wnn_output(&context, 0, WNN_F32, (void **)&scores, &size));
    for (uint32_t at = 1; at < size / sizeof *scores; at++)
        if (scores[at] > scores[best]) best = at;
    puts(labels[best]);

    free(scores);
    wnn_context_free(&context);
    wnn_graph_free(&graph);
    return 0;
}
