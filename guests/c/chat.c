/* chat: talk to a language model, whose answers come as they are written.
 *
 *     chat --graph NAME [--system TEXT] [--options JSON] [--at-once] [MESSAGE]...
 *
 * The messages are said one after the other; without any, each line of the standard input is one. The model must be one that
 * understands ChatML (<|im_start|>, <|im_end|>), as many small ones do. The whole conversation is the prompt each time, since
 * contexts remember nothing. With --at-once, an answer comes when it is whole.
 */
#include "guest.h"
#include <wasi_nn_wasmedge.h>

#define USAGE "chat --graph NAME [--system TEXT] [--options JSON] [--at-once] [MESSAGE]..."

typedef struct text {
    char *data;
    size_t size, room;
} text;

static void append(text *to, const char *what, size_t size) {
    if (!size) return;  /* such as a piece that only begins a character */
    if (to->size + size > to->room) to->data = realloc(to->data, to->room = 2 * (to->size + size));
    if (!to->data) DIE("the conversation is too long");
    memcpy(to->data + to->size, what, size);
    to->size += size;
}

static void append_turn(text *to, const char *who, const char *what, size_t size) {
    append(to, "<|im_start|>", 12);
    append(to, who, strlen(who));
    append(to, "\n", 1);
    append(to, what, size);
    append(to, "<|im_end|>\n", 11);
}

static void set_prompt(wasi_nn_context context, const text *prompt) {
    uint32_t dims[] = {prompt->size};
    wasi_nn_tensor tensor = {dims, 1, WASI_NN_U8, prompt->data, prompt->size};
    check(wasi_nn_set_input(context, 0, &tensor), "set_input");
}

/* Say a piece of an answer, and remember it. */
static void say(text *answer, const char *piece, size_t size) {
    append(answer, piece, size);
    fwrite(piece, 1, size, stdout);
    fflush(stdout);
}

static wasi_nn_error answer_in_pieces(wasi_nn_context context, text *answer) {
    static char piece[1 << 16];
    wasi_nn_error error;
    while (!(error = wasi_nn_compute_single(context))) {
        uint32_t size;
        check(wasi_nn_get_output_single(context, 0, piece, sizeof piece, &size), "get_output_single");
        say(answer, piece, size);
    }
    return error == WASI_NN_END_OF_SEQUENCE ? WASI_NN_SUCCESS : error;
}

static wasi_nn_error answer_at_once(wasi_nn_context context, text *answer) {
    wasi_nn_error error = wasi_nn_compute(context);
    if (error && error != WASI_NN_CONTEXT_FULL) return error;
    bytes whole = output_of(context, 0);
    say(answer, (const char *)whole.data, whole.size);
    free(whole.data);
    return error;
}

static void reply(wasi_nn_context context, text *conversation, const char *message, size_t size, int at_once) {
    append_turn(conversation, "user", message, size);
    text prompt = {NULL, 0, 0}, answer = {NULL, 0, 0};
    append(&prompt, conversation->data, conversation->size);
    append(&prompt, "<|im_start|>assistant\n", 22);
    set_prompt(context, &prompt);
    double begun = milliseconds();
    wasi_nn_error error = at_once ? answer_at_once(context, &answer) : answer_in_pieces(context, &answer);
    puts("");
    fflush(stdout);
    if (error == WASI_NN_CONTEXT_FULL) fprintf(stderr, "[the model's context is full]\n");
    else if (error == WASI_NN_PROMPT_TOO_LONG) DIE("the conversation is longer than the model's context");
    else check(error, "compute");
    bytes told = output_of(context, 1);
    fprintf(stderr, "[%.*s in %.1f s]\n", (int)told.size, told.data, (milliseconds() - begun) / 1e3);
    check(wasi_nn_fini_single(context), "fini_single");
    append_turn(conversation, "assistant", answer.data, answer.size);
    free(told.data), free(prompt.data), free(answer.data);
}

int main(int argc, char **argv) {
    const char *name = NULL, *options = "{}", *system = "You are a helpful assistant.";
    int at_once = 0, i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--graph")) name = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--options")) options = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--system")) system = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--at-once")) at_once = 1;
        else other_option(argv[i], USAGE);
    }
    if (!name) DIE("no model: give --graph NAME; usage: " USAGE);

    wasi_nn_graph graph;
    wasi_nn_context context;
    wasi_nn_error error = wasi_nn_load_by_name_with_config(name, strlen(name), options, strlen(options), &graph);
    if (error == WASI_NN_MODEL_NOT_FOUND) DIE("%s: the model's file is gone", name);
    check(error, "load_by_name_with_config");
    check(wasi_nn_init_execution_context(graph, &context), "init_execution_context");

    text conversation = {NULL, 0, 0};
    append_turn(&conversation, "system", system, strlen(system));
    char line[4096];
    if (i < argc)
        for (; i < argc; i++) {
            printf("> %s\n", argv[i]);
            reply(context, &conversation, argv[i], strlen(argv[i]), at_once);
        }
    else
        while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin))
            reply(context, &conversation, line, strcspn(line, "\n"), at_once);

    check(wasi_nn_finalize_execution_context(context), "finalize_execution_context");
    check(wasi_nn_unload(graph), "unload");
    return 0;
}
