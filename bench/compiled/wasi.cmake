# Builds for WASI preview 1 by Zig: the programs `cc`, `c++`, `ar` and `ranlib` of the folder TOOLS call it.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_C_COMPILER ${TOOLS}/cc)
set(CMAKE_CXX_COMPILER ${TOOLS}/c++)
set(CMAKE_AR ${TOOLS}/ar)
set(CMAKE_RANLIB ${TOOLS}/ranlib)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TOOLS)
