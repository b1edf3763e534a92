// A guest in C++: it tells the colour of a red square. Your own begins here.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <wnn.hpp>

constexpr int size = 8, area = size * size;
constexpr std::array labels{"black", "white", "red", "green", "blue", "yellow"};

// The model that the operator named, or else the one in the guest's own directory.
static wnn::Graph colours() {
    auto named = wnn::Graph::load_by_name("colours");
    if (named || named.error().code != wnn::Code::not_found) return std::move(named).value(); // a failure ends the guest
    std::puts("no graph is named colours here: loading colours.onnx");
    std::FILE *file = std::fopen("colours.onnx", "rb");
    if (!file) {
        std::fputs("colours.onnx can't be opened: give the guest this directory, --dir .\n", stderr);
        std::exit(1);
    }
    std::vector<std::byte> model(65536);
    model.resize(std::fread(model.data(), 1, model.size(), file));
    std::fclose(file);
    const std::array<std::span<const std::byte>, 1> builders{model};
    return wnn::Graph::load(builders, wnn::Encoding::onnx, wnn::Target::cpu).value();
}

int main() {
    auto context = colours().context().value(); // it keeps its graph
    std::vector<float> picture(3 * area, -0.9f);
    std::fill_n(picture.begin(), area, 0.9f); // the red channel comes first
    context.set_input_at(0, "picture", wnn::Tensor({1, 3, size, size}, picture)).value();
    context.compute().value();
    std::vector<float> scores = context.output<float>(0).value();
    std::puts(labels[std::max_element(scores.begin(), scores.end()) - scores.begin()]);
}
