/* A talk with a language model, whose answers are printed as they are written, by sequences (an extension).
 *
 *     chat GRAPH OPTIONS [MESSAGE]...
 *
 * OPTIONS are the runtime's, in JSON. The messages are said one after the other; without any, each line of the standard
 * input is one. The model must be one that understands ChatML, as many small ones do. Contexts remember nothing: the
 * whole talk is the prompt each time.
 */
#define _POSIX_C_SOURCE 200809L /* for getline */
#include "guest.h"
#include <sys/types.h>

typedef struct text {
    char *data;
    uint32_t size, room;
} text;

static void append(text *to, const char *what, uint32_t size) {
    if (to->size + size > to->room) to->data = (char *)realloc(to->data, to->room = 2 * (to->size + size));
    if (!to->data) {
        fputs("the talk is too long\n", stderr);
        exit(1);
    }
    if (size) memcpy(to->data + to->size, what, size);
    to->size += size;
}

static void append_string(text *to, const char *what) { append(to, what, (uint32_t)strlen(what)); }

static void set_text(wnn_context *context, uint32_t index, const char *name, const char *data, uint32_t size) {
    const wnn_tensor tensor = {WNN_U8, &size, 1, data, size};
    check(wnn_set_input_at(context, index, name, &tensor));
}

/* Say a message, and print the model's answer. */
static void say(wnn_context *context, text *talk, const char *message) {
    bool has_piece;
    append_string(talk, "<|im_start|>user\n");
    append_string(talk, message);
    append_string(talk, "<|im_end|>\n<|im_start|>assistant\n");
    set_text(context, 0, "prompt", talk->data, talk->size);
    check(wnn_begin_sequence(context));
    for (check(wnn_next_of_sequence(context, &has_piece)); has_piece;
         check(wnn_next_of_sequence(context, &has_piece))) {
        char *piece;
        uint32_t size;
        check(wnn_output(context, 0, WNN_U8, (void **)&piece, &size));
        fwrite(piece, 1, size, stdout);
        fflush(stdout);
        append(talk, piece, size);
        free(piece);
    }
    puts("");
    append_string(talk, "<|im_end|>\n");
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: chat GRAPH OPTIONS [MESSAGE]...\n", stderr);
        return 2;
    }
    wnn_graph graph;
    wnn_context context;
    text talk = {NULL, 0, 0};
    check(wnn_load_by_name(argv[1], &graph));
    check(wnn_init_context(&graph, &context));
    set_text(&context, 1, "options", argv[2], (uint32_t)strlen(argv[2]));
    for (int it = 3; it < argc; it++) {
        printf("> %s\n", argv[it]);
        say(&context, &talk, argv[it]);
    }
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while (argc == 3 && (fputs("> ", stdout), fflush(stdout), (size = getline(&line, &room, stdin)) >= 0)) {
        if (size && line[size - 1] == '\n') line[size - 1] = 0;
        say(&context, &talk, line);
    }
    free(line), free(talk.data);
    wnn_context_free(&context);
    wnn_graph_free(&graph);
    return 0;
}
