/* wasi:nn for components in C: the functions of its three versions as a core module imports them, lowered by hand.
 *
 * Define WASI_NN_VERSION as 20240625, 20240819 or 20241028 (the default) before including this; they differ in how a
 * context is used. `wasm-tools component embed` and `component new` make the component from the core module.
 *
 * A handle is the guest's to drop. Tensors given to set_input and compute are gone afterwards. What a call returns by
 * pointer lies in memory that came from the guest's own `cabi_realloc`.
 */
#ifndef WASI_NN_COMPONENT_H
#define WASI_NN_COMPONENT_H

#include <stdint.h>

#ifndef WASI_NN_VERSION
#define WASI_NN_VERSION 20241028
#endif

#if WASI_NN_VERSION == 20240625
#define WASI_NN_SUFFIX "@0.2.0-rc-2024-06-25"
#elif WASI_NN_VERSION == 20240819
#define WASI_NN_SUFFIX "@0.2.0-rc-2024-08-19"
#elif WASI_NN_VERSION == 20241028
#define WASI_NN_SUFFIX "@0.2.0-rc-2024-10-28"
#else
#error "WASI_NN_VERSION is none of 20240625, 20240819, 20241028"
#endif

#define NN_IMPORT(interface, name) \
    __attribute__((__import_module__("wasi:nn/" interface WASI_NN_SUFFIX), __import_name__(name))) extern

typedef int32_t nn_handle;
typedef struct { const uint8_t *data; uint32_t size; } nn_bytes;
typedef struct { const char *data; uint32_t size; } nn_string;
typedef struct { const uint32_t *data; uint32_t count; } nn_dims;
/* A handle: an error's if `is_error`, else of what was asked for. */
typedef struct { uint8_t is_error; nn_handle handle; } nn_result;

/* begin numbers: written by tools/make_sdk.py */
enum {
    NN_OPENVINO = 0,
    NN_ONNX = 1,
    NN_TENSORFLOW = 2,
    NN_PYTORCH = 3,
    NN_TENSORFLOWLITE = 4,
    NN_GGML = 5,
    NN_AUTODETECT = 6,
};
enum {
    NN_CPU = 0,
    NN_GPU = 1,
    NN_TPU = 2,
};
enum {
    NN_FP16 = 0,
    NN_FP32 = 1,
    NN_FP64 = 2,
    NN_BF16 = 3,
    NN_U8 = 4,
    NN_I32 = 5,
    NN_I64 = 6,
};
enum {
    NN_INVALID_ARGUMENT = 0,
    NN_INVALID_ENCODING = 1,
    NN_TIMEOUT = 2,
    NN_RUNTIME_ERROR = 3,
    NN_UNSUPPORTED_OPERATION = 4,
    NN_TOO_LARGE = 5,
    NN_NOT_FOUND = 6,
    NN_SECURITY = 7,
    NN_UNKNOWN = 8,
};
/* end numbers */

NN_IMPORT("tensor", "[constructor]tensor")
nn_handle nn_tensor(const uint32_t *dims, uint32_t rank, uint32_t type, const void *data, uint32_t size);
NN_IMPORT("tensor", "[method]tensor.dimensions") void nn_tensor_dimensions(nn_handle tensor, nn_dims *dims);
NN_IMPORT("tensor", "[method]tensor.ty") uint32_t nn_tensor_type(nn_handle tensor);
NN_IMPORT("tensor", "[method]tensor.data") void nn_tensor_data(nn_handle tensor, nn_bytes *data);
NN_IMPORT("tensor", "[resource-drop]tensor") void nn_tensor_drop(nn_handle tensor);

NN_IMPORT("graph", "load")
void nn_load(const nn_bytes *builders, uint32_t count, uint32_t encoding, uint32_t target, nn_result *graph);
NN_IMPORT("graph", "load-by-name") void nn_load_by_name(const char *name, uint32_t length, nn_result *graph);
NN_IMPORT("graph", "[method]graph.init-execution-context")
void nn_init_execution_context(nn_handle graph, nn_result *context);
NN_IMPORT("graph", "[resource-drop]graph") void nn_graph_drop(nn_handle graph);

#if WASI_NN_VERSION >= 20241028
typedef struct { nn_string name; nn_handle tensor; } nn_named_tensor;
typedef struct {
    uint8_t is_error;
    union { nn_named_tensor *outputs; nn_handle error; };
    uint32_t count;
} nn_outputs;

NN_IMPORT("inference", "[method]graph-execution-context.compute")
void nn_compute(nn_handle context, const nn_named_tensor *inputs, uint32_t count, nn_outputs *outputs);
#else
NN_IMPORT("inference", "[method]graph-execution-context.set-input")
void nn_set_input(nn_handle context, const char *name, uint32_t length, nn_handle tensor, nn_result *nothing);
NN_IMPORT("inference", "[method]graph-execution-context.compute") void nn_compute(nn_handle context, nn_result *nothing);
NN_IMPORT("inference", "[method]graph-execution-context.get-output")
void nn_get_output(nn_handle context, const char *name, uint32_t length, nn_result *tensor);
#endif
NN_IMPORT("inference", "[resource-drop]graph-execution-context") void nn_context_drop(nn_handle context);

#if WASI_NN_VERSION < 20240819
NN_IMPORT("errors", "[constructor]error") nn_handle nn_error(uint32_t code, const char *data, uint32_t length);
#endif
NN_IMPORT("errors", "[method]error.code") uint32_t nn_error_code(nn_handle error);
NN_IMPORT("errors", "[method]error.data") void nn_error_data(nn_handle error, nn_string *data);
NN_IMPORT("errors", "[resource-drop]error") void nn_error_drop(nn_handle error);

#endif
