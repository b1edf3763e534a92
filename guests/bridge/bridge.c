/* The bridge: a small component between a guest component and the host. It gives the guest wasi:nn.
 *
 * The engine passes a list to or from a host function as one large value for each element, and at most some megabytes
 * of them in a call. It passes a string in one piece. So the bridge takes the guest's lists into its own memory, and
 * passes them on to the host as text, in parts:
 *
 *     bytes     two planes: the low four bits of all bytes, then the high four bits of all bytes
 *     numbers   eight hexadecimal digits each, unless they are parameters
 *     names     unchanged
 *
 * Where the host sees the guest's memory, the bytes don't come here at all: functions whose names begin with
 * wasi-nn-direct pass their places in that memory to the host. The shim calls them, in the guest (shim.wat). And small
 * tensors stay here, where the host sees the bridge's memory (kept.h).
 *
 * The representation of a resource is the host's handle, or a number of kept.h. An outcome is a u64: a handle in the low
 * half, or an error's handle in the high half. The bridge decides nothing: the host checks every call and makes every
 * error.
 *
 * VERSION is the exported version of WIT, and DATE is its date as a number. */
#include "memory.h"

#define HOST(name) __attribute__((__import_module__("wasi-nn:bridge/host"), __import_name__(name))) extern
#define OWN(interface, name) __attribute__((__import_module__("[export]wasi:nn/" interface VERSION), __import_name__(name))) extern
#define EXPORT(interface, name) __attribute__((__export_name__("wasi:nn/" interface VERSION "#" name)))
/* An export that returns a pointer. The memory is given back when the engine has copied the result. */
#define EXPORT_POINTER(interface, name) \
    __attribute__((__export_name__("cabi_post_wasi:nn/" interface VERSION "#" name))) \
    void POST(__LINE__)(void *result) { (void)result; give_back(); } \
    EXPORT(interface, name)
enum {
    MAX_BUILDERS = 1024, /* for more builders, the host gets only their number, and refuses them */
    DIGITS = 8,
    U8 = 4,
    OUTPUTS_AS_TEXT = 1,
};

typedef struct { const uint32_t *dims; uint32_t rank; } dimensions;
typedef struct { uint8_t is_error; int32_t handle; } result;
typedef struct { bytes name; int32_t tensor; } named_tensor;
typedef struct { uint8_t is_error; union { int32_t error; named_tensor *tensors; }; uint32_t count; } named_result;

HOST("tensor-new") uint32_t host_tensor_new(uint32_t type, uint32_t size, uint32_t rank, const void *text, uint32_t length);
HOST("tensor-write") void host_tensor_write(uint32_t tensor, uint32_t offset, const void *text, uint32_t length);
HOST("tensor-type") uint32_t host_tensor_type(uint32_t tensor);
HOST("tensor-extent") uint64_t host_tensor_extent(uint32_t tensor);
HOST("tensor-read") void host_tensor_read(uint32_t tensor, uint32_t offset, uint32_t size, bytes *text);
HOST("memory-mark") uint64_t host_memory_mark(void);
HOST("memory-find") uint32_t host_memory_find(uint32_t memory, uint32_t pages);
HOST("tensor-new-direct") uint32_t host_tensor_new_direct(uint32_t memory, uint32_t type, uint32_t data, uint32_t size, uint32_t dims, uint32_t rank);
HOST("tensor-read-direct") void host_tensor_read_direct(uint32_t tensor, uint32_t memory, uint32_t to, uint32_t size);
HOST("load-direct") uint64_t host_load_direct(uint32_t memory, uint32_t encoding, uint32_t target, uint32_t builders, uint32_t count);
HOST("load") uint64_t host_load(uint32_t encoding, uint32_t target, uint32_t count, const void *digits, uint32_t length);
HOST("load-by-name") uint64_t host_load_by_name(const void *name, uint32_t length);
HOST("init-execution-context") uint64_t host_init_execution_context(uint32_t graph);
HOST("set-input") uint32_t host_set_input(uint32_t context, uint32_t tensor, const void *name, uint32_t length);
HOST("compute") uint32_t host_compute(uint32_t context);
HOST("get-output") uint64_t host_get_output(uint32_t context, const void *name, uint32_t length);
HOST("compute-named") void host_compute_named(uint32_t context, const void *inputs, uint32_t length, bytes *outputs);
HOST("memory-keep") uint32_t host_memory_keep(uint32_t memory, const void *mark, uint32_t pages, const void *exchange, const void *slots);
HOST("compute-kept") uint64_t host_compute_kept(uint32_t memory, uint32_t context, uint32_t size);
HOST("compute-outputs") void host_compute_outputs(bytes *outputs);
HOST("error-new") uint32_t host_error_new(uint32_t code, const void *data, uint32_t length);
HOST("error-code") uint32_t host_error_code(uint32_t error);
HOST("error-data") void host_error_data(uint32_t error, bytes *data);
HOST("drop") void host_drop(uint32_t handle);

OWN("tensor", "[resource-new]tensor") int32_t tensor_resource(uint32_t handle);
OWN("tensor", "[resource-rep]tensor") uint32_t tensor_handle(int32_t resource);
OWN("tensor", "[resource-drop]tensor") void tensor_drop(int32_t resource);
OWN("graph", "[resource-new]graph") int32_t graph_resource(uint32_t handle);
OWN("inference", "[resource-new]graph-execution-context") int32_t context_resource(uint32_t handle);
OWN("errors", "[resource-new]error") int32_t error_resource(uint32_t handle);

static uint8_t *put_number(uint8_t *to, uint32_t number) {
    for (int shift = 28; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[number >> shift & 15];
    return to;
}

/* Tensors at the host: one row of bytes each, first the data, then the dimensions. The sizes of some recent tensors stay
 * here, which saves a call for each. The host never gives a handle twice, and the size of a tensor never changes. */

static struct { uint32_t tensor, size; } recent[16];

static uint32_t keep_size(uint32_t tensor, uint32_t size) {
    recent[tensor % 16].tensor = tensor;
    recent[tensor % 16].size = size;
    return tensor;
}

static uint32_t size_of(uint32_t tensor) {
    if (recent[tensor % 16].tensor != tensor) keep_size(tensor, (uint32_t)host_tensor_extent(tensor));
    return recent[tensor % 16].size;
}

static void write_tensor(uint32_t tensor, uint32_t offset, const uint8_t *from, uint32_t size, uint8_t *text) {
    for (uint32_t done = 0, part; done < size; done += part) {
        part = size - done < PART ? size - done : PART;
        split(from + done, part, text, text + part);
        host_tensor_write(tensor, offset + done, text, 2 * part);
    }
}

static uint32_t new_tensor(dimensions dims, uint32_t type, bytes data) {
    uint64_t dims_size = 4ull * dims.rank, size = data.size + dims_size;
    if (size <= PART) {
        uint8_t *text = take(2 * size), *high = text + size;
        split(data.data, data.size, text, high);
        split((const uint8_t *)dims.dims, dims_size, text + data.size, high + data.size);
        return host_tensor_new(type, data.size, dims.rank, text, 2 * size);
    }
    uint8_t *text = take(2 * PART);
    uint32_t tensor = host_tensor_new(type, data.size, dims.rank, text, 0);
    write_tensor(tensor, 0, data.data, data.size, text);
    write_tensor(tensor, data.size, (const uint8_t *)dims.dims, dims_size, text);
    return tensor;
}

static bytes read_tensor(uint32_t tensor, uint32_t offset, uint32_t size) {
    uint8_t *to = take(size);
    uint64_t scratch = top;
    bytes text;
    for (uint32_t done = 0, part; done < size; done += part) {
        part = size - done < PART ? size - done : PART;
        top = scratch;
        host_tensor_read(tensor, offset + done, part, &text);
        if (text.size != 2 * part) __builtin_trap();
        join(to + done, part, text.data, text.data + part);
    }
    return (bytes){to, size};
}

#include "kept.h"

/* The one result that the engine reads. */

static union { result result; named_result named; bytes bytes; dimensions dimensions; } out;

static result *failed(uint32_t error) {
    out.result = (result){error != 0, error ? error_resource(error) : 0};
    return &out.result;
}

static result *outcome(uint64_t handles, int32_t (*resource)(uint32_t)) {
    uint32_t error = handles >> 32;
    if (error) return failed(error);
    out.result = (result){0, resource((uint32_t)handles)};
    return &out.result;
}

/* The host drops a tensor that the guest passes as an owned argument. The bridge then drops only its resource, and must
 * not drop the host's handle again. */
static bool is_gone_at_host;

static void consume(int32_t tensor) {
    is_gone_at_host = true;
    tensor_drop(tensor);
    is_gone_at_host = false;
}

/* wasi:nn/tensor */

EXPORT("tensor", "[constructor]tensor")
int32_t tensor_constructor(const uint32_t *dims, uint32_t rank, uint32_t type, const uint8_t *data, uint32_t size) {
    dimensions all = {dims, rank};
    bytes content = {data, size};
    uint32_t tensor = can_keep(rank, size) ? keep_tensor(all, type, content) : new_tensor(all, type, content);
    give_back();
    return tensor_resource(tensor);
}

EXPORT_POINTER("tensor", "[method]tensor.dimensions")
dimensions *tensor_dimensions(uint32_t tensor) {
    if (is_kept(tensor)) {
        out.dimensions = (dimensions){slot_of(tensor)->dims, slot_of(tensor)->rank};
        return &out.dimensions;
    }
    uint64_t extent = host_tensor_extent(tensor);
    uint32_t rank = extent >> 32;
    out.dimensions = (dimensions){(const uint32_t *)read_tensor(tensor, (uint32_t)extent, 4 * rank).data, rank};
    return &out.dimensions;
}

EXPORT("tensor", "[method]tensor.ty")
uint32_t tensor_type(uint32_t tensor) { return is_kept(tensor) ? slot_of(tensor)->type : host_tensor_type(tensor); }

EXPORT_POINTER("tensor", "[method]tensor.data")
bytes *tensor_data(uint32_t tensor) {
    out.bytes = is_kept(tensor) ? (bytes){slot_of(tensor)->data, slot_of(tensor)->size}
                                : read_tensor(tensor, 0, size_of(tensor));
    return &out.bytes;
}

EXPORT("tensor", "[dtor]tensor")
void tensor_destructor(uint32_t tensor) {
    if (is_kept(tensor)) free_slot(tensor);
    else if (!is_gone_at_host) host_drop(tensor);
}

/* What the shim calls: addresses, sizes and counts are those of the guest's memory with the host's number `memory`. */

EXPORT("tensor", "wasi-nn-direct-mark")
uint64_t direct_mark(void) { return host_memory_mark(); }

EXPORT("tensor", "wasi-nn-direct-find")
uint32_t direct_find(uint32_t memory, uint32_t pages) { return host_memory_find(memory, pages); }

EXPORT("tensor", "wasi-nn-direct-new")
int32_t direct_new(uint32_t memory, uint32_t type, uint32_t data, uint32_t size, uint32_t dims, uint32_t rank) {
    return tensor_resource(host_tensor_new_direct(memory, type, data, size, dims, rank));
}

/* Whether a tensor that the guest makes would stay here. The shim then calls the constructor itself. */
EXPORT("tensor", "wasi-nn-direct-keeps")
uint32_t direct_keeps(uint32_t rank, uint32_t size) { return can_keep(rank, size); }

/* The size of a tensor at the host, or -1. */
EXPORT("tensor", "wasi-nn-direct-size")
uint32_t direct_size(uint32_t tensor) { return is_kept(tensor) ? (uint32_t)-1 : size_of(tensor); }

EXPORT("tensor", "wasi-nn-direct-read")
void direct_read(uint32_t tensor, uint32_t memory, uint32_t to, uint32_t size) {
    host_tensor_read_direct(tensor, memory, to, size);
}

EXPORT_POINTER("graph", "wasi-nn-direct-load")
result *direct_load(uint32_t memory, uint32_t encoding, uint32_t target, uint32_t builders, uint32_t count) {
    return outcome(host_load_direct(memory, encoding, target, builders, count), graph_resource);
}

/* wasi:nn/graph */

EXPORT_POINTER("graph", "load")
result *load(const bytes *builders, uint32_t count, uint32_t encoding, uint32_t target) {
    uint32_t sent = count <= MAX_BUILDERS ? count : 0;
    uint8_t *digits = take(DIGITS * sent), *digit = digits;
    uint64_t scratch = top;
    for (uint32_t i = 0; i < sent; i++) {
        top = scratch;
        digit = put_number(digit, new_tensor((dimensions){NULL, 0}, U8, builders[i]));
    }
    return outcome(host_load(encoding, target, count, digits, DIGITS * sent), graph_resource);
}

EXPORT_POINTER("graph", "load-by-name")
result *load_by_name(const char *name, uint32_t length) {
    return outcome(host_load_by_name(name, length), graph_resource);
}

EXPORT_POINTER("graph", "[method]graph.init-execution-context")
result *init_execution_context(uint32_t graph) {
    return outcome(host_init_execution_context(graph), context_resource);
}

EXPORT("graph", "[dtor]graph")
void graph_destructor(uint32_t graph) { host_drop(graph); }

/* wasi:nn/inference */

#if DATE >= 20241028

static uint32_t get_number(const uint8_t *from) {
    uint32_t number = 0;
    for (int i = 0; i < DIGITS; i++) number = number << 4 | (from[i] < 'a' ? from[i] - '0' : from[i] - 'a' + 10);
    return number;
}

/* Named tensors for the host: for each, its handle, the size of its name, and its name. */
static bytes put_tensors(const named_tensor *tensors, uint32_t count) {
    uint64_t length = 0;
    for (uint32_t i = 0; i < count; i++) length += 2 * DIGITS + tensors[i].name.size;
    uint8_t *text = take(length), *at = text;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t scratch = top;
        at = put_number(put_number(at, at_host(tensor_handle(tensors[i].tensor))), tensors[i].name.size);
        top = scratch;
        __builtin_memcpy(at, tensors[i].name.data, tensors[i].name.size);
        at += tensors[i].name.size;
    }
    return (bytes){text, length};
}

static void consume_all(const named_tensor *tensors, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) consume(tensors[i].tensor);
}

/* Named tensors from the host: for each, its handle and size, the size of its name, and its name. */
static named_tensor *get_tensors(const uint8_t *from, uint32_t count) {
    named_tensor *tensors = take(count * (uint64_t)sizeof(named_tensor));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tensor = keep_size(get_number(from), get_number(from + DIGITS));
        bytes name = {from + 3 * DIGITS, get_number(from + 2 * DIGITS)};
        tensors[i] = (named_tensor){name, tensor_resource(tensor)};
        from = name.data + name.size;
    }
    return tensors;
}

EXPORT_POINTER("inference", "[method]graph-execution-context.compute")
named_result *compute(uint32_t context, const named_tensor *inputs, uint32_t count) {
    bytes outputs = {NULL, 0};
    uint32_t size = host_sees_memory() ? put_request(inputs, count) : 0, error;
    if (size) {
        uint64_t done = host_compute_kept(memory_number, context, size);
        error = done >> 32;
        if (done == OUTPUTS_AS_TEXT) host_compute_outputs(&outputs);
    } else {
        bytes given = put_tensors(inputs, count);
        host_compute_named(context, given.data, given.size, &outputs);
        error = get_number(outputs.data);
    }
    out.named = (named_result){.is_error = error != 0};
    if (error) {
        out.named.error = error_resource(error);
    } else if (outputs.data) {
        out.named.count = get_number(outputs.data + DIGITS);
        out.named.tensors = get_tensors(outputs.data + 2 * DIGITS, out.named.count);
    } else {
        out.named.tensors = take_answer(&out.named.count);
    }
    consume_all(inputs, count);
    return &out.named;
}

#else

EXPORT_POINTER("inference", "[method]graph-execution-context.set-input")
result *set_input(uint32_t context, const char *name, uint32_t length, int32_t tensor) {
    uint32_t error = host_set_input(context, tensor_handle(tensor), name, length);
    consume(tensor);
    return failed(error);
}

EXPORT_POINTER("inference", "[method]graph-execution-context.compute")
result *compute(uint32_t context) { return failed(host_compute(context)); }

EXPORT_POINTER("inference", "[method]graph-execution-context.get-output")
result *get_output(uint32_t context, const char *name, uint32_t length) {
    return outcome(host_get_output(context, name, length), tensor_resource);
}

#endif

EXPORT("inference", "[dtor]graph-execution-context")
void context_destructor(uint32_t context) { host_drop(context); }

/* wasi:nn/errors */

#if DATE < 20240819

EXPORT("errors", "[constructor]error")
int32_t error_constructor(uint32_t code, const char *data, uint32_t length) {
    uint32_t error = host_error_new(code, data, length);
    give_back();
    return error_resource(error);
}

#endif

EXPORT("errors", "[method]error.code")
uint32_t error_code(uint32_t error) { return host_error_code(error); }

EXPORT_POINTER("errors", "[method]error.data")
bytes *error_data(uint32_t error) {
    host_error_data(error, &out.bytes);
    return &out.bytes;
}

EXPORT("errors", "[dtor]error")
void error_destructor(uint32_t error) { host_drop(error); }
