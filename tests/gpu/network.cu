// The one layer of the small bundle (tests/backends/small.py), a block for an image. NVRTC compiles it for a GPU. The
// simulated driver runs the two steps of its columns one after another.
#ifdef __CUDACC__
#define STEP __device__ inline
#else
#include <cmath>
#define STEP inline
#endif

// weights: (inputs, width). Returns the layer's output of a column.
STEP float layer_of(const unsigned char* pixels, const float* weights, int inputs, int width, int column) {
  float sum = 0;
  for (int i = 0; i < inputs; i++) sum += pixels[i] * weights[i * width + column];
  return sum;
}

// Scores are between 0 and 1, and each of the two features has length 1.
STEP float output_of(const float* layer, int heads, int features, int column) {
  if (column < heads) return 1 / (1 + expf(-layer[column]));
  const float* feature = layer + (column < heads + features ? heads : heads + features);
  float squares = 0;
  for (int i = 0; i < features; i++) squares += feature[i] * feature[i];
  return layer[column] / sqrtf(squares);
}

STEP float* place_of(float* scores, float* perceptual, float* semantic, int heads, int features, int n, int column) {
  if (column < heads) return scores + n * heads + column;
  column -= heads;
  return column < features ? perceptual + n * features + column : semantic + n * features + (column - features);
}

#ifdef __CUDACC__
extern "C" __global__ void small_network(const unsigned char* pixels, const float* weights, float* scores,
                                         float* perceptual, float* semantic, int inputs, int heads, int features) {
  __shared__ float layer[128];
  const int n = blockIdx.y, column = threadIdx.x, width = heads + 2 * features;
  if (column < width) layer[column] = layer_of(pixels + n * inputs, weights, inputs, width, column);
  __syncthreads();
  if (column < width) {
    *place_of(scores, perceptual, semantic, heads, features, n, column) = output_of(layer, heads, features, column);
  }
}
#endif
