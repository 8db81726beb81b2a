#include "views.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "rows.h"

namespace declip {
namespace {

constexpr int kRows = Columns::kRows;

// The first pass of all views with the same columns, for the image rows [top, bottom).
struct Pass {
  Pass(const Axis& axis, Level level, int top, int bottom) : columns(axis, level), top(top), bottom(bottom) {}

  bool serves(const Axis& axis) const {
    return columns.axis().begin == axis.begin && columns.axis().end == axis.end;
  }
  size_t bytes() const { return size_t(columns.axis().out) * 3; }
  uint8_t* row(int y) const { return rows.get() + (y - top + kRows - 1) * bytes(); }
  void allocate() { rows.reset(new uint8_t[(bottom - top + 2 * (kRows - 1)) * bytes()]); }

  // Resamples image rows y to y + 3. At least one of them is in [top, bottom).
  void take(const uint8_t* const in[kRows], int y) {
    uint8_t* out[kRows];
    for (int r = 0; r < kRows; r++) out[r] = row(y + r);
    columns.run(in, out);
  }

  Columns columns;
  int top, bottom;
  std::unique_ptr<uint8_t[]> rows;  // with room for three more above and below
};

struct View {
  Weights rows;
  Pass* pass;
  uint8_t* out;
  int done = 0;  // rows that are written

  // Writes the rows that need only image rows before y.
  void write(int y, Level level) {
    for (; done < rows.axis.out && rows.first[done] + rows.count[done] <= y; done++) {
      size_t bytes = pass->bytes();
      add_rows(pass->row(rows.first[done]), bytes, bytes, rows.of(done), rows.count[done], level,
               out + done * bytes);
    }
  }
};

// Gives image rows as packed pixels, with `slack` readable pixels behind each row.
class Rows {
 public:
  Rows(const Image& image, int slack)
      : image_(image), direct_(slack == 0 && image.pixel == 3 && image.channel == 1) {
    if (!direct_) {
      bytes_ = size_t(image.width + slack) * 3;
      packed_.resize(kRows * bytes_);
    }
  }

  bool is_direct() const { return direct_; }

  std::vector<uint8_t> all() const {
    std::vector<uint8_t> packed(size_t(image_.height) * image_.width * 3);
    for (int y = 0; y < image_.height; y++)
      pack(image_.data + y * image_.row, packed.data() + size_t(y) * image_.width * 3);
    return packed;
  }

  void get(int y, const uint8_t* rows[kRows]) {  // y to y + 3; beyond the image, its last row
    for (int r = 0; r < kRows; r++) {
      const uint8_t* row = image_.data + std::min(y + r, image_.height - 1) * image_.row;
      rows[r] = direct_ ? row : pack(row, packed_.data() + r * bytes_);
    }
  }

 private:
  const uint8_t* pack(const uint8_t* row, uint8_t* out) const {
    for (int x = 0; x < image_.width; x++)
      for (int c = 0; c < 3; c++) out[3 * x + c] = row[x * image_.pixel + c * image_.channel];
    return out;
  }

  Image image_;
  bool direct_;
  size_t bytes_ = 0;
  std::vector<uint8_t> packed_;
};

void rows_first(const Image& image, const Box& box, int width, int height, Level level, uint8_t* out) {
  Weights rows({image.height, height, box.top, box.bottom});
  Columns columns({image.width, width, box.left, box.right}, level);
  const int left = columns.begin(), seen = columns.end() - left;
  const Image part{image.data + left * image.pixel, image.height, std::min(seen, image.width - left),
                   image.row, image.pixel, image.channel};
  Rows source(part, 0);
  const int blocks = (height + kRows - 1) / kRows * kRows;
  const size_t bytes = size_t(part.width) * 3, stride = size_t(seen) * 3;
  std::vector<uint8_t> shrunk(blocks * stride), whole, last(kRows * size_t(width) * 3);
  if (!source.is_direct()) whole = source.all();
  for (int i = 0; i < height; i++) {
    const uint8_t* first = whole.empty() ? part.data + rows.first[i] * part.row : &whole[rows.first[i] * bytes];
    add_rows(first, whole.empty() ? part.row : ptrdiff_t(bytes), bytes, rows.of(i), rows.count[i], level,
             &shrunk[i * stride]);
  }
  for (int i = 0; i < height; i += kRows) {
    const uint8_t* in[kRows];
    uint8_t* into[kRows];
    for (int r = 0; r < kRows; r++) {
      in[r] = shrunk.data() + (i + r) * stride - size_t(left) * 3;
      into[r] = i + r < height ? out + size_t(i + r) * width * 3 : &last[size_t(r) * width * 3];
    }
    columns.run(in, into);
  }
}

// At the image's own scale and on whole pixels the weights are 1 and 0: the view is a copy.
bool is_cut(const Box& box, int width, int height) {
  return box.right - box.left == width && box.bottom - box.top == height && box.left == std::floor(box.left) &&
         box.top == std::floor(box.top);
}

void cut(const Image& image, const Box& box, int width, int height, uint8_t* out) {
  for (int y = 0; y < height; y++) {
    const uint8_t* row = image.data + (int(box.top) + y) * image.row + int(box.left) * image.pixel;
    if (image.pixel == 3 && image.channel == 1) {
      out = std::copy(row, row + size_t(width) * 3, out);
      continue;
    }
    for (int x = 0; x < width; x++, row += image.pixel)
      for (int c = 0; c < 3; c++) *out++ = row[c * image.channel];
  }
}

}  // namespace

// `tall`: whether rows come first.
static void resample_upright(const Image& image, bool tall, const Box* boxes, int count, int width, int height,
                             Level level, uint8_t* out) {
  std::vector<std::unique_ptr<Pass>> passes;
  std::vector<View> views;
  int slack = 0;
  for (int v = 0; v < count; v++, out += size_t(width) * height * 3) {
    if (is_cut(boxes[v], width, height)) {
      cut(image, boxes[v], width, height, out);
      continue;
    }
    if (tall) {
      rows_first(image, boxes[v], width, height, level, out);
      continue;
    }
    Axis across{image.width, width, boxes[v].left, boxes[v].right};
    Weights rows({image.height, height, boxes[v].top, boxes[v].bottom});
    int top = rows.first.front(), bottom = rows.first.back() + rows.count.back();
    auto found = std::find_if(passes.begin(), passes.end(), [&](auto& pass) { return pass->serves(across); });
    if (found == passes.end()) {
      found = passes.insert(found, std::make_unique<Pass>(across, level, top, bottom));
      slack = std::max(slack, (*found)->columns.slack());
    }
    Pass& pass = **found;
    pass.top = std::min(pass.top, top), pass.bottom = std::max(pass.bottom, bottom);
    views.push_back({std::move(rows), &pass, out});
  }
  int top = image.height, bottom = 0;
  for (auto& pass : passes) {
    pass->allocate();
    top = std::min(top, pass->top), bottom = std::max(bottom, pass->bottom);
  }
  Rows source(image, slack);
  for (int y = top; y < bottom; y += kRows) {
    const uint8_t* in[kRows];
    source.get(y, in);
    for (auto& pass : passes)
      if (y + kRows > pass->top && y < pass->bottom) pass->take(in, y);
    for (View& view : views) view.write(y + kRows, level);
  }
}

void resample(const Image& image, const Box* boxes, int count, int width, int height, Level level, uint8_t* out) {
  const bool tall = is_tall(image.height, image.width, height, width);
  if (std::abs(image.row) >= std::abs(image.pixel)) {
    return resample_upright(image, tall, boxes, count, width, height, level, out);
  }
  // Strides have turned this photo. Resample it as it lies in memory, with rows and columns swapped.
  const Image lying{image.data, image.width, image.height, image.pixel, image.row, image.channel};
  std::vector<Box> turned;
  for (const Box* box = boxes; box < boxes + count; box++) {
    turned.push_back({box->top, box->left, box->bottom, box->right});
  }
  std::vector<uint8_t> views(size_t(count) * width * height * 3);
  resample_upright(lying, !tall, turned.data(), count, height, width, level, views.data());
  for (const uint8_t* view = views.data(); count-- > 0; view += size_t(width) * height * 3)
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x++) out = std::copy_n(view + (size_t(x) * height + y) * 3, 3, out);
}

}  // namespace declip
