/* Tensors that stay in the bridge: small ones that the guest makes, and small outputs. They need no call of the host but
 * `compute`. A part of bridge.c, which has the functions for the tensors at the host.
 *
 * The host must see the bridge's memory for this. It looks for a mark there, as in the guest's memory
 * (shim-memory.wat), when so many computes have been made that they would have saved the time of the search, and again
 * when the memory has grown. The host may refuse.
 *
 * Inputs and outputs of a compute pass through `exchange`, as u32s. Names are padded with zeros to whole u32s. KEPT and
 * the number of its slot stand for a tensor that stays here, in the place of the host's handle.
 *
 *     request   the count of inputs; the count of free slots for outputs, and their numbers; for each input its tensor
 *               (KEPT alone for one at the host, whose handle is the next of `handles`), the size of its name, its
 *               name, and if it stays here: its type, its size, its rank and its dimensions
 *     answer    the count of outputs; for each output its tensor, its size, the size of its name, its name, and if it
 *               stays here: its type, its rank and its dimensions
 *
 * So an inference that is made again has the same request, and the host knows by it that only the data differs. */

enum {
    KEPT = 1u << 31, /* The host's handles are smaller. */
    NO_SLOT = KEPT - 1,
    SLOTS = 64,
    SLOT_DIMS = 12,
    SLOT_DATA = 4096 - 4 * (4 + SLOT_DIMS),
    ENOUGH_COMPUTES = 16,
    WORDS = 512,
    MOST_AT_HOST = 64,
    MOST_OFFERED = 8,
};

typedef struct { uint32_t type, rank, size, handle, dims[SLOT_DIMS]; uint8_t data[SLOT_DATA]; } slot;

static _Alignas(64) slot slots[SLOTS];
static uint64_t free_slots; /* a bit for each; always the lowest is taken, so that inferences are alike */
static uint32_t memory_number; /* the host's number for this memory; 0: the host doesn't see it */
static uint32_t seen_pages;    /* its size for which the host has given the number */
static struct { uint32_t request[WORDS], answer[WORDS], handles[MOST_AT_HOST]; uint64_t mark; } exchange;

static inline bool host_sees_memory(void) {
    static uint32_t computes;
    uint32_t pages = __builtin_wasm_memory_size(0), former = memory_number;
    if (former && seen_pages == pages) return true;
    if (!former && ++computes != ENOUGH_COMPUTES) return false;
    exchange.mark = host_memory_mark();
    memory_number = host_memory_keep(former, &exchange.mark, pages, &exchange, slots);
    seen_pages = pages;
    if (!former && memory_number) free_slots = ~0ull;
    return memory_number != 0;
}

static inline bool is_kept(uint32_t tensor) { return tensor & KEPT; }

static inline slot *slot_of(uint32_t tensor) { return &slots[tensor & ~KEPT]; }

static inline bool can_keep(uint32_t rank, uint32_t size) {
    return memory_number && free_slots && rank <= SLOT_DIMS && size <= SLOT_DATA;
}

static inline void take_slot(uint32_t tensor) { free_slots &= ~(1ull << (tensor & ~KEPT)); }

static inline void free_slot(uint32_t tensor) { free_slots |= 1ull << (tensor & ~KEPT); }

static inline uint32_t keep_tensor(dimensions dims, uint32_t type, bytes data) {
    uint32_t tensor = KEPT | (uint32_t)__builtin_ctzll(free_slots);
    take_slot(tensor);
    slot *to = slot_of(tensor);
    to->type = type, to->rank = dims.rank, to->size = data.size;
    __builtin_memcpy(to->dims, dims.dims, 4 * dims.rank);
    __builtin_memcpy(to->data, data.data, data.size);
    return tensor;
}

/* The host's handle of a tensor: for one that stays here, that of a copy, which the caller has the host drop. */
static inline uint32_t at_host(uint32_t tensor) {
    if (!is_kept(tensor)) return tensor;
    slot *from = slot_of(tensor);
    return new_tensor((dimensions){from->dims, from->rank}, from->type, (bytes){from->data, from->size});
}

static inline uint32_t words_of(uint32_t size) { return size / 4 + (size % 4 != 0); }

/* Write the request of a compute; returns its size in bytes, or 0 if there is no room for it. */
static inline uint32_t put_request(const named_tensor *inputs, uint32_t count) {
    uint32_t *at = exchange.request, *end = at + WORDS, *handle = exchange.handles;
    *at++ = count;
    uint32_t *offered = at++;
    *offered = 0;
    for (uint64_t left = free_slots; left && *offered < MOST_OFFERED; left &= left - 1, ++*offered)
        *at++ = __builtin_ctzll(left);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tensor = tensor_handle(inputs[i].tensor), words = words_of(inputs[i].name.size);
        if (words >= WORDS || at + 2 + words + 3 + SLOT_DIMS > end) return 0;
        if (!is_kept(tensor)) {
            if (handle == exchange.handles + MOST_AT_HOST) return 0;
            *handle++ = tensor;
        }
        *at++ = is_kept(tensor) ? tensor : KEPT | NO_SLOT;
        *at++ = inputs[i].name.size;
        if (words) at[words - 1] = 0;
        __builtin_memcpy(at, inputs[i].name.data, inputs[i].name.size);
        at += words;
        if (is_kept(tensor)) {
            slot *from = slot_of(tensor);
            *at++ = from->type, *at++ = from->size, *at++ = from->rank;
            __builtin_memcpy(at, from->dims, 4 * from->rank);
            at += from->rank;
        }
    }
    return 4 * (uint32_t)(at - exchange.request);
}

/* The answer's outputs, with new resources. */
static inline named_tensor *take_answer(uint32_t *count) {
    const uint32_t *from = exchange.answer;
    *count = *from++;
    named_tensor *tensors = take(*count * (uint64_t)sizeof(named_tensor));
    for (uint32_t i = 0; i < *count; i++) {
        uint32_t tensor = *from++, size = *from++, length = *from++;
        tensors[i] = (named_tensor){{(const uint8_t *)from, length}, tensor_resource(tensor)};
        from += words_of(length);
        if (is_kept(tensor)) {
            take_slot(tensor);
            slot *to = slot_of(tensor);
            to->size = size, to->type = *from++, to->rank = *from++;
            __builtin_memcpy(to->dims, from, 4 * to->rank);
            from += to->rank;
        } else {
            keep_size(tensor, size);
        }
    }
    return tensors;
}
