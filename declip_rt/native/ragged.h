// Views of images of many sizes: the steps of the CUDA kernels, an element at a time, for host and device.
#pragma once

#include <algorithm>
#include <climits>
#include <cstddef>
#include <stdexcept>

#include "resample.h"

namespace declip {

// One view of one image. Python fills in the fields up to `out`, and lay_out the others.
struct Job {
  const uint8_t* image;  // RGB, at any strides (bytes)
  int64_t row, pixel, channel;
  int32_t height, width;
  float left, top, right, bottom;  // of the view, in pixels of the image
  int64_t out;                     // bytes from the start of all views to this one
  int64_t weights, between;        // where scratch has the weights and the first pass's pixels (bytes)
  int32_t begin, length;           // the image rows that the first pass makes; columns where rows come first
  int32_t column_taps, row_taps;   // the most weights of an output column, and of a row
};
static_assert(sizeof(Job) == 96 && offsetof(Job, out) == 56 && offsetof(Job, begin) == 80);

DECLIP_BOTH inline Axis columns_of(const Job& job, int size) {
  return {job.width, size, job.left, job.right};
}
DECLIP_BOTH inline Axis rows_of(const Job& job, int size) {
  return {job.height, size, job.top, job.bottom};
}
DECLIP_BOTH inline bool rows_first(const Job& job, int size) { return is_tall(job.height, job.width, size, size); }

struct Need {
  int64_t scratch;  // bytes, for all jobs
  int64_t pixels;   // of the longest first pass
};

// Gives each job its place in scratch. Throws where a box is empty or leaves its image, or an image is too large.
inline Need lay_out(Job* jobs, size_t count, int size) {
  Need need{0, 0};
  for (Job* job = jobs; job < jobs + count; job++) {
    const bool across = 0 <= job->left && job->left < job->right && job->right <= float(job->width);
    const bool down = 0 <= job->top && job->top < job->bottom && job->bottom <= float(job->height);
    if (!across || !down) throw std::invalid_argument("a view's box is empty or leaves its image");
    const Axis columns = columns_of(*job, size), rows = rows_of(*job, size);
    const Axis& second = rows_first(*job, size) ? columns : rows;
    int end, unused;
    span_of(second, 0, &job->begin, &unused);
    span_of(second, size - 1, &unused, &end);
    job->length = end - job->begin, job->column_taps = columns.taps(), job->row_taps = rows.taps();
    const int64_t pixels = int64_t(job->length) * size;
    if (pixels > INT_MAX / 2) throw std::length_error("an image is too large for the CUDA kernels, which count in ints");
    job->weights = need.scratch;
    job->between = job->weights + int64_t(size) * (4 + job->column_taps + job->row_taps) * int64_t(sizeof(int));
    need.scratch = (job->between + 3 * pixels + 255) / 256 * 256;
    need.pixels = std::max(need.pixels, pixels);
  }
  return need;
}

// Where scratch has output column or row i: its first input sample, then their count, then the weights, each `size`
// ints after the other. Columns lie side by side, so that neighbouring threads read neighbouring ints.
DECLIP_BOTH inline int* weights_at(const Job& job, int size, bool of_rows, int i, uint8_t* scratch) {
  return reinterpret_cast<int*>(scratch + job.weights) + (of_rows ? size * (2 + job.column_taps) : 0) + i;
}

// Sums samples of three channels, which lie `step` bytes apart.
DECLIP_BOTH inline void blend(const uint8_t* from, int64_t step, int64_t channel, const int* weights, int size,
                              uint8_t* out) {
  int red = kHalf, green = kHalf, blue = kHalf;
  const int count = weights[size];
  weights += 2 * size;
  for (int j = 0; j < count; j++, from += step, weights += size) {
    red += from[0] * *weights, green += from[channel] * *weights, blue += from[2 * channel] * *weights;
  }
  out[0] = to_sample(red), out[1] = to_sample(green), out[2] = to_sample(blue);
}

// Step one: the weights of column or row i, for i below 2 * size.
DECLIP_BOTH inline void weigh(const Job& job, int size, int i, uint8_t* scratch) {
  const bool of_rows = i >= size;
  if (of_rows) i -= size;
  int* at = weights_at(job, size, of_rows, i, scratch);
  at[size] = weights_of(of_rows ? rows_of(job, size) : columns_of(job, size), i, at + 2 * size, size, at, nullptr);
}

// Step two: pixel i of the first pass, for i below length * size.
DECLIP_BOTH inline void pass_one(const Job& job, int size, int i, uint8_t* scratch) {
  const bool tall = rows_first(job, size);
  const int width = tall ? job.length : size, y = i / width, x = i % width;
  const int* weights = weights_at(job, size, tall, tall ? y : x, scratch);
  const int64_t top = tall ? weights[0] : job.begin + y, left = tall ? job.begin + x : weights[0];
  blend(job.image + top * job.row + left * job.pixel, tall ? job.row : job.pixel, job.channel, weights, size,
        scratch + job.between + 3 * int64_t(i));
}

// Step three: pixel i of the view, for i below size * size.
DECLIP_BOTH inline void pass_two(const Job& job, int size, int i, uint8_t* scratch, uint8_t* out) {
  const bool tall = rows_first(job, size);
  const int y = i / size, x = i % size;
  const int* weights = weights_at(job, size, !tall, tall ? x : y, scratch);
  const int64_t first = weights[0] - job.begin;
  const int64_t from = tall ? int64_t(y) * job.length + first : first * size + x;
  blend(scratch + job.between + 3 * from, tall ? 3 : 3 * size, 1, weights, size, out + job.out + 3 * int64_t(i));
}

}  // namespace declip
