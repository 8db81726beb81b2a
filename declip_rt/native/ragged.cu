// Each row of blocks does one job, and its threads share the job's elements. A thread copies its job: otherwise the
// compiler would read it again after each byte that the thread writes.
#include "ragged.h"

using declip::Job;

struct Blocks {
  __device__ int first() const { return int(blockIdx.x); }
  __device__ int count() const { return int(gridDim.x); }

  template <typename Step> __device__ void each(int count, Step step) const {
    const int threads = int(blockDim.x * blockDim.y), thread = int(threadIdx.y * blockDim.x + threadIdx.x);
    for (int i = first() * threads + thread; i < count; i += this->count() * threads) step(i);
  }

  // For a block's own tile: a warp takes a row. The threads wait for each other afterwards.
  template <typename Step> __device__ void each_of_tile(int rows, int columns, Step step) const {
#pragma unroll 1
    for (int y = int(threadIdx.y); y < rows; y += int(blockDim.y)) {
#pragma unroll 1
      for (int x = int(threadIdx.x); x < columns; x += int(blockDim.x)) step(y, x);
    }
    __syncthreads();
  }
};

extern "C" __global__ void declip_weigh(const Job* jobs, int size) {
  const Job job = jobs[blockIdx.y];
  declip::weigh(Blocks(), job, size);
}

extern "C" __global__ void declip_pass_one(const Job* jobs, int size, uint8_t* scratch) {
  __shared__ uint32_t tile[declip::kTile];
  const Job job = jobs[blockIdx.y];
  declip::pass_one(Blocks(), job, size, tile, scratch);
}

extern "C" __global__ void declip_pass_two(const Job* jobs, int size, uint8_t* scratch, uint8_t* out) {
  const Job job = jobs[blockIdx.y];
  declip::pass_two(Blocks(), job, size, scratch, out);
}
