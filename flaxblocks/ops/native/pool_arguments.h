// What the entry points of max-pooling share.
#pragma once

#include "handler.h"
#include "pool.h"

namespace flaxblocks {

// The shapes of a pool of x whose result, or whose result's gradient, is y, checked.
inline Shapes pool_shapes(const ffi::AnyBuffer& x, const ffi::AnyBuffer& y, Numbers window,
                          Numbers strides, Numbers low) {
  const Dimensions from = x.dimensions(), to = y.dimensions();
  require(from.size() == 4 && to.size() == 4, "input and output must have 4 axes");
  require(from[0] == to[0] && from[3] == to[3],
          "input and output must have as many images and channels");
  check_pair(window, 1, "`window` must be 2 positive numbers");
  const int64_t once[] = {1, 1};
  check_geometry(strides, low, Numbers(once, 2));
  auto axis = [&](int i) {
    return Axis(from[1 + i], to[1 + i], window[i], strides[i], low[i], 1, false);
  };
  return {from[0], from[3], to[3], axis(0), axis(1)};
}

}  // namespace flaxblocks

#define FLAXBLOCKS_WINDOWS                             \
  Attr<xla::ffi::Span<const int64_t>>("window")        \
      .Attr<xla::ffi::Span<const int64_t>>("strides")  \
      .Attr<xla::ffi::Span<const int64_t>>("low")
