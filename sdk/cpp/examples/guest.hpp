/* What the examples here share: files and lists. */
#ifndef GUEST_HPP
#define GUEST_HPP

#include <wnn.hpp>

/* A whole file. */
inline std::string read_file(const char *path) {
    std::string content;
    char part[65536];
    std::FILE *file = std::fopen(path, "rb");
    for (size_t got = 1; file && got;) {
        got = std::fread(part, 1, sizeof part, file);
        content.append(part, got);
    }
    if (!file || std::ferror(file) || std::fclose(file)) {
        std::fprintf(stderr, "%s can't be read\n", path);
        std::exit(1);
    }
    return content;
}

/* A list of numbers, as all the languages' examples show it. Floating-point numbers are whole here. */
template <class List> std::string shown(const List &list) {
    std::string text;
    for (auto number : list) text += (text.empty() ? "" : ", ") + std::to_string((long long)number);
    return "[" + text + "]";
}

template <class T> std::string_view code(const wnn::Result<T> &result) {
    return result ? "success" : wnn::name(result.error().code);
}

template <class T> void say(const char *what, const wnn::Result<T> &result) {
    std::string_view name = code(result);
    std::printf("%s: %.*s\n", what, int(name.size()), name.data());
}

#endif
