/* What the bridges share: their memory, and bytes as text in two planes, the low four bits of all bytes and then the high
 * four bits of all bytes. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POST(line) POST_(line)
#define POST_(line) post_##line

enum {
    PART = 256 << 10, /* bytes of a tensor in one call to the host: few enough for the processor's cache */
};

typedef struct { const uint8_t *data; uint32_t size; } bytes;

/* Memory: a call of the guest takes memory upwards from `base`, and gives all of it back at its end. */

extern uint8_t __heap_base;
static uint64_t top;

static uint64_t base(void) { return ((uintptr_t)&__heap_base + 15) & ~15ull; }

static void give_back(void) { top = base(); }

static void *take(uint64_t size) {
    if (!top) top = base();
    uint64_t at = top, have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    top = (at + size + 15) & ~15ull;
    if (top > have) {
        /* Grow by an eighth more than is needed, so that a large memory seldom grows. */
        uint64_t needed = (top - have + 65535) >> 16, more = needed + (have >> 19);
        if (__builtin_wasm_memory_grow(0, more) == (size_t)-1 && __builtin_wasm_memory_grow(0, needed) == (size_t)-1)
            __builtin_trap();
    }
    return (void *)(uintptr_t)at;
}

/* The engine calls this for memory. It also resizes memory, when it converts text to UTF-8. */
__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    if (old && ((((uintptr_t)old + old_size + 15) & ~15ull) == top)) {
        top = (uintptr_t)old;
        return take(size);
    }
    void *new = take(size);
    if (old_size) __builtin_memcpy(new, old, old_size < size ? old_size : size);
    return new;
}

/* Bytes to text and back. */

static void split(const uint8_t *restrict from, uint32_t size, uint8_t *restrict low, uint8_t *restrict high) {
    for (uint32_t i = 0; i < size; i++) low[i] = from[i] & 15;
    for (uint32_t i = 0; i < size; i++) high[i] = from[i] >> 4;
}

static void join(uint8_t *restrict to, uint32_t size, const uint8_t *restrict low, const uint8_t *restrict high) {
    for (uint32_t i = 0; i < size; i++) to[i] = low[i] | (uint8_t)(high[i] << 4);
}

#endif
