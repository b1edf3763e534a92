/* Inferences of four numbers: loop GRAPH INPUT ROUNDS. */
#include <wnn.h>

int main(int argc, char **argv) {
    static const uint32_t dims[] = {4};
    static const float x[] = {1, -1, 2, -2};
    const wnn_tensor input = WNN_TENSOR(WNN_F32, dims, x);
    wnn_graph graph;
    wnn_context context;
    float y[4] = {0};
    uint32_t size;
    if (argc < 4 || wnn_load_by_name(argv[1], &graph) || wnn_init_context(&graph, &context)) return 2;
    for (int rounds = atoi(argv[3]); rounds; rounds--)
        if (wnn_set_input_at(&context, 0, argv[2], &input) || wnn_compute(&context) ||
            wnn_output_into(&context, 0, WNN_F32, y, sizeof y, &size))
            return 1;
    return y[0] != 1;
}
