// The entry point of the largest pixels of windows.

#include "handler.h"
#include "pool.h"

namespace flaxblocks {

ffi::Error MaxPool(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y,
                   Numbers window, Numbers strides, Numbers low) {
  return answered([&] {
    const Dimensions from = x.dimensions(), to = y->dimensions();
    require(from.size() == 4 && to.size() == 4, "input and output must have 4 axes");
    require(from[0] == to[0] && from[3] == to[3],
            "input and output must have as many images and channels");
    check_pair(window, 1, "`window` must be 2 positive numbers");
    const int64_t once[] = {1, 1};
    check_geometry(strides, low, Numbers(once, 2));
    auto axis = [&](int i) {
      return Axis(from[1 + i], to[1 + i], window[i], strides[i], low[i], 1, false);
    };
    const Shapes shapes{from[0], from[3], to[3], axis(0), axis(1)};
    with_type({x, *y}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(to[3]);
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
                       .Attr<xla::ffi::Span<const int64_t>>("window")
                       .Attr<xla::ffi::Span<const int64_t>>("strides")
                       .Attr<xla::ffi::Span<const int64_t>>("low"));
