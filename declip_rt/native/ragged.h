// The views of a ragged batch of images: the steps of the CUDA kernels, an element at a time, for host and device.
#pragma once

#include <cstddef>

#include "resample.h"

namespace declip {

// One view of one image. Python packs all but the last four, which lay_out fills in.
struct Job {
  const uint8_t* image;  // RGB, at any strides (bytes)
  int64_t row, pixel, channel;
  int32_t height, width;
  float left, top, right, bottom;  // of the view, in pixels of the image
  int64_t out;                     // bytes from the start of all views to this one
  int64_t weights, between;        // bytes of scratch, to the weights and to what the first pass makes
  int32_t begin, length;           // the image rows of the first pass, or its columns where rows come first
};
static_assert(sizeof(Job) == 88 && offsetof(Job, out) == 56);

DECLIP_BOTH inline Axis columns_of(const Job& job, int size) {
  return {job.width, size, job.left, job.right, Filter::bicubic};
}
DECLIP_BOTH inline Axis rows_of(const Job& job, int size) {
  return {job.height, size, job.top, job.bottom, Filter::bicubic};
}
DECLIP_BOTH inline bool rows_first(const Job& job, int size) { return is_tall(job.height, job.width, size, size); }

// The weights of one output sample in scratch: the first input sample, their count, and they.
DECLIP_BOTH inline int* weights_at(const Job& job, int size, bool of_rows, int i, uint8_t* scratch) {
  const int columns = 2 + columns_of(job, size).taps(), rows = 2 + rows_of(job, size).taps();
  int* all = reinterpret_cast<int*>(scratch + job.weights);
  return of_rows ? all + size * columns + i * rows : all + i * columns;
}

// Sums samples of three channels, which lie `step` bytes apart.
DECLIP_BOTH inline void blend(const uint8_t* from, int64_t step, int64_t channel, const int* weights, uint8_t* out) {
  int red = kHalf, green = kHalf, blue = kHalf;
  for (int j = 0; j < weights[1]; j++, from += step) {
    red += from[0] * weights[2 + j], green += from[channel] * weights[2 + j], blue += from[2 * channel] * weights[2 + j];
  }
  out[0] = to_sample(red), out[1] = to_sample(green), out[2] = to_sample(blue);
}

// Step one: the weights of column or row i, for i below 2 * size.
DECLIP_BOTH inline void weigh(const Job& job, int size, int i, uint8_t* scratch) {
  const bool of_rows = i >= size;
  if (of_rows) i -= size;
  int* at = weights_at(job, size, of_rows, i, scratch);
  at[1] = weights_of(of_rows ? rows_of(job, size) : columns_of(job, size), i, at + 2, at, nullptr);
}

// Step two: pixel i of the first pass, for i below length * size.
DECLIP_BOTH inline void pass_one(const Job& job, int size, int64_t i, uint8_t* scratch) {
  const bool tall = rows_first(job, size);
  const int width = tall ? job.length : size, y = int(i / width), x = int(i % width);
  const int* weights = weights_at(job, size, tall, tall ? y : x, scratch);
  const int64_t top = tall ? weights[0] : job.begin + y, left = tall ? job.begin + x : weights[0];
  blend(job.image + top * job.row + left * job.pixel, tall ? job.row : job.pixel, job.channel, weights,
        scratch + job.between + 3 * i);
}

// Step three: pixel i of the view, for i below size * size.
DECLIP_BOTH inline void pass_two(const Job& job, int size, int i, uint8_t* scratch, uint8_t* out) {
  const bool tall = rows_first(job, size);
  const int y = i / size, x = i % size;
  const int* weights = weights_at(job, size, !tall, tall ? x : y, scratch);
  const int64_t first = weights[0] - job.begin;
  const int64_t from = tall ? int64_t(y) * job.length + first : first * size + x;
  blend(scratch + job.between + 3 * from, tall ? 3 : 3 * size, 1, weights, out + job.out + 3 * int64_t(i));
}

}  // namespace declip
