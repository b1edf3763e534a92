/* stream: a component guest that prints the text of a language model piece by piece.
 *
 *     stream GRAPH PROMPT [OPTIONS]
 *
 * OPTIONS is JSON, as the graph's runtime takes it.
 */
#include <wasi_nn_component_ext.h>

#define PROGRAM "stream"
#include "guest.h"

static nn_named_tensor text_input(const char *name, nn_string text) {
    return (nn_named_tensor){{name, length_of(name)}, nn_tensor(&text.size, 1, NN_U8, text.data, text.size)};
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    nn_result graph, context, sequence;
    get_arguments(&arguments);
    if (arguments.count < 3 || arguments.count > 4) return give_up("usage: stream GRAPH PROMPT [OPTIONS]", (nn_string){0});
    if (!open_graph(true, arguments.items[1], &graph)) return FAILED;
    nn_init_execution_context(graph.handle, &context);
    if (context.is_error) return give_up_with(context.handle);

    nn_named_tensor inputs[2] = {text_input("prompt", arguments.items[2])};
    if (arguments.count > 3) inputs[1] = text_input("options", arguments.items[3]);
    nn_begin_sequence(context.handle, inputs, arguments.count - 2, &sequence);
    if (sequence.is_error) return give_up_with(sequence.handle);
    int32_t output = get_stdout();
    void *before = take(0);
    for (;;) {
        struct { uint8_t is_error, rest[11]; } written;
        nn_piece piece;
        nn_bytes text;
        give_back(before);
        nn_next(sequence.handle, &piece);
        if (piece.is_error) return give_up_with(piece.error);
        if (!piece.has_outputs) break;
        nn_tensor_data(piece.outputs[0].tensor, &text);
        if (text.size) write_and_flush(output, (const char *)text.data, text.size, &written);
        for (uint32_t i = 0; i < piece.count; i++) nn_tensor_drop(piece.outputs[i].tensor);
    }
    nn_sequence_drop(sequence.handle);
    say("");
    write_line(output);
    return DONE;
}
