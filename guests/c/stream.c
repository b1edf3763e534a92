/* stream: print the text of a language model piece by piece, by the sequences of wasi-nn:ext.
 *
 *     stream --graph NAME [--options JSON] [--pieces N] PROMPT
 *
 * With --pieces, the text ends after so many pieces.
 */
#include "guest.h"
#include <wasi_nn_ext.h>

#define USAGE "stream --graph NAME [--options JSON] [--pieces N] PROMPT"

static void set_text(wasi_nn_context context, uint32_t index, const char *text) {
    uint32_t size = strlen(text);
    wasi_nn_tensor tensor = {&size, 1, WASI_NN_U8, text, size};
    check(wasi_nn_set_input(context, index, &tensor), "set_input");
}

int main(int argc, char **argv) {
    const char *graph = NULL, *options = NULL, *prompt = NULL;
    uint32_t most = UINT32_MAX;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--options")) options = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--pieces")) most = strtoul(value_of(argc, argv, &i), NULL, 10);
        else if (argv[i][0] == '-' || prompt) other_option(argv[i], USAGE);
        else prompt = argv[i];
    }
    if (!prompt) DIE("usage: %s", USAGE);
    wasi_nn_context context = open_graph(graph, NULL);
    set_text(context, 0, prompt);
    if (options) set_text(context, 1, options);
    check(wasi_nn_begin_sequence(context), "begin_sequence");
    for (uint32_t has_piece, n = 0; n < most; n++) {
        check(wasi_nn_next_of_sequence(context, &has_piece), "next_of_sequence");
        if (!has_piece) break;
        bytes piece = output_of(context, 0);
        fwrite(piece.data, 1, piece.size, stdout);
        fflush(stdout);
        free(piece.data);
    }
    check(wasi_nn_end_sequence(context), "end_sequence");
    putchar('\n');
}
