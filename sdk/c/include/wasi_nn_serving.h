/* wasi_nn_serving.h: requests that a guest answers, for guests in C and C++ that are core modules.
 * docs/how-to/guest-endpoints.md explains them.
 *
 * A guest asks for one request after another until there are no more, and answers each:
 *
 *     wasi_nn_request request;
 *     while (!wasi_nn_next_request(&request) && request) {
 *         ... wasi_nn_read_request(request, ...), wasi_nn_respond(request, ...)
 *     }
 *
 * So the same guest answers one request in a sandbox of its own, or many in one sandbox, as the host's operator decides.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WASI_NN_SERVING_H
#define WASI_NN_SERVING_H

#include "wasi_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WASI_NN_SERVING_IMPORT(name) __attribute__((__import_module__("wasi_nn_serving"), __import_name__(name)))

/* The number of a request; 0 is none. */
typedef uint32_t wasi_nn_request;

/* What the elements of a tensor are: the datatypes of the Open Inference Protocol. */
typedef enum wasi_nn_datatype {
    WASI_NN_DATATYPE_BOOL = 0, /* a byte each, 0 or 1 */
    WASI_NN_DATATYPE_UINT8 = 1,
    WASI_NN_DATATYPE_UINT16 = 2,
    WASI_NN_DATATYPE_UINT32 = 3,
    WASI_NN_DATATYPE_UINT64 = 4,
    WASI_NN_DATATYPE_INT8 = 5,
    WASI_NN_DATATYPE_INT16 = 6,
    WASI_NN_DATATYPE_INT32 = 7,
    WASI_NN_DATATYPE_INT64 = 8,
    WASI_NN_DATATYPE_FP16 = 9,
    WASI_NN_DATATYPE_BF16 = 10,
    WASI_NN_DATATYPE_FP32 = 11,
    WASI_NN_DATATYPE_FP64 = 12,
    WASI_NN_DATATYPE_BYTES = 13 /* strings of any bytes: see wasi_nn_named_tensor */
} wasi_nn_datatype;

/* A tensor with its name. 28 bytes: 0 name, 4 name_size, 8 datatype, 9 zeros, 12 dims, 16 rank, 20 data, 24 size.
 *
 * The data of numbers is row-major and little-endian. The data of strings (BYTES) is the end of each, counted from the
 * beginning of the first one, as a uint32_t, and then the bytes of all, as wasi_nn_set_byte_strings takes them. */
typedef struct wasi_nn_named_tensor {
    const char *name; /* in UTF-8, without a final zero */
    uint32_t name_size;
    uint8_t datatype; /* a wasi_nn_datatype */
    uint8_t zeros[3];
    const uint32_t *dims;
    uint32_t rank;
    const void *data;
    uint32_t size; /* of the data, in bytes */
} wasi_nn_named_tensor;

/* The tensors of a request. 8 bytes: 0 tensors, 4 count. */
typedef struct wasi_nn_request_inputs {
    const wasi_nn_named_tensor *tensors;
    uint32_t count;
} wasi_nn_request_inputs;

/* Whose fault it is that a request can't be answered. */
typedef enum wasi_nn_fault {
    WASI_NN_FAULT_OF_REQUEST = 0, /* the request is wrong */
    WASI_NN_FAULT_OF_GUEST = 1    /* the guest failed */
} wasi_nn_fault;

#ifndef __cplusplus
_Static_assert(sizeof(wasi_nn_named_tensor) == 28 && sizeof(wasi_nn_request_inputs) == 8, "28 and 8 bytes");
#endif

/* Wait for the next request. It is 0 if there are no more: the guest should end then. WASI_NN_INVALID_ARGUMENT while a
 * request before it isn't answered. */
WASI_NN_SERVING_IMPORT("next_request")
wasi_nn_error wasi_nn_next_request(wasi_nn_request *request);

/* Copy a request to `buffer`: a wasi_nn_request_inputs goes to its beginning, with all that belongs to it behind that. The
 * addresses in it are addresses in the buffer; the data of each tensor begins at a multiple of 16 from the buffer's beginning.
 * `size` gets the size in bytes, also if the request doesn't fit into the `capacity` bytes of the buffer: the function gives
 * WASI_NN_TOO_LARGE then, and the buffer stays as it was. So a capacity of 0 asks for the size. */
WASI_NN_SERVING_IMPORT("read_request")
wasi_nn_error wasi_nn_read_request(wasi_nn_request request, void *buffer, uint32_t capacity, uint32_t *size);

/* Answer a request with named tensors, which are copied. The request can't be read any more. After an error, it isn't
 * answered yet. */
WASI_NN_SERVING_IMPORT("respond")
wasi_nn_error wasi_nn_respond(wasi_nn_request request, const wasi_nn_named_tensor *tensors, uint32_t count);

/* Answer a request with the reason why there are no outputs, in UTF-8. The client gets it. */
WASI_NN_SERVING_IMPORT("fail_request")
wasi_nn_error wasi_nn_fail_request(wasi_nn_request request, wasi_nn_fault fault, const char *message, uint32_t size);

#ifdef __cplusplus
}
#endif

#endif
