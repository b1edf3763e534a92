/* Arrays of every type in and out, a model from bytes, and the errors of mistakes.
 *
 *     tour ENCODING FILE...
 *
 * The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
 * one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].
 */
#include "guest.hpp"
#include <array>

template <class T> using Two = std::array<T, 2>;

/* Bytes where f32 belongs. A core module learns it at once, a component when it computes. */
static wnn::Result<wnn::Done> wrong_type(wnn::Context context) {
    auto set = context.set_input_at(1, "f32", wnn::Tensor({2}, Two<uint8_t>{1, 2}));
    return set ? context.compute() : set;
}

/* Numbers of a type that the core ABI lacks. */
static wnn::Result<std::string> bf16() {
    auto context = wnn::Graph::load_by_name("bf16").value().context().value();
    Two<wnn::bf16> numbers{wnn::bf16(1), wnn::bf16(-2)};
    if (auto set = context.set_input_at(0, "x", wnn::Tensor({2}, numbers)); !set) return set.error();
    context.compute().value();
    std::vector<float> floats;
    for (wnn::bf16 number : context.output<wnn::bf16>(0).value()) floats.push_back(float(number));
    return shown(floats);
}

int main(int argc, char **argv) {
    auto unknown = wnn::Graph::load_by_name("no such graph");
    std::printf("unknown name: %s, with a message: %s\n", std::string(code(unknown)).c_str(),
                unknown.error().message.empty() ? "false" : "true");

    auto graph = wnn::Graph::load_by_name("types").value();
    say("no inputs", graph.context().value().compute());
    say("wrong dims", graph.context().value().set_input_at(1, "f32", wnn::Tensor({3}, Two<float>{1, -2})));
    say("wrong type", wrong_type(graph.context().value()));

    auto context = graph.context().value();
    context.set_input_at(0, "f16", wnn::Tensor({2}, Two<wnn::f16>{{{0x3c00}, {0xc000}}})).value();
    context.set_input_at(1, "f32", wnn::Tensor({2}, Two<float>{1, -2})).value();
    context.set_input_at(2, "f64", wnn::Tensor({2}, Two<double>{1, -2})).value();
    context.set_input_at(3, "u8", wnn::Tensor({2}, Two<uint8_t>{1, 254})).value();
    context.set_input_at(4, "i32", wnn::Tensor({2}, Two<int32_t>{1, -2})).value();
    context.set_input_at(5, "i64", wnn::Tensor({2}, Two<int64_t>{1, -9007199254740993})).value();
    say("no output yet", context.output<float>(1));
    for (int times = 0; times < 2; times++) context.compute().value(); // inputs stay set
    std::vector<uint16_t> bits;
    for (wnn::f16 number : context.output<wnn::f16>(0).value()) bits.push_back(number.bits);
    std::printf("f16: %s\n", shown(bits).c_str());
    std::printf("f32: %s\n", shown(context.output<float>(1).value()).c_str());
    std::printf("f64: %s\n", shown(context.output<double>(2).value()).c_str());
    std::printf("u8: %s\n", shown(context.output<uint8_t>(3).value()).c_str());
    std::printf("i32: %s\n", shown(context.output<int32_t>(4).value()).c_str());
    std::printf("i64: %s\n", shown(context.output<int64_t>(5).value()).c_str());
    say("no such output", context.output<float>(6));

    int64_t small[1];
    auto read = context.output_into<int64_t>(5, small);
    std::printf("small buffer: %s, %u bytes needed\n", std::string(code(read)).c_str(), read.error().needed);
    int32_t large[3] = {};
    size_t count = context.output_into<int32_t>(4, large).value();
    std::printf("large buffer: %zu of %s\n", count, shown(large).c_str());

    auto sixteen = bf16();
    std::printf("bf16: %s\n", sixteen ? sixteen.value().c_str() : std::string(code(sixteen)).c_str());

    auto encoding = wnn::encoding_named(argc > 1 ? argv[1] : "");
    if (!encoding) {
        std::fputs("usage: tour ENCODING FILE...\n", stderr);
        return 1;
    }
    std::vector<std::string> files;
    for (int it = 2; it < argc; it++) files.push_back(read_file(argv[it]));
    std::vector<std::span<const std::byte>> builders;
    for (const std::string &file : files) builders.push_back(std::as_bytes(std::span(file)));
    auto relu = wnn::Graph::load(builders, *encoding).value().context().value(); // the context keeps its graph
    relu.set_input_at(0, "x", wnn::Tensor({4}, std::array<float, 4>{-1, 2, -3, 4})).value();
    relu.compute().value();
    std::printf("from bytes: %s\n", shown(relu.output<float>(0).value()).c_str());
    std::string_view text = "no model";
    const std::span<const std::byte> bad[] = {std::as_bytes(std::span(text))};
    std::printf("bad model: %s\n", wnn::Graph::load(bad, *encoding) ? "false" : "true");

    auto again = wnn::Graph::load_by_name("types").value(); // of the same name, while the first one is there
    { wnn::Graph first = std::move(graph); }
    say("after a drop", again.context());
    return 0;
}
