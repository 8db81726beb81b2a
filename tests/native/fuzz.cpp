// Resamples random photos that lie in memory of exactly their size, for the sanitizers; all levels must agree, and so
// must the CUDA kernels' steps, which run here one after another.
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "jpeg.h"
#include "luma.h"
#include "ragged.h"
#include "views.h"

static std::vector<uint8_t> by_kernels(const declip::Image& image, const std::vector<declip::Box>& boxes, int size) {
  std::vector<declip::Job> jobs;
  const int64_t bytes = int64_t(size) * size * 3;
  for (const auto& box : boxes) {
    jobs.push_back({image.data, image.row, image.pixel, image.channel, image.height, image.width, box.left, box.top,
                    box.right, box.bottom, bytes * int64_t(jobs.size())});
  }
  const auto need = declip::lay_out(jobs.data(), jobs.size(), size);
  std::vector<uint8_t> weights(need.weights), scratch(need.scratch), out(bytes * jobs.size());
  std::vector<uint32_t> tile(declip::kTile);
  for (auto& job : jobs) {
    job.weights += reinterpret_cast<uint64_t>(weights.data());
    declip::weigh(declip::Alone(), job, size);
    declip::pass_one(declip::Alone(), job, size, tile.data(), scratch.data());
    declip::pass_two(declip::Alone(), job, size, scratch.data(), out.data());
  }
  return out;
}

// Reads damaged headers, in memory of exactly their size.
static int read_headers(std::mt19937& random) {
  const uint8_t whole[] = {0xff, 0xd8, 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1,
                           0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0xff, 0xe2, 0, 20, 'I', 'C', 'C', '_', 'P', 'R',
                           'O', 'F', 'I', 'L', 'E', 0, 1, 1, 1, 2, 3, 4, 0xff, 0xc0, 0, 11, 8, 0, 40, 0, 60, 1, 1, 0x11,
                           0, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0};
  int taken = 0;
  for (int n = 0; n < 20000; n++) {
    std::vector<uint8_t> data(whole, whole + sizeof whole);
    for (int changes = n ? int(random() % 4) : 0; changes > 0; changes--) data[random() % data.size()] = uint8_t(random());
    if (n && random() % 3 == 0) data.resize(random() % data.size());
    data.shrink_to_fit();
    declip::Jpeg found;
    if (!declip::read_jpeg(data.data(), data.size(), found)) continue;
    taken++;
    for (auto [begin, size] : found.profile)
      if (begin + size > data.size()) return 0;
  }
  return taken;
}

// Shrinks luma in memory of exactly its size.
template <class Sample>
static void shrink_lumas(std::mt19937& random) {
  for (int n = 0; n < 2000; n++) {
    const int height = 1 + random() % 60, width = 1 + random() % 90, gap = random() % 20;
    const int factor = 1 + random() % std::min(height, width), row = width + gap;
    std::vector<Sample> samples(size_t(height) * row - gap, Sample(random()));
    std::vector<uint8_t> out(size_t(height / factor) * (width / factor));
    declip::shrink_luma(declip::Luma<Sample>{samples.data(), row, height, width}, factor, 16, 235, out.data());
  }
}

int main() {
  std::mt19937 random(1);
  shrink_lumas<uint8_t>(random);
  shrink_lumas<uint16_t>(random);
  const int taken = read_headers(random);
  if (taken < 1000) {
    std::fprintf(stderr, "%d headers were read\n", taken);
    return 1;
  }
  auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  auto side = [&] { return draw(0, 1) ? draw(1, 12) : draw(1, 300); };
  const int photos = 500;
  for (int n = 0; n < photos; n++) {
    int height = side(), width = side(), out_height = side(), out_width = side(), views = draw(1, 3);
    const int at = draw(0, 15), gap = draw(0, 1) ? draw(0, 20) : 0;  // the kernels read whole chunks of 16 bytes
    const int row = width * 3 + gap;
    std::vector<uint8_t> pixels(at + size_t(height) * row - gap);
    for (auto& pixel : pixels) pixel = uint8_t(draw(0, 255));
    declip::Image image{pixels.data() + at, height, width, row, 3, 1};
    if (draw(0, 3) == 0) {  // upside down, and mirrored
      image = {image.data + (height - 1) * row, height, width, -row, 3, 1};
      if (draw(0, 1)) image = {pixels.data() + pixels.size() - 3, height, width, -row, -3, 1};
    }
    if (draw(0, 3) == 0) {  // turned
      image = {image.data, width, height, image.pixel, image.row, 1};
      std::swap(width, height);
    }
    std::vector<declip::Box> boxes;
    for (int v = 0; v < views; v++) {
      int left = draw(0, width - 1), top = draw(0, height - 1);
      declip::Box box{float(left), float(top), float(draw(left + 1, width)), float(draw(top + 1, height))};
      if (draw(0, 1)) box.left += 0.25f, box.bottom -= 0.25f;
      boxes.push_back(box);
    }
    std::vector<uint8_t> first;
    for (int level = 0; level <= int(declip::best_level()); level++) {
      std::vector<uint8_t> out(size_t(views) * out_height * out_width * 3);
      declip::resample(image, boxes.data(), views, out_width, out_height, declip::Level(level), out.data());
      if (level == 0) first = out;
      if (out != first) {
        std::fprintf(stderr, "photo %d: level %d differs\n", n, level);
        return 1;
      }
    }
    std::vector<uint8_t> square(size_t(views) * out_width * out_width * 3);
    declip::resample(image, boxes.data(), views, out_width, out_width, declip::best_level(), square.data());
    if (by_kernels(image, boxes, out_width) != square) {
      std::fprintf(stderr, "photo %d: the kernels differ\n", n);
      return 1;
    }
  }
  std::printf("%d photos, levels 0 to %d\n", photos, int(declip::best_level()));
}
