/* train: train a model that has signatures for it, and keep what it has learned.
 *
 *     train (--graph NAME | --model FILE) --features FILE --labels FILE [--from STATE] [--to STATE] [--epochs N]
 *           [--batch N] [--hold-out N] [--train NAME] [--infer NAME]
 *
 * The signature `train` takes features and labels, changes the model's variables, and gives the loss; the signature
 * `infer` takes features, and gives a score for each class, or the class as an integer. --train and --infer give other names
 * for them. The files have the features as f32s, one row after another, and the labels as i32s; both are little-endian. An
 * epoch trains on all rows but the last ones, which are held out: the accuracy is theirs, or that of all rows if none are.
 * --from begins with a state that --to has written: a safetensors file with the variables.
 */
#include "describe.h"

#define USAGE                                                                                                  \
    "train (--graph NAME | --model FILE) --features FILE --labels FILE [--from STATE] [--to STATE] [--epochs N]" \
    " [--batch N] [--hold-out N] [--train NAME] [--infer NAME]"

/* A signature with its context, its inputs, and the number of rows that it takes at once. */
typedef struct part {
    wasi_nn_context context;
    const wasi_nn_graph_description *description;
    uint32_t features, labels; /* the indexes of these inputs */
    uint32_t batch;            /* 0 if it takes any number of rows */
} part;

typedef struct table {
    const float *features;
    const int32_t *labels;
    uint32_t rows, width;
} table;

static part open_part(wasi_nn_graph graph) {
    part opened = {context_on(graph), describe(graph), 0, 0, 0};
    if (!opened.description->input_count) DIE("the signature takes nothing");
    return opened;
}

/* The inputs of `train`: the features have the name of the input of `infer`, or are the first one; the labels are the other. */
static void find_inputs(part *train, const part *infer) {
    wasi_nn_text name = infer->description->inputs[0].name;
    uint32_t count = train->description->input_count;
    if (count != 2) DIE("the signature to train takes %u inputs, not 2", count);
    for (uint32_t n = 0; n < 2; n++) {
        wasi_nn_text other = train->description->inputs[n].name;
        if (name.size == other.size && !memcmp(name.data, other.data, name.size)) train->features = n;
    }
    train->labels = 1 - train->features;
}

/* The dimensions of an input for some rows; the first is that of rows. Gives their number. */
static uint32_t dims_of(const wasi_nn_tensor_description *input, uint32_t rows, uint32_t width, uint32_t *dims) {
    dims[0] = rows;
    if (!input->has_dims || !input->rank) {
        dims[1] = width;
        return width > 1 ? 2 : 1;
    }
    uint32_t open = 0, known = 1;
    for (uint32_t n = 1; n < input->rank; n++) {
        dims[n] = input->dims[n].kind == WASI_NN_FIXED ? input->dims[n].size : 0;
        if (dims[n]) known *= dims[n];
        else open = n;
    }
    if (open) dims[open] = width / known;
    for (uint32_t n = 1; n < input->rank; n++)
        if (!dims[n]) dims[n] = 1;
    return input->rank;
}

static uint32_t fixed_rows(const wasi_nn_tensor_description *input) {
    return input->has_dims && input->rank && input->dims[0].kind == WASI_NN_FIXED ? input->dims[0].size : 0;
}

static void set_features(const part *to, const table *data, uint32_t first, uint32_t rows) {
    uint32_t dims[64];
    const wasi_nn_tensor_description *input = &to->description->inputs[to->features];
    uint32_t rank = dims_of(input, rows, data->width, dims);
    wasi_nn_tensor tensor = {dims, rank, WASI_NN_F32, data->features + (size_t)first * data->width, rows * data->width * 4};
    check(wasi_nn_set_input(to->context, to->features, &tensor), "set_input of features");
}

/* Set the labels, in the type that the model takes: i64 where it doesn't say. */
static void set_labels(const part *to, const table *data, uint32_t first, uint32_t rows) {
    uint32_t dims[64];
    const wasi_nn_tensor_description *input = &to->description->inputs[to->labels];
    uint8_t type = input->type.kind == WASI_NN_NUMBERS ? input->type.number : WASI_NN_I64;
    int64_t *converted = malloc((rows + 1) * sizeof *converted);
    uint32_t size = type == WASI_NN_I64 || type == WASI_NN_F64 ? 8 : type == WASI_NN_U8 ? 1 : 4;
    for (uint32_t n = 0; n < rows; n++) {
        int32_t label = data->labels[first + n];
        switch (type) {
        case WASI_NN_I64: converted[n] = label; break;
        case WASI_NN_I32: ((int32_t *)converted)[n] = label; break;
        case WASI_NN_F32: ((float *)converted)[n] = label; break;
        case WASI_NN_F64: ((double *)converted)[n] = label; break;
        case WASI_NN_U8: ((uint8_t *)converted)[n] = label; break;
        default: DIE("the labels are of a type that this guest doesn't know");
        }
    }
    wasi_nn_tensor tensor = {dims, dims_of(input, rows, 1, dims), type, converted, rows * size};
    check(wasi_nn_set_input(to->context, to->labels, &tensor), "set_input of labels");
    free(converted);
}

/* One pass over the first `rows` rows; gives the mean loss of its steps. */
static double train_once(const part *train, const table *data, uint32_t rows) {
    double loss = 0;
    uint32_t steps = 0, batch = train->batch ? train->batch : rows;
    for (uint32_t first = 0; first < rows; first += batch) {
        uint32_t count = rows - first < batch ? rows - first : batch;
        if (count < batch && fixed_rows(&train->description->inputs[train->features])) break; /* no whole batch */
        set_features(train, data, first, count);
        set_labels(train, data, first, count);
        check(wasi_nn_compute(train->context), "compute of the signature to train");
        bytes output = output_of(train->context, 0);
        float value;
        if (output.size < sizeof value) DIE("the signature to train gives no loss");
        memcpy(&value, output.data, sizeof value);
        free(output.data);
        loss += value;
        steps++;
    }
    if (!steps) DIE("%u rows are less than a batch", rows);
    return loss / steps;
}

/* The class that the model gives to a row: an integer, or the place of the highest of `classes` scores. */
static int64_t class_of(bytes output, uint8_t type, uint32_t row, uint32_t classes) {
    int32_t i32;
    int64_t i64;
    switch (type) {
    case WASI_NN_I64: memcpy(&i64, output.data + row * 8, 8); return i64;
    case WASI_NN_I32: memcpy(&i32, output.data + row * 4, 4); return i32;
    }
    const float *scores = (const float *)output.data + (size_t)row * classes;
    uint32_t best = 0;
    for (uint32_t n = 1; n < classes; n++)
        if (scores[n] > scores[best]) best = n;
    return best;
}

/* How many of the rows from `first` on the model tells, as a fraction. */
static double accuracy(const part *infer, const table *data, uint32_t first) {
    uint32_t right = 0, seen = 0, batch = infer->batch ? infer->batch : data->rows - first;
    for (; first + batch <= data->rows; first += batch) {
        set_features(infer, data, first, batch);
        check(wasi_nn_compute(infer->context), "compute of the signature to infer");
        wasi_nn_tensor_description *result = describe_output(infer->context, 0);
        uint8_t type = result && result->type.kind == WASI_NN_NUMBERS ? result->type.number : WASI_NN_U8;
        uint32_t width = type == WASI_NN_I64 ? 8 : 4;
        bytes output = output_of(infer->context, 0);
        uint32_t classes = output.size / width / batch;
        if (!classes || (type != WASI_NN_F32 && (classes > 1 || (type != WASI_NN_I64 && type != WASI_NN_I32))))
            DIE("output 0 of the signature to infer is neither scores of f32 nor classes of i32 or i64");
        for (uint32_t row = 0; row < batch; row++) {
            right += class_of(output, type, row, classes) == data->labels[first + row];
            seen++;
        }
        free(output.data);
        free(result);
    }
    if (!seen) DIE("the rows for the accuracy are less than a batch");
    return (double)right / seen;
}

static void save_state(wasi_nn_graph graph, const char *path) {
    bytes state = {NULL, 0};
    wasi_nn_error error = wasi_nn_state_get(graph, NULL, 0, &state.size);
    if (error && (error != WASI_NN_TOO_LARGE || !state.size)) check(error, "state_get");
    state.data = malloc(state.size + 1);
    if (!state.data) DIE("a state of %u bytes is too large", state.size);
    check(wasi_nn_state_get(graph, state.data, state.size, &state.size), "state_get");
    write_file(path, state.data, state.size);
    printf("state: %u bytes in %s\n", state.size, path);
    free(state.data);
}

int main(int argc, char **argv) {
    const char *name = NULL, *model = NULL, *features = NULL, *labels = NULL, *from = NULL, *to = NULL, *train_name = "train",
               *infer_name = "infer";
    uint32_t epochs = 20, batch = 0, held_out = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--graph")) name = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--model")) model = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--features")) features = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--labels")) labels = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--from")) from = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--to")) to = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--train")) train_name = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--infer")) infer_name = value_of(argc, argv, &i);
        else if (!strcmp(argv[i], "--epochs")) epochs = strtoul(value_of(argc, argv, &i), NULL, 10);
        else if (!strcmp(argv[i], "--batch")) batch = strtoul(value_of(argc, argv, &i), NULL, 10);
        else if (!strcmp(argv[i], "--hold-out")) held_out = strtoul(value_of(argc, argv, &i), NULL, 10);
        else other_option(argv[i], USAGE);
    }
    if (!features || !labels) DIE("no data: give --features FILE and --labels FILE");
    bytes rows_file = read_file(features), labels_file = read_file(labels);
    table data = {(const float *)rows_file.data, (const int32_t *)labels_file.data, labels_file.size / 4, 0};
    if (!data.rows || rows_file.size / 4 % data.rows) DIE("%u labels don't fit %u features", data.rows, rows_file.size / 4);
    data.width = rows_file.size / 4 / data.rows;
    if (held_out >= data.rows) DIE("all %u rows are held out", data.rows);

    wasi_nn_graph graph = load_graph(name, model);
    wasi_nn_graph train_graph = signature_of(graph, train_name), infer_graph = signature_of(graph, infer_name);
    if (from) {
        bytes state = read_file(from);
        check(wasi_nn_state_set(graph, state.data, state.size), "state_set");
        free(state.data);
    }
    part train = open_part(train_graph), infer = open_part(infer_graph);
    find_inputs(&train, &infer);
    uint32_t fixed = fixed_rows(&train.description->inputs[train.features]);
    train.batch = fixed ? fixed : batch;
    infer.batch = fixed_rows(&infer.description->inputs[infer.features]);

    uint32_t trained = data.rows - held_out, first = held_out ? trained : 0;
    printf("accuracy before: %.1f%%\n", 100 * accuracy(&infer, &data, first));
    for (uint32_t epoch = 1; epoch <= epochs; epoch++) {
        double loss = train_once(&train, &data, trained);
        if (epoch == 1 || epoch == epochs) printf("epoch %u: loss %.4f\n", epoch, loss);
    }
    printf("accuracy after: %.1f%%\n", 100 * accuracy(&infer, &data, first));
    if (to) save_state(graph, to);
    return 0;
}
