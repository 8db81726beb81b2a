// The arithmetic of Pillow's antialiased bicubic resampling, for host and device.
//
// An output sample is the sum of the input samples under the filter, which stretches where the image shrinks. Weights
// have 22 fractional bits. Columns come first and are rounded to 8 bits, then rows. The result is
// Pillow's bit by bit (libImaging/Resample.c): positions are float and weights double. Compile with -ffp-contract=off.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define DECLIP_BOTH __host__ __device__
#else
#define DECLIP_BOTH
#endif

namespace declip {

constexpr int kBits = 22;  // fractional bits of a weight
constexpr double kSupport = 2.0;  // how far the filter reaches on either side, in samples

DECLIP_BOTH inline double weight(double x) {
  constexpr double a = -0.5;  // Keys' bicubic
  double side = x < 0.0 ? -x : x;
  if (side < 1.0) return ((a + 2.0) * side - (a + 3.0)) * side * side + 1;
  return side < kSupport ? (((side - 5) * side + 8) * side - 4) * a : 0.0;
}

// How one axis is resampled: `size` samples become `out` ones that cover [begin, end) of it.
struct Axis {
  int size, out;
  float begin, end;

  DECLIP_BOTH double scale() const { return double(end - begin) / out; }
  DECLIP_BOTH double reach() const {  // of the filter, in input samples
    double stretch = scale();
    return kSupport * (stretch < 1.0 ? 1.0 : stretch);
  }
  DECLIP_BOTH int taps() const { return int(ceil(reach())) * 2 + 1; }  // the most weights of an output sample
};

// The input samples [low, high) that output sample i is made of.
DECLIP_BOTH inline void span_of(const Axis& axis, int i, int* low, int* high) {
  double centre = axis.begin + (i + 0.5) * axis.scale(), reach = axis.reach();
  *low = int(centre - reach + 0.5), *high = int(centre + reach + 0.5);
  *low = *low < 0 ? 0 : *low;
  *high = *high > axis.size ? axis.size : *high;
}

// Writes the weights of output sample i, `step` ints apart, and returns their count; `first` is the first input sample.
// `scratch`, if any, saves computing them twice.
DECLIP_BOTH inline int weights_of(const Axis& axis, int i, int* weights, int step, int* first, double* scratch) {
  double stretch = axis.scale() < 1.0 ? 1.0 : axis.scale(), narrow = 1.0 / stretch;
  double centre = axis.begin + (i + 0.5) * axis.scale(), sum = 0.0;
  int low, high;
  span_of(axis, i, &low, &high);
  int count = high - low;
  for (int j = 0; j < count; j++) {
    double value = weight((j + low - centre + 0.5) * narrow);
    if (scratch) scratch[j] = value;
    sum += value;
  }
  for (int j = 0; j < count; j++) {
    double value = scratch ? scratch[j] : weight((j + low - centre + 0.5) * narrow);
    double share = sum != 0.0 ? value / sum : value;
    weights[size_t(j) * step] = int((share < 0 ? -0.5 : 0.5) + share * (1 << kBits));
  }
  *first = low;
  return count;
}

// Pillow 13 resamples rows first where the height shrinks by more than twice as many pixels as the width does.
DECLIP_BOTH inline bool is_tall(int height, int width, int new_height, int new_width) {
  return new_height < height && height - new_height > 2 * (width - new_width);
}

// Turns a weighted sum into a sample. The sum has begun with kHalf, which rounds it.
DECLIP_BOTH inline uint8_t to_sample(int sum) {
  int whole = sum >> kBits;
  return uint8_t(whole < 0 ? 0 : whole > 255 ? 255 : whole);
}

constexpr int kHalf = 1 << (kBits - 1);

}  // namespace declip
