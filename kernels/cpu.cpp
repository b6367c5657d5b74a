// What this CPU and its operating system can run.
#include "isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace longshort {

bool supports_portable() { return true; }
bool supports_neon() { return true; }  // compiled for 64-bit Arm only, which always has it

#if LONGSHORT_EMULATED  // all sets are plain code

bool supports_avx2() { return true; }
bool supports_avx512() { return true; }
bool supports_avx512_bf16() { return true; }
bool supports_amx() { return true; }

#elif defined(__x86_64__)

bool supports_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool supports_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma");
}
bool supports_avx512_bf16() {
  unsigned a, b, c, d;
  return supports_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}
bool supports_amx() {
  unsigned a, b, c, d;
  if (!supports_avx512_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (!(d & (1u << 22)) || !(d & (1u << 24))) return false;  // AMX-BF16, AMX-TILE
#if defined(__linux__)
  // Linux lets a process use the tiles' registers only once it has asked (arch_prctl, since 5.16).
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

#endif

}  // namespace longshort
