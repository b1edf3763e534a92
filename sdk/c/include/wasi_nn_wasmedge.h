/* wasi_nn_wasmedge.h: what WasmEdge has beyond the specification's core ABI, for guests in C and C++.
 *
 * A language model is a graph with bytes for inputs and outputs, whatever type and dims a tensor says: input 0 is the
 * prompt, input 1 options in JSON; output 0 is the text, output 1 JSON with the numbers of tokens. Its text comes at once
 * with wasi_nn_compute, or piece by piece:
 *
 *     while (!(error = wasi_nn_compute_single(context))) wasi_nn_get_output_single(context, 0, ...);
 *     if (error != WASI_NN_END_OF_SEQUENCE) ...
 *     wasi_nn_fini_single(context);
 *
 * A guest that imports any of these functions gets WasmEdge's numbers from the host: an encoding 6 for GGML, errors from
 * 100 on, and WASI_NN_INVALID_ARGUMENT for a pointer to memory that it doesn't have.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WASI_NN_WASMEDGE_H
#define WASI_NN_WASMEDGE_H

#include "wasi_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Further errors, of type wasi_nn_error. */
/* begin errors: written by tools/make_sdk.py */
#define WASI_NN_END_OF_SEQUENCE ((wasi_nn_error)100) /* all pieces were given */
#define WASI_NN_CONTEXT_FULL ((wasi_nn_error)101) /* the text ends where the model's context does; it can be read */
#define WASI_NN_PROMPT_TOO_LONG ((wasi_nn_error)102) /* the prompt doesn't fit into the model's context */
#define WASI_NN_MODEL_NOT_FOUND ((wasi_nn_error)103) /* the graph has a name, but its file is gone */
/* end errors */

/* begin encodings: written by tools/make_sdk.py */
#define WASI_NN_GGML ((wasi_nn_encoding)6) /* GGUF; the specification's core ABI lacks it, autodetect finds it there */
/* end encodings */

/* Load a named graph with a configuration, JSON in UTF-8. A graph that is loaded already keeps the one that it has, and is
 * given again under the same handle. */
WASI_NN_IMPORT("load_by_name_with_config")
wasi_nn_error wasi_nn_load_by_name_with_config(const char *name, uint32_t length, const char *config,
                                               uint32_t config_length, wasi_nn_graph *graph);

/* Make the next piece, the first one after an input was set or a sequence ended. */
WASI_NN_IMPORT("compute_single")
wasi_nn_error wasi_nn_compute_single(wasi_nn_context context);

/* Copy the last piece (index 0), or what is told of the sequence so far (index 1), as wasi_nn_get_output does. */
WASI_NN_IMPORT("get_output_single")
wasi_nn_error wasi_nn_get_output_single(wasi_nn_context context, uint32_t index, void *buffer, uint32_t capacity,
                                        uint32_t *size);

/* End a sequence, and forget it. */
WASI_NN_IMPORT("fini_single")
wasi_nn_error wasi_nn_fini_single(wasi_nn_context context);

/* Give a graph back. Its contexts can still be read, but not run. */
WASI_NN_IMPORT("unload")
wasi_nn_error wasi_nn_unload(wasi_nn_graph graph);

/* Give a context back. */
WASI_NN_IMPORT("finalize_execution_context")
wasi_nn_error wasi_nn_finalize_execution_context(wasi_nn_context context);

#ifdef __cplusplus
}
#endif

#endif
