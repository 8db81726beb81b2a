// The Python face: see __init__.py, which checks the arguments. After a change of a signature here, run `make stub`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <string>
#include <tuple>

#include "jpeg.h"
#include "luma.h"
#include "ragged.h"
#include "views.h"

namespace nb = nanobind;

extern "C" const unsigned char declip_fatbin[];  // the kernels of ragged.cu, or nothing; see CMakeLists.txt
extern "C" const size_t declip_fatbin_size;

using Source = nb::ndarray<const uint8_t, nb::ndim<3>, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Views = nb::ndarray<uint8_t, nb::shape<-1, -1, -1, 3>, nb::c_contig, nb::device::cpu>;

static void resample_into(Source rgb, Boxes boxes, Views out, int level) {
  declip::Image image{rgb.data(),        int(rgb.shape(0)),  int(rgb.shape(1)),
                      rgb.stride(0), rgb.stride(1), rgb.stride(2)};
  nb::gil_scoped_release release;
  declip::resample(image, reinterpret_cast<const declip::Box*>(boxes.data()), int(boxes.shape(0)),
                   int(out.shape(2)), int(out.shape(1)), declip::Level(level), out.data());
}

static nb::object read_jpeg(nb::bytes data) {
  declip::Jpeg found;
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.c_str());
  if (!declip::read_jpeg(bytes, data.size(), found)) return nb::none();
  std::string profile;
  for (auto [begin, size] : found.profile) profile.append(data.c_str() + begin, size);
  return nb::make_tuple(found.width, found.height, found.is_progressive, found.turn,
                        nb::bytes(profile.data(), profile.size()));
}

template <class Sample>
using Plane = nb::ndarray<const Sample, nb::ndim<2>, nb::device::cpu>;
using Gray = nb::ndarray<uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Sample>
static void shrink_luma(Plane<Sample> luma, int factor, float black, float white, Gray out) {
  declip::Luma<Sample> from{luma.data(), luma.stride(0), int(luma.shape(0)), int(luma.shape(1))};
  nb::gil_scoped_release release;
  declip::shrink_luma(from, factor, black, white, out.data());
}

using Table = nb::ndarray<uint8_t, nb::shape<-1, sizeof(declip::Job)>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>;

static declip::Job* jobs_of(Table table) { return reinterpret_cast<declip::Job*>(table.data()); }

static std::tuple<int64_t, int64_t, int64_t> lay_out(Table table, int size) {
  const declip::Need need = declip::lay_out(jobs_of(table), table.shape(0), size);
  return {need.weights, need.scratch, need.pixels};
}

static void ragged(Table table, int size, Out scratch, Out out) {
  uint32_t tile[declip::kTile];
  for (const declip::Job* job = jobs_of(table); job < jobs_of(table) + table.shape(0); job++) {
    weigh(declip::Alone(), *job, size);
    pass_one(declip::Alone(), *job, size, tile, scratch.data());
    pass_two(declip::Alone(), *job, size, scratch.data(), out.data());
  }
}

static nb::typed<nb::dict, nb::str, nb::int_> job_layout() {
  nb::dict at;
  at["image"] = offsetof(declip::Job, image), at["strides"] = offsetof(declip::Job, row);
  at["size"] = offsetof(declip::Job, height), at["box"] = offsetof(declip::Job, left);
  at["out"] = offsetof(declip::Job, out), at["weights"] = offsetof(declip::Job, weights);
  at["between"] = offsetof(declip::Job, between), at["begin"] = offsetof(declip::Job, begin);
  at["length"] = offsetof(declip::Job, length), at["taps"] = offsetof(declip::Job, column_taps);
  at["tile"] = offsetof(declip::Job, rows);
  at["all"] = sizeof(declip::Job);
  return at;
}

NB_MODULE(_native, module) {
  module.def("resample_into", &resample_into, nb::arg("rgb").noconvert(), nb::arg("boxes").noconvert(),
             nb::arg("out").noconvert(), nb::arg("level"));
  module.def("read_jpeg", &read_jpeg, nb::arg("data"),
             nb::sig("def read_jpeg(data: bytes) -> tuple[int, int, bool, int, bytes] | None"));
  module.def("shrink_luma", &shrink_luma<uint8_t>, nb::arg("luma").noconvert(), nb::arg("factor"), nb::arg("black"),
             nb::arg("white"), nb::arg("out").noconvert());
  module.def("shrink_luma", &shrink_luma<uint16_t>, nb::arg("luma").noconvert(), nb::arg("factor"), nb::arg("black"),
             nb::arg("white"), nb::arg("out").noconvert());
  module.def("lay_out", &lay_out, nb::arg("jobs").noconvert(), nb::arg("size"));
  module.def("ragged", &ragged, nb::arg("jobs").noconvert(), nb::arg("size"), nb::arg("scratch").noconvert(),
             nb::arg("out").noconvert(),
             "Does what the kernels do, on the host. Tests call it.");
  module.def("job_layout", &job_layout, "The byte offset of each field of a job; `all` is a job's size.");
  module.def("fatbin", [] { return nb::bytes(declip_fatbin, declip_fatbin_size); });
  module.def("best_level", [] { return int(declip::best_level()); },
             "The index in LEVELS of the best that this machine has.");
}
