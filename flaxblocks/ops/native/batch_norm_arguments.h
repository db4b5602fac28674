// What the entry points of normalization by the statistics of the batch share.
#pragma once

#include "batch_norm.h"
#include "handler.h"

namespace flaxblocks {

// The channels of images whose per-channel arrays are these, checked.
inline int64_t channels_of(const ffi::AnyBuffer& x, std::initializer_list<ffi::AnyBuffer> arrays) {
  const Dimensions shape = x.dimensions();
  require(shape.size() > 0, "the input must have an axis of channels");
  for (const ffi::AnyBuffer& array : arrays) {
    require(array.element_count() == static_cast<size_t>(shape.back()),
            "there must be a number for each channel");
  }
  return shape.back();
}

template <typename T>
BatchNorm<T> norm_of(const ffi::AnyBuffer& x, int64_t channels, const ffi::AnyBuffer& scale,
                     const ffi::AnyBuffer& bias, double epsilon, int64_t activation) {
  check_vector<T>(channels);
  require(epsilon >= 0, "`epsilon` must be at least 0");
  const int64_t pixels = static_cast<int64_t>(x.element_count()) / channels;
  require(pixels > 0, "there must be values to take a mean of");
  return {pixels, channels, scale.typed_data<T>(), bias.typed_data<T>(), static_cast<T>(epsilon),
          activation_of(activation)};
}

}  // namespace flaxblocks
