// Resampled rectangles of one image.
#pragma once

#include <cstddef>
#include <cstdint>

#include "columns.h"

namespace declip {

struct Image {  // RGB, 8 bits each, at any strides (bytes)
  const uint8_t* data;
  int height, width;
  ptrdiff_t row, pixel, channel;
};

struct Box {  // in source pixels
  float left, top, right, bottom;
};

// Writes `count` views, each packed RGB of `height` rows of `width` pixels, one after another. The image is read once.
void resample(const Image& image, const Box* boxes, int count, int width, int height, Level level, uint8_t* out);

}  // namespace declip
