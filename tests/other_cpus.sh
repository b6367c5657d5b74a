#!/usr/bin/env bash
# Runs the kernels on CPUs that this machine is not, emulated: x86-64 without AVX, and 64-bit Arm
# (cross-compiled). Skips what it lacks the programs for; on Debian:
#   apt-get install qemu-user g++-aarch64-linux-gnu
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

have() {
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; return 1; }
  done
}

# build NAME COMPILER [CMAKE ARGUMENT...]: the library and the driver that checks it.
build() {
  local folder=$work/$1 compiler=$2
  shift 2
  cmake -S "$root" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
    -DPython_EXECUTABLE="$(command -v python3)" "$@" >"$folder.log" || { cat "$folder.log"; exit 1; }
  cmake --build "$folder" --parallel 2 >"$folder.log" || { cat "$folder.log"; exit 1; }
  "$compiler" -std=c++17 -O2 -Wall -Wextra -o "$folder/driver" "$root/tests/other_cpus.cpp" -ldl
}

# expect NAME ISA EMULATOR...
expect() {
  local folder=$work/$1 isa=$2
  shift 2
  echo "== $*"
  "$@" "$folder/driver" "$folder/liblongshort_kernels.so" "$isa"
}

if [ "$(uname -m)" = x86_64 ] && have cmake g++ qemu-x86_64; then
  build x86 g++
  expect x86 portable qemu-x86_64 -cpu Nehalem
fi
if have cmake aarch64-linux-gnu-g++ qemu-aarch64; then
  build arm aarch64-linux-gnu-g++ -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
  expect arm neon qemu-aarch64 -cpu cortex-a57 -L /usr/aarch64-linux-gnu
fi
