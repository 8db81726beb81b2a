// What the vector paths share: a weight of 22 bits is upper * 2^15 + lower, both of 16 bits with sign.
#pragma once

#include <cstdint>

#include "resample.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define DECLIP_X86
#include <immintrin.h>
#define DECLIP_AVX2 __attribute__((target("avx2")))
#define DECLIP_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,bmi2")))
#endif

namespace declip {

constexpr int kLow = 15;  // bits of a lower half

inline int16_t upper_half(int weight) { return int16_t(weight >> kLow); }
inline int16_t lower_half(int weight) { return int16_t(weight & ((1 << kLow) - 1)); }
inline int pair(int16_t first, int16_t second) { return int(uint16_t(first)) | int(uint32_t(uint16_t(second)) << 16); }

#ifdef DECLIP_X86

// A mask of the first `count` of 64 bytes; none where it is negative.
DECLIP_AVX512 inline __mmask64 first_bytes(ptrdiff_t count) {
  return count >= 64 ? ~__mmask64(0) : count <= 0 ? 0 : _bzhi_u64(~uint64_t(0), unsigned(count));
}

// The sums of both halves as samples, in 32 bits each, which may leave 0 to 255.
DECLIP_AVX512 inline __m512i rounded(__m512i upper, __m512i lower) {
  const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(upper, kLow), lower);
  return _mm512_srai_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(kHalf)), kBits);
}

#endif

}  // namespace declip
