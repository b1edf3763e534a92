/* infer: a component guest without any library. Feeds numbers to a graph's inputs and prints its outputs, all FP32.
 *
 *     infer (--graph NAME | --model FILE) [INPUT=FP32:DIMS:VALUES]...
 *
 * for example `x=FP32:1,4:0.5,1,-2,3`. DIMS and VALUES are separated by commas; one value alone fills the tensor.
 */
#define PROGRAM "infer"
#include "guest.h"

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

    if (!open_graph(by_name, arguments.items[2], &graph)) return FAILED;
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
