/* run_any: a component guest that runs any model by the model's description, on data from files.
 *
 *     run_any (--graph NAME | --model FILE) [--signature NAME] [INPUT[:DIMS[:TYPE]]=FILE]...
 *
 * The file has the elements of the input, row-major and little-endian, or one string a line if the input takes strings.
 * DIMS, such as 1x3x224x224, is needed where more than one size is open, and TYPE, such as FP32, where the model doesn't
 * say. Without any INPUT, the description is printed; else the outputs are: their types, dimensions and first elements.
 */
#include <wasi_nn_component_ext.h>

#define PROGRAM "run_any"
#include "guest.h"

#define NONE ((nn_string){0})

enum { MOST_DIMS = 64, SHOWN = 10 };

static const char *const types[] = {"FP16", "FP32", "FP64", "BF16", "U8", "I32", "I64"};
static const uint32_t sizes[] = {2, 4, 8, 2, 1, 4, 8};

static bool same(nn_string a, nn_string b) { return a.size == b.size && starts_with(a, b.data, b.size); }

/* The description */

static void say_type(const nn_element_type *type) {
    switch (type->kind) {
    case NN_NUMBER: say(types[type->number]); break;
    case NN_BYTE_STRING: say("strings"); break;
    case NN_NATIVE: say_string(type->native); break;
    default: say("any type");
    }
}

static void print_tensor(const char *kind, const nn_tensor_description *tensor) {
    say(kind), say_string(tensor->name), say(": "), say_type(&tensor->type), say(tensor->has_rank ? " [" : " [...]");
    for (uint32_t i = 0; tensor->has_rank && i < tensor->dimensions.count; i++) {
        nn_dimension *dimension = &tensor->dimensions.items[i];
        if (i) say(", ");
        if (dimension->kind == NN_FIXED) say_unsigned(dimension->fixed);
        else if (dimension->kind == NN_NAMED) say_string(dimension->named);
        else say("?");
    }
    say(tensor->has_rank ? "]" : ""), say(tensor->optional ? ", optional" : "");
    write_line(get_stdout());
}

static void print_pair(const char *before, nn_string key, nn_string text) {
    say(before), say_string(key), say(": "), say_string(text);
    write_line(get_stdout());
}

static void print_description(const nn_graph_description *graph) {
    say("runs on "), say_string(graph->runtime), say(" ("), say_string(graph->device), say(")");
    write_line(get_stdout());
    for (uint32_t i = 0; i < graph->signatures.count; i++)
        print_pair("", (nn_string){"signature", 9}, graph->signatures.items[i]);
    for (uint32_t i = 0; i < graph->inputs.count; i++) print_tensor("input ", &graph->inputs.items[i]);
    for (uint32_t i = 0; i < graph->outputs.count; i++) print_tensor("output ", &graph->outputs.items[i]);
    for (uint32_t i = 0; i < graph->metadata.count; i++)
        print_pair("metadata ", graph->metadata.items[i].key, graph->metadata.items[i].text);
}

/* Inputs */

typedef struct { uint32_t sizes[MOST_DIMS], count; } shape;

/* A file's lines as strings: a tensor, or an error's handle. */
static nn_result strings_of(nn_bytes content, const shape *given) {
    uint32_t count = 0, start = 0;
    for (uint32_t i = 0; i < content.size; i++) count += content.data[i] == '\n' || i + 1 == content.size;
    nn_string *lines = take(count * sizeof *lines);
    for (uint32_t line = 0; line < count; line++) {
        uint32_t end = start;
        while (end < content.size && content.data[end] != '\n') end++;
        lines[line] = (nn_string){(const char *)content.data + start, end - start};
        start = end + 1;
    }
    nn_result tensor;
    nn_strings_tensor(given ? given->sizes : &count, given ? given->count : 1, lines, count, &tensor);
    return tensor;
}

/* The sizes of an input: those of the model, and for an open one what the file has. False if they aren't known. */
static bool fill(const nn_tensor_description *input, uint32_t elements, shape *filled) {
    uint64_t known = 1;
    uint32_t open = MOST_DIMS;
    filled->count = input->has_rank ? input->dimensions.count : 1;
    if (filled->count > MOST_DIMS) return false;
    for (uint32_t i = 0; i < filled->count; i++) {
        if (input->has_rank && input->dimensions.items[i].kind == NN_FIXED) {
            known *= filled->sizes[i] = input->dimensions.items[i].fixed;
        } else if (open == MOST_DIMS) {
            open = i;
        } else {
            return false;
        }
    }
    if (open < MOST_DIMS) filled->sizes[open] = known ? elements / known : 0;
    if (!filled->count) filled->sizes[filled->count++] = 1; /* a scalar */
    return true;
}

/* The type of a name, or the number of types. */
static uint32_t type_of(nn_string name) {
    uint32_t type = 0;
    while (type < sizeof sizes / sizeof *sizes && !equals(name, types[type])) type++;
    return type;
}

/* The input that an argument INPUT[:DIMS[:TYPE]]=FILE names; NULL after a message if the argument is wrong. */
static const nn_tensor_description *parse(nn_string text, const nn_graph_description *graph, nn_named_tensor *input) {
    const char *end = text.data + text.size, *equals_sign = text.data;
    while (equals_sign < end && *equals_sign != '=') equals_sign++;
    if (equals_sign == end) return give_up("an input is INPUT[:DIMS[:TYPE]]=FILE, not ", text), NULL;
    const char *colon = text.data;
    while (colon < equals_sign && *colon != ':') colon++;
    input->name = (nn_string){text.data, colon - text.data};
    const nn_tensor_description *found = NULL;
    for (uint32_t i = 0; i < graph->inputs.count; i++)
        if (same(graph->inputs.items[i].name, input->name)) found = &graph->inputs.items[i];
    if (!found) return give_up("the model has no input ", input->name), NULL;

    shape given = {.count = 0};
    const char *at = colon;
    while (at < equals_sign && (at == colon || *at == 'x') && given.count < MOST_DIMS) {
        at++;
        given.sizes[given.count++] = (uint32_t)number_at(&at, equals_sign);
    }
    if (at < equals_sign && *at != ':') return give_up("dimensions are such as 1x3x224x224, not ", text), NULL;
    nn_string type_name = {at + 1, at < equals_sign ? equals_sign - at - 1 : 0};
    nn_string path = {equals_sign + 1, end - equals_sign - 1};
    nn_bytes content;
    if (!read_file(path, &content)) return give_up("can't read (is it in a directory given with --dir?): ", path), NULL;

    if (found->type.kind == NN_BYTE_STRING) {
        nn_result tensor = strings_of(content, given.count ? &given : NULL);
        if (tensor.is_error) return give_up_with(tensor.handle), NULL;
        input->tensor = tensor.handle;
        return found;
    }
    if (found->type.kind == NN_NATIVE) return give_up("the host takes no tensors of the type of ", input->name), NULL;
    uint32_t type = type_name.size ? type_of(type_name) : found->type.kind == NN_NUMBER ? found->type.number : MOST_DIMS;
    if (type >= sizeof sizes / sizeof *sizes)
        return give_up("say one of wasi:nn's types, as in INPUT:1x3x224x224:FP32=FILE: ", input->name), NULL;
    if (!given.count && !fill(found, content.size / sizes[type], &given))
        return give_up("more than one size is open, so say all of them, as in INPUT:1x3x224x224=FILE: ", input->name), NULL;
    input->tensor = nn_tensor(given.sizes, given.count, type, content.data, content.size);
    return found;
}

/* Outputs */

static float from_half(uint16_t bits) {
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = fraction / 1024.0f;
    if (exponent == 31) return fraction ? __builtin_nanf("") : bits >> 15 ? -__builtin_inff() : __builtin_inff();
    if (exponent) value += 1;
    else exponent = 1;
    for (; exponent > 15; exponent--) value *= 2;
    for (; exponent < 15; exponent++) value /= 2;
    return bits >> 15 ? -value : value;
}

static float from_bfloat(uint16_t bits) {
    union { uint32_t bits; float value; } number = {(uint32_t)bits << 16};
    return number.value;
}

static void say_signed(int64_t number) {
    if (number < 0) say("-");
    say_unsigned(number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void say_element(uint32_t type, const uint8_t *at) {
    switch (type) {
    case NN_FP16: say_float(from_half(*(const uint16_t *)at)); break;
    case NN_FP32: say_float(*(const float *)at); break;
    case NN_FP64: say_float((float)*(const double *)at); break;
    case NN_BF16: say_float(from_bfloat(*(const uint16_t *)at)); break;
    case NN_U8: say_unsigned(*at); break;
    case NN_I32: say_signed(*(const int32_t *)at); break;
    default: say_signed(*(const int64_t *)at);
    }
}

static bool has_strings(nn_string name, const nn_graph_description *graph) {
    for (uint32_t i = 0; i < graph->outputs.count; i++) {
        nn_tensor_description *output = &graph->outputs.items[i];
        if (same(output->name, name)) return output->type.kind == NN_BYTE_STRING;
    }
    return false;
}

static int print_output(nn_named_tensor output, bool strings) {
    nn_dims dims;
    uint32_t type = nn_tensor_type(output.tensor), count;
    nn_tensor_dimensions(output.tensor, &dims);
    say_string(output.name), say(": "), say(strings ? "strings" : types[type]), say(" [");
    for (uint32_t i = 0; i < dims.count; i++) say(i ? ", " : ""), say_unsigned(dims.data[i]);
    say("]: ");
    if (strings) {
        nn_strings found;
        nn_strings_of(output.tensor, &found);
        if (found.is_error) return give_up_with(found.error);
        count = found.count;
        for (uint32_t i = 0; i < count && i < SHOWN; i++) say(i ? ", " : ""), say_string(found.items[i]);
    } else {
        nn_bytes data;
        nn_tensor_data(output.tensor, &data);
        count = data.size / sizes[type];
        for (uint32_t i = 0; i < count && i < SHOWN; i++) say(i ? ", " : ""), say_element(type, data.data + i * sizes[type]);
    }
    if (count > SHOWN) say(", ... ("), say_unsigned(count), say(strings ? " strings)" : " values)");
    write_line(get_stdout());
    nn_tensor_drop(output.tensor);
    return DONE;
}

__attribute__((__export_name__("wasi:cli/run@0.2.0#run")))
int run(void) {
    strings arguments;
    nn_result graph, context;
    get_arguments(&arguments);
    bool by_name = arguments.count > 2 && equals(arguments.items[1], "--graph");
    if (!by_name && !(arguments.count > 2 && equals(arguments.items[1], "--model")))
        return give_up("usage: run_any (--graph NAME | --model FILE) [--signature NAME] [INPUT[:DIMS[:TYPE]]=FILE]...", NONE);
    if (!open_graph(by_name, arguments.items[2], &graph)) return FAILED;
    uint32_t first = 3;
    if (arguments.count > 4 && equals(arguments.items[3], "--signature")) {
        nn_use_signature(graph.handle, arguments.items[4].data, arguments.items[4].size, &graph);
        if (graph.is_error) return give_up_with(graph.handle);
        first = 5;
    }
    nn_description description;
    nn_describe(graph.handle, &description);
    if (description.is_error) return give_up_with(description.error);
    if (first == arguments.count) return print_description(&description.graph), DONE;

    uint32_t count = arguments.count - first;
    nn_named_tensor *inputs = take(count * sizeof *inputs);
    for (uint32_t i = 0; i < count; i++)
        if (!parse(arguments.items[first + i], &description.graph, &inputs[i])) return FAILED;
    nn_outputs outputs;
    nn_init_execution_context(graph.handle, &context);
    if (context.is_error) return give_up_with(context.handle);
    nn_compute(context.handle, inputs, count, &outputs);
    if (outputs.is_error) return give_up_with(outputs.error);
    int result = DONE;
    for (uint32_t i = 0; i < outputs.count && result == DONE; i++)
        result = print_output(outputs.outputs[i], has_strings(outputs.outputs[i].name, &description.graph));
    return result;
}
