/* The input of Magika's model (https://google.github.io/magika), which tells the type of a file from its bytes alone.
 *
 * The model sees 1,024 bytes of the file's beginning and as many of its end, each without the white space around the
 * content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.
 */
#ifndef MAGIKA_H
#define MAGIKA_H

#include "guest.h"

enum { SEEN = 1024, BLOCK = 4096, NO_BYTE = 256, FEWEST_BYTES = 8 };

static inline int is_space(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static inline void features_of(bytes file, int32_t features[2 * SEEN]) {
    uint32_t block = file.size < BLOCK ? file.size : BLOCK;
    const uint8_t *first = file.data, *first_end = first + block;
    while (first < first_end && is_space(*first)) first++;
    const uint8_t *last = file.data + file.size, *last_begin = last - block;
    while (last > last_begin && is_space(last[-1])) last--;
    for (int i = 0; i < SEEN; i++) {
        features[i] = first + i < first_end ? first[i] : NO_BYTE;
        features[2 * SEEN - 1 - i] = last - i > last_begin ? last[-1 - i] : NO_BYTE;
    }
}

#endif
