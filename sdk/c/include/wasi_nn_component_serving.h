/* wasi-nn:serving for components in C: its functions as a core module imports them, lowered by hand, as
 * wasi_nn_component.h has wasi:nn. docs/how-to/guest-endpoints.md explains them.
 *
 * A request is the guest's to drop. What a call returns by pointer lies in memory that came from the guest's own
 * `cabi_realloc`.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WASI_NN_COMPONENT_SERVING_H
#define WASI_NN_COMPONENT_SERVING_H

#include "wasi_nn_component.h"

#define NN_SERVING_IMPORT(name) \
    __attribute__((__import_module__("wasi-nn:serving/requests@0.1.0"), __import_name__(name))) extern

/* What the elements of a tensor are. */
enum {
    NN_BOOL_TENSOR, NN_UINT8_TENSOR, NN_UINT16_TENSOR, NN_UINT32_TENSOR, NN_UINT64_TENSOR, NN_INT8_TENSOR,
    NN_INT16_TENSOR, NN_INT32_TENSOR, NN_INT64_TENSOR, NN_FP16_TENSOR, NN_BF16_TENSOR, NN_FP32_TENSOR, NN_FP64_TENSOR,
    NN_BYTES_TENSOR, /* the end of each string as a uint32_t, and then the bytes of all */
};

/* Whose fault it is that a request can't be answered. */
enum { NN_FAULT_OF_REQUEST, NN_FAULT_OF_GUEST };

typedef struct {
    nn_string name;
    uint8_t datatype;
    nn_dims shape;
    nn_bytes data;
} nn_request_tensor;

/* A request, none, or why there is neither. */
typedef struct {
    uint8_t is_error;
    union { nn_string error; struct { uint8_t has_request; nn_handle request; }; };
} nn_next_request_result;

typedef struct {
    uint8_t is_error;
    union { nn_string error; struct { const nn_request_tensor *tensors; uint32_t count; }; };
} nn_request_inputs_result;

typedef struct {
    uint8_t is_error;
    nn_string error;
} nn_request_result;

NN_SERVING_IMPORT("next-request") void nn_next_request(nn_next_request_result *result);
NN_SERVING_IMPORT("[method]request.inputs") void nn_request_inputs(nn_handle request, nn_request_inputs_result *result);
NN_SERVING_IMPORT("[method]request.respond")
void nn_request_respond(nn_handle request, const nn_request_tensor *outputs, uint32_t count, nn_request_result *result);
NN_SERVING_IMPORT("[method]request.fail")
void nn_request_fail(nn_handle request, uint32_t fault, const char *message, uint32_t length, nn_request_result *result);
NN_SERVING_IMPORT("[resource-drop]request") void nn_request_drop(nn_handle request);

#endif
