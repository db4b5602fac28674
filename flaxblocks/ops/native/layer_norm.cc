// The entry point of layer normalization over the last axis.

#include "handler.h"
#include "layer_norm.h"

namespace flaxblocks {

ffi::Error LayerNormalization(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer scale,
                              ffi::AnyBuffer bias, ffi::Result<ffi::AnyBuffer> y, double epsilon) {
  return answered([&] {
    const Dimensions shape = x.dimensions();
    require(shape.size() > 0 && are_same(shape, y->dimensions()),
            "input and output must have one shape, with an axis of channels");
    const size_t channels = static_cast<size_t>(shape.back());
    require(scale.element_count() == channels && bias.element_count() == channels,
            "scale and bias must have a number for each channel");
    require(epsilon >= 0, "`epsilon` must be at least 0");
    with_type({x, scale, bias, *y}, [&](auto zero) {
      using T = decltype(zero);
      if (y->element_count() == 0) return;
      const LayerNorm<T> norm{shape.back(), scale.typed_data<T>(), bias.typed_data<T>(),
                              static_cast<T>(epsilon)};
      layer_norm(threads, norm, static_cast<int64_t>(x.element_count() / channels),
                 x.typed_data<T>(), y->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_layer_norm, flaxblocks::LayerNormalization,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Attr<double>("epsilon"));
