/* What the guests here share that answer requests. */
#ifndef SERVING_H
#define SERVING_H

#include "guest.h"
#include <wasi_nn_serving.h>

/* The next request with its inputs, in memory that is used again for the one after it; 0 if there are no more. */
static inline wasi_nn_request next_request(wasi_nn_request_inputs **inputs) {
    static void *buffer;
    static uint32_t room;
    wasi_nn_request request;
    uint32_t size;
    check(wasi_nn_next_request(&request), "next_request");
    if (!request) return 0;
    wasi_nn_error error = wasi_nn_read_request(request, buffer, room, &size);
    if (error == WASI_NN_TOO_LARGE) {
        free(buffer);
        buffer = malloc(room = size);
        if (!buffer) DIE("a request of %u bytes is too large", size);
        error = wasi_nn_read_request(request, buffer, room, &size);
    }
    check(error, "read_request");
    *inputs = buffer;
    return request;
}

/* The input of a name and a datatype; NULL if there is none. */
static inline const wasi_nn_named_tensor *input_of(const wasi_nn_request_inputs *inputs, const char *name,
                                                   wasi_nn_datatype datatype) {
    for (uint32_t i = 0; i < inputs->count; i++) {
        const wasi_nn_named_tensor *input = &inputs->tensors[i];
        if (input->name_size == strlen(name) && !memcmp(input->name, name, input->name_size) &&
            input->datatype == datatype)
            return input;
    }
    return NULL;
}

/* Tell the client that its request is wrong. */
static inline void refuse(wasi_nn_request request, const char *why) {
    check(wasi_nn_fail_request(request, WASI_NN_FAULT_OF_REQUEST, why, strlen(why)), "fail_request");
}

/* The index of the greatest of some scores. */
static inline uint32_t greatest_of(const float *scores, uint32_t count) {
    uint32_t best = 0;
    for (uint32_t n = 1; n < count; n++)
        if (scores[n] > scores[best]) best = n;
    return best;
}

#endif
