// A job for each block row, and its elements along it.
#include "ragged.h"

using declip::Job;

#define ELEMENT int64_t(blockIdx.x) * blockDim.x + threadIdx.x
#define STRIDE int64_t(gridDim.x) * blockDim.x

extern "C" __global__ void declip_weigh(const Job* jobs, int size, uint8_t* scratch) {
  const Job& job = jobs[blockIdx.y];
  for (int64_t i = ELEMENT; i < 2 * size; i += STRIDE) declip::weigh(job, size, int(i), scratch);
}

extern "C" __global__ void declip_pass_one(const Job* jobs, int size, uint8_t* scratch) {
  const Job& job = jobs[blockIdx.y];
  for (int64_t i = ELEMENT; i < int64_t(job.length) * size; i += STRIDE) declip::pass_one(job, size, i, scratch);
}

extern "C" __global__ void declip_pass_two(const Job* jobs, int size, uint8_t* scratch, uint8_t* out) {
  const Job& job = jobs[blockIdx.y];
  for (int64_t i = ELEMENT; i < int64_t(size) * size; i += STRIDE) declip::pass_two(job, size, int(i), scratch, out);
}
