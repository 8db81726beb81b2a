// The luma of a picture, a whole number of times smaller.
#pragma once

#include <cstddef>
#include <cstdint>

namespace declip {

template <class Sample>
struct Luma {
  const Sample* samples;
  ptrdiff_t row;  // samples from one row to the next
  int rows, columns;
};

// Writes (rows / factor) x (columns / factor) levels: the means of squares, `black` as 0 and `white` as 255, clipped.
// factor: 1 to 256, as the sum of so many bytes has 16 bits. Sample: uint8_t or uint16_t.
template <class Sample>
void shrink_luma(const Luma<Sample>& luma, int factor, float black, float white, uint8_t* out);

}  // namespace declip
