/* A guest that has the framework ncnn inside: times inferences on an input f32[1, 3, 224, 224].
 *
 *     ncnn_guest ROUNDS
 *
 * It reads network.param and network.bin. It writes as guests/c/measure.c does: the number of steps in a round (1), the
 * nanoseconds of each round, and the bytes of the last output.
 */
#include <net.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int argc, char **argv) {
    const uint64_t rounds = argc == 2 ? atol(argv[1]) : 0, steps = 1;
    ncnn::Net network;
    network.opt.num_threads = 1;
    if (!rounds || network.load_param("network.param") || network.load_model("network.bin")) return 1;
    ncnn::Mat image(224, 224, 3), output;
    for (int channel = 0, i = 0; channel < 3; channel++) {
        float *values = image.channel(channel);
        for (int at = 0; at < 224 * 224; at++, i++) values[at] = (i % 251) / 251.0f;
    }
    fwrite(&steps, sizeof steps, 1, stdout);
    for (uint64_t round = 0; round < rounds; round++) {
        const uint64_t began = now();
        ncnn::Extractor inference = network.create_extractor();
        inference.input("in0", image);
        if (inference.extract("out0", output)) return 1;
        const uint64_t taken = now() - began;
        fwrite(&taken, sizeof taken, 1, stdout);
    }
    return fwrite((const float *)output, sizeof(float), output.w, stdout) != (size_t)output.w;
}
