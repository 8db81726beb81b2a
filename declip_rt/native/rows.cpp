#include "rows.h"

#include <algorithm>

#include "vector.h"

namespace declip {
namespace {

constexpr int kBlock = 64;  // bytes of a row whose sums stay in registers

#if defined(DECLIP_X86) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define DECLIP_CLONES __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define DECLIP_CLONES
#endif

DECLIP_CLONES void add_portable(const uint8_t* rows, ptrdiff_t stride, size_t bytes, const int* weights, int count,
                                uint8_t* out) {
  for (size_t x = 0; x < bytes; x += kBlock) {
    const uint8_t* row = rows + x;
    int sums[kBlock], width = int(std::min<size_t>(kBlock, bytes - x));
    for (int& sum : sums) sum = kHalf;
    if (width == kBlock) {
      for (int j = 0; j < count; j++, row += stride)
        for (int i = 0; i < kBlock; i++) sums[i] += row[i] * weights[j];
    } else {
      for (int j = 0; j < count; j++, row += stride)
        for (int i = 0; i < width; i++) sums[i] += row[i] * weights[j];
    }
    for (int i = 0; i < width; i++) out[x + i] = to_sample(sums[i]);
  }
}

#ifdef DECLIP_X86

// Two rows at once: a sample of each becomes a pair of 16-bit numbers.
DECLIP_AVX2 void add_avx2(const uint8_t* rows, ptrdiff_t stride, size_t bytes, const int* weights, int count,
                          uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  size_t x = 0;
  for (; x + 32 <= bytes; x += 32) {
    const uint8_t* row = rows + x;
    __m256i upper[4] = {}, lower[4] = {};
    for (int j = 0; j < count; j += 2, row += 2 * stride) {
      const bool paired = j + 1 < count;
      const __m256i one = _mm256_loadu_si256((const __m256i*)row);
      const __m256i two = _mm256_loadu_si256((const __m256i*)(row + (paired ? stride : 0)));
      const int next = paired ? weights[j + 1] : 0;
      const __m256i high = _mm256_set1_epi32(pair(upper_half(weights[j]), upper_half(next)));
      const __m256i low = _mm256_set1_epi32(pair(lower_half(weights[j]), lower_half(next)));
      const __m256i front = _mm256_unpacklo_epi8(one, two), back = _mm256_unpackhi_epi8(one, two);
      const __m256i pixels[4] = {_mm256_unpacklo_epi8(front, zero), _mm256_unpackhi_epi8(front, zero),
                                 _mm256_unpacklo_epi8(back, zero), _mm256_unpackhi_epi8(back, zero)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        upper[i] = _mm256_add_epi32(upper[i], _mm256_madd_epi16(pixels[i], high));
        lower[i] = _mm256_add_epi32(lower[i], _mm256_madd_epi16(pixels[i], low));
      }
    }
    __m256i sums[4];
    for (int i = 0; i < 4; i++) {
      sums[i] = _mm256_add_epi32(_mm256_slli_epi32(upper[i], kLow), _mm256_add_epi32(lower[i], _mm256_set1_epi32(kHalf)));
      sums[i] = _mm256_srai_epi32(sums[i], kBits);
    }
    const __m256i all = _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
    _mm256_storeu_si256((__m256i*)(out + x), all);
  }
  add_portable(rows + x, stride, bytes - x, weights, count, out + x);
}

// The same, 64 bytes at once.
DECLIP_AVX512 void add_avx512(const uint8_t* rows, ptrdiff_t stride, size_t bytes, const int* weights, int count,
                              uint8_t* out) {
  const __m512i zero = _mm512_setzero_si512();
  for (size_t x = 0; x < bytes; x += kBlock) {
    const __mmask64 seen = first_bytes(bytes - x);
    const uint8_t* row = rows + x;
    __m512i upper[4] = {}, lower[4] = {};
    for (int j = 0; j < count; j += 2, row += 2 * stride) {
      const bool paired = j + 1 < count;
      const __m512i one = _mm512_maskz_loadu_epi8(seen, row);
      const __m512i two = _mm512_maskz_loadu_epi8(paired ? seen : 0, row + (paired ? stride : 0));
      const int next = paired ? weights[j + 1] : 0;
      const __m512i high = _mm512_set1_epi32(pair(upper_half(weights[j]), upper_half(next)));
      const __m512i low = _mm512_set1_epi32(pair(lower_half(weights[j]), lower_half(next)));
      const __m512i front = _mm512_unpacklo_epi8(one, two), back = _mm512_unpackhi_epi8(one, two);
      const __m512i pixels[4] = {_mm512_unpacklo_epi8(front, zero), _mm512_unpackhi_epi8(front, zero),
                                 _mm512_unpacklo_epi8(back, zero), _mm512_unpackhi_epi8(back, zero)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        upper[i] = _mm512_dpwssd_epi32(upper[i], pixels[i], high);
        lower[i] = _mm512_dpwssd_epi32(lower[i], pixels[i], low);
      }
    }
    __m512i sums[4];
    for (int i = 0; i < 4; i++) sums[i] = rounded(upper[i], lower[i]);
    const __m512i all = _mm512_packus_epi16(_mm512_packs_epi32(sums[0], sums[1]), _mm512_packs_epi32(sums[2], sums[3]));
    _mm512_mask_storeu_epi8(out + x, seen, all);
  }
}

#endif

}  // namespace

void add_rows(const uint8_t* rows, ptrdiff_t stride, size_t bytes, const int* weights, int count, Level level,
              uint8_t* out) {
#ifdef DECLIP_X86
  if (level == Level::avx512) return add_avx512(rows, stride, bytes, weights, count, out);
  if (level == Level::avx2) return add_avx2(rows, stride, bytes, weights, count, out);
#endif
  add_portable(rows, stride, bytes, weights, count, out);
}

}  // namespace declip
