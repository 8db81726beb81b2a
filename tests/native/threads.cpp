// Runs the CUDA kernels themselves on the host, a thread of the host for each thread of a block, for the thread
// sanitizer: it sees a step that does not wait for the one before it. The views must be those of the resampler.
#include <barrier>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

struct Index {
  unsigned x, y;
};
const Index blockDim{8, 2}, gridDim{3, 1};
thread_local Index blockIdx, threadIdx;
std::barrier together(blockDim.x * blockDim.y);

#define __global__
#define __device__
#define __shared__ static
#define __syncthreads() together.arrive_and_wait()
#include "ragged.cu"
#include "views.h"

template <typename Kernel> void launch(Kernel kernel) {
  for (unsigned block = 0; block < gridDim.x; block++) {  // one after another: `__shared__` is of one
    std::vector<std::thread> threads;
    for (unsigned y = 0; y < blockDim.y; y++)
      for (unsigned x = 0; x < blockDim.x; x++)
        threads.emplace_back([=] {
          blockIdx = {block, 0}, threadIdx = {x, y};
          kernel();
        });
    for (auto& thread : threads) thread.join();
  }
}

int main() {
  std::mt19937 random(1);
  auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  const int photos = 12, size = 70;  // of a view: two whole tiles and a part of one
  for (int n = 0; n < photos; n++) {
    const int height = draw(60, 200), width = n == 0 ? 9000 : draw(60, 600), channel = n % 3 == 1 ? height * width : 1;
    const int at = draw(0, 15);
    std::vector<uint8_t> pixels(at + size_t(height) * width * 3);
    for (auto& pixel : pixels) pixel = uint8_t(draw(0, 255));
    const int64_t step = channel == 1 ? 3 : 1;
    const declip::Image image{pixels.data() + at, height, width, width * step, step, channel};
    const declip::Box box{float(draw(0, 20)), float(draw(0, 20)), float(width - draw(0, 20)), float(height)};
    declip::Job job{image.data, image.row,  image.pixel, image.channel, image.height, image.width,
                    box.left,   box.top,    box.right,   box.bottom};
    const auto need = declip::lay_out(&job, 1, size);
    std::vector<uint8_t> weights(need.weights), scratch(need.scratch), out(size * size * 3), expected(out.size());
    job.weights += reinterpret_cast<uint64_t>(weights.data());
    launch([&] { declip_weigh(&job, size); });
    launch([&] { declip_pass_one(&job, size, scratch.data()); });
    launch([&] { declip_pass_two(&job, size, scratch.data(), out.data()); });
    declip::resample(image, &box, 1, size, size, declip::Level::portable, expected.data());
    if (out != expected) {
      std::fprintf(stderr, "photo %d, %dx%d: the kernels differ\n", n, width, height);
      return 1;
    }
  }
  std::printf("%d photos\n", photos);
}
