// The entry point of 1x1 convolutions that keep every pixel.

#include "handler.h"
#include "pointwise.h"

namespace flaxblocks {

ffi::Error Pointwise(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                     ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                     Numbers strides, Numbers low, Numbers dilation, bool transposed,
                     int64_t activation) {
  return answered([&] {
    const Shapes shapes = shapes_of(x, kernel, *y, strides, low, dilation, transposed);
    const Dimensions from = x.dimensions(), taps = kernel.dimensions(), to = y->dimensions();
    require(taps[0] == 1 && taps[1] == 1 && taps[2] == from[3], "the kernel must be a dense 1x1");
    require(from[1] == to[1] && from[2] == to[2] && strides[0] == 1 && strides[1] == 1 &&
                low[0] == 0 && low[1] == 0,
            "every pixel must stay in its place");
    with_type({x, kernel, bias, residual, *y}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(shapes.to_channels);
      const Layer<T> layer{kernel.typed_data<T>(), shapes.from_channels, shapes.to_channels,
                           shapes.to_channels, epilogue_of<T>(bias, residual, *y, activation)};
      pointwise(threads, layer, to[0] * to[1] * to[2], x.typed_data<T>(), y->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_CONVOLUTION(flaxblocks_pointwise, flaxblocks::Pointwise);
