/* A component that answers HTTP requests, well or badly, as the first part of the path says. It is what the tests of
 * wasi:http drive: each path is one thing that a guest may do. `http.wit` has the functions with their WIT types. */
#define PROGRAM "guest"
#include "../../../guests/component/guest.h"

#define HTTP(name) __attribute__((__import_module__("wasi:http/types@0.2.0"), __import_name__(name))) extern

typedef struct { uint8_t is_error; int32_t handle; } result;
typedef struct { uint8_t is_error, code; } change;
typedef struct { uint8_t is_some; nn_string text; } option;
typedef struct { nn_string name, value; } field;
typedef struct { field *items; uint32_t count; } fields_list;
typedef struct { uint8_t is_error; union { nn_bytes content; struct { uint8_t is_closed; int32_t error; }; }; } reading;
typedef struct { uint8_t is_error; uint8_t rest[31]; } writing;
typedef struct { _Alignas(8) uint8_t tag; _Alignas(8) uint8_t payload[24]; } error_code;

HTTP("[constructor]fields") int32_t fields_new(void);
HTTP("[static]fields.from-list") void fields_from_list(const field *items, uint32_t count, result *fields);
HTTP("[method]fields.entries") void fields_entries(int32_t fields, fields_list *entries);
HTTP("[method]fields.append")
void fields_append(int32_t fields, const char *name, uint32_t length, const char *value, uint32_t size, change *done);
HTTP("[method]fields.has") int32_t fields_has(int32_t fields, const char *name, uint32_t length);
HTTP("[method]fields.delete") void fields_delete(int32_t fields, const char *name, uint32_t length, change *done);
HTTP("[method]fields.clone") int32_t fields_clone(int32_t fields);
HTTP("[resource-drop]fields") void fields_drop(int32_t fields);
HTTP("[method]incoming-request.method") void request_method(int32_t request, option *method);
HTTP("[method]incoming-request.path-with-query") void request_path(int32_t request, option *path);
HTTP("[method]incoming-request.authority") void request_authority(int32_t request, option *authority);
HTTP("[method]incoming-request.headers") int32_t request_headers(int32_t request);
HTTP("[method]incoming-request.consume") void request_consume(int32_t request, result *body);
HTTP("[method]incoming-body.stream") void body_stream(int32_t body, result *stream);
HTTP("[static]incoming-body.finish") int32_t body_finish(int32_t body);
HTTP("[method]future-trailers.subscribe") int32_t trailers_subscribe(int32_t trailers);
HTTP("[method]future-trailers.get") void trailers_get(int32_t trailers, void *got);
HTTP("[constructor]outgoing-response") int32_t response_new(int32_t headers);
HTTP("[method]outgoing-response.set-status-code") int32_t response_set_status(int32_t response, int32_t status);
HTTP("[method]outgoing-response.headers") int32_t response_headers(int32_t response);
HTTP("[method]outgoing-response.body") void response_body(int32_t response, result *body);
HTTP("[method]outgoing-body.write") void outgoing_write(int32_t body, result *stream);
HTTP("[static]outgoing-body.finish")
void outgoing_finish(int32_t body, int32_t has_trailers, int32_t trailers, void *done);
HTTP("[resource-drop]outgoing-body") void outgoing_drop(int32_t body);
HTTP("[static]response-outparam.set")
void outparam_set(int32_t outparam, int32_t is_error, int32_t response, int32_t a, int64_t b, int32_t c, int32_t d,
                  int32_t e, int32_t f);
HTTP("[constructor]outgoing-request") int32_t outgoing_request(int32_t headers);
HTTP("[method]outgoing-request.set-authority")
int32_t outgoing_set_authority(int32_t request, int32_t is_some, const char *text, uint32_t length);
__attribute__((__import_module__("wasi:http/outgoing-handler@0.2.0"), __import_name__("handle")))
extern void outgoing_handle(int32_t request, int32_t has_options, int32_t options, void *answer);
WASI("io/streams", "[method]input-stream.blocking-read") void read_some(int32_t stream, uint64_t size, reading *got);
WASI("io/streams", "[resource-drop]input-stream") void input_drop(int32_t stream);
WASI("io/streams", "[method]output-stream.write")
void write_some(int32_t stream, const char *data, uint32_t size, void *result);
WASI("io/streams", "[method]output-stream.check-write") void check_write(int32_t stream, void *result);
WASI("io/poll", "[method]pollable.block") void pollable_block(int32_t pollable);
WASI("io/poll", "[resource-drop]pollable") void pollable_drop(int32_t pollable);
WASI("clocks/monotonic-clock", "subscribe-duration") int32_t subscribe_duration(uint64_t nanoseconds);

static nn_string words[8];
static uint32_t word_count;

static bool is(const char *word) { return word_count && equals(words[0], word); }

static uint32_t number(uint32_t word) {
    uint32_t value = 0;
    if (word < word_count)
        for (uint32_t i = 0; i < words[word].size; i++) value = 10 * value + (uint32_t)(words[word].data[i] - '0');
    return value;
}

static void split_path(nn_string path) {
    for (uint32_t i = 0; i < path.size && path.data[i] != '?'; i++) {
        if (path.data[i] == '/') {
            if (word_count == 8) return;
            words[word_count++] = (nn_string){path.data + i + 1, 0};
        } else if (word_count) words[word_count - 1].size++;
    }
}

/* The answer. */

static int32_t answer_body, answer_stream;

static void append(int32_t fields, const char *name, nn_string value) {
    change done;
    fields_append(fields, name, length_of(name), value.data, value.size, &done);
    if (done.is_error) __builtin_trap();
}

static void respond(int32_t outparam, int32_t status, int32_t headers) {
    result got;
    int32_t response = response_new(headers);
    if (response_set_status(response, status)) {
        response_set_status(response, 500);
        say("no such status");
    }
    response_body(response, &got);
    answer_body = got.handle;
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    outgoing_write(answer_body, &got);
    answer_stream = got.handle;
}

static bool put(const char *data, uint32_t size) {
    writing done;
    for (uint32_t at = 0; at < size; at += 4096) {
        write_and_flush(answer_stream, data + at, size - at < 4096 ? size - at : 4096, &done);
        if (done.is_error) return false;
    }
    return true;
}

static void put_line(void) {
    put(line, line_size);
    line_size = 0;
}

static uint8_t finish(int32_t trailers) {
    struct { _Alignas(8) uint8_t is_error; error_code code; } done;
    stream_drop(answer_stream);
    outgoing_finish(answer_body, trailers != 0, trailers, &done);
    return done.is_error;
}

static void say_fields(int32_t fields) {
    fields_list entries;
    fields_entries(fields, &entries);
    for (uint32_t i = 0; i < entries.count; i++)
        say_string(entries.items[i].name), say("="), say_string(entries.items[i].value), say(";"), put_line();
}

/* What a path does. */

static void echo(int32_t request, int32_t outparam) {
    result body, stream;
    reading got;
    request_consume(request, &body);
    body_stream(body.handle, &stream);
    respond(outparam, 200, fields_new());
    for (uint8_t *from = take(16);; give_back(from)) {
        read_some(stream.handle, 65536, &got);
        if (got.is_error || !put((const char *)got.content.data, got.content.size)) break;
    }
    input_drop(stream.handle);
    finish(0);
}

static void tell_head(int32_t request, int32_t outparam) {
    option text;
    respond(outparam, 200, fields_new());
    request_method(request, &text);
    say("method "), say_unsigned(text.is_some), say("\n");
    request_path(request, &text), say("path "), say_string(text.text), say("\n");
    request_authority(request, &text), say("authority "), say_string(text.text), say("\n"), put_line();
    say_fields(request_headers(request));
    finish(0);
}

static void trailers(int32_t request, int32_t outparam) {
    result body;
    struct { _Alignas(8) uint8_t is_some; _Alignas(8) uint8_t outer; _Alignas(8) uint8_t inner;
             _Alignas(8) uint8_t has; int32_t fields; uint8_t rest[32]; } got, again;
    request_consume(request, &body);
    int32_t future = body_finish(body.handle);
    pollable_block(trailers_subscribe(future));
    trailers_get(future, &got);
    trailers_get(future, &again);
    respond(outparam, 200, fields_new());
    say_unsigned(got.is_some), say_unsigned(got.outer), say_unsigned(got.inner), say_unsigned(again.outer), say(" ");
    put_line();
    if (got.has) say_fields(got.fields);
    finish(got.has ? fields_clone(got.fields) : 0);
}

/* What each change of headers says: its place if it worked, the error's number with a minus otherwise. */
static void headers(int32_t outparam) {
    static const struct { const char *name, *value; } tried[] = {
        {"x-good", "1"}, {"x bad", "1"}, {"", "1"}, {"x-bad", "a\r\nset-cookie: b"}, {"x-bad", "a\nb"}, {"x:bad", "1"},
        {"host", "h"}, {"Connection", "close"}, {"transfer-encoding", "chunked"}, {"upgrade", "h2c"}, {"x-more", "\t \xff"},
    };
    change done;
    int32_t fields = fields_new();
    for (uint32_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        fields_append(fields, tried[i].name, length_of(tried[i].name), tried[i].value, length_of(tried[i].value), &done);
        say(done.is_error ? "-" : "+");
        if (done.is_error) say_unsigned(done.code);
    }
    field listed = {{"bad name", 8}, {"1", 1}};
    result from_list;
    fields_from_list(&listed, 1, &from_list);
    say(from_list.is_error ? " refused" : " taken");
    int32_t response = response_new(fields), own = response_headers(response);
    fields_append(own, "x-late", 6, "1", 1, &done);
    say(done.is_error && done.code == 2 ? " immutable" : " mutable");
    int32_t copy = fields_clone(own);
    fields_delete(copy, "X-Good", 6, &done);
    say(done.is_error || fields_has(copy, "x-good", 6) ? " kept" : " deleted");
    fields_drop(copy), fields_drop(own);
    result body, again, stream;
    response_body(response, &body);
    response_body(response, &again);
    say(again.is_error ? " once" : " twice");
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    outgoing_write(body.handle, &stream);
    answer_body = body.handle, answer_stream = stream.handle;
    put_line();
    finish(0);
}

static void infer(int32_t outparam) {
    static const float values[] = {-1, 2, -3, 4.5f};
    static const uint32_t dims[] = {4};
    nn_result graph, context;
    nn_outputs outputs;
    respond(outparam, 200, fields_new());
    nn_load_by_name(words[1].data, words[1].size, &graph);
    if (graph.is_error) {
        nn_string why;
        nn_error_data(graph.handle, &why);
        put(why.data, why.size);
    } else {
        nn_named_tensor input = {{"x", 1}, nn_tensor(dims, 1, NN_FP32, values, sizeof values)};
        nn_bytes data;
        nn_init_execution_context(graph.handle, &context);
        nn_compute(context.handle, &input, 1, &outputs);
        if (outputs.is_error) __builtin_trap();
        nn_tensor_data(outputs.outputs[0].tensor, &data);
        for (uint32_t i = 0; i < data.size / 4; i++) say(i ? " " : ""), say_float(((const float *)data.data)[i]);
        put_line();
    }
    finish(0);
}

static void call_out(int32_t outparam) {
    struct { _Alignas(8) uint8_t is_error; error_code code; } answer;
    int32_t request = outgoing_request(fields_new());
    say_unsigned(outgoing_set_authority(request, 1, "example.org", 11));
    say_unsigned(outgoing_set_authority(request, 1, "a b", 3));
    outgoing_handle(request, 0, 0, &answer);
    say(" "), say_unsigned(answer.is_error), say(" "), say_unsigned(answer.code.tag);
    respond(outparam, 200, fields_new());
    put_line();
    finish(0);
}

static void measured(int32_t outparam) {
    static char zeros[65536];
    int32_t fields = fields_new();
    append(fields, "content-length", words[1]);
    respond(outparam, 200, fields);
    uint32_t left = number(2);
    while (left) {
        uint32_t size = left < sizeof zeros ? left : sizeof zeros;
        if (!put(zeros, size)) return;
        left -= size;
    }
    finish(0);
}

/* The same, but the body is there before the answer is given. */
static void measured_early(int32_t outparam) {
    result got;
    int32_t fields = fields_new();
    append(fields, "content-length", words[1]);
    int32_t response = response_new(fields);
    response_body(response, &got);
    answer_body = got.handle;
    outgoing_write(answer_body, &got);
    answer_stream = got.handle;
    put("0123456789", number(2));
    say(finish(0) ? "finish failed" : "finish succeeded");
    write_line(get_stderr());
    if (word_count > 3) response = response_new(fields_new());
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
}

static void print(void) {
    for (uint32_t i = 0; i < number(1); i++) {
        say("a line that the guest prints, whose number is "), say_unsigned(i);
        write_line(i % 2 ? get_stderr() : get_stdout());
    }
}

static void one_line(int32_t outparam, const char *text) {
    respond(outparam, 200, fields_new());
    put(text, length_of(text));
    finish(0);
}

__attribute__((__export_name__("wasi:http/incoming-handler@0.2.0#handle")))
void handle(int32_t request, int32_t outparam) {
    option path;
    request_path(request, &path);
    word_count = 0;
    split_path(path.text);
    if (is("echo")) echo(request, outparam);
    else if (is("head")) tell_head(request, outparam);
    else if (is("trailers")) trailers(request, outparam);
    else if (is("headers")) headers(outparam);
    else if (is("infer")) infer(outparam);
    else if (is("out")) call_out(outparam);
    else if (is("length")) measured(outparam);
    else if (is("early")) measured_early(outparam);
    else if (is("status")) {
        respond(outparam, (int32_t)number(1), fields_new());
        if (!line_size) say("a body");
        put_line();
        finish(0);
    } else if (is("refuse")) outparam_set(outparam, 1, 38, 1, (int64_t)(uintptr_t)"no way", 6, 0, 0, 0);
    else if (is("refuse-size")) outparam_set(outparam, 1, 17, 1, 5, 0, 0, 0, 0);
    else if (is("nothing")) return;
    else if (is("trap")) __builtin_trap();
    else if (is("trap-late")) {
        static char zeros[200000];  /* more than fits into the pipe: the client has the beginning of the answer */
        respond(outparam, 200, fields_new());
        put(zeros, sizeof zeros);
        __builtin_trap();
    } else if (is("trap-after")) {
        one_line(outparam, "whole");
        __builtin_trap();
    } else if (is("drop")) {
        respond(outparam, 200, fields_new());
        put("begun", 5);
        stream_drop(answer_stream);
        outgoing_drop(answer_body);
    } else if (is("no-body")) {
        int32_t fields = fields_new();
        append(fields, "x-own", (nn_string){"1", 1});
        outparam_set(outparam, 0, response_new(fields), 0, 0, 0, 0, 0, 0);
    } else if (is("wrong-length")) {
        int32_t fields = fields_new();
        append(fields, "content-length", (nn_string){"5, 6", 4});
        respond(outparam, 200, fields);
    } else if (is("unflushed")) {
        writing done;
        respond(outparam, 200, fields_new());
        check_write(answer_stream, &done);
        write_some(answer_stream, "not flushed", 11, &done);
        finish(0);
    } else if (is("print")) {
        print();
        one_line(outparam, "printed");
    } else if (is("spin")) {
        if (number(1)) {
            respond(outparam, 200, fields_new());
            put("begun", 5);
        }
        for (volatile uint32_t i = 0;; i++);
    } else if (is("sleep")) {
        int32_t time = subscribe_duration((uint64_t)number(1) * 1000000);
        pollable_block(time);
        pollable_drop(time);
        one_line(outparam, "slept");
    } else if (is("flood")) {
        static char zeros[65536];
        respond(outparam, 200, fields_new());
        while (put(zeros, sizeof zeros));
        for (volatile uint32_t i = 0;; i++);
    } else if (is("grow")) {
        while (__builtin_wasm_memory_grow(0, 64) != (size_t)-1);
        __builtin_trap();
    } else if (is("many")) {
        for (;;) fields_new();
    } else if (is("big-headers")) {
        static char zeros[60000];
        for (uint32_t i = 0; i < sizeof zeros; i++) zeros[i] = '0';
        int32_t fields = fields_new();
        for (uint32_t i = 0; i < 64; i++) append(fields, "x-big", (nn_string){zeros, sizeof zeros});
    } else one_line(outparam, "hello");
}
