// The Python face: see __init__.py, which checks the arguments.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <vector>

#include "ragged.h"
#include "views.h"

namespace nb = nanobind;

extern "C" const unsigned char declip_fatbin[];  // the kernels of ragged.cu, or nothing; see CMakeLists.txt
extern "C" const size_t declip_fatbin_size;

using Source = nb::ndarray<const uint8_t, nb::ndim<3>, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Views = nb::ndarray<uint8_t, nb::shape<-1, -1, -1, 3>, nb::c_contig, nb::device::cpu>;

static void resample(Source rgb, Boxes boxes, Views out, int filter, int level) {
  declip::Image image{rgb.data(),        int(rgb.shape(0)),  int(rgb.shape(1)),
                      rgb.stride(0), rgb.stride(1), rgb.stride(2)};
  nb::gil_scoped_release release;
  declip::resample(image, reinterpret_cast<const declip::Box*>(boxes.data()), int(boxes.shape(0)),
                   int(out.shape(2)), int(out.shape(1)), declip::Filter(filter), declip::Level(level), out.data());
}

using Table = nb::ndarray<uint8_t, nb::shape<-1, sizeof(declip::Job)>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>;

// Fills in what jobs need of scratch; returns its bytes in all, and the pixels of the longest first pass.
static std::pair<int64_t, int64_t> lay_out(Table table, int size) {
  auto* jobs = reinterpret_cast<declip::Job*>(table.data());
  int64_t bytes = 0, most = 0;
  for (size_t n = 0; n < table.shape(0); n++) {
    declip::Job& job = jobs[n];
    const declip::Axis columns = columns_of(job, size), rows = rows_of(job, size);
    const declip::Axis& needed = rows_first(job, size) ? columns : rows;
    int begin, end, unused;
    span_of(needed, 0, &begin, &unused);
    span_of(needed, size - 1, &unused, &end);
    job.begin = begin, job.length = end - begin;
    job.weights = bytes;
    bytes += int64_t(size) * (4 + columns.taps() + rows.taps()) * sizeof(int);
    job.between = bytes;
    bytes += (int64_t(job.length) * size * 3 + 255) / 256 * 256;
    most = std::max(most, int64_t(job.length) * size);
  }
  return {bytes, most};
}

// What the kernels do, on the host, with images and `out` on the host: for tests.
static void ragged(Table table, int size, Out out) {
  auto* jobs = reinterpret_cast<declip::Job*>(table.data());
  std::vector<uint8_t> scratch(lay_out(table, size).first);
  for (size_t n = 0; n < table.shape(0); n++) {
    for (int i = 0; i < 2 * size; i++) weigh(jobs[n], size, i, scratch.data());
    for (int64_t i = 0; i < int64_t(jobs[n].length) * size; i++) pass_one(jobs[n], size, i, scratch.data());
    for (int i = 0; i < size * size; i++) pass_two(jobs[n], size, i, scratch.data(), out.data());
  }
}

NB_MODULE(_native, module) {
  module.def("resample", &resample, nb::arg("rgb").noconvert(), nb::arg("boxes").noconvert(),
             nb::arg("out").noconvert(), nb::arg("filter"), nb::arg("level"));
  module.def("lay_out", &lay_out, nb::arg("jobs").noconvert(), nb::arg("size"));
  module.def("ragged", &ragged, nb::arg("jobs").noconvert(), nb::arg("size"), nb::arg("out").noconvert());
  module.def("fatbin", [] { return nb::bytes(declip_fatbin, declip_fatbin_size); });
  module.def("best_level", [] { return int(declip::best_level()); });
}
