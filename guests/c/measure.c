/* measure: times the nn calls of one inference after another, on an input f32[1, 3, 224, 224].
 *
 *     measure GRAPH ROUNDS
 *
 * Writes to standard output, as little-endian u64: the number of steps in a round (3: set_input, compute, get_output),
 * and for each round the nanoseconds of each step. Then come the bytes of the last output, 4000 at most.
 */
#include <unistd.h>

#include "guest.h"

#define USAGE "measure GRAPH ROUNDS"

enum { STEPS = 3, MOST_ROUNDS = 100000 };

static float image[3 * 224 * 224], output[1000];
static uint64_t times[1 + MOST_ROUNDS * STEPS];

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void write_all(const void *bytes, size_t size) {
    for (const char *at = bytes; size;) {
        ssize_t written = write(STDOUT_FILENO, at, size);
        if (written < 0) DIE("standard output can't be written");
        at += written, size -= written;
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && !strncmp(argv[1], "--", 2)) other_option(argv[1], USAGE);
    long rounds = argc == 3 ? atol(argv[2]) : 0;
    if (rounds < 1 || rounds > MOST_ROUNDS) DIE("usage: " USAGE " (at most %d)", MOST_ROUNDS);
    wasi_nn_context context = open_graph(argv[1], NULL);
    for (int i = 0; i < 3 * 224 * 224; i++) image[i] = (i % 251) / 251.0f;
    uint32_t dims[] = {1, 3, 224, 224}, size;
    wasi_nn_tensor tensor = {dims, 4, WASI_NN_F32, image, sizeof image};

    uint64_t *at = times;
    *at++ = STEPS;
    for (long round = 0; round < rounds; round++) {
        uint64_t began = now();
        wasi_nn_error error = wasi_nn_set_input(context, 0, &tensor);
        uint64_t set = now();
        error |= wasi_nn_compute(context);
        uint64_t computed = now();
        error |= wasi_nn_get_output(context, 0, output, sizeof output, &size);
        uint64_t ended = now();
        check(error, "an inference");
        *at++ = set - began, *at++ = computed - set, *at++ = ended - computed;
    }
    write_all(times, (char *)at - (char *)times);
    write_all(output, size);
    return 0;
}
