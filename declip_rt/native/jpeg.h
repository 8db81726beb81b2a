// What the header of a JPEG says, for those that any reader takes alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace declip {

struct Jpeg {
  int width = 0, height = 0;
  bool is_progressive = false;
  int turn = 1;                                         // the EXIF orientation, 1 to 8
  std::vector<std::pair<size_t, size_t>> profile;       // where the parts of the ICC profile lie: begin, size
};

// Reads up to the first scan. False for what needs a second look: no JPEG of 8-bit grey or YCbCr or RGB by Huffman
// codes, damaged, or with metadata that readers take in several ways.
bool read_jpeg(const uint8_t* data, size_t size, Jpeg& out);

}  // namespace declip
