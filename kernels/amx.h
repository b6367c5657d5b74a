// AMX tile instructions on tiles of 16 columns of 32 bits, by number. LONGSHORT_AMX == 2 stands in
// for them in plain code, so that what is built on them can be tested on any machine.
#pragma once
#include <stdint.h>

#if LONGSHORT_AMX == 1
#include <immintrin.h>

#define AMX_ZERO(t) _tile_zero(t)
#define AMX_LOAD(t, p, stride) _tile_loadd(t, p, stride)
#define AMX_STORE(t, p, stride) _tile_stored(t, p, stride)
#define AMX_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
// The compiler does not know that the instructions above read and write memory.
#define AMX_FENCE() asm volatile("" ::: "memory")

#else
#include <string.h>

namespace {

struct AmxTile {
  int rows;
  uint32_t data[16][16];
};
thread_local AmxTile amx_tiles[8];

inline void amx_load(int t, const void* p, int64_t stride) {
  for (int r = 0; r < amx_tiles[t].rows; ++r)
    memcpy(amx_tiles[t].data[r], static_cast<const char*>(p) + r * stride, 64);
}
inline void amx_store(int t, void* p, int64_t stride) {
  for (int r = 0; r < amx_tiles[t].rows; ++r)
    memcpy(static_cast<char*>(p) + r * stride, amx_tiles[t].data[r], 64);
}
inline float amx_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline void amx_dot(int c, int a, int b) {
  for (int r = 0; r < amx_tiles[c].rows; ++r) {
    for (int n = 0; n < 16; ++n) {
      float sum = amx_float(amx_tiles[c].data[r][n]);
      for (int k = 0; k < 16; ++k) {
        const uint32_t left = amx_tiles[a].data[r][k], right = amx_tiles[b].data[k][n];
        sum += amx_float(left << 16) * amx_float(right << 16);
        sum += amx_float(left & 0xffff0000u) * amx_float(right & 0xffff0000u);
      }
      memcpy(&amx_tiles[c].data[r][n], &sum, 4);
    }
  }
}

}  // namespace

#define AMX_ZERO(t) memset(amx_tiles[t].data, 0, sizeof amx_tiles[t].data)
#define AMX_LOAD(t, p, stride) amx_load(t, p, stride)
#define AMX_STORE(t, p, stride) amx_store(t, p, stride)
#define AMX_DOT(c, a, b) amx_dot(c, a, b)
#define AMX_FENCE() (void)0
#endif

namespace {

// What LDTILECFG reads.
struct AmxConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};
thread_local int amx_top = 0, amx_bottom = 0;

// Sums 0, 1 and left factor 4 have `top` rows; sums 2, 3 and left factor 5 have `bottom` rows
// (1 where none is used); right factors 6 and 7 have 16 pairs.
inline void amx_configure(int top, int bottom) {
  if (bottom == 0) bottom = 1;
  if (top == amx_top && bottom == amx_bottom) return;
  amx_top = top;
  amx_bottom = bottom;
  const int rows[8] = {top, top, bottom, bottom, top, bottom, 16, 16};
#if LONGSHORT_AMX == 1
  AmxConfig config = {};
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.bytes[t] = 64;
    config.rows[t] = static_cast<uint8_t>(rows[t]);
  }
  _tile_loadconfig(&config);
#else
  for (int t = 0; t < 8; ++t) amx_tiles[t].rows = rows[t];
#endif
}
// Other code of this thread may use tiles of its own.
inline void amx_release() {
  if (amx_top == 0) return;
  amx_top = amx_bottom = 0;
#if LONGSHORT_AMX == 1
  _tile_release();
#endif
}

}  // namespace
