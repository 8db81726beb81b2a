// Views of images of many sizes: the steps of the CUDA kernels, for host and device.
#pragma once

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstring>
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
  uint64_t weights;                // their address; lay_out counts from 0, and Python adds where they begin
  int64_t between;                 // where scratch has the first pass's pixels (bytes)
  int32_t begin, length;           // the image rows that the first pass makes; columns where rows come first
  int32_t column_taps, row_taps;   // the most weights of an output column, and of a row
  int32_t rows, pitch;             // of a tile of the first pass (words); no rows: it is not staged
};
static_assert(sizeof(Job) == 104 && offsetof(Job, out) == 56 && offsetof(Job, begin) == 80);

// A block of the first pass makes tiles of kRows x kColumns pixels, fewer rows where kTile words hold no more.
constexpr int kColumns = 32, kRows = 8, kTile = 4096;

DECLIP_BOTH inline Axis columns_of(const Job& job, int size) {
  return {job.width, size, job.left, job.right};
}
DECLIP_BOTH inline Axis rows_of(const Job& job, int size) {
  return {job.height, size, job.top, job.bottom};
}
DECLIP_BOTH inline bool rows_first(const Job& job, int size) { return is_tall(job.height, job.width, size, size); }

// The word of pixel x of a tile's row. A gap in every 32 words keeps columns that lie 2^n pixels apart in other banks.
DECLIP_BOTH inline int word_of(int x) { return x + (x >> 5); }

struct Need {
  int64_t weights, scratch;  // bytes, for all jobs
  int64_t pixels;            // of the longest first pass
};

// Gives each job its places. Throws where a box is empty or leaves its image, or an image is too large.
inline Need lay_out(Job* jobs, size_t count, int size) {
  Need need{0, 0, 0};
  const auto aligned = [](int64_t bytes) { return (bytes + 255) / 256 * 256; };
  for (Job* job = jobs; job < jobs + count; job++) {
    const bool across = 0 <= job->left && job->left < job->right && job->right <= float(job->width);
    const bool down = 0 <= job->top && job->top < job->bottom && job->bottom <= float(job->height);
    if (!across || !down) throw std::invalid_argument("a view's box is empty or leaves its image");
    const Axis columns = columns_of(*job, size), rows = rows_of(*job, size);
    const bool tall = rows_first(*job, size);
    const Axis& second = tall ? columns : rows;
    int end, unused;
    span_of(second, 0, &job->begin, &unused);
    span_of(second, size - 1, &unused, &end);
    job->length = end - job->begin, job->column_taps = columns.taps(), job->row_taps = rows.taps();
    const int64_t pixels = int64_t(job->length) * size;
    if (pixels > INT_MAX / 2) throw std::length_error("an image is too large for the CUDA kernels, which count in ints");
    job->pitch = word_of(int(ceil((kColumns - 1) * columns.scale())) + job->column_taps);
    job->rows = tall ? 0 : std::min(kRows, kTile / job->pitch);
    job->weights = need.weights, job->between = need.scratch;
    need.weights += aligned(int64_t(size) * (4 + job->column_taps + job->row_taps) * int64_t(sizeof(int)));
    need.scratch += aligned(3 * pixels);
    need.pixels = std::max(need.pixels, pixels);
  }
  return need;
}

// Where the weights of output column or row i are: its first input sample, then their count, then the weights, each
// `size` ints after the other. Columns lie side by side, so that neighbouring threads read neighbouring ints.
DECLIP_BOTH inline int* weights_at(const Job& job, int size, bool of_rows, int i) {
  return reinterpret_cast<int*>(job.weights) + (of_rows ? size * (2 + job.column_taps) : 0) + i;
}

// What no kernel writes while it runs: the GPU need not order such a load behind stores.
template <typename T> DECLIP_BOTH inline T read(const T* from) {
#ifdef __CUDA_ARCH__
  return __ldg(from);
#else
  return *from;
#endif
}

// A pixel is a word: red in its lowest byte, then green and blue.
DECLIP_BOTH inline uint32_t pixel_at(const uint8_t* from, int64_t channel) {
  return read(from) | uint32_t(read(from + channel)) << 8 | uint32_t(read(from + 2 * channel)) << 16;
}

// Reads the kChunk pixels of packed RGB that begin at a multiple of 16.
constexpr int kChunk = 16;
DECLIP_BOTH inline void read_chunk(const uint8_t* from, uint32_t pixels[kChunk]) {
  uint32_t words[3 * kChunk / 4];
#ifdef __CUDA_ARCH__
#pragma unroll
  for (int i = 0; i < 3; i++) {
    const uint4 four = __ldg(reinterpret_cast<const uint4*>(from) + i);
    words[4 * i] = four.x, words[4 * i + 1] = four.y, words[4 * i + 2] = four.z, words[4 * i + 3] = four.w;
  }
#pragma unroll
#else
  if (reinterpret_cast<uintptr_t>(from) % 16) throw std::logic_error("a GPU would refuse to read from there");
  memcpy(words, from, sizeof words);
#endif
  for (int i = 0; i < kChunk; i++) {
    const int word = 3 * i / 4, shift = 3 * i % 4 * 8;
    const uint64_t both = words[word] | uint64_t(shift > 8 ? words[word + 1] : 0) << 32;
    pixels[i] = uint32_t(both >> shift) & 0xffffff;
  }
}

// Sums the pixels pixel(0), pixel(1), ...: words of red, green and blue.
template <typename Pixel>
DECLIP_BOTH inline void blend(const int* weights, int size, Pixel pixel, uint8_t* out) {
  int red = kHalf, green = kHalf, blue = kHalf;
  const int count = read(weights + size);
  weights += 2 * size;
  for (int j = 0; j < count; j++, weights += size) {
    const uint32_t word = pixel(j);
    const int share = read(weights);
    red += int(word & 255) * share, green += int(word >> 8 & 255) * share, blue += int(word >> 16) * share;
  }
  out[0] = to_sample(red), out[1] = to_sample(green), out[2] = to_sample(blue);
}

// Step one: the weights of columns and rows. blocks: all threads, which share the elements of what each() is given.
template <typename Blocks> DECLIP_BOTH inline void weigh(const Blocks& blocks, const Job& job, int size) {
  blocks.each(2 * size, [&](int i) {
    const bool of_rows = i >= size;
    if (of_rows) i -= size;
    int* at = weights_at(job, size, of_rows, i);
    at[size] = weights_of(of_rows ? rows_of(job, size) : columns_of(job, size), i, at + 2 * size, size, at, nullptr);
  });
}

// Step two, where rows come first or a tile would hold no row: pixels from the image itself.
template <typename Blocks>
DECLIP_BOTH inline void pass_one_direct(const Blocks& blocks, const Job& job, int size, uint8_t* scratch) {
  const bool tall = rows_first(job, size);
  const int width = tall ? job.length : size;
  const int64_t step = tall ? job.row : job.pixel;
  blocks.each(job.length * size, [&](int i) {
    const int y = i / width, x = i % width;
    const int* weights = weights_at(job, size, tall, tall ? y : x);
    const int64_t top = tall ? read(weights) : job.begin + y, left = tall ? job.begin + x : read(weights);
    const uint8_t* from = job.image + top * job.row + left * job.pixel;
    blend(weights, size, [&](int j) { return pixel_at(from + j * step, job.channel); },
          scratch + job.between + 3 * int64_t(i));
  });
}

// The part of an image that a tile's first rows and columns of output are made of.
struct Patch {
  const uint8_t* corner;
  int rows, pixels;  // of a row
};

// Puts the pixels of a packed image into `tile`. Threads read chunks: the first of a row begins before it, by whole
// pixels, at a multiple of 16. What they read beyond the row is of the image's memory, too, or is not read.
template <typename Blocks>
DECLIP_BOTH inline void stage_chunks(const Blocks& blocks, const Job& job, const Patch& patch, uint32_t* tile) {
  const int64_t last = (job.height - 1) * job.row;
  const uint8_t *begin = job.image + (last < 0 ? last : 0), *end = job.image + (last < 0 ? 0 : last) + 3 * job.width;
  blocks.each_of_tile(patch.rows, (patch.pixels + 2 * kChunk - 2) / kChunk, [&](int y, int chunk) {
    const uint8_t* row = patch.corner + y * job.row;
    const int past = int(reinterpret_cast<uintptr_t>(row) % 16), before = (past + past * 2 % 3 * 16) / 3;
    const int first = chunk * kChunk - before, stop = patch.pixels - first < kChunk ? patch.pixels - first : kChunk;
    const int start = first < 0 ? -first : 0;
    const uint8_t* from = row + 3 * first;
    uint32_t* to = tile + y * job.pitch;
    if (stop <= start) return;
    if (from < begin || from + 3 * kChunk > end) {
      for (int i = start; i < stop; i++) to[word_of(first + i)] = pixel_at(from + 3 * i, 1);
      return;
    }
    uint32_t pixels[kChunk];
    read_chunk(from, pixels);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
    for (int i = 0; i < kChunk; i++)
      if (start <= i && i < stop) to[word_of(first + i)] = pixels[i];
  });
}

// Step two: the first pass's pixels, tile by tile. A block reads the pixels that a tile is made of once, side by side,
// into kTile words. There its columns find them, which need pixels far apart, and the same ones several times.
template <typename Blocks>
DECLIP_BOTH inline void pass_one(const Blocks& blocks, const Job& job, int size, uint32_t* tile, uint8_t* scratch) {
  if (job.rows == 0) return pass_one_direct(blocks, job, size, scratch);
  const int across = (size + kColumns - 1) / kColumns, down = (job.length + job.rows - 1) / job.rows;
  for (int i = blocks.first(); i < across * down; i += blocks.count()) {
    const int x0 = i % across * kColumns, y0 = i / across * job.rows;
    const int columns = size - x0 < kColumns ? size - x0 : kColumns;
    const int rows = job.length - y0 < job.rows ? job.length - y0 : job.rows;
    const int* weights = weights_at(job, size, false, x0);
    const int left = read(weights), right = read(weights + columns - 1) + read(weights + columns - 1 + size);
    const Patch patch{job.image + (job.begin + y0) * job.row + left * job.pixel, rows, right - left};
    if (job.pixel == 3 && job.channel == 1) {
      stage_chunks(blocks, job, patch, tile);
    } else {
      blocks.each_of_tile(rows, patch.pixels, [&](int y, int x) {
        tile[y * job.pitch + word_of(x)] = pixel_at(patch.corner + y * job.row + x * job.pixel, job.channel);
      });
    }
    blocks.each_of_tile(rows, columns, [&](int y, int x) {
      const uint32_t* row = tile + y * job.pitch;
      const int from = read(weights + x) - left;
      blend(weights + x, size, [&](int j) { return row[word_of(from + j)]; },
            scratch + job.between + 3 * (int64_t(y0 + y) * size + x0 + x));
    });
  }
}

// Step three: the view's pixels.
template <typename Blocks>
DECLIP_BOTH inline void pass_two(const Blocks& blocks, const Job& job, int size, const uint8_t* scratch, uint8_t* out) {
  const bool tall = rows_first(job, size);
  const int step = tall ? 3 : 3 * size;
  blocks.each(size * size, [&](int i) {
    const int y = i / size, x = i % size;
    const int* weights = weights_at(job, size, !tall, tall ? x : y);
    const int64_t first = read(weights) - job.begin;
    const uint8_t* from = scratch + job.between + 3 * (tall ? int64_t(y) * job.length + first : first * size + x);
    blend(weights, size, [&](int j) { return pixel_at(from + int64_t(j) * step, 1); }, out + job.out + 3 * int64_t(i));
  });
}

// The threads of a CPU that has one. The last element comes first: no element may need one before it.
struct Alone {
  int first() const { return 0; }
  int count() const { return 1; }
  template <typename Step> void each(int count, Step step) const {
    for (int i = count - 1; i >= 0; i--) step(i);
  }
  template <typename Step> void each_of_tile(int rows, int columns, Step step) const {
    for (int y = rows - 1; y >= 0; y--)
      for (int x = columns - 1; x >= 0; x--) step(y, x);
  }
};

}  // namespace declip
