/* The extensions: descriptions, signatures, variables, byte strings and sequences. In a build for WasmEdge's functions,
 * its streaming too.
 *
 * The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back, and
 * `speller`, which spells a word letter by letter and fails at `?`.
 */
#include "guest.hpp"
#include <array>

template <class T> using Two = std::array<T, 2>;
using wnn::Tensor;

static std::string str(std::string_view text) { return std::string(text); }
static std::string str(const wnn_text &text) { return std::string(text.data, text.size); }

static void named() {
    Two<int64_t> i64{7, -8};
    Two<wnn::f16> f16{};
    Two<uint8_t> u8{5, 6};
    Two<float> f32{1, 2};
    Two<double> f64{3, 4};
    Two<int32_t> i32{3, 4};
    auto context = wnn::Graph::load_by_name("types").value().context().value();
    auto outputs = context.compute_named({{"i64", Tensor({2}, i64)}, {"f16", Tensor({2}, f16)}, {"u8", Tensor({2}, u8)},
                                          {"f32", Tensor({2}, f32)}, {"f64", Tensor({2}, f64)}, {"i32", Tensor({2}, i32)}});
    for (const wnn::Output &output : outputs.value())
        std::printf("%s: %s %s, %zu bytes\n", str(output.name()).c_str(), str(name(output.type())).c_str(),
                    shown(output.dims()).c_str(), output.bytes().size());
    say("unknown input", context.compute_named({{"none", Tensor({2}, u8)}}));
    context.set_input_named("i64", Tensor({2}, i64)).value();
    context.set_input_named("f16", Tensor({2}, f16)).value();
    context.set_input_named("u8", Tensor({2}, u8)).value();
    context.set_input_named("f32", Tensor({2}, f32)).value();
    context.set_input_named("f64", Tensor({2}, f64)).value();
    context.set_input_named("i32", Tensor({2}, i32)).value();
    context.compute().value();
    auto output = context.output_tensor(5).value();
    std::printf("by name: %s %s\n", str(output.name()).c_str(), shown(output.elements<int64_t>().value()).c_str());
    say("of another type", output.elements<double>());
}

static void show(const char *what, const wnn_tensor_description &tensor) {
    std::string type = "any numbers", dims;
    if (tensor.type.kind == WNN_ELEMENT_NUMBER) type = wnn_type_names[tensor.type.of.number];
    if (tensor.type.kind == WNN_ELEMENT_BYTE_STRING) type = "byte strings";
    if (tensor.type.kind == WNN_ELEMENT_NATIVE) type = str(tensor.type.of.native);
    for (const wnn_dimension &dim : std::span(tensor.dims, tensor.rank)) {
        dims += dims.empty() ? "" : ", ";
        if (dim.kind == WNN_DIMENSION_FIXED) dims += std::to_string(dim.of.size);
        else dims += dim.kind == WNN_DIMENSION_NAMED ? str(dim.of.name) : "?";
    }
    if (!tensor.has_dims) dims = "...";
    std::printf("%s %s: %s [%s]\n", what, str(tensor.name).c_str(), type.c_str(), dims.c_str());
}

static void show(const wnn::Description &graph) {
    std::printf("%s on %s (%s)\n", str(name(graph.encoding())).c_str(), str(graph.runtime()).c_str(),
                str(graph.device()).c_str());
    std::string signatures;
    for (const wnn_text &signature : graph.signatures()) signatures += (signatures.empty() ? "" : ", ") + str(signature);
    std::printf("signature %s of %s\n", str(graph.signature()).c_str(), signatures.c_str());
    for (const auto &input : graph.inputs()) show("input", input);
    for (const auto &output : graph.outputs()) show("output", output);
    for (const auto &[key, text] : graph.metadata()) std::printf("%s: %s\n", str(key).c_str(), str(text).c_str());
}

static void learn(const char *what, wnn::Context &context, Two<float> x) {
    context.set_input_at(0, "x", Tensor({2}, x)).value();
    context.compute().value();
    std::printf("%s: %s\n", what, shown(context.output<float>(0).value()).c_str());
}

static void learner() {
    auto graph = wnn::Graph::load_by_name("learner").value();
    show(graph.describe().value());
    say("unknown signature", graph.use_signature("none"));
    auto training = graph.use_signature("train").value().context().value();
    learn("train", training, {1, 2});
    auto state = graph.state().value();
    std::printf("state: %zu bytes\n", state.size());
    learn("train", training, {1, 2});
    auto inferring = graph.context().value();
    learn("infer", inferring, {1, 1});
    graph.set_state(state).value();
    learn("restored", inferring, {1, 1});
    say("bad state", graph.set_state(std::as_bytes(std::span(std::string_view("no state")))));
    say("no state", wnn::Graph::load_by_name("echo").value().state());
}

static void strings() {
    auto graph = wnn::Graph::load_by_name("echo").value();
    auto description = graph.describe().value();
    show("input", description.inputs()[0]);
    auto context = graph.context().value();
    const std::string_view texts[] = {"ab", "", "\xc3\xa9"};
    context.set_strings_at(0, "x", {3}, texts).value();
    context.compute().value();
    std::string shown;
    for (const std::string &text : context.strings(0).value()) shown += " '" + text + "'";
    std::printf("strings:%s\n", shown.c_str());
    // A core module learns it at once, a component when it computes.
    auto set = context.set_strings_at(0, "x", {2}, texts);
    say("wrong number", set ? context.compute() : set);
}

static void set_prompt(wnn::Context &context, std::string_view word) {
    context.set_input_at(0, "prompt", Tensor({uint32_t(word.size())}, word)).value();
}

static void spell(const char *what, wnn::Context &context, std::string_view word) {
    set_prompt(context, word);
    context.begin_sequence().value();
    std::string letters;
    auto next = context.next_of_sequence();
    for (; next && next.value(); next = context.next_of_sequence())
        letters += " " + std::string(1, char(context.output<uint8_t>(0).value()[0]));
    std::printf("%s:%s %s\n", what, letters.c_str(), next ? "end" : str(code(next)).c_str());
}

static void sequences() {
    auto context = wnn::Graph::load_by_name("speller").value().context().value();
    spell("sequence", context, "abc");
    spell("failing", context, "d?");
    set_prompt(context, "xyz");
    context.begin_sequence().value();
    context.next_of_sequence().value();
    context.end_sequence().value();
    say("after its end", context.output<uint8_t>(0));
}

#ifdef WNN_WASMEDGE
static void streaming() {
    say("configured", wnn::Graph::load_by_name_with_config("speller", "{}"));
    auto context = wnn::Graph::load_by_name_with_config("speller", "").value().context().value();
    set_prompt(context, "abc");
    std::string letters;
    auto computed = context.compute_single();
    for (; computed; computed = context.compute_single()) letters += " " + context.output_single(0).value();
    std::printf("streaming:%s %s\n", letters.c_str(), str(code(computed)).c_str());
    context.fini_single().value();
}
#endif

int main() {
    named();
    learner();
    strings();
    sequences();
#ifdef WNN_WASMEDGE
    streaming();
#endif
    return 0;
}
