/* The bridge for guests that import wasi-nn:serving: it gives them wasi-nn-serving.wit. It needs no wasi:nn.
 *
 * Bytes cross as text in two planes, as in bridge.c. A request comes as it lies in memory: the bridge tells the host the
 * address. A small answer goes in one text: a head for each output, of four u32s (the sizes of its name, its datatype, its
 * rank, the size of its data), and then the name, the dims and the data of each. A larger answer goes output by output, and
 * the bytes of each, data first and then its dims, in parts.
 *
 * A status is 0, or 1 for an error, whose text `failure` gives. The representation of a request is its number. */
#include "memory.h"

#define NAME "wasi-nn:serving/requests@0.1.0"
#define HOST(name) __attribute__((__import_module__("wasi-nn:bridge/serving"), __import_name__(name))) extern
#define EXPORT(name) __attribute__((__export_name__(NAME "#" name)))
#define EXPORT_POINTER(name) \
    __attribute__((__export_name__("cabi_post_" NAME "#" name))) \
    void POST(__LINE__)(void *result) { (void)result; give_back(); } \
    EXPORT(name)

enum { MOST_AT_ONCE = 16 << 10 }; /* bytes of an answer in one text: it is copied once more than a larger one */

typedef struct { bytes name; uint8_t datatype; const uint32_t *dims; uint32_t rank; bytes data; } tensor;
typedef struct { uint8_t is_error; union { bytes error; struct { uint8_t has_request; int32_t request; }; }; } next_result;
typedef struct { uint8_t is_error; union { bytes error; struct { const tensor *tensors; uint32_t count; }; }; } inputs_result;
typedef struct { uint8_t is_error; bytes error; } status_result;

HOST("next-request") uint64_t host_next_request(void);
HOST("read-request") void host_read_request(uint32_t request, uint32_t address, bytes *record);
HOST("begin-answer") uint32_t host_begin_answer(uint32_t request, uint32_t count);
HOST("begin-output") uint32_t host_begin_output(const void *name, uint32_t length, uint32_t datatype, uint32_t size, uint32_t rank);
HOST("write-output") uint32_t host_write_output(uint32_t offset, const void *text, uint32_t length);
HOST("respond") uint32_t host_respond(uint32_t request);
HOST("respond-at-once") uint32_t host_respond_at_once(uint32_t request, uint32_t count, const void *text, uint32_t length);
HOST("fail-request") uint32_t host_fail_request(uint32_t request, uint32_t fault, const void *message, uint32_t length);
HOST("drop-request") void host_drop_request(uint32_t request);
HOST("failure") void host_failure(bytes *text);

__attribute__((__import_module__("[export]" NAME), __import_name__("[resource-new]request")))
extern int32_t request_resource(uint32_t request);

static union { next_result next; inputs_result inputs; status_result status; } out;

static status_result *status(uint32_t failed) {
    out.status = (status_result){.is_error = failed != 0};
    if (failed) host_failure(&out.status.error);
    return &out.status;
}

EXPORT_POINTER("next-request")
next_result *next_request(void) {
    uint64_t outcome = host_next_request();
    uint32_t request = (uint32_t)outcome;
    out.next = (next_result){.is_error = outcome >> 32 != 0};
    if (out.next.is_error) {
        host_failure(&out.next.error);
    } else if (request) {
        out.next.has_request = 1;
        out.next.request = request_resource(request);
    }
    return &out.next;
}

EXPORT_POINTER("[method]request.inputs")
inputs_result *request_inputs(uint32_t request) {
    /* The engine takes memory for the text, and for nothing else, so the text comes where this is. */
    uint8_t *record = take(0);
    bytes text;
    host_read_request(request, (uint32_t)(uintptr_t)record, &text);
    out.inputs = (inputs_result){.is_error = text.size == 0};
    if (!text.size) {
        host_failure(&out.inputs.error);
        return &out.inputs;
    }
    uint32_t size = text.size / 2;
    if (text.data != record || size < sizeof(bytes)) __builtin_trap();
    join(record, size, record, record + size);
    const uint32_t *head = (const uint32_t *)(const void *)record;
    out.inputs.tensors = (const tensor *)(uintptr_t)head[0];
    out.inputs.count = head[1];
    return &out.inputs;
}

static uint32_t write_output(uint32_t offset, const uint8_t *from, uint32_t size, uint8_t *text) {
    for (uint32_t done = 0, part; done < size; done += part) {
        part = size - done < PART ? size - done : PART;
        split(from + done, part, text, text + part);
        if (host_write_output(offset + done, text, 2 * part)) return 1;
    }
    return 0;
}

static uint8_t *put(uint8_t *at, const void *from, uint32_t size) {
    if (size) __builtin_memcpy(at, from, size);
    return at + size;
}

/* The bytes of an answer in one text. */
static uint64_t whole_size(const tensor *outputs, uint32_t count) {
    uint64_t size = 16ull * count;
    for (uint32_t i = 0; i < count; i++) size += (uint64_t)outputs[i].name.size + 4ull * outputs[i].rank + outputs[i].data.size;
    return size;
}

static uint32_t respond_at_once(uint32_t request, const tensor *outputs, uint32_t count, uint32_t size) {
    uint8_t *whole = take(size), *text = take(2 * size), *at = whole;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t head[] = {outputs[i].name.size, outputs[i].datatype, outputs[i].rank, outputs[i].data.size};
        at = put(at, head, sizeof head);
    }
    for (uint32_t i = 0; i < count; i++) {
        at = put(at, outputs[i].name.data, outputs[i].name.size);
        at = put(at, outputs[i].dims, 4 * outputs[i].rank);
        at = put(at, outputs[i].data.data, outputs[i].data.size);
    }
    split(whole, size, text, text + size);
    return host_respond_at_once(request, count, text, 2 * size);
}

EXPORT_POINTER("[method]request.respond")
status_result *request_respond(uint32_t request, const tensor *outputs, uint32_t count) {
    uint64_t size = whole_size(outputs, count);
    if (size <= MOST_AT_ONCE) return status(respond_at_once(request, outputs, count, (uint32_t)size));
    uint32_t failed = host_begin_answer(request, count);
    uint8_t *text = take(2 * PART);
    for (uint32_t i = 0; i < count && !failed; i++) {
        const tensor *output = &outputs[i];
        failed = host_begin_output(output->name.data, output->name.size, output->datatype, output->data.size, output->rank) ||
                 write_output(0, output->data.data, output->data.size, text) ||
                 write_output(output->data.size, (const uint8_t *)output->dims, 4 * output->rank, text);
    }
    return status(failed || host_respond(request));
}

EXPORT_POINTER("[method]request.fail")
status_result *request_fail(uint32_t request, uint32_t fault, const char *message, uint32_t length) {
    return status(host_fail_request(request, fault, message, length));
}

EXPORT("[dtor]request")
void request_destructor(uint32_t request) { host_drop_request(request); }
