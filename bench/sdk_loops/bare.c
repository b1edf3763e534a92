/* Inferences of four numbers by the bare imports, as little code as an ABI allows: loop GRAPH INPUT ROUNDS. */
#include <stdlib.h>
#include <string.h>

#ifdef WNN_COMPONENT

#include <wasi_nn_component.h>

__attribute__((__export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size, (void)align;
    return realloc(old, size);
}

int main(int argc, char **argv) {
    nn_result graph, context;
    nn_outputs outputs;
    nn_bytes data;
    const uint32_t dims[] = {4};
    const float x[] = {1, -1, 2, -2};
    float y[4];
    if (argc < 4) return 2;
    nn_load_by_name(argv[1], strlen(argv[1]), &graph);
    if (graph.is_error) return 1;
    nn_init_execution_context(graph.handle, &context);
    if (context.is_error) return 1;
    for (int rounds = atoi(argv[3]); rounds; rounds--) {
        const nn_named_tensor input = {{argv[2], strlen(argv[2])}, nn_tensor(dims, 1, NN_FP32, x, sizeof x)};
        nn_compute(context.handle, &input, 1, &outputs);
        if (outputs.is_error) return 1;
        nn_tensor_data(outputs.outputs->tensor, &data);
        memcpy(y, data.data, sizeof y);
        free((void *)data.data);
        nn_tensor_drop(outputs.outputs->tensor);
        free((void *)outputs.outputs->name.data);
        free(outputs.outputs);
    }
    return y[0] != 1;
}

#else

#include <wasi_nn.h>

int main(int argc, char **argv) {
    wasi_nn_graph graph;
    wasi_nn_context context;
    const uint32_t dims[] = {4};
    const float x[] = {1, -1, 2, -2};
    float y[4] = {0};
    uint32_t size;
    if (argc < 4 || wasi_nn_load_by_name(argv[1], strlen(argv[1]), &graph)) return 2;
    if (wasi_nn_init_execution_context(graph, &context)) return 1;
    const wasi_nn_tensor input = {dims, 1, WASI_NN_F32, x, sizeof x};
    for (int rounds = atoi(argv[3]); rounds; rounds--)
        if (wasi_nn_set_input(context, 0, &input) || wasi_nn_compute(context) ||
            wasi_nn_get_output(context, 0, y, sizeof y, &size))
            return 1;
    return y[0] != 1;
}

#endif
