// The entry point of the largest pixels of windows.

#include "pool_arguments.h"

namespace flaxblocks {

ffi::Error MaxPool(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y,
                   Numbers window, Numbers strides, Numbers low) {
  return answered([&] {
    const Shapes shapes = pool_shapes(x, *y, window, strides, low);
    with_type({x, *y}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(shapes.to_channels);
      if (y->element_count() == 0) return;
      max_pool(threads, shapes, x.typed_data<T>(), y->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_max_pool, flaxblocks::MaxPool,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .FLAXBLOCKS_WINDOWS);
