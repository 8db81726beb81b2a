#include "jpeg.h"

#include <cstring>
#include <iterator>
#include <string_view>

namespace declip {
namespace {

constexpr int kOrientation = 0x0112, kShort = 3;
using Bytes = std::basic_string_view<uint8_t>;

bool starts(Bytes data, const char* mark, size_t size) {
  return data.size() >= size && std::memcmp(data.data(), mark, size) == 0;
}

bool holds(Bytes data, std::string_view text) {
  const std::string_view all(reinterpret_cast<const char*>(data.data()), data.size());
  return all.find(text) != all.npos;
}

// The numbers of a TIFF, in its byte order.
struct Tiff {
  Bytes data;
  bool is_big;

  bool has(size_t at, size_t count) const { return at <= data.size() && count <= data.size() - at; }
  uint32_t number(size_t at, int bytes) const {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | data[is_big ? at + i : at + bytes - 1 - i];
    return value;
  }
};

// Whether the value of an entry is there. What follows one that is not, some readers take and some do not.
bool has_value(const Tiff& tiff, size_t entry) {
  constexpr size_t kSizes[] = {1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};  // of a number of each type
  const size_t type = tiff.number(entry + 2, 2);
  if (type == 0 || type >= std::size(kSizes)) return false;
  const size_t bytes = kSizes[type] * tiff.number(entry + 4, 4);
  return bytes <= 4 || tiff.has(tiff.number(entry + 8, 4), bytes);
}

// The orientation in the first directory; 1 where there is none. False where it is no single short of 1 to 8.
bool read_turn(Bytes exif, int& turn) {
  const bool is_big = starts(exif, "MM\0*", 4);
  if (!is_big && !starts(exif, "II*\0", 4)) return false;
  const Tiff tiff{exif, is_big};
  if (!tiff.has(4, 4)) return false;
  const size_t directory = tiff.number(4, 4);
  if (!tiff.has(directory, 2)) return false;
  const size_t entries = tiff.number(directory, 2);
  if (!tiff.has(directory + 2, entries * 12)) return false;
  bool found = false;
  for (size_t i = 0; i < entries; i++) {
    const size_t entry = directory + 2 + i * 12;
    if (!has_value(tiff, entry)) return false;
    if (tiff.number(entry, 2) != kOrientation) continue;
    if (found || tiff.number(entry + 2, 2) != kShort || tiff.number(entry + 4, 4) != 1) return false;
    turn = int(tiff.number(entry + 8, 2)), found = true;
    if (turn < 1 || turn > 8) return false;
  }
  return true;
}

// Frames, tables, the scan, applications' and comments. Readers differ in what they make of others.
bool has_length(int mark) {
  return (mark >= 0xc0 && mark <= 0xcf) || mark == 0xda || mark == 0xdb || mark == 0xdd || (mark >= 0xe0 && mark <= 0xef) || mark == 0xfe;
}

// Parts come in order, each with its number and how many there are.
bool read_profile(Bytes segment, size_t begin, Jpeg& out, size_t& parts) {
  if (segment.size() < 14) return false;
  const size_t number = segment[12], count = segment[13];
  if (number != out.profile.size() + 1 || number > count || (parts && parts != count)) return false;
  parts = count;
  out.profile.push_back({begin + 14, segment.size() - 14});
  return true;
}

}  // namespace

bool read_jpeg(const uint8_t* data, size_t size, Jpeg& out) {
  const Bytes all(data, size);
  if (!starts(all, "\xff\xd8", 2)) return false;
  bool has_exif = false;
  size_t parts = 0, place = 2;
  while (place + 4 <= size && data[place] == 0xff) {
    const int mark = data[place + 1];
    const size_t length = size_t(data[place + 2]) << 8 | data[place + 3];
    if (!has_length(mark) || length < 2 || length > size - place - 2) return false;
    const Bytes segment = all.substr(place + 4, length - 2);
    if (mark == 0xda) return out.width > 0 && out.height > 0 && out.profile.size() == parts;
    if (mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xcc) {
      if (mark > 0xc2 || out.width || segment.size() < 6 || segment[0] != 8) return false;
      if (segment[5] != 1 && segment[5] != 3) return false;
      if (segment.size() != 6 + size_t(segment[5]) * 3) return false;
      out.height = segment[1] << 8 | segment[2], out.width = segment[3] << 8 | segment[4];
      out.is_progressive = mark == 0xc2;
    } else if (mark == 0xe1 && starts(segment, "Exif\0\0", 6)) {
      if (has_exif || !read_turn(segment.substr(6), out.turn)) return false;
      has_exif = true;
    } else if (mark == 0xe1 && holds(segment, "tiff:Orientation")) {  // XMP, which counts where EXIF does not
      return false;
    } else if (mark == 0xe2 && starts(segment, "ICC_PROFILE\0", 12)) {
      if (out.width || !read_profile(segment, place + 4, out, parts)) return false;
    }
    place += 2 + length;
  }
  return false;
}

}  // namespace declip
