/* serve_colours: a component guest without any library. Answers requests with the colour of a picture, by a graph that
 * scores colours (example/colours.onnx).
 *
 *     serve_colours --graph NAME LABELS...
 *
 * A request has `picture`, UINT8 [height, width, 3]. The answer has `label`, BYTES [1], and `scores`, FP32 [labels].
 */
#define PROGRAM "serve_colours"
#include "guest.h"
#include <wasi_nn_component_serving.h>

static bool refuse(nn_handle request, const char *why) {
    nn_request_result result;
    nn_request_fail(request, NN_FAULT_OF_REQUEST, why, length_of(why), &result);
    return !result.is_error || (give_up("", result.error), false);
}

/* Answer a request. False after a message if that isn't possible. */
static bool answer(nn_handle request, nn_handle context, strings labels) {
    nn_request_inputs_result inputs;
    nn_request_inputs(request, &inputs);
    if (inputs.is_error) return give_up("", inputs.error), false;
    const nn_request_tensor *picture = inputs.tensors;
    if (inputs.count != 1 || !equals(picture->name, "picture") || picture->datatype != NN_UINT8_TENSOR ||
        picture->shape.count != 3 || picture->shape.data[2] != 3 || !picture->data.size)
        return refuse(request, "the picture must be UINT8 [height, width, 3]");

    uint32_t height = picture->shape.data[0], width = picture->shape.data[1], pixels = height * width;
    float *planes = take(12 * pixels);
    const uint8_t *at = picture->data.data;
    for (uint32_t i = 0; i < pixels; i++)
        for (uint32_t colour = 0; colour < 3; colour++) planes[colour * pixels + i] = (*at++ - 127) / 128.0f;
    const uint32_t dims[] = {1, 3, height, width};
    nn_named_tensor input = {{"picture", 7}, nn_tensor(dims, 4, NN_FP32, planes, 12 * pixels)};
    nn_outputs outputs;
    nn_compute(context, &input, 1, &outputs);
    if (outputs.is_error) return give_up_with(outputs.error), false;
    nn_bytes data;
    nn_tensor_data(outputs.outputs[0].tensor, &data);
    for (uint32_t i = 0; i < outputs.count; i++) nn_tensor_drop(outputs.outputs[i].tensor);
    if (data.size != 4 * labels.count) return give_up("the graph has another number of labels", (nn_string){0}), false;

    const float *scores = (const float *)(const void *)data.data;
    uint32_t best = 0;
    for (uint32_t n = 1; n < labels.count; n++)
        if (scores[n] > scores[best]) best = n;
    /* One string: its end, and its bytes. */
    nn_string label = labels.items[best];
    uint8_t *string = take(4 + label.size);
    __builtin_memcpy(string, &label.size, 4);
    __builtin_memcpy(string + 4, label.data, label.size);
    const uint32_t one = 1;
    const nn_request_tensor answer[] = {
        {{"label", 5}, NN_BYTES_TENSOR, {&one, 1}, {string, 4 + label.size}},
        {{"scores", 6}, NN_FP32_TENSOR, {&labels.count, 1}, data},
    };
    nn_request_result result;
    nn_request_respond(request, answer, 2, &result);
    return !result.is_error || (give_up("", result.error), false);
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    get_arguments(&arguments);
    if (arguments.count < 4 || !equals(arguments.items[1], "--graph"))
        return give_up("usage: serve_colours --graph NAME LABELS...", (nn_string){0});
    nn_result graph, context;
    if (!open_graph(true, arguments.items[2], &graph)) return FAILED;
    nn_init_execution_context(graph.handle, &context);
    nn_graph_drop(graph.handle);
    if (context.is_error) return give_up_with(context.handle);
    strings labels = {arguments.items + 3, arguments.count - 3};
    for (;;) {
        const void *from = take(0);
        nn_next_request_result next;
        nn_next_request(&next);
        if (next.is_error) return give_up("", next.error);
        if (!next.has_request) return DONE;
        if (!answer(next.request, context.handle, labels)) return FAILED;
        nn_request_drop(next.request);
        give_back(from);
    }
}
