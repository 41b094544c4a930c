# CMake includes this where llama.cpp's own project begins (CMAKE_PROJECT_llama.cpp_INCLUDE, set in common.sh).
# llama-cpp-python turns the option on. It makes the greater part of the compile, and localprobe loads nothing of it.
set(LLAMA_BUILD_COMMON OFF)
# GCC 11 to 13 may leave out most of what is written for `ldtilecfg` to read (GCC bug 114098): on a processor with AMX,
# any pass of a quantised model over more than one token would crash.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 11
   AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14 AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()
