// The entry point of the gradient of the largest pixels of windows.

#include "pool_arguments.h"

namespace flaxblocks {

ffi::Error MaxPoolInputGradient(ffi::ThreadPool threads, ffi::AnyBuffer gradient, ffi::AnyBuffer x,
                                ffi::Result<ffi::AnyBuffer> result, Numbers window, Numbers strides,
                                Numbers low) {
  return answered([&] {
    const Shapes shapes = pool_shapes(x, gradient, window, strides, low);
    require(are_same(x.dimensions(), result->dimensions()),
            "input and its gradient must have one shape");
    with_type({gradient, x, *result}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(shapes.to_channels);
      if (result->element_count() == 0) return;
      max_pool_gradient(threads, shapes, gradient.typed_data<T>(), x.typed_data<T>(),
                        result->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_max_pool_gradient, flaxblocks::MaxPoolInputGradient,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .FLAXBLOCKS_WINDOWS);
