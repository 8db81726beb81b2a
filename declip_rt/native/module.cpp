// The Python face: see __init__.py, which checks the arguments.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "views.h"

namespace nb = nanobind;

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

NB_MODULE(_native, module) {
  module.def("resample", &resample, nb::arg("rgb").noconvert(), nb::arg("boxes").noconvert(),
             nb::arg("out").noconvert(), nb::arg("filter"), nb::arg("level"));
  module.def("best_level", [] { return int(declip::best_level()); });
}
