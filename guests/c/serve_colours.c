/* serve_colours: answers requests with the colour of a picture, by a graph that scores colours (example/colours.onnx).
 *
 *     serve_colours --graph NAME LABELS...
 *
 * A request has `picture`, UINT8 [height, width, 3]. The answer has `label`, BYTES [1], and `scores`, FP32 [labels].
 */
#include "serving.h"

#define USAGE "serve_colours --graph NAME LABELS..."

static void answer(wasi_nn_request request, const wasi_nn_request_inputs *inputs, wasi_nn_context context,
                   char **labels, uint32_t count) {
    const wasi_nn_named_tensor *picture = input_of(inputs, "picture", WASI_NN_DATATYPE_UINT8);
    if (!picture || picture->rank != 3 || picture->dims[2] != 3 || !picture->size) {
        refuse(request, "the picture must be UINT8 [height, width, 3]");
        return;
    }
    uint32_t height = picture->dims[0], width = picture->dims[1], pixels = height * width;
    const uint8_t *at = picture->data;
    float *planes = malloc(12 * pixels);
    if (!planes) DIE("no memory for a picture of %u x %u", width, height);
    for (uint32_t i = 0; i < pixels; i++)
        for (uint32_t colour = 0; colour < 3; colour++) planes[colour * pixels + i] = (*at++ - 127) / 128.0f;
    const uint32_t dims[] = {1, 3, height, width};
    const wasi_nn_tensor input = {dims, 4, WASI_NN_F32, planes, 12 * pixels};
    check(wasi_nn_set_input(context, 0, &input), "set_input");
    free(planes);
    check(wasi_nn_compute(context), "compute");

    static float scores[256];
    uint32_t size, label_size;
    check(wasi_nn_get_output(context, 0, scores, sizeof scores, &size), "get_output");
    if (size != count * sizeof *scores) DIE("%u scores for %u labels", size / 4, count);
    uint32_t best = greatest_of(scores, count);

    /* One string: its end, and its bytes. */
    static uint8_t label[4 + 256];
    label_size = strlen(labels[best]);
    if (label_size > sizeof label - 4) DIE("the label %s is too long", labels[best]);
    memcpy(label, &label_size, 4);
    memcpy(label + 4, labels[best], label_size);
    const uint32_t one = 1;
    const wasi_nn_named_tensor outputs[] = {
        {"label", 5, WASI_NN_DATATYPE_BYTES, {0}, &one, 1, label, 4 + label_size},
        {"scores", 6, WASI_NN_DATATYPE_FP32, {0}, &count, 1, scores, size},
    };
    check(wasi_nn_respond(request, outputs, 2), "respond");
}

int main(int argc, char **argv) {
    const char *graph = NULL;
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else other_option(argv[i], USAGE);
    }
    if (i == argc) DIE("usage: " USAGE);
    wasi_nn_context context = open_graph(graph, NULL);
    wasi_nn_request_inputs *inputs;
    for (wasi_nn_request request; (request = next_request(&inputs));)
        answer(request, inputs, context, argv + i, argc - i);
    return 0;
}
