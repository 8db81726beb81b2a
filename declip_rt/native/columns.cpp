#include "columns.h"

#include <algorithm>
#include <cstring>

#include "vector.h"

namespace declip {
namespace {

constexpr int kGroup = 8;     // pixels that the vector paths take at once
constexpr int kLane = 8;      // 16-bit weights of two pixels: (k0, k1) for R, for G, for B, and two zeros
constexpr int kPacked = 2 * kGroup / 2 * kLane;  // 16-bit numbers of a group: upper halves, then lower halves
constexpr int kMostNear = 5;  // output pixels that a vector has room for: a 32-bit lane for each sample
constexpr int kLeastNear = 3;  // for fewer it does not pay
constexpr int kReach = 19;    // input pixels that may lie between the first of the first and the first of the last of them

#ifdef DECLIP_X86

// Stores R, G and B of pixel i in a row of `count` pixels. The next pixel overwrites the fourth byte.
inline void put(uint8_t* row, int i, int count, uint32_t rgb) {
  if (i + 1 < count) {
    std::memcpy(row + 3 * size_t(i), &rgb, 4);
  } else {
    std::memcpy(row + 3 * size_t(i), &rgb, 3);
  }
}

DECLIP_AVX2 void run_avx2(const int* start, const int16_t* packed, int groups, int count,
                          const uint8_t* const in[4], uint8_t* const out[4]) {
  // A group has 24 bytes. Both lanes load the first 16 for its first half, and the last 16 for its second half.
  const __m256i nothing = _mm256_set1_epi8(-1), next = _mm256_setr_m128i(_mm_set1_epi8(0), _mm_set1_epi8(6));
  const __m128i lane = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m256i both = _mm256_broadcastsi128_si256(lane), empty = _mm256_cmpeq_epi8(both, nothing);
  const __m256i first = _mm256_or_si256(_mm256_add_epi8(both, next), empty);
  const __m256i second = _mm256_or_si256(_mm256_add_epi8(first, _mm256_set1_epi8(4)), empty);
  for (int i = 0; i < count; i++) {
    __m256i upper[4] = {}, lower[4] = {};
    size_t place = size_t(start[i]) * 3;
    for (int g = 0; g < groups; g++, place += 24, packed += kPacked) {
      for (int half = 0; half < 2; half++) {
        const __m256i high = _mm256_loadu_si256((const __m256i*)(packed + half * 16));
        const __m256i low = _mm256_loadu_si256((const __m256i*)(packed + kPacked / 2 + half * 16));
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
          __m128i bytes = _mm_loadu_si128((const __m128i*)(in[r] + place + half * 8));
          __m256i pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), half ? second : first);
          upper[r] = _mm256_add_epi32(upper[r], _mm256_madd_epi16(pixels, high));
          lower[r] = _mm256_add_epi32(lower[r], _mm256_madd_epi16(pixels, low));
        }
      }
    }
    for (int r = 0; r < 4; r += 2) {
      __m256i one = _mm256_add_epi32(_mm256_slli_epi32(upper[r], kLow), lower[r]);
      __m256i two = _mm256_add_epi32(_mm256_slli_epi32(upper[r + 1], kLow), lower[r + 1]);
      __m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(one, two, 0x20),
                                     _mm256_permute2x128_si256(one, two, 0x31));  // row r, row r + 1
      sum = _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kBits);
      sum = _mm256_packs_epi32(sum, sum);
      sum = _mm256_packus_epi16(sum, sum);
      put(out[r], i, count, uint32_t(_mm256_extract_epi32(sum, 0)));
      put(out[r + 1], i, count, uint32_t(_mm256_extract_epi32(sum, 4)));
    }
  }
}

// Lanes a0+a1, a2+a3, b0+b1, b2+b3.
DECLIP_AVX512 inline __m512i add_lanes(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

DECLIP_AVX512 void run_avx512(const int* start, const int16_t* packed, int groups, int count,
                              const uint8_t* const in[4], uint8_t* const out[4]) {
  alignas(64) uint8_t from[64];
  uint64_t used = 0;
  for (int lane = 0; lane < 4; lane++)
    for (int channel = 0; channel < 3; channel++)
      for (int pixel = 0; pixel < 2; pixel++) {
        int to = lane * 16 + channel * 4 + pixel * 2;
        from[to] = uint8_t(6 * lane + 3 * pixel + channel);
        used |= uint64_t(1) << to;
      }
  const __m512i spread = _mm512_load_si512(from);
  const __mmask64 keep = used;
  for (int i = 0; i < count; i++) {
    __m512i upper[4] = {}, lower[4] = {};
    size_t place = size_t(start[i]) * 3;
    for (int g = 0; g < groups; g++, place += 24, packed += kPacked) {
      const __m512i high = _mm512_loadu_si512(packed), low = _mm512_loadu_si512(packed + kPacked / 2);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        __m512i pixels = _mm512_castsi256_si512(_mm256_maskz_loadu_epi8(0xffffff, in[r] + place));
        pixels = _mm512_maskz_permutexvar_epi8(keep, spread, pixels);
        upper[r] = _mm512_dpwssd_epi32(upper[r], pixels, high);
        lower[r] = _mm512_dpwssd_epi32(lower[r], pixels, low);
      }
    }
    __m512i sum[4];
    for (int r = 0; r < 4; r++) sum[r] = _mm512_add_epi32(_mm512_slli_epi32(upper[r], kLow), lower[r]);
    sum[0] = add_lanes(sum[0], sum[1]), sum[1] = add_lanes(sum[2], sum[3]);
    __m512i all = _mm512_add_epi32(add_lanes(sum[0], sum[1]), _mm512_set1_epi32(kHalf));  // rows 0 to 3
    all = _mm512_srai_epi32(all, kBits);
    all = _mm512_packs_epi32(all, all);
    all = _mm512_packus_epi16(all, all);
    alignas(64) uint32_t rgb[16];
    _mm512_store_si512(rgb, all);
    for (int r = 0; r < 4; r++) put(out[r], i, count, rgb[4 * r]);
  }
}

// Outputs whose windows lie close together: each lane has a sample of its own, so that none is added across lanes.
DECLIP_AVX512 void run_near(const int* start, const uint8_t* from, const int16_t* packed, int near, int pairs,
                            int count, int end, const uint8_t* const in[4], uint8_t* const out[4]) {
  const __mmask64 keep = 0x0555555555555555;  // the upper byte of a 16-bit number is 0, and so is the last lane
  for (int i = 0; i < count; i += near, start++, from += 64) {
    const __m512i spread = _mm512_loadu_si512(from);
    __m512i upper[4] = {}, lower[4] = {};
    for (int pixel = *start, j = 0; j < pairs; j++, pixel += 2, packed += 64) {
      const __mmask64 seen = first_bytes(ptrdiff_t(end - pixel) * 3);
      const __m512i high = _mm512_loadu_si512(packed), low = _mm512_loadu_si512(packed + 32);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        __m512i pixels = _mm512_maskz_loadu_epi8(seen, in[r] + size_t(pixel) * 3);
        pixels = _mm512_maskz_permutexvar_epi8(keep, spread, pixels);
        upper[r] = _mm512_dpwssd_epi32(upper[r], pixels, high);
        lower[r] = _mm512_dpwssd_epi32(lower[r], pixels, low);
      }
    }
    const __mmask16 made = __mmask16((1 << 3 * std::min(near, count - i)) - 1);
    for (int r = 0; r < 4; r++) {
      const __m512i sum = _mm512_max_epi32(rounded(upper[r], lower[r]), _mm512_setzero_si512());
      _mm_mask_storeu_epi8(out[r] + size_t(i) * 3, made, _mm512_cvtusepi32_epi8(sum));
    }
  }
}

#endif

void run_portable(const Weights& weights, const uint8_t* in, uint8_t* out) {
  for (int i = 0; i < weights.axis.out; i++, out += 3) {
    const int* k = weights.of(i);
    const uint8_t* pixel = in + size_t(weights.first[i]) * 3;
    int red = kHalf, green = kHalf, blue = kHalf;
    for (int j = 0; j < weights.count[i]; j++, pixel += 3) {
      red += pixel[0] * k[j], green += pixel[1] * k[j], blue += pixel[2] * k[j];
    }
    out[0] = to_sample(red), out[1] = to_sample(green), out[2] = to_sample(blue);
  }
}

}  // namespace

Level best_level() {
#ifdef DECLIP_X86
  if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2"))
    return Level::avx512;
  if (__builtin_cpu_supports("avx2")) return Level::avx2;
#endif
  return Level::portable;
}

Weights::Weights(const Axis& axis)
    : axis(axis), taps(axis.taps()), first(axis.out), count(axis.out), values(size_t(axis.out) * taps) {
  std::vector<double> scratch(taps);
  for (int i = 0; i < axis.out; i++) {
    count[i] = weights_of(axis, i, values.data() + size_t(i) * taps, 1, &first[i], scratch.data());
  }
}

Columns::Columns(const Axis& axis, Level level) : weights_(axis), level_(std::min(level, best_level())) {
  begin_ = weights_.first.front(), end_ = weights_.first.back() + weights_.count.back();
  if (level_ == Level::portable) return;
  near_ = level_ == Level::avx512 ? most_near() : 0;
  near_ ? pack_near() : pack();
}

int Columns::most_near() const {
  for (int near = kMostNear; near >= kLeastNear; near--) {
    int apart = 0;
    for (int i = 0; i < weights_.axis.out; i += near)
      apart = std::max(apart, weights_.first[std::min(i + near, weights_.axis.out) - 1] - weights_.first[i]);
    if (apart <= kReach) return near;
  }
  return 0;
}

void Columns::pack_near() {
  const int groups = (weights_.axis.out + near_ - 1) / near_;
  pairs_ = (most() + 1) / 2;
  from_.assign(size_t(groups) * 64, 0);
  packed_.assign(size_t(groups) * pairs_ * 64, 0);
  for (int i = 0; i < weights_.axis.out; i++) {
    const int group = i / near_;
    if (i % near_ == 0) start_.push_back(weights_.first[i]);
    for (int channel = 0; channel < 3; channel++) {
      const int lane = i % near_ * 3 + channel;
      uint8_t* from = &from_[size_t(group) * 64 + 4 * lane];
      from[0] = uint8_t((weights_.first[i] - start_[group]) * 3 + channel), from[2] = uint8_t(from[0] + 3);
      for (int j = 0; j < weights_.count[i]; j++) {
        int16_t* into = &packed_[(size_t(group) * pairs_ + j / 2) * 64 + 2 * lane + j % 2];
        into[0] = upper_half(weights_.of(i)[j]), into[32] = lower_half(weights_.of(i)[j]);
      }
    }
  }
}

int Columns::most() const { return std::max(1, *std::max_element(weights_.count.begin(), weights_.count.end())); }

void Columns::pack() {
  groups_ = (most() + kGroup - 1) / kGroup;
  // A window that would leave the row moves left, and its first weights are 0. A row shorter than the window must
  // have readable pixels behind it.
  int room = weights_.axis.size - groups_ * kGroup;
  slack_ = std::max(0, -room);
  start_.resize(weights_.axis.out);
  packed_.assign(size_t(weights_.axis.out) * groups_ * kPacked, 0);
  for (int i = 0; i < weights_.axis.out; i++) {
    start_[i] = std::min(weights_.first[i], std::max(0, room));
    int16_t* into = packed_.data() + size_t(i) * groups_ * kPacked;
    for (int j = 0; j < weights_.count[i]; j++) {
      int pixel = weights_.first[i] - start_[i] + j, k = weights_.of(i)[j];
      int16_t* lane = into + pixel / kGroup * kPacked + pixel % kGroup / 2 * kLane + pixel % 2;
      for (int channel = 0; channel < 3; channel++) {
        lane[2 * channel] = upper_half(k);
        lane[kPacked / 2 + 2 * channel] = lower_half(k);
      }
    }
  }
  begin_ = start_.front(), end_ = start_.back() + groups_ * kGroup;
}

void Columns::run(const uint8_t* const in[kRows], uint8_t* const out[kRows]) const {
#ifdef DECLIP_X86
  if (near_) {
    return run_near(start_.data(), from_.data(), packed_.data(), near_, pairs_, weights_.axis.out, end_, in, out);
  }
  if (level_ != Level::portable) {
    auto path = level_ == Level::avx512 ? run_avx512 : run_avx2;
    return path(start_.data(), packed_.data(), groups_, weights_.axis.out, in, out);
  }
#endif
  for (int r = 0; r < kRows; r++) run_portable(weights_, in[r], out[r]);
}

}  // namespace declip
