#include "luma.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "columns.h"
#include "vector.h"

#ifdef DECLIP_X86
#define DECLIP_INLINE __attribute__((always_inline)) inline
#else
#define DECLIP_INLINE inline
#endif

namespace declip {
namespace {

// Adds up neighbors. With a factor that the compiler knows it takes several at once.
template <int Known, class Sum>
DECLIP_INLINE void add_up(const Sum* from, int count, int factor, int32_t* sums) {
  if constexpr (Known) factor = Known;
  for (int x = 0; x < count; x++) {
    int32_t sum = 0;
    for (int i = 0; i < factor; i++) sum += int32_t(from[x * factor + i]);
    sums[x] = sum;
  }
}

template <class Sample>
DECLIP_INLINE void shrink(const Luma<Sample>& luma, int factor, float black, float white, uint8_t* out) {
  using Sum = std::conditional_t<sizeof(Sample) == 1, uint16_t, uint32_t>;
  const int count = luma.columns / factor, used = count * factor;
  const float gain = 255 / ((white - black) * float(factor * factor)), floor = black * float(factor * factor);
  std::vector<Sum> column(used);
  std::vector<int32_t> sums(count);
  for (int top = 0; top + factor <= luma.rows; top += factor, out += count) {
    std::fill(column.begin(), column.end(), Sum(0));
    for (int y = top; y < top + factor; y++) {
      const Sample* from = luma.samples + y * luma.row;
      for (int x = 0; x < used; x++) column[x] = Sum(column[x] + from[x]);
    }
    switch (factor) {
      case 2: add_up<2>(column.data(), count, factor, sums.data()); break;
      case 4: add_up<4>(column.data(), count, factor, sums.data()); break;
      case 8: add_up<8>(column.data(), count, factor, sums.data()); break;
      default: add_up<0>(column.data(), count, factor, sums.data());
    }
    for (int x = 0; x < count; x++) out[x] = uint8_t(std::clamp(int((float(sums[x]) - floor) * gain + 0.5f), 0, 255));
  }
}

#ifdef DECLIP_X86
template <class Sample>
DECLIP_AVX2 void shrink_avx2(const Luma<Sample>& luma, int factor, float black, float white, uint8_t* out) {
  shrink(luma, factor, black, white, out);
}
#endif

}  // namespace

template <class Sample>
void shrink_luma(const Luma<Sample>& luma, int factor, float black, float white, uint8_t* out) {
#ifdef DECLIP_X86
  if (best_level() != Level::portable) return shrink_avx2(luma, factor, black, white, out);
#endif
  shrink(luma, factor, black, white, out);
}

template void shrink_luma(const Luma<uint8_t>&, int, float, float, uint8_t*);
template void shrink_luma(const Luma<uint16_t>&, int, float, float, uint8_t*);

}  // namespace declip
