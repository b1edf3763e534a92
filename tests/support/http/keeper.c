/* A component that answers HTTP requests and counts them, and keeps what it holds of one for the next. What it does is
 * the first part of the path; `/use/X` uses what an earlier request has left. It gives no memory back. */
#define PROGRAM "keeper"
#include "../../../guests/component/guest.h"

#define HTTP(name) __attribute__((__import_module__("wasi:http/types@0.2.0"), __import_name__(name))) extern

typedef struct { uint8_t is_error; int32_t handle; } result;
typedef struct { uint8_t is_some; nn_string text; } option;
typedef struct { void *items; uint32_t count; } list;
typedef struct { uint8_t is_error; union { nn_bytes content; struct { uint8_t is_closed; int32_t error; }; }; } reading;
typedef struct { _Alignas(8) uint8_t is_error; uint8_t rest[63]; } outcome;
struct opened { int32_t body, stream; };
struct sent { _Alignas(8) uint8_t is_error; _Alignas(8) int32_t handle; uint8_t rest[32]; };

HTTP("[constructor]fields") int32_t fields_new(void);
HTTP("[method]fields.entries") void fields_entries(int32_t fields, list *entries);
HTTP("[resource-drop]fields") void fields_drop(int32_t fields);
HTTP("[method]incoming-request.path-with-query") void request_path(int32_t request, option *path);
HTTP("[method]incoming-request.headers") int32_t request_headers(int32_t request);
HTTP("[method]incoming-request.consume") void request_consume(int32_t request, result *body);
HTTP("[resource-drop]incoming-request") void request_drop(int32_t request);
HTTP("[method]incoming-body.stream") void body_stream(int32_t body, result *stream);
HTTP("[resource-drop]incoming-body") void body_drop(int32_t body);
HTTP("[constructor]outgoing-response") int32_t response_new(int32_t headers);
HTTP("[method]outgoing-response.body") void response_body(int32_t response, result *body);
HTTP("[resource-drop]outgoing-response") void response_drop(int32_t response);
HTTP("[method]outgoing-body.write") void outgoing_write(int32_t body, result *stream);
HTTP("[static]outgoing-body.finish")
void outgoing_finish(int32_t body, int32_t has_trailers, int32_t trailers, outcome *done);
HTTP("[resource-drop]outgoing-body") void outgoing_drop(int32_t body);
HTTP("[static]response-outparam.set")
void outparam_set(int32_t outparam, int32_t is_error, int32_t response, int32_t a, int64_t b, int32_t c, int32_t d,
                  int32_t e, int32_t f);
HTTP("[constructor]outgoing-request") int32_t sent_new(int32_t headers);
HTTP("[method]outgoing-request.body") void sent_body_of(int32_t request, result *body);
HTTP("[method]outgoing-request.set-scheme")
int32_t sent_set_scheme(int32_t request, int32_t is_some, int32_t scheme, const char *text, uint32_t length);
HTTP("[method]outgoing-request.set-authority")
int32_t sent_set_authority(int32_t request, int32_t is_some, const char *text, uint32_t length);
HTTP("[method]future-incoming-response.subscribe") int32_t future_subscribe(int32_t future);
HTTP("[resource-drop]future-incoming-response") void future_drop(int32_t future);
__attribute__((__import_module__("wasi:http/outgoing-handler@0.2.0"), __import_name__("handle")))
extern void outgoing_handle(int32_t request, int32_t has_options, int32_t options, struct sent *answer);
WASI("io/streams", "[method]input-stream.blocking-read") void read_some(int32_t stream, uint64_t size, reading *got);
WASI("io/streams", "[resource-drop]input-stream") void input_drop(int32_t stream);

static uint32_t requests;
static int32_t errors = -1;
static struct { int32_t request, headers, body, input, response, answer, sent, sent_body, future; } kept;

static bool begins(nn_string path, const char *word) { return starts_with(path, word, length_of(word)); }

/* Begin an answer; gives its body and the stream of that. */
static struct opened begin(int32_t outparam) {
    result body, stream;
    int32_t response = response_new(fields_new());
    response_body(response, &body);
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    outgoing_write(body.handle, &stream);
    return (struct opened){body.handle, stream.handle};
}

/* Give the line as the answer. The stream and the body may be kept. */
static void answer(int32_t outparam, bool keeps_stream, bool drops_body) {
    outcome done;
    struct opened opened = begin(outparam);
    write_and_flush(opened.stream, line, line_size, &done);
    line_size = 0;
    if (!keeps_stream) stream_drop(opened.stream);
    if (drops_body) outgoing_drop(opened.body);
    else outgoing_finish(opened.body, 0, 0, &done);
}

/* An answer without end, as long as somebody takes it. */
static void flood(int32_t outparam) {
    outcome done;
    struct opened opened = begin(outparam);
    do write_and_flush(opened.stream, line, 4096, &done);
    while (!done.is_error);
    __builtin_trap();
}

static void keep(int32_t request) {
    result got;
    kept.request = request;
    kept.headers = request_headers(request);
    request_consume(request, &got), kept.body = got.handle;
    kept.response = response_new(fields_new());
    response_body(kept.response, &got), kept.answer = got.handle;
    kept.sent = sent_new(fields_new());
    sent_body_of(kept.sent, &got), kept.sent_body = got.handle;
}

static void drop_kept(void) {
    fields_drop(kept.headers), request_drop(kept.request), body_drop(kept.body), outgoing_drop(kept.answer);
    response_drop(kept.response), outgoing_drop(kept.sent_body);
}

static void use(nn_string what) {
    result got;
    option path;
    list entries;
    outcome done;
    if (begins(what, "request")) request_path(kept.request, &path), say_string(path.text);
    if (begins(what, "headers")) fields_entries(kept.headers, &entries);
    if (begins(what, "body")) body_stream(kept.body, &got);
    if (begins(what, "answer")) outgoing_write(kept.answer, &got);
    if (begins(what, "finish")) outgoing_finish(kept.answer, 0, 0, &done);
    if (begins(what, "response")) response_body(kept.response, &got);
    if (begins(what, "sent")) sent_body_of(kept.sent, &got);
    if (begins(what, "upload")) outgoing_write(kept.sent_body, &got);
    if (begins(what, "future")) future_subscribe(kept.future);
}

static void read_kept(void) {
    reading got;
    for (;;) {
        read_some(kept.input, 1000, &got);
        if (got.is_error) break;
        say_string((nn_string){(const char *)got.content.data, (uint32_t)got.content.size});
    }
}

__attribute__((__export_name__("wasi:http/incoming-handler@0.2.0#handle")))
void handle(int32_t request, int32_t outparam) {
    option got;
    result body, stream;
    reading read;
    request_path(request, &got);
    nn_string path = {got.text.data + 1, got.text.size - 1};
    say_unsigned(++requests), say(" ");
    if (errors < 0) errors = get_stderr();
    if (begins(path, "keep")) keep(request);
    else if (begins(path, "drop")) drop_kept();
    else if (begins(path, "use/")) use((nn_string){path.data + 4, path.size - 4});
    else if (begins(path, "take") || begins(path, "echo")) {
        request_consume(request, &body), body_stream(body.handle, &stream), kept.input = stream.handle;
        if (begins(path, "echo")) read_kept(), input_drop(stream.handle), body_drop(body.handle);
    } else if (begins(path, "read")) read_kept();
    else if (begins(path, "begin")) {
        request_consume(request, &body), body_stream(body.handle, &stream);
        read_some(stream.handle, 10, &read), input_drop(stream.handle);
    } else if (begins(path, "print")) {
        outcome done;
        line[line_size++] = '\n';
        write_and_flush(errors, line, line_size, &done);
    } else if (begins(path, "burn"))
        for (volatile uint32_t i = 0; i < 100000; i++);
    else if (begins(path, "send/")) {
        struct sent answer;
        int32_t sent = sent_new(fields_new());
        sent_set_scheme(sent, 1, 0, NULL, 0);
        sent_set_authority(sent, 1, path.data + 5, path.size - 5);
        outgoing_handle(sent, 0, 0, &answer);
        kept.future = answer.handle;
        say_unsigned(answer.is_error);
    } else if (begins(path, "refuse")) {
        outparam_set(outparam, 1, 38, 0, 0, 0, 0, 0, 0);
        line_size = 0;
        return;
    }
    if (begins(path, "flood")) flood(outparam);
    answer(outparam, begins(path, "stream"), begins(path, "half"));
    if (begins(path, "trap")) __builtin_trap();
    if (begins(path, "spin")) for (volatile uint32_t i = 0;; i++);
}
