/* What the guests share that ask for descriptions: see wasi_nn_ext.h. */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include "guest.h"
#include <wasi_nn_ext.h>

/* The description of a graph, which is kept to the end. */
static inline const wasi_nn_graph_description *describe(wasi_nn_graph graph) {
    uint32_t size = 0;
    wasi_nn_error error = wasi_nn_describe(graph, NULL, 0, &size);
    if (error && (error != WASI_NN_TOO_LARGE || !size)) check(error, "describe");
    wasi_nn_graph_description *description = malloc(size);
    if (!description) DIE("a description of %u bytes is too large", size);
    check(wasi_nn_describe(graph, description, size, &size), "describe");
    return description;
}

/* The description of an output of the last compute; NULL if there is no such output. */
static inline wasi_nn_tensor_description *describe_output(wasi_nn_context context, uint32_t index) {
    uint32_t size = 0;
    wasi_nn_error error = wasi_nn_describe_output(context, index, NULL, 0, &size);
    if (error == WASI_NN_INVALID_ARGUMENT) return NULL;
    if (error && (error != WASI_NN_TOO_LARGE || !size)) check(error, "describe_output");
    wasi_nn_tensor_description *description = malloc(size);
    if (!description) DIE("a description of %u bytes is too large", size);
    check(wasi_nn_describe_output(context, index, description, size, &size), "describe_output");
    return description;
}

/* Whether a text is the string. */
static inline int is_text(wasi_nn_text text, const char *string) {
    return text.size == strlen(string) && !memcmp(text.data, string, text.size);
}

/* A text of a model as arguments for "%.*s", cut off where it is very long. */
#define SHOWN(text) ((int)((text).size < 1000 ? (text).size : 1000)), (text).data

/* The bytes of an element of numbers; 0 for other elements. */
static inline uint32_t element_size(const wasi_nn_element_type *type) {
    static const uint8_t sizes[] = {2, 4, 8, 1, 4, 8};
    if (type->kind == WASI_NN_ANY_NUMBERS) return 4; /* taken as f32 */
    return type->kind == WASI_NN_NUMBERS && type->number < sizeof sizes ? sizes[type->number] : 0;
}

/* The type for numbers of a tensor: f32 where the model takes any. */
static inline uint8_t number_type(const wasi_nn_element_type *type) {
    return type->kind == WASI_NN_ANY_NUMBERS ? WASI_NN_F32 : type->number;
}

/* Print a type and dimensions, such as f32[batch, 3, ?]. */
static inline void print_type(const wasi_nn_tensor_description *tensor) {
    static const char *const names[] = {"f16", "f32", "f64", "u8", "i32", "i64"};
    switch (tensor->type.kind) {
    case WASI_NN_NUMBERS: printf("%s", tensor->type.number < 6 ? names[tensor->type.number] : "?"); break;
    case WASI_NN_BYTE_STRINGS: printf("byte strings "); break;
    case WASI_NN_NATIVE: printf("%.*s", SHOWN(tensor->type.native)); break;
    default: printf("any numbers ");
    }
    if (!tensor->has_dims) {
        printf("[...]");
        return;
    }
    putchar('[');
    for (uint32_t n = 0; n < tensor->rank; n++) {
        const wasi_nn_dimension *dim = &tensor->dims[n];
        if (n) printf(", ");
        if (dim->kind == WASI_NN_FIXED) printf("%u", dim->size);
        else if (dim->kind == WASI_NN_NAMED) printf("%.*s", SHOWN(dim->name));
        else putchar('?');
    }
    putchar(']');
}

/* The graph of another signature. */
static inline wasi_nn_graph signature_of(wasi_nn_graph graph, const char *name) {
    wasi_nn_graph other;
    wasi_nn_error error = wasi_nn_use_signature(graph, name, strlen(name), &other);
    if (error == WASI_NN_NOT_FOUND) DIE("the model has no signature %s", name);
    check(error, "use_signature");
    return other;
}

#endif
