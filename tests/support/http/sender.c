/* A component that answers an HTTP request by requests of its own, well or badly. The path of its request is a word for
 * what it does and perhaps a number; the header `to` says where to: a method, a scheme, an authority and a path. `times` are
 * milliseconds to connect, to the first byte and between bytes; fields that begin with `own-` are sent without that.
 *
 * It answers with a line for each request, `status N` or `error N`, the fields of the answer, an empty line, and the body. */
#define PROGRAM "sender"
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
typedef struct { uint8_t is_error; _Alignas(8) union { int32_t handle; error_code code; }; } answer;
typedef struct { uint8_t is_some; _Alignas(8) uint8_t is_error; _Alignas(8) answer answer; } option_answer;

HTTP("[constructor]fields") int32_t fields_new(void);
HTTP("[method]fields.entries") void fields_entries(int32_t fields, fields_list *entries);
HTTP("[method]fields.append")
void fields_append(int32_t fields, const char *name, uint32_t length, const char *value, uint32_t size, change *done);
HTTP("[resource-drop]fields") void fields_drop(int32_t fields);
HTTP("[method]incoming-request.path-with-query") void request_path(int32_t request, option *path);
HTTP("[method]incoming-request.headers") int32_t request_headers(int32_t request);
HTTP("[method]incoming-request.consume") void request_consume(int32_t request, result *body);
HTTP("[method]incoming-body.stream") void body_stream(int32_t body, result *stream);
HTTP("[static]incoming-body.finish") int32_t body_finish(int32_t body);
HTTP("[resource-drop]incoming-body") void body_drop(int32_t body);
HTTP("[method]future-trailers.get") void trailers_get(int32_t trailers, void *got);
HTTP("[constructor]outgoing-response") int32_t response_new(int32_t headers);
HTTP("[method]outgoing-response.body") void response_body(int32_t response, result *body);
HTTP("[method]outgoing-body.write") void outgoing_write(int32_t body, result *stream);
HTTP("[static]outgoing-body.finish")
void outgoing_finish(int32_t body, int32_t has_trailers, int32_t trailers, void *done);
HTTP("[resource-drop]outgoing-body") void outgoing_drop(int32_t body);
HTTP("[static]response-outparam.set")
void outparam_set(int32_t outparam, int32_t is_error, int32_t response, int32_t a, int64_t b, int32_t c, int32_t d,
                  int32_t e, int32_t f);
HTTP("[constructor]outgoing-request") int32_t outgoing_request(int32_t headers);
HTTP("[method]outgoing-request.body") void outgoing_body(int32_t request, result *body);
HTTP("[method]outgoing-request.set-method")
int32_t set_method(int32_t request, int32_t method, const char *name, uint32_t length);
HTTP("[method]outgoing-request.set-scheme")
int32_t set_scheme(int32_t request, int32_t is_some, int32_t scheme, const char *name, uint32_t length);
HTTP("[method]outgoing-request.set-authority")
int32_t set_authority(int32_t request, int32_t is_some, const char *text, uint32_t length);
HTTP("[method]outgoing-request.set-path-with-query")
int32_t set_path(int32_t request, int32_t is_some, const char *text, uint32_t length);
HTTP("[resource-drop]outgoing-request") void request_drop(int32_t request);
HTTP("[constructor]request-options") int32_t options_new(void);
HTTP("[method]request-options.set-connect-timeout") int32_t set_connect(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]request-options.set-first-byte-timeout") int32_t set_first(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]request-options.set-between-bytes-timeout")
int32_t set_between(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]future-incoming-response.subscribe") int32_t future_subscribe(int32_t future);
HTTP("[method]future-incoming-response.get") void future_get(int32_t future, option_answer *got);
HTTP("[resource-drop]future-incoming-response") void future_drop(int32_t future);
HTTP("[method]incoming-response.status") int32_t response_status(int32_t response);
HTTP("[method]incoming-response.headers") int32_t response_headers(int32_t response);
HTTP("[method]incoming-response.consume") void response_consume(int32_t response, result *body);
HTTP("[resource-drop]incoming-response") void response_drop(int32_t response);
__attribute__((__import_module__("wasi:http/outgoing-handler@0.2.0"), __import_name__("handle")))
extern void outgoing_handle(int32_t request, int32_t has_options, int32_t options, answer *answer);
WASI("io/streams", "[method]input-stream.blocking-read") void read_some(int32_t stream, uint64_t size, reading *got);
WASI("io/streams", "[resource-drop]input-stream") void input_drop(int32_t stream);
WASI("io/poll", "[method]pollable.block") void pollable_block(int32_t pollable);
WASI("io/poll", "[resource-drop]pollable") void pollable_drop(int32_t pollable);

enum { MOST_FUTURES = 64, LOST = 200 };

static nn_string what, parts[8];
static uint32_t amount;
static fields_list own;
static int32_t answer_stream, answer_body, sent_body, options;

static bool is(const char *word) { return equals(what, word); }

static uint32_t split(nn_string text, char by, nn_string *to) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < text.size; i++) {
        if (text.data[i] == by) continue;
        if (!i || text.data[i - 1] == by) to[count++] = (nn_string){text.data + i, 0};
        to[count - 1].size++;
    }
    return count;
}

static uint32_t number(nn_string text) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < text.size; i++) value = 10 * value + (uint32_t)(text.data[i] - '0');
    return value;
}

static void put(const char *data, uint32_t size) {
    writing done;
    for (uint32_t at = 0; at < size; at += 4096)
        write_and_flush(answer_stream, data + at, size - at < 4096 ? size - at : 4096, &done);
}

static void put_line(void) {
    say("\n");
    put(line, line_size);
    line_size = 0;
}

static void respond(int32_t outparam) {
    result got;
    int32_t response = response_new(fields_new());
    response_body(response, &got);
    answer_body = got.handle;
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    outgoing_write(answer_body, &got);
    answer_stream = got.handle;
}

static void end(void) {
    uint8_t done[64];
    stream_drop(answer_stream);
    outgoing_finish(answer_body, 0, 0, done);
}

/* What the request asks for. */
static void read_request(int32_t request) {
    option path;
    nn_string words[8];
    request_path(request, &path);
    uint32_t count = split(path.text, '/', words);
    what = words[0];
    amount = count > 1 ? number(words[1]) : 0;
    fields_entries(request_headers(request), &own);
    for (uint32_t i = 0; i < own.count; i++) {
        if (equals(own.items[i].name, "to")) split(own.items[i].value, ' ', parts);
        if (!equals(own.items[i].name, "times")) continue;
        split(own.items[i].value, ' ', words);
        options = options_new();
        set_connect(options, true, (uint64_t)number(words[0]) * 1000000);
        set_first(options, true, (uint64_t)number(words[1]) * 1000000);
        set_between(options, true, (uint64_t)number(words[2]) * 1000000);
    }
}

/* A request, with its body if it has one; gives LOST for a part that is none of HTTP, or the error of a field. */
static int32_t new_request(bool has_body, uint32_t *failure) {
    static const uint32_t prefix = 4;
    int32_t fields = fields_new();
    for (uint32_t i = 0; i < own.count; i++) {
        change done;
        if (!starts_with(own.items[i].name, "own-", prefix)) continue;
        fields_append(fields, own.items[i].name.data + prefix, own.items[i].name.size - prefix, own.items[i].value.data,
                      own.items[i].value.size, &done);
        if (done.is_error) *failure = LOST + 1 + done.code;
    }
    int32_t request = outgoing_request(fields);
    int32_t method = equals(parts[0], "GET") ? 0 : 9, scheme = equals(parts[1], "http") ? 0 : equals(parts[1], "https") ? 1 : 2;
    if (set_method(request, method, parts[0].data, parts[0].size) || set_scheme(request, true, scheme, parts[1].data, parts[1].size) ||
        set_authority(request, true, parts[2].data, parts[2].size) || set_path(request, true, parts[3].data, parts[3].size))
        *failure = LOST;
    if (has_body) {
        result body;
        outgoing_body(request, &body);
        sent_body = body.handle;
    }
    return request;
}

static void say_error(uint32_t code) { say("error "), say_unsigned(code), put_line(); }

/* The answer, once it is there; -1 for an error, which is said. */
static int32_t taken(int32_t future) {
    option_answer got;
    int32_t ready = future_subscribe(future);
    pollable_block(ready);
    pollable_drop(ready);
    future_get(future, &got);
    if (!got.is_some || got.is_error) __builtin_trap();
    int32_t response = got.answer.handle;
    if (!got.answer.is_error) {
        future_get(future, &got);
        if (!got.is_some || !got.is_error) __builtin_trap(); /* it may be taken once */
        return response;
    }
    say_error(got.answer.code.tag);
    return -1;
}

static void say_head(int32_t response) {
    fields_list entries;
    say("status "), say_unsigned((uint32_t)response_status(response)), put_line();
    int32_t fields = response_headers(response);
    fields_entries(fields, &entries);
    for (uint32_t i = 0; i < entries.count; i++)
        say_string(entries.items[i].name), say("="), say_string(entries.items[i].value), put_line();
    fields_drop(fields);
}

static void pass_answer(int32_t response) {
    result body, stream;
    reading got;
    uint8_t trailers[64];
    say_head(response), put_line();
    response_consume(response, &body);
    response_drop(response);
    body_stream(body.handle, &stream);
    for (uint8_t *from = take(16);; give_back(from)) {
        read_some(stream.handle, 65536, &got);
        if (got.is_error) break;
        put((const char *)got.content.data, got.content.size);
    }
    if (!got.is_closed) say("broken"), put_line();
    input_drop(stream.handle);
    trailers_get(body_finish(body.handle), trailers);
}

/* Writes zeros, or the body of the guest's own request; false if the stream fails. */
static bool write_body(int32_t request, bool is_endless) {
    static char zeros[4096];
    result stream, body, from;
    reading got;
    writing done = {0};
    outgoing_write(sent_body, &stream);
    if (is_endless) {
        while (!done.is_error) write_and_flush(stream.handle, zeros, sizeof zeros, &done);
    } else {
        request_consume(request, &body);
        body_stream(body.handle, &from);
        for (uint8_t *start = take(16); !done.is_error; give_back(start)) {
            read_some(from.handle, 65536, &got);
            if (got.is_error) break;
            for (uint32_t at = 0; at < got.content.size && !done.is_error; at += 4096)
                write_and_flush(stream.handle, (const char *)got.content.data + at,
                                got.content.size - at < 4096 ? got.content.size - at : 4096, &done);
        }
    }
    stream_drop(stream.handle);
    return !done.is_error;
}

static void spin(void) {
    for (volatile uint32_t i = 0;; i++);
}

__attribute__((__export_name__("wasi:http/incoming-handler@0.2.0#handle")))
void handle(int32_t request, int32_t outparam) {
    uint8_t done[64];
    answer sent;
    read_request(request);
    respond(outparam);
    if (is("many")) {
        int32_t futures[MOST_FUTURES];
        for (uint32_t i = 0; i < amount; i++) {
            uint32_t failure = 0;
            outgoing_handle(new_request(false, &failure), 0, 0, &sent);
            futures[i] = sent.is_error ? -1 : sent.handle;
            if (sent.is_error) say_error(sent.code.tag);
        }
        for (uint32_t i = 0; i < amount; i++) {
            int32_t response = futures[i] < 0 ? -1 : taken(futures[i]);
            if (response >= 0) say("status "), say_unsigned((uint32_t)response_status(response)), put_line();
        }
        end();
        return;
    }
    uint32_t failure = 0;
    bool has_body = is("post") || is("endless") || is("break") || is("early");
    int32_t request_sent = new_request(has_body, &failure);
    if (failure || is("unsent")) {
        if (failure) say_error(failure);
        if (is("unsent")) request_drop(request_sent);
        end();
        return;
    }
    bool is_whole = !is("early") || write_body(request, false);
    outgoing_handle(request_sent, options != 0, options, &sent);
    if (sent.is_error) {
        say_error(sent.code.tag);
        end();
        return;
    }
    if (has_body && !is("early")) is_whole = write_body(request, is("endless"));
    if (has_body && is("break")) outgoing_drop(sent_body);
    else if (has_body) outgoing_finish(sent_body, 0, 0, done);
    if (!is_whole) say("unwritten"), put_line();
    if (is("leave")) {
        future_drop(sent.handle);
        end();
        return;
    }
    int32_t response = taken(sent.handle);
    if (response >= 0 && is("deaf")) {
        result body;
        say_head(response);
        response_consume(response, &body);
        spin();
    }
    if (response >= 0) pass_answer(response);
    end();
}
