// Each row of blocks does one job, and its threads share the job's elements. A thread copies its job: otherwise the
// compiler would read it again after each byte that the thread writes.
#include "ragged.h"

using declip::Job;

template <typename Step> __device__ void each(int count, Step step) {
  for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < count; i += int(gridDim.x * blockDim.x)) step(i);
}

extern "C" __global__ void declip_weigh(const Job* jobs, int size, uint8_t* scratch) {
  const Job job = jobs[blockIdx.y];
  each(2 * size, [&](int i) { declip::weigh(job, size, i, scratch); });
}

extern "C" __global__ void declip_pass_one(const Job* jobs, int size, uint8_t* scratch) {
  const Job job = jobs[blockIdx.y];
  each(job.length * size, [&](int i) { declip::pass_one(job, size, i, scratch); });
}

extern "C" __global__ void declip_pass_two(const Job* jobs, int size, uint8_t* scratch, uint8_t* out) {
  const Job job = jobs[blockIdx.y];
  each(size * size, [&](int i) { declip::pass_two(job, size, i, scratch, out); });
}
