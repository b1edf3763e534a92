/* What is in these pictures? The five best labels of each.
 *
 *     classify GRAPH INPUT LABELS PICTURE...
 *
 * A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
 * [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.
 */
#include "guest.h"
#include <math.h>

/* The tensor of a picture; its dims and data are the caller's to free. */
static wnn_tensor image_of(const char *path) {
    uint32_t size, width, height;
    int header = 0;
    char *file = read_file(path, &size);
    if (sscanf(file, "P6 %u %u 255%n", &width, &height, &header) != 2 || !header ||
        3ull * width * height > size - (uint32_t)header - 1) {
        fprintf(stderr, "%s is no binary PPM of one byte a colour\n", path);
        exit(1);
    }
    const uint8_t *pixels = (const uint8_t *)file + header + 1;
    float *image = (float *)malloc(12ull * width * height);
    uint32_t *dims = (uint32_t *)malloc(4 * sizeof *dims), area = width * height;
    for (uint32_t colour = 0; colour < 3; colour++)
        for (uint32_t at = 0; at < area; at++)
            image[colour * area + at] = (pixels[3 * at + colour] - 127.0f) / 128.0f;
    free(file);
    dims[0] = 1, dims[1] = 3, dims[2] = height, dims[3] = width;
    return (wnn_tensor){WNN_F32, dims, 4, image, 12 * area};
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fputs("usage: classify GRAPH INPUT LABELS PICTURE...\n", stderr);
        return 2;
    }
    uint32_t size, count = 0;
    char *labels[10000];
    for (char *label = strtok(read_file(argv[3], &size), "\n"); label && count < 10000; label = strtok(NULL, "\n"))
        labels[count++] = label;

    wnn_graph graph;
    wnn_context context;
    check(wnn_load_by_name(argv[1], &graph));
    check(wnn_init_context(&graph, &context));
    for (int picture = 4; picture < argc; picture++) {
        wnn_tensor image = image_of(argv[picture]);
        float *scores, greatest = -INFINITY, sum = 0;
        check(wnn_set_input_at(&context, 0, argv[2], &image));
        check(wnn_compute(&context));
        check(wnn_output(&context, 0, WNN_F32, (void **)&scores, &size));
        for (uint32_t it = 0; it < size / 4; it++) greatest = fmaxf(greatest, scores[it]);
        for (uint32_t it = 0; it < size / 4; it++) sum += expf(scores[it] - greatest);
        puts(argv[picture]);
        for (uint32_t rank = 0; rank < 5 && rank < size / 4; rank++) {
            uint32_t best = 0;
            for (uint32_t it = 1; it < size / 4; it++)
                if (scores[it] > scores[best]) best = it;
            printf("  %3d %%  %s\n", (int)(100 * expf(scores[best] - greatest) / sum + 0.5f),
                   best < count ? labels[best] : "?");
            scores[best] = -INFINITY;
        }
        free((void *)image.dims), free((void *)image.data), free(scores);
    }
    wnn_context_free(&context);
    wnn_graph_free(&graph);
    return 0;
}
