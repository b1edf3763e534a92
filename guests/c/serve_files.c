/* serve_files: answers requests with the types of files, by the model of Magika, from their bytes alone.
 *
 *     serve_files --graph NAME --labels FILE
 *
 * A request has `content`, BYTES [files]. The answer has `label`, BYTES [files], and
 * `score`, FP32 [files], which are probabilities. A file of less than 8 bytes is `unknown`.
 */
#include "serving.h"
#include "magika.h"

#define USAGE "serve_files --graph NAME --labels FILE"

enum { MOST_FILES = 1024 };

static void answer(wasi_nn_request request, const wasi_nn_request_inputs *inputs, wasi_nn_context context,
                   char **labels, uint32_t count) {
    const wasi_nn_named_tensor *content = input_of(inputs, "content", WASI_NN_DATATYPE_BYTES);
    if (!content || content->rank != 1 || content->dims[0] > MOST_FILES) {
        refuse(request, "the content must be BYTES [files], of at most 1024 files");
        return;
    }
    static const uint32_t dims[] = {1, 2 * SEEN};
    static int32_t features[2 * SEEN];
    static float scores_of_files[MOST_FILES];
    static const char *label_of_files[MOST_FILES];
    const wasi_nn_tensor input = {dims, 2, WASI_NN_I32, features, sizeof features};
    uint32_t files = content->dims[0], size = 4 * files, begin = 0;
    const uint32_t *ends = content->data;
    const uint8_t *first = (const uint8_t *)(ends + files);
    for (uint32_t i = 0; i < files; i++) {
        bytes file = {(uint8_t *)first + begin, ends[i] - begin};
        begin = ends[i];
        label_of_files[i] = "unknown";
        scores_of_files[i] = 0;
        features_of(file, features);
        if (features[FEWEST_BYTES - 1] != NO_BYTE) {
            check(wasi_nn_set_input(context, 0, &input), "set_input");
            check(wasi_nn_compute(context), "compute");
            bytes output = output_of(context, 0);
            const float *scores = (const float *)output.data;
            if (output.size / sizeof *scores != count) DIE("%u scores for %u labels", output.size / 4, count);
            uint32_t best = greatest_of(scores, count);
            label_of_files[i] = labels[best];
            scores_of_files[i] = scores[best];
            free(output.data);
        }
        size += strlen(label_of_files[i]);
    }

    /* Strings: the end of each, and then the bytes of all. */
    uint32_t *label = malloc(size), end = 0;
    if (size && !label) DIE("no memory for %u labels", files);
    char *at = (char *)(label + files);
    for (uint32_t i = 0; i < files; i++) {
        uint32_t length = strlen(label_of_files[i]);
        memcpy(at + end, label_of_files[i], length);
        label[i] = end += length;
    }
    const wasi_nn_named_tensor outputs[] = {
        {"label", 5, WASI_NN_DATATYPE_BYTES, {0}, &files, 1, label, size},
        {"score", 5, WASI_NN_DATATYPE_FP32, {0}, &files, 1, scores_of_files, 4 * files},
    };
    check(wasi_nn_respond(request, outputs, 2), "respond");
    free(label);
}

int main(int argc, char **argv) {
    const char *graph = NULL, *labels_path = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--graph")) graph = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--labels")) labels_path = value_of(argc, argv, &i);
        else other_option(argv[i], USAGE);
    }
    if (!labels_path) DIE("usage: " USAGE);
    uint32_t count;
    char **labels = lines_of(read_file(labels_path), &count);
    wasi_nn_context context = open_graph(graph, NULL);
    wasi_nn_request_inputs *inputs;
    for (wasi_nn_request request; (request = next_request(&inputs));) answer(request, inputs, context, labels, count);
    return 0;
}
