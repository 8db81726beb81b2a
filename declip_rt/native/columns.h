// The first pass of resampling, along each row. It is the hot one.
#pragma once

#include <cstdint>
#include <vector>

#include "resample.h"

namespace declip {

enum class Level { portable, avx2, avx512 };  // instructions to use

Level best_level();  // the best that this processor has

// The weights of all output samples of an axis.
struct Weights {
  explicit Weights(const Axis& axis);
  const int* of(int i) const { return values.data() + size_t(i) * taps; }

  Axis axis;
  int taps;                        // the room in `values` for an output sample's weights
  std::vector<int> first, count;   // (out,) the first input sample, and their number
  std::vector<int> values;         // (out, taps)
};

// Resamples rows of packed RGB along themselves, four rows at a time.
class Columns {
 public:
  static constexpr int kRows = 4;

  Columns(const Axis& axis, Level level);
  const Axis& axis() const { return weights_.axis; }
  // in: four rows of `axis.size` pixels, out: four rows of `axis.out` pixels.
  void run(const uint8_t* const in[kRows], uint8_t* const out[kRows]) const;
  // It reads the pixels [begin, end) of a row.
  int begin() const { return begin_; }
  int end() const { return end_; }
  // A row needs so many readable pixels behind it. Their values do not matter.
  int slack() const { return slack_; }

 private:
  int most() const;        // weights of an output sample
  int most_near() const;   // output pixels whose windows a vector can take together; 0 where they are too far apart
  void pack();
  void pack_near();

  Weights weights_;
  Level level_;
  int groups_ = 0, slack_ = 0, begin_, end_;
  std::vector<int> start_;        // (out,) the first pixel of the first group
  std::vector<int16_t> packed_;   // (out, groups, 2, 32) upper and lower halves of the weights of 8 pixels
  // Where windows are near, each group of `near_` outputs has in their place:
  int near_ = 0, pairs_ = 0;      // pairs of input pixels
  std::vector<uint8_t> from_;     // (groups, 64) where a byte lies behind the start
};

}  // namespace declip
