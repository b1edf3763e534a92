/* classify: what is in this picture? By any classifier that takes one f32 image [1, 3, size, size].
 *
 *     classify (--graph NAME | --model FILE) --labels FILE [--size N] [--mean M] [--std S] [--top N] PICTURE...
 *
 * A picture is a binary PPM ("P6"). It is cropped to its central square, less a margin of an eighth, scaled to size x size
 * (224) and normalised as (pixel - mean) / std (127 and 128: EfficientNet-Lite's). The scores are taken for logits.
 */
#include "guest.h"
#include <math.h>

#define USAGE \
    "classify (--graph NAME | --model FILE) --labels FILE [--size N] [--mean M] [--std S] [--top N] PICTURE..."

typedef struct picture {
    const uint8_t *pixels; /* three bytes each, row by row */
    int width, height;
} picture;

/* The next number of a PPM's header; comments are skipped. */
static int header_number(const char **at) {
    for (;; (*at)++) {
        if (**at == '#') *at += strcspn(*at, "\n");
        else if (**at >= '0' && **at <= '9') return strtol(*at, (char **)at, 10);
        if (!**at) return 0;
    }
}

static picture read_picture(const char *path) {
    bytes file = read_file(path);
    const char *at = (const char *)file.data + 2;
    if (strncmp((const char *)file.data, "P6", 2)) DIE("%s is not a binary PPM", path);
    picture picture;
    picture.width = header_number(&at);
    picture.height = header_number(&at);
    if (header_number(&at) != 255) DIE("%s does not have one byte a colour", path);
    picture.pixels = (const uint8_t *)at + 1;
    uint64_t size = 3ull * picture.width * picture.height;
    if (picture.width <= 0 || picture.height <= 0 || size > file.size - (picture.pixels - file.data))
        DIE("%s is cut short", path);
    return picture;
}

/* One colour of the mean over the box [x0, x1) x [y0, y1), whose edges may be within pixels. */
static float box_mean(picture p, int colour, float x0, float x1, float y0, float y1) {
    float sum = 0, weight = 0;
    for (int y = y0; y < y1 && y < p.height; y++) {
        float high = fminf(y + 1, y1) - fmaxf(y, y0);
        for (int x = x0; x < x1 && x < p.width; x++) {
            float area = high * (fminf(x + 1, x1) - fmaxf(x, x0));
            sum += area * p.pixels[3 * ((size_t)y * p.width + x) + colour];
            weight += area;
        }
    }
    return sum / weight;
}

static void image_of(picture p, int size, float mean, float std, float *image) {
    float side = 0.875f * (p.width < p.height ? p.width : p.height), step = side / size;
    float left = (p.width - side) / 2, top = (p.height - side) / 2;
    for (int colour = 0; colour < 3; colour++)
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++)
                *image++ = (box_mean(p, colour, left + x * step, left + (x + 1) * step, top + y * step,
                                     top + (y + 1) * step) - mean) / std;
}

int main(int argc, char **argv) {
    const char *graph = NULL, *model = NULL, *labels_path = NULL;
    int size = 224, top = 5, i = 1;
    float mean = 127, std = 128;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--model")) model = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--labels")) labels_path = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--size")) size = atoi(value_of(argc, argv, &i));
        else if (!strcmp(argv[i], "--mean")) mean = atof(value_of(argc, argv, &i));
        else if (!strcmp(argv[i], "--std")) std = atof(value_of(argc, argv, &i));
        else if (!strcmp(argv[i], "--top")) top = atoi(value_of(argc, argv, &i));
        else other_option(argv[i], USAGE);
    }
    if (!labels_path || i == argc || size < 1 || size > 4096) DIE("usage: " USAGE);
    uint32_t count;
    char **labels = lines_of(read_file(labels_path), &count);

    double begun = milliseconds();
    wasi_nn_context context = open_graph(graph, model);
    printf("model loaded %s in %.1f ms\n", graph ? "by name" : "from bytes", milliseconds() - begun);

    uint32_t dims[] = {1, 3, size, size}, bytes_of_image = 12 * size * size;
    float *image = malloc(bytes_of_image);
    for (; i < argc; i++) {
        image_of(read_picture(argv[i]), size, mean, std, image);
        const wasi_nn_tensor input = {dims, 4, WASI_NN_F32, image, bytes_of_image};
        begun = milliseconds();
        check(wasi_nn_set_input(context, 0, &input), "set_input");
        check(wasi_nn_compute(context), "compute");
        bytes output = output_of(context, 0);
        double took = milliseconds() - begun;

        float *scores = (float *)output.data, greatest = -INFINITY, sum = 0;
        if (output.size / sizeof *scores != count) DIE("%u scores for %u labels", output.size / 4, count);
        for (uint32_t n = 0; n < count; n++) greatest = fmaxf(greatest, scores[n]);
        for (uint32_t n = 0; n < count; n++) sum += scores[n] = expf(scores[n] - greatest);
        printf("%s (inference %.1f ms)\n", argv[i], took);
        for (int rank = 0; rank < top; rank++) {
            uint32_t best = 0;
            for (uint32_t n = 1; n < count; n++)
                if (scores[n] > scores[best]) best = n;
            printf("  %5.1f %%  %s\n", 100 * scores[best] / sum, labels[best]);
            scores[best] = -1;
        }
        free(output.data);
    }
    return 0;
}
