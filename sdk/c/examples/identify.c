/* What is in these files? By the model of Magika, from their bytes alone.
 *
 *     identify GRAPH LABELS FILE...
 *
 * The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
 * content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.
 */
#include "guest.h"

enum { SEEN = 1024, BLOCK = 4096, NO_BYTE = 256, FEWEST_BYTES = 8 };

static int is_space(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static void features_of(const uint8_t *file, uint32_t size, int32_t features[2 * SEEN]) {
    uint32_t block = size < BLOCK ? size : BLOCK;
    const uint8_t *first = file, *first_end = file + block, *last = file + size, *last_begin = last - block;
    while (first < first_end && is_space(*first)) first++;
    while (last > last_begin && is_space(last[-1])) last--;
    for (int at = 0; at < SEEN; at++) {
        features[at] = at < first_end - first ? first[at] : NO_BYTE;
        features[2 * SEEN - 1 - at] = at < last - last_begin ? last[-1 - at] : NO_BYTE;
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fputs("usage: identify GRAPH LABELS FILE...\n", stderr);
        return 2;
    }
    uint32_t size, count = 0;
    char *labels[1000];
    for (char *label = strtok(read_file(argv[2], &size), "\n"); label && count < 1000; label = strtok(NULL, "\n"))
        labels[count++] = label;

    wnn_graph graph;
    wnn_context context;
    check(wnn_load_by_name(argv[1], &graph));
    check(wnn_init_context(&graph, &context));
    static int32_t features[2 * SEEN];
    static const uint32_t dims[] = {1, 2 * SEEN};
    const wnn_tensor input = WNN_TENSOR(WNN_I32, dims, features);
    for (int it = 3; it < argc; it++) {
        char *file = read_file(argv[it], &size);
        features_of((const uint8_t *)file, size, features);
        free(file);
        if (features[FEWEST_BYTES - 1] == NO_BYTE) {
            printf("%s: too short to tell\n", argv[it]);
            continue;
        }
        float *scores;
        uint32_t best = 0;
        check(wnn_set_input_at(&context, 0, "bytes", &input));
        check(wnn_compute(&context));
        check(wnn_output(&context, 0, WNN_F32, (void **)&scores, &size));
        for (uint32_t at = 1; at < size / 4; at++)
            if (scores[at] > scores[best]) best = at;
        printf("%s: %s, %d %%\n", argv[it], best < count ? labels[best] : "?", (int)(100 * scores[best] + 0.5f));
        free(scores);
    }
    wnn_context_free(&context);
    wnn_graph_free(&graph);
    return 0;
}
