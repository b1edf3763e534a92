/* identify: what is in these files? By the model of Magika, from their bytes alone.
 *
 *     identify (--graph NAME | --model FILE) --labels FILE FILES...
 */
#include "guest.h"
#include "magika.h"

#define USAGE "identify (--graph NAME | --model FILE) --labels FILE FILES..."

int main(int argc, char **argv) {
    const char *graph = NULL, *model = NULL, *labels_path = NULL;
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--model")) model = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--labels")) labels_path = value_of(argc, argv, &i);
        else other_option(argv[i], USAGE);
    }
    if (!labels_path || i == argc) DIE("usage: " USAGE);
    uint32_t count;
    char **labels = lines_of(read_file(labels_path), &count);

    double begun = milliseconds();
    wasi_nn_context context = open_graph(graph, model);
    printf("model loaded %s in %.1f ms\n", graph ? "by name" : "from bytes", milliseconds() - begun);

    static int32_t features[2 * SEEN];
    static const uint32_t dims[] = {1, 2 * SEEN};
    const wasi_nn_tensor input = {dims, 2, WASI_NN_I32, features, sizeof features};
    for (; i < argc; i++) {
        bytes file = read_file(argv[i]);
        features_of(file, features);
        free(file.data);
        if (features[FEWEST_BYTES - 1] == NO_BYTE) {
            printf("%-36s too short to tell\n", argv[i]);
            continue;
        }
        begun = milliseconds();
        check(wasi_nn_set_input(context, 0, &input), "set_input");
        check(wasi_nn_compute(context), "compute");
        bytes output = output_of(context, 0);
        double took = milliseconds() - begun;

        const float *scores = (const float *)output.data;
        if (output.size / sizeof *scores != count) DIE("%u scores for %u labels", output.size / 4, count);
        uint32_t best = 0;
        for (uint32_t n = 1; n < count; n++)
            if (scores[n] > scores[best]) best = n;
        printf("%-36s %-14s %5.1f %%  %6.2f ms\n", argv[i], labels[best], 100 * scores[best], took);
        free(output.data);
    }
    return 0;
}
