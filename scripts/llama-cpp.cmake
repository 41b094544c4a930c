# CMake includes this where llama.cpp's own project begins (CMAKE_PROJECT_llama.cpp_INCLUDE, set in common.sh).
# llama-cpp-python turns the option on. It makes the greater part of the compile, and localprobe loads nothing of it.
set(LLAMA_BUILD_COMMON OFF)
