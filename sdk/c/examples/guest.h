/* What the examples here share: giving up, and files. */
#ifndef GUEST_H
#define GUEST_H

#include <stdio.h>
#include <wnn.h>

/* Give up with the reason of the last failure. */
static inline void give_up(wnn_code code) {
    fprintf(stderr, "%s: %s\n", wnn_code_name(code), wnn_message());
    exit(1);
}

/* Give up if a call failed. */
static inline void check(wnn_code code) {
    if (code) give_up(code);
}

/* A whole file, with a zero byte behind it. */
static inline char *read_file(const char *path, uint32_t *size) {
    FILE *file = fopen(path, "rb");
    char *content = NULL;
    uint32_t room = 0;
    *size = 0;
    for (size_t got = 1; file && got; *size += got) {
        if (*size + 1 >= room) content = (char *)realloc(content, room = room ? 2 * room : 1 << 16);
        if (!content) break;
        got = fread(content + *size, 1, room - *size - 1, file);
    }
    if (!content || ferror(file) || fclose(file)) {
        fprintf(stderr, "%s can't be read\n", path);
        exit(1);
    }
    content[*size] = 0;
    return content;
}

#endif
