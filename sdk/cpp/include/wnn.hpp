/** @file wnn.hpp
 * wasi-nn for guests in C++20: one API over the core ABI and the component ABI, on top of `wnn.h` of the SDK for C, whose
 * macros choose the ABI. It needs no exceptions.
 *
 *     #include <array>
 *     #include <cstdio>
 *     #include <wnn.hpp>
 *
 *     int main() {
 *         auto context = wnn::Graph::load_by_name("net").value().context().value(); // it keeps its graph
 *         const std::array<float, 4> x{0.5f, -1, 2, 3};
 *         context.set_input_at(0, "x", wnn::Tensor({1, 4}, x)).value();
 *         context.compute().value();
 *         const std::vector<float> y = context.output<float>(0).value();
 *         std::printf("%g %g %g %g\n", y[0], y[1], y[2], y[3]);
 *     }
 *
 * A function that can fail gives a wnn::Result. value() is what the function produced; after a failure it says the reason
 * on stderr and ends the program. A program that handles failures asks the result first: `if (!result) result.error()`.
 *
 * Objects give back what they stand for when they are destroyed, as far as the ABI can. They can be moved, not copied.
 *
 * "(Extension.)" says that a function needs a host with the extensions wasi-nn:ext.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_HPP
#define WNN_HPP

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <wnn.h>

#include "wnn_words.hpp"

namespace wnn {

/** The name of a code, such as `not-found`. */
inline std::string_view name(Code code) { return wnn_code_name(static_cast<wnn_code>(code)); }
/** The name of a type, such as `f32`. */
inline std::string_view name(Type type) { return wnn_type_names[static_cast<int>(type)]; }
/** The name of an encoding, such as `onnx`. */
inline std::string_view name(Encoding encoding) { return wnn_encoding_names[static_cast<int>(encoding)]; }

/** The encoding of a name, if there is one. */
inline std::optional<Encoding> encoding_named(const std::string &name) {
    int found = wnn_encoding_named(name.c_str());
    return found < 0 ? std::nullopt : std::optional(static_cast<Encoding>(found));
}

/** A call that failed. */
struct Error {
    Code code;           /**< The reason as a code. */
    std::string message; /**< The reason in words: see wnn_message(). */
    uint32_t needed = 0; /**< Of a buffer that is too small: the bytes that it needs. See wnn_needed(). */

    /** The last failure of the SDK for C. */
    static Error last(wnn_code code) { return {static_cast<Code>(code), wnn_message(), wnn_needed()}; }
};

/** What a function produced, or the error of its failure. */
template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : content(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : content(std::in_place_index<1>, std::move(error)) {}

    /** Whether the call succeeded. */
    explicit operator bool() const { return content.index() == 0; }

    /** What the function produced. After a failure, says the reason on stderr and ends the program with the exit code 1. */
    T &value() & {
        require();
        return *std::get_if<0>(&content);
    }
    T value() && {
        require();
        return std::move(*std::get_if<0>(&content));
    }

    /** The error of a call that failed. Undefined for one that succeeded. */
    const Error &error() const { return *std::get_if<1>(&content); }

  private:
    void require() const {
        if (*this) return;
        std::fprintf(stderr, "%s: %s\n", wnn_code_name(static_cast<wnn_code>(error().code)), error().message.c_str());
        std::exit(1);
    }

    std::variant<T, Error> content;
};

/** What a function produces that only succeeds or fails. */
struct Done {};

inline Result<Done> done(wnn_code code) {
    if (code) return Error::last(code);
    return Done{};
}

/** The bits of a number of 16 bits, IEEE 754's binary16. */
struct f16 {
    uint16_t bits;
};

/** The bits of a bfloat16: the upper half of a float. */
struct bf16 {
    uint16_t bits;

    bf16() = default;
    explicit bf16(float number) : bits(round(std::bit_cast<uint32_t>(number))) {}
    explicit operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

  private:
    static uint16_t round(uint32_t number) { /* half to even; a NaN stays one */
        if ((number & 0x7fffffff) > 0x7f800000) return uint16_t(number >> 16 | 0x40);
        return uint16_t((number + 0x7fff + (number >> 16 & 1)) >> 16);
    }
};

/** The type of the tensors of a C++ type. */
template <class T> inline constexpr Type type_of = Type::u8;
template <> inline constexpr Type type_of<f16> = Type::f16;
template <> inline constexpr Type type_of<bf16> = Type::bf16;
template <> inline constexpr Type type_of<float> = Type::f32;
template <> inline constexpr Type type_of<double> = Type::f64;
template <> inline constexpr Type type_of<int32_t> = Type::i32;
template <> inline constexpr Type type_of<int64_t> = Type::i64;

/** A type of C++ that is the type of a tensor's elements. */
template <class T>
concept Element = std::is_same_v<T, uint8_t> || std::is_same_v<T, std::byte> || std::is_same_v<T, char> ||
                  type_of<T> != Type::u8;

/** A tensor that is passed to a graph: a view of the caller's array, with dims. Elements are in row-major order. */
class Tensor {
  public:
    /** An array with these dims. Setting it as an input fails unless the dims multiply out to its length. */
    template <class Array>
    Tensor(std::vector<uint32_t> dims, const Array &array)
        : Tensor(std::move(dims), type_of<std::remove_cvref_t<decltype(*std::data(array))>>,
                 std::as_bytes(std::span(std::data(array), std::size(array)))) {
        static_assert(Element<std::remove_cvref_t<decltype(*std::data(array))>>, "wasi-nn has no tensors of this type");
    }

    /** The bytes of elements, little-endian. */
    Tensor(std::vector<uint32_t> dims, Type type, std::span<const std::byte> bytes)
        : dims(std::move(dims)), type(type), bytes(bytes) {}

    /** The same as the SDK for C has it. It is valid as long as this one and the array are. */
    wnn_tensor view() const {
        return {static_cast<wnn_type>(type), dims.data(), uint32_t(dims.size()), bytes.data(), uint32_t(bytes.size())};
    }

  private:
    std::vector<uint32_t> dims;
    Type type;
    std::span<const std::byte> bytes;
};

/** A tensor that a graph gave. */
class Output {
  public:
    explicit Output(const wnn_owned &tensor) : tensor(tensor) {}
    Output(Output &&other) noexcept : tensor(std::exchange(other.tensor, {})) {}
    Output &operator=(Output &&other) noexcept {
        std::swap(tensor, other.tensor);
        return *this;
    }
    ~Output() { wnn_owned_free(&tensor); }

    std::string_view name() const { return tensor.name; }
    Type type() const { return static_cast<Type>(tensor.type); }
    std::span<const uint32_t> dims() const { return {tensor.dims, tensor.rank}; }
    std::span<const std::byte> bytes() const { return {static_cast<const std::byte *>(tensor.data), tensor.size}; }

    /** The elements, as long as this object is there. Fails with `invalid_argument` if they are of another type. */
    template <Element T> Result<std::span<const T>> elements() const {
        if (type_of<T> != type()) return Error{Code::invalid_argument, "the tensor is of another type"};
        return std::span(static_cast<const T *>(tensor.data), tensor.size / sizeof(T));
    }

  private:
    wnn_owned tensor;
};

/** A graph, as its host describes it. The texts and lists in it are as long there as it is. */
class Description {
  public:
    explicit Description(const wnn_description &description) : content(description) {}
    Description(Description &&other) noexcept : content(std::exchange(other.content, {})) {}
    ~Description() { wnn_description_free(&content); }

    Encoding encoding() const { return static_cast<Encoding>(content.encoding); }
    std::string_view runtime() const { return text(content.runtime); }
    std::string_view device() const { return text(content.device); }
    std::string_view signature() const { return text(content.signature); }
    std::span<const wnn_text> signatures() const { return {content.signatures, content.signature_count}; }
    std::span<const wnn_tensor_description> inputs() const { return {content.inputs, content.input_count}; }
    bool declares_outputs() const { return content.has_outputs; }
    std::span<const wnn_tensor_description> outputs() const { return {content.outputs, content.output_count}; }
    std::span<const wnn_metadata> metadata() const { return {content.metadata, content.metadata_count}; }

    /** A text of the description. */
    static std::string_view text(const wnn_text &text) { return {text.data, text.size}; }

  private:
    wnn_description content;
};

/** An execution context: inputs that are set, and outputs of the last compute. It keeps its graph. */
class Context {
  public:
    explicit Context(std::unique_ptr<wnn_context> context) : context(std::move(context)) {}
    Context(Context &&) noexcept = default;
    Context &operator=(Context &&other) noexcept {
        std::swap(context, other.context);
        return *this;
    }
    ~Context() {
        if (context) wnn_context_free(context.get());
    }

    /** Set an input, counted from 0. It stays set from one compute to the next: see wnn_set_input(). */
    Result<Done> set_input(uint32_t index, const Tensor &tensor) {
        wnn_tensor view = tensor.view();
        return done(wnn_set_input(context.get(), index, &view));
    }

    /** Set an input by its name. (Extension in a core module.) */
    Result<Done> set_input_named(const std::string &name, const Tensor &tensor) {
        wnn_tensor view = tensor.view();
        return done(wnn_set_input_named(context.get(), name.c_str(), &view));
    }

    /** Set the input that has this index and this name: by the index in a core module, by the name in a component. */
    Result<Done> set_input_at(uint32_t index, const std::string &name, const Tensor &tensor) {
        wnn_tensor view = tensor.view();
        return done(wnn_set_input_at(context.get(), index, name.c_str(), &view));
    }

    /** Run the graph on the inputs that are set. */
    Result<Done> compute() { return done(wnn_compute(context.get())); }

    /** An output of the last compute, counted from 0. In a component, fails with `invalid_argument` if it is of another
     * type than T; `uint8_t` gives the bytes of any. */
    template <Element T> Result<std::vector<T>> output(uint32_t index) {
        void *data;
        uint32_t size;
        wnn_code code = wnn_output(context.get(), index, static_cast<wnn_type>(type_of<T>), &data, &size);
        if (code) return Error::last(code);
        const T *elements = static_cast<const T *>(data);
        std::vector<T> copy(elements, elements + size / sizeof(T));
        std::free(data);
        if (size % sizeof(T)) return Error{Code::invalid_argument, "the output has no whole elements of this type"};
        return copy;
    }

    /** Copy an output into a buffer; gives the number of elements. Fails with `too_large` if the buffer is too small:
     * the error's `needed` has the bytes that it needs. */
    template <Element T> Result<size_t> output_into(uint32_t index, std::span<T> buffer) {
        uint32_t size, room = uint32_t(buffer.size_bytes());
        wnn_type type = static_cast<wnn_type>(type_of<T>);
        wnn_code code = wnn_output_into(context.get(), index, type, buffer.data(), room, &size);
        if (code) return Error::last(code);
        return size / sizeof(T);
    }

    /** An output with its name, type and dims. (Extension in a core module.) */
    Result<Output> output_tensor(uint32_t index) {
        wnn_owned tensor;
        wnn_code code = wnn_output_tensor(context.get(), index, &tensor);
        if (code) return Error::last(code);
        return Output(tensor);
    }

    /** All outputs for these inputs alone. (Extension in a core module, where inputs that are set stay so.) */
    Result<std::vector<Output>> compute_named(std::initializer_list<std::pair<const char *, Tensor>> inputs) {
        std::vector<wnn_named_tensor> named;
        for (const auto &[name, tensor] : inputs) named.push_back({name, tensor.view()});
        wnn_owned *found;
        uint32_t count;
        wnn_code code = wnn_compute_named(context.get(), named.data(), uint32_t(named.size()), &found, &count);
        if (code) return Error::last(code);
        std::vector<Output> outputs;
        for (uint32_t it = 0; it < count; it++) outputs.emplace_back(found[it]);
        std::free(found); /* the outputs have what is in it */
        return outputs;
    }

    /** Begin a sequence on the inputs that are set. (Extension, as the functions below.) */
    Result<Done> begin_sequence() { return done(wnn_begin_sequence(context.get())); }

    /** Make the next piece, whose outputs are the context's then. False after the last one. */
    Result<bool> next_of_sequence() {
        bool has_piece;
        wnn_code code = wnn_next_of_sequence(context.get(), &has_piece);
        if (code) return Error::last(code);
        return has_piece;
    }

    /** End a sequence early, and drop its outputs. */
    Result<Done> end_sequence() { return done(wnn_end_sequence(context.get())); }

    /** Set an input of byte strings, in row-major order. */
    Result<Done> set_strings(uint32_t index, const std::vector<uint32_t> &dims,
                             std::span<const std::string_view> strings) {
        auto texts = texts_of(strings);
        uint32_t rank = uint32_t(dims.size()), count = uint32_t(texts.size());
        return done(wnn_set_strings(context.get(), index, dims.data(), rank, texts.data(), count));
    }

    /** Set an input of byte strings that has this index and this name. */
    Result<Done> set_strings_at(uint32_t index, const std::string &name, const std::vector<uint32_t> &dims,
                                std::span<const std::string_view> strings) {
        auto texts = texts_of(strings);
        uint32_t rank = uint32_t(dims.size()), count = uint32_t(texts.size());
        return done(wnn_set_strings_at(context.get(), index, name.c_str(), dims.data(), rank, texts.data(), count));
    }

    /** An output of byte strings, in row-major order. */
    Result<std::vector<std::string>> strings(uint32_t index) {
        wnn_text *found;
        uint32_t count;
        wnn_code code = wnn_strings(context.get(), index, &found, &count);
        if (code) return Error::last(code);
        std::vector<std::string> strings;
        for (uint32_t it = 0; it < count; it++) strings.emplace_back(found[it].data, found[it].size);
        std::free(found);
        return strings;
    }

#ifdef WNN_WASMEDGE
    /** Make the next piece of a text. Fails with `end_of_sequence` after the last one. */
    Result<Done> compute_single() { return done(wnn_compute_single(context.get())); }

    /** The last piece (index 0), or what is told of the sequence so far (index 1). */
    Result<std::string> output_single(uint32_t index) {
        void *data;
        uint32_t size;
        wnn_code code = wnn_output_single(context.get(), index, &data, &size);
        if (code) return Error::last(code);
        std::string piece(static_cast<const char *>(data), size);
        std::free(data);
        return piece;
    }

    /** End a sequence, and forget it. */
    Result<Done> fini_single() { return done(wnn_fini_single(context.get())); }
#endif

  private:
    static std::vector<wnn_text> texts_of(std::span<const std::string_view> strings) {
        std::vector<wnn_text> texts;
        for (std::string_view string : strings) texts.push_back({string.data(), uint32_t(string.size())});
        return texts;
    }

    std::unique_ptr<wnn_context> context;
};

/** A loaded model. */
class Graph {
  public:
    explicit Graph(wnn_graph graph) : graph(graph), holds(true) {}
    Graph(Graph &&other) noexcept : graph(other.graph), holds(std::exchange(other.holds, false)) {}
    Graph &operator=(Graph &&other) noexcept {
        std::swap(graph, other.graph);
        std::swap(holds, other.holds);
        return *this;
    }
    ~Graph() {
        if (holds) wnn_graph_free(&graph);
    }

    /** Load a model from its bytes: one builder for most encodings, the `.xml` and the `.bin` for OpenVINO. */
    static Result<Graph> load(std::span<const std::span<const std::byte>> builders, Encoding encoding,
                              Target target = Target::cpu) {
        std::vector<wnn_builder> parts;
        for (auto builder : builders) parts.push_back({builder.data(), uint32_t(builder.size())});
        wnn_graph graph;
        return made(wnn_load(parts.data(), uint32_t(parts.size()), static_cast<wnn_encoding>(encoding),
                             static_cast<wnn_target>(target), &graph), graph);
    }

    /** Load a graph that the host's operator named. Fails with `not_found` if there is none of this name. */
    static Result<Graph> load_by_name(const std::string &name) {
        wnn_graph graph;
        return made(wnn_load_by_name(name.c_str(), &graph), graph);
    }

#ifdef WNN_WASMEDGE
    /** Load a named graph with a configuration in JSON. A graph that is loaded already keeps the one that it has. */
    static Result<Graph> load_by_name_with_config(const std::string &name, const std::string &config) {
        wnn_graph graph;
        return made(wnn_load_by_name_with_config(name.c_str(), config.c_str(), &graph), graph);
    }
#endif

    /** An execution context. */
    Result<Context> context() const {
        auto context = std::make_unique<wnn_context>();
        wnn_code code = wnn_init_context(&graph, context.get());
        if (code) return Error::last(code);
        return Context(std::move(context));
    }

    /** What the graph is, and what inputs and outputs it has. (Extension, as the functions below.) */
    Result<Description> describe() const {
        wnn_description description;
        wnn_code code = wnn_describe(&graph, &description);
        if (code) return Error::last(code);
        return Description(description);
    }

    /** The graph of another signature of the model, with the same weights and variables. */
    Result<Graph> use_signature(const std::string &name) const {
        wnn_graph other;
        return made(wnn_use_signature(&graph, name.c_str(), &other), other);
    }

    /** The variables, as the bytes of a safetensors file. */
    Result<std::vector<std::byte>> state() const {
        void *data;
        uint32_t size;
        wnn_code code = wnn_state(&graph, &data, &size);
        if (code) return Error::last(code);
        const std::byte *bytes = static_cast<const std::byte *>(data);
        std::vector<std::byte> state(bytes, bytes + size);
        std::free(data);
        return state;
    }

    /** Set variables to the values in a safetensors file. */
    Result<Done> set_state(std::span<const std::byte> state) const {
        return done(wnn_set_state(&graph, state.data(), uint32_t(state.size())));
    }

  private:
    static Result<Graph> made(wnn_code code, wnn_graph graph) {
        if (code) return Error::last(code);
        return Graph(graph);
    }

    wnn_graph graph;
    bool holds;
};

} // namespace wnn

#endif
