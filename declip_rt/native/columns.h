// The first pass of resampling, the hot one: along each row.
#pragma once

#include <cstdint>
#include <vector>

#include "resample.h"

namespace declip {

enum class Level { portable, avx2, avx512 };  // instructions to use

Level best_level();  // that this processor has

// The weights of all output samples of an axis.
struct Weights {
  explicit Weights(const Axis& axis);
  const int* of(int i) const { return values.data() + size_t(i) * taps; }

  Axis axis;
  int taps;                        // room for each output sample's weights
  std::vector<int> first, count;   // (out,) the first input sample, and how many
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
  // The pixels of a row that are read.
  int begin() const { return begin_; }
  int end() const { return end_; }
  // How many pixels a row must have behind it in readable memory (they have no influence).
  int slack() const { return slack_; }

 private:
  void pack();

  Weights weights_;
  Level level_;
  int groups_ = 0, slack_ = 0, begin_, end_;
  std::vector<int> start_;        // (out,) the first pixel of the first group
  std::vector<int16_t> packed_;   // (out, groups, 2, 32) upper and lower halves of the weights of 8 pixels
};

}  // namespace declip
