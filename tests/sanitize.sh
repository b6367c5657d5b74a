#!/usr/bin/env bash
# Builds the kernels with GCC's sanitizers and runs tests on them: those of the kernels for memory and
# undefined behaviour in one build, these and those of threads for races in another. An hour on two CPUs.
#   bash tests/sanitize.sh [memory] [thread]
# A finding ends the process that it is in, so a test fails and shows it. Instruction sets are emulated:
# the code that is looked at is then the same on every machine. There is one of each width of vectors
# and of each kind of product; the others are the same code.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiler=${CXX:-g++}
python=$(command -v python3)

runtime() {  # the file of a sanitizer's runtime, which must be loaded before all else
  realpath "$("$compiler" -print-file-name="$1")"
}

test_with() {  # test_with SANITIZER TESTS VARIABLE=VALUE...
  local name=$1 tests=$2 folder=$work/${1%%,*}
  shift 2
  echo "== $name"
  cmake -S "$root" -B "$folder" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_CXX_FLAGS="-O1 -fsanitize=$name -fno-sanitize-recover=all -g -fno-var-tracking" \
    -DLONGSHORT_EMULATED=ON \
    -DLONGSHORT_SETS='amx;avx512_bf16;avx2;portable' \
    -DPython_EXECUTABLE="$python" >"$folder.log" || { cat "$folder.log"; exit 1; }
  cmake --build "$folder" --parallel 2 >"$folder.log" || { cat "$folder.log"; exit 1; }
  # Python's own allocator and NumPy's threads are none of our business.
  (cd "$root" && env PYTHONPATH="$root/src" LONGSHORT_LIBRARY="$folder/liblongshort_kernels.so" \
    PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 "$@" "$python" -m pytest -q -p no:cacheprovider \
    --durations=3 $tests)
}

oracle=$(echo tests/test_{kernels,gru,slstm_kernels,token_loss_kernel}.py)
by_jax=$(echo tests/test_{attention,dense}.py)  # whose own races, in compiling, would end the other build's
[ $# -gt 0 ] || set -- memory thread
for name in "$@"; do
  case $name in
    # Python leaks on purpose. libstdc++ must be there when the runtime looks for its exceptions.
    memory) test_with address,undefined "$oracle $by_jax" LD_PRELOAD="$(runtime libasan.so):$(runtime libstdc++.so.6)" \
      ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ;;
    # Forks beside threads are what we test; by default the runtime ends such a child.
    thread) test_with thread "$oracle tests/test_threads.py" LD_PRELOAD="$(runtime libtsan.so)" \
      TSAN_OPTIONS=halt_on_error=1:die_after_fork=0 ;;
    *) echo "unknown: $name; choose memory or thread" >&2; exit 2 ;;
  esac
done
echo "== no findings"
