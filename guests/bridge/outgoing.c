/* Makes requests of HTTP for a guest beside it, by the engine's own wasi:http. The engine makes streams and pollables for
 * components only, and takes them from its own wasi:http only, while the guest's is the host's: the host gives the guest
 * what this component gets. The requests go to the host itself, which passes bodies on; heads go past this component.
 *
 * A request has a number from 1 on. Of the functions that the host calls, `send` gives it, or 0 if nothing can be sent:
 * it takes the nanoseconds that the engine waits for a connection, for the answer's head, and for each part of its body;
 * `look` gives 0 while there is no answer, 1 if there is one, 2 if there will be none. The engine drops what is left. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP(name) __attribute__((__import_module__("wasi:http/types@0.2.0"), __import_name__(name))) extern
#define EXPORT(name) __attribute__((__export_name__(name)))

typedef struct { uint8_t is_error; int32_t handle; } result;
typedef struct { _Alignas(8) uint8_t tag; _Alignas(8) uint8_t payload[24]; } error_code;
typedef struct { uint8_t is_error; error_code code; } status;
typedef struct { uint8_t is_error; _Alignas(8) union { int32_t handle; error_code code; }; } answer;
typedef struct { uint8_t is_some; _Alignas(8) uint8_t is_error; _Alignas(8) answer answer; } option;

HTTP("[constructor]fields") int32_t fields_new(void);
HTTP("[constructor]outgoing-request") int32_t request_new(int32_t fields);
HTTP("[method]outgoing-request.set-method")
int32_t set_method(int32_t request, int32_t method, const char *name, uint32_t length);
HTTP("[method]outgoing-request.set-scheme")
int32_t set_scheme(int32_t request, int32_t is_some, int32_t scheme, const char *name, uint32_t length);
HTTP("[method]outgoing-request.set-authority")
int32_t set_authority(int32_t request, int32_t is_some, const char *text, uint32_t length);
HTTP("[method]outgoing-request.set-path-with-query")
int32_t set_path(int32_t request, int32_t is_some, const char *text, uint32_t length);
HTTP("[method]outgoing-request.body") void take_body(int32_t request, result *body);
HTTP("[method]outgoing-body.write") void body_write(int32_t body, result *stream);
HTTP("[static]outgoing-body.finish") void body_finish(int32_t body, int32_t has_trailers, int32_t trailers, status *done);
HTTP("[resource-drop]outgoing-body") void body_drop(int32_t body);
HTTP("[constructor]request-options") int32_t options_new(void);
HTTP("[method]request-options.set-connect-timeout") int32_t set_connect(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]request-options.set-first-byte-timeout") int32_t set_first(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]request-options.set-between-bytes-timeout")
int32_t set_between(int32_t options, int32_t is_some, uint64_t time);
HTTP("[method]future-incoming-response.subscribe") int32_t future_subscribe(int32_t future);
HTTP("[method]future-incoming-response.get") void future_get(int32_t future, option *got);
HTTP("[method]incoming-response.consume") void response_consume(int32_t response, result *body);
HTTP("[resource-drop]incoming-body") void incoming_drop(int32_t body);
HTTP("[method]incoming-body.stream") void body_stream(int32_t body, result *stream);
__attribute__((__import_module__("wasi:http/outgoing-handler@0.2.0"), __import_name__("handle")))
extern void handle(int32_t request, int32_t has_options, int32_t options, answer *answer);

#define POLL(name) __attribute__((__import_module__("wasi:io/poll@0.2.0"), __import_name__(name))) extern
POLL("[method]pollable.block") void pollable_block(int32_t pollable);
POLL("[resource-drop]pollable") void pollable_drop(int32_t pollable);

enum { MOST = 2048, POST = 2, PLAIN = 0, NONE = -1 };

static struct { int32_t future, body, response, incoming; } exchanges[MOST];
static uint32_t count;

/* Memory for the texts of a call and of an error, which nobody keeps. */
static _Alignas(16) uint8_t texts[65536];
static uint32_t used;

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old, (void)align;
    if (old_size || size > sizeof texts) __builtin_trap();
    if (used + size > sizeof texts) used = 0;
    void *at = texts + used;
    used += ((uint32_t)size + 15) & ~15u;
    return at;
}

EXPORT("send")
uint32_t send(const char *authority, uint32_t length, const char *path, uint32_t size, int32_t has_body,
              uint64_t patience) {
    result body;
    status done;
    answer sent;
    if (count == MOST) return 0;
    int32_t request = request_new(fields_new());
    if (set_method(request, POST, NULL, 0) || set_scheme(request, true, PLAIN, NULL, 0) ||
        set_authority(request, true, authority, length) || set_path(request, true, path, size)) return 0;
    take_body(request, &body);
    if (body.is_error) return 0;
    int32_t options = options_new();
    if (set_connect(options, true, patience) || set_first(options, true, patience) ||
        set_between(options, true, patience)) return 0;
    handle(request, true, options, &sent);
    if (sent.is_error) return 0;
    exchanges[count].future = sent.handle;
    exchanges[count].body = body.handle;
    exchanges[count].response = NONE;
    if (!has_body) {
        body_finish(body.handle, false, 0, &done);
        exchanges[count].body = NONE;
    }
    used = 0;
    return ++count;
}

EXPORT("request-body")
int32_t request_body(uint32_t number) {
    result stream;
    body_write(exchanges[number - 1].body, &stream);
    if (stream.is_error) __builtin_trap();
    return stream.handle;
}

EXPORT("finish")
int32_t finish(uint32_t number) {
    status done;
    body_finish(exchanges[number - 1].body, false, 0, &done);
    exchanges[number - 1].body = NONE;
    return !done.is_error;
}

EXPORT("break-off")
void break_off(uint32_t number) {
    body_drop(exchanges[number - 1].body);
    exchanges[number - 1].body = NONE;
}

EXPORT("subscribe")
int32_t subscribe(uint32_t number) { return future_subscribe(exchanges[number - 1].future); }

/* Wait until there is an answer, or there will be none. */
EXPORT("wait")
void wait(uint32_t number) {
    int32_t pollable = future_subscribe(exchanges[number - 1].future);
    pollable_block(pollable);
    pollable_drop(pollable);
}

EXPORT("look")
uint32_t look(uint32_t number) {
    option got;
    if (exchanges[number - 1].response != NONE) return 1;
    future_get(exchanges[number - 1].future, &got);
    if (!got.is_some) return 0;
    if (got.is_error || got.answer.is_error) return 2;
    exchanges[number - 1].response = got.answer.handle;
    return 1;
}

EXPORT("response-body")
int32_t response_body(uint32_t number) {
    result body, stream;
    response_consume(exchanges[number - 1].response, &body);
    if (body.is_error) __builtin_trap();
    exchanges[number - 1].incoming = body.handle;
    body_stream(body.handle, &stream);
    if (stream.is_error) __builtin_trap();
    return stream.handle;
}

/* Drop the answer's body, after the guest has dropped its stream: the engine traps where the guest still holds it. */
EXPORT("end-response")
void end_response(uint32_t number) { incoming_drop(exchanges[number - 1].incoming); }
