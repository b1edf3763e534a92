/* A component that treats requests as its argument says, and answers y = FP32 [1] in the end where it can. It fails if the
 * host doesn't answer as it should. */
#define PROGRAM "requests"
#include "../../../guests/component/guest.h"
#include <wasi_nn_component_serving.h>

static const float value = 1.5f;

static nn_request_tensor output(uint32_t datatype, uint32_t rank, uint32_t size) {
    static uint32_t dims[65];
    for (uint32_t i = 0; i < 65; i++) dims[i] = 1;
    return (nn_request_tensor){{"y", 1}, datatype, {dims, rank}, {(const uint8_t *)&value, size}};
}

static bool respond(nn_handle request, nn_request_tensor answer, uint32_t count) {
    nn_request_tensor answers[2] = {answer, answer};
    nn_request_result result;
    nn_request_respond(request, answers, count, &result);
    return !result.is_error;
}

static bool good(nn_handle request) { return respond(request, output(NN_FP32_TENSOR, 1, 4), 1); }

static bool fails(nn_handle request) {
    nn_request_result result;
    nn_request_fail(request, NN_FAULT_OF_GUEST, "late", 4, &result);
    return !result.is_error;
}

static bool reads(nn_handle request) {
    nn_request_inputs_result inputs;
    nn_request_inputs(request, &inputs);
    return !inputs.is_error;
}

/* Whether the host did as it should. */
static bool treat(nn_handle request, nn_string how) {
    if (equals(how, "good")) return reads(request) && reads(request) && good(request);
    if (equals(how, "twice")) return good(request) && !good(request) && !fails(request) && !reads(request);
    if (equals(how, "two")) {
        nn_next_request_result next;
        nn_next_request(&next);
        return next.is_error && good(request);
    }
    if (equals(how, "drop")) return true;
    if (equals(how, "size")) return !respond(request, output(NN_FP32_TENSOR, 1, 3), 1) && good(request);
    if (equals(how, "rank")) return !respond(request, output(NN_FP32_TENSOR, 65, 4), 1) && good(request);
    if (equals(how, "same")) return !respond(request, output(NN_FP32_TENSOR, 1, 4), 2) && good(request);
    if (equals(how, "strings")) return !respond(request, output(NN_BYTES_TENSOR, 1, 4), 1) && good(request);
    if (equals(how, "name")) {
        nn_request_tensor unnamed = output(NN_FP32_TENSOR, 1, 4);
        unnamed.name.size = 0;
        return !respond(request, unnamed, 1) && good(request);
    }
    if (equals(how, "large")) {
        nn_request_tensor large = output(NN_UINT8_TENSOR, 1, 1 << 20);
        uint32_t size = 1 << 20;
        large.shape = (nn_dims){&size, 1};
        large.data.data = take(size);
        return !respond(request, large, 1) && good(request);
    }
    if (equals(how, "parts")) { /* more than goes in one call of the host */
        nn_request_tensor large = output(NN_UINT8_TENSOR, 1, 300000);
        uint32_t size = 300000;
        uint8_t *data = take(size);
        for (uint32_t i = 0; i < size; i++) data[i] = (uint8_t)(i % 251);
        large.shape = (nn_dims){&size, 1};
        large.data.data = data;
        return respond(request, large, 1);
    }
    if (equals(how, "trap")) __builtin_trap();
    for (;;) {}
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    get_arguments(&arguments);
    for (;;) {
        nn_next_request_result next;
        nn_next_request(&next);
        if (next.is_error) return give_up("", next.error);
        if (!next.has_request) return DONE;
        if (!treat(next.request, arguments.items[1])) return give_up("the host did otherwise: ", arguments.items[1]);
        nn_request_drop(next.request);
    }
}
