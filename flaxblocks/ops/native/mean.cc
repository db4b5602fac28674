// The entry point of the means of whole images.

#include "handler.h"
#include "pool.h"

namespace flaxblocks {

ffi::Error Mean(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y) {
  return answered([&] {
    const Dimensions from = x.dimensions(), to = y->dimensions();
    require(from.size() == 4 && to.size() == 2, "images must have 4 axes, and their means 2");
    require(from[0] == to[0] && from[3] == to[1], "there must be a mean for each channel");
    require(from[1] > 0 && from[2] > 0, "an image must have pixels");
    with_type({x, *y}, [&](auto zero) {
      using T = decltype(zero);
      if (y->element_count() == 0) return;
      mean(threads, {from[0], from[1], from[2], from[3]}, x.typed_data<T>(), y->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_mean, flaxblocks::Mean,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>());
