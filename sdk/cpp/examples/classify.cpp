/* What is in these pictures? The five best labels of each.
 *
 *     classify GRAPH INPUT LABELS PICTURE...
 *
 * A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
 * [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.
 */
#include "guest.hpp"
#include <algorithm>
#include <cmath>

struct Image {
    std::vector<uint32_t> dims;
    std::vector<float> numbers;
};

static Image image_of(const char *path) {
    std::string file = read_file(path);
    unsigned width, height;
    int header = 0;
    if (std::sscanf(file.c_str(), "P6 %u %u 255%n", &width, &height, &header) != 2 || !header ||
        3ull * width * height > file.size() - header - 1) {
        std::fprintf(stderr, "%s is no binary PPM of one byte a colour\n", path);
        std::exit(1);
    }
    auto pixels = reinterpret_cast<const uint8_t *>(file.data()) + header + 1;
    Image image{{1, 3, height, width}, {}};
    for (unsigned colour = 0; colour < 3; colour++)
        for (unsigned at = 0; at < width * height; at++)
            image.numbers.push_back((pixels[3 * at + colour] - 127.0f) / 128.0f);
    return image;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        std::fputs("usage: classify GRAPH INPUT LABELS PICTURE...\n", stderr);
        return 2;
    }
    std::string text = read_file(argv[3]);
    std::vector<std::string_view> labels;
    for (size_t from = 0, to; (to = text.find('\n', from)) != text.npos; from = to + 1)
        labels.push_back(std::string_view(text).substr(from, to - from));

    auto context = wnn::Graph::load_by_name(argv[1]).value().context().value(); // it keeps its graph
    for (int picture = 4; picture < argc; picture++) {
        Image image = image_of(argv[picture]);
        context.set_input_at(0, argv[2], wnn::Tensor(image.dims, image.numbers)).value();
        context.compute().value();
        std::vector<float> scores = context.output<float>(0).value();
        float greatest = *std::max_element(scores.begin(), scores.end()), sum = 0;
        for (float score : scores) sum += std::exp(score - greatest);
        std::vector<size_t> order;
        for (size_t it = 0; it < scores.size(); it++) order.push_back(it);
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
        std::puts(argv[picture]);
        order.resize(std::min<size_t>(5, order.size()));
        for (size_t place : order) {
            std::string_view label = place < labels.size() ? labels[place] : "?";
            std::printf("  %3d %%  %.*s\n", int(100 * std::exp(scores[place] - greatest) / sum + 0.5f),
                        int(label.size()), label.data());
        }
    }
    return 0;
}
