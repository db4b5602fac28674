// The 1x1 convolutions among an entry point's arguments.
#pragma once

#include "handler.h"
#include "pointwise.h"

namespace flaxblocks {

// A kernel and its bias.
struct Weights {
  const ffi::AnyBuffer &kernel, &bias;

  bool are_absent() const { return kernel.element_count() == 0; }
};

inline void check_weights(const Weights& weights, int64_t inputs, int64_t outputs, const char* what) {
  const Dimensions shape = weights.kernel.dimensions();
  require(shape.size() == 4 && shape[0] == 1 && shape[1] == 1, what);
  require(shape[2] == inputs && shape[3] == outputs, what);
  require(weights.bias.element_count() == static_cast<size_t>(outputs), what);
}

template <typename T>
Layer<T> layer_of(const Weights& weights, int64_t activation) {
  const Activation act = activation_of(activation);
  if (weights.are_absent()) return {};
  const Dimensions shape = weights.kernel.dimensions();
  return {weights.kernel.typed_data<T>(), shape[2], shape[3], shape[3],
          {weights.bias.typed_data<T>(), act}};
}

}  // namespace flaxblocks
