/* wasi-nn:ext for components in C: its functions as a core module imports them, beside wasi_nn_component.h for the newest
 * version. docs/reference/extensions.md says what they do.
 *
 * What a call returns by pointer lies in memory that came from the guest's own `cabi_realloc`. Tensors given to
 * nn_begin_sequence are gone afterwards.
 */
#ifndef WASI_NN_COMPONENT_EXT_H
#define WASI_NN_COMPONENT_EXT_H

#include <wasi_nn_component.h>

#if WASI_NN_VERSION < 20241028
#error "wasi-nn:ext uses the version 20241028 of wasi:nn"
#endif

#define NN_EXT_IMPORT(interface, name) \
    __attribute__((__import_module__("wasi-nn:ext/" interface "@0.1.0"), __import_name__(name))) extern

/* describe */

enum { NN_NUMBER, NN_BYTE_STRING, NN_NATIVE, NN_ANY };
typedef struct { uint8_t kind; union { uint8_t number; nn_string native; }; } nn_element_type;

enum { NN_FIXED, NN_NAMED, NN_UNKNOWN_SIZE };
typedef struct { uint8_t kind; union { uint32_t fixed; nn_string named; }; } nn_dimension;

typedef struct {
    nn_string name;
    nn_element_type type;
    uint8_t has_rank;
    struct { nn_dimension *items; uint32_t count; } dimensions;
    uint8_t optional;
} nn_tensor_description;

typedef struct {
    uint8_t encoding;
    nn_string runtime, device, signature;
    struct { nn_string *items; uint32_t count; } signatures;
    struct { nn_tensor_description *items; uint32_t count; } inputs;
    uint8_t declares_outputs;
    struct { nn_tensor_description *items; uint32_t count; } outputs;
    struct { struct { nn_string key, text; } *items; uint32_t count; } metadata;
} nn_graph_description;

typedef struct { uint8_t is_error; union { nn_handle error; nn_graph_description graph; }; } nn_description;

NN_EXT_IMPORT("describe", "describe") void nn_describe(nn_handle graph, nn_description *description);

/* signatures */

NN_EXT_IMPORT("signatures", "use-signature")
void nn_use_signature(nn_handle graph, const char *name, uint32_t length, nn_result *other);

/* state */

typedef struct { uint8_t is_error; union { nn_handle error; nn_bytes bytes; }; } nn_state;

NN_EXT_IMPORT("state", "state-get") void nn_state_get(nn_handle graph, nn_state *state);
NN_EXT_IMPORT("state", "state-set") void nn_state_set(nn_handle graph, const void *data, uint32_t size, nn_result *nothing);

/* sequences: `has_outputs` is false after the last piece. */

typedef struct {
    uint8_t is_error;
    union { nn_handle error; uint8_t has_outputs; };
    nn_named_tensor *outputs;
    uint32_t count;
} nn_piece;

NN_EXT_IMPORT("sequences", "begin")
void nn_begin_sequence(nn_handle context, const nn_named_tensor *inputs, uint32_t count, nn_result *sequence);
NN_EXT_IMPORT("sequences", "[method]sequence.next") void nn_next(nn_handle sequence, nn_piece *piece);
NN_EXT_IMPORT("sequences", "[resource-drop]sequence") void nn_sequence_drop(nn_handle sequence);

/* byte-strings */

typedef struct { uint8_t is_error; union { nn_handle error; nn_string *items; }; uint32_t count; } nn_strings;

NN_EXT_IMPORT("byte-strings", "new")
void nn_strings_tensor(const uint32_t *dims, uint32_t rank, const nn_string *strings, uint32_t count, nn_result *tensor);
NN_EXT_IMPORT("byte-strings", "strings") void nn_strings_of(nn_handle tensor, nn_strings *strings);

#endif
