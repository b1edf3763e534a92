/* Inferences of four numbers: loop GRAPH INPUT ROUNDS. */
#include <array>
#include <wnn.hpp>

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    auto context = wnn::Graph::load_by_name(argv[1]).value().context().value();
    const std::array<float, 4> x{1, -1, 2, -2};
    std::array<float, 4> y{};
    const std::string name = argv[2];
    const wnn::Tensor input({4}, x);
    for (int rounds = std::atoi(argv[3]); rounds; rounds--) {
        context.set_input_at(0, name, input).value();
        context.compute().value();
        context.output_into<float>(0, y).value();
    }
    return y[0] != 1;
}
