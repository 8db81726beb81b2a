// The second pass of resampling, down the columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "columns.h"

namespace declip {

// Writes the weighted sum of `count` rows of `bytes` bytes, which lie `stride` bytes apart.
void add_rows(const uint8_t* rows, ptrdiff_t stride, size_t bytes, const int* weights, int count, Level level,
              uint8_t* out);

}  // namespace declip
