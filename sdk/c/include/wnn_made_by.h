/* wnn_made_by.h: what a guest tells of its making, for wnn.h. Written by tools/make_sdk.py.
 *
 * `wasi-nn inspect` shows it. It is in a custom section of its own, which linkers keep where they strip all others.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_MADE_BY_H
#define WNN_MADE_BY_H

#ifdef __cplusplus
#define WNN_LANGUAGE "C++"
#else
#define WNN_LANGUAGE "C"
#endif
#ifdef WNN_HPP
#define WNN_SDK "wasi-nn for C++ 0.1.0"
#else
#define WNN_SDK "wasi-nn for C 0.1.0"
#endif

#if defined(__wasm__) && defined(__clang__)
__asm__(".section .custom_section.wasi_nn_sdk,\"\",@\n"
        ".ascii \"sdk " WNN_SDK "\\n\"\n"
        ".ascii \"language " WNN_LANGUAGE "\\n\"\n"
        ".ascii \"processed-by clang " __clang_version__ "\\n\"\n"
        ".text\n");
#endif

#endif
