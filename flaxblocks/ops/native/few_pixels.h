// 1x1 convolutions of so few pixels that reading the weights takes longer than the products: linear
// layers of a few vectors, and the gates of an image.
#pragma once

#include "cells.h"
#include "threads.h"

namespace flaxblocks {

template <typename T>
struct Layer {
  const T* weights = nullptr;  // null for none
  int64_t inputs = 0, outputs = 0;
  int64_t apart = 0;  // from one input's weights to the next's
  Epilogue<T> after;
};

// Adds the products of some of a 1x1 convolution's inputs with its weights to some of its outputs.
template <typename T>
void add_pixel(const Layer<T>& layer, const T* x, Channels inputs, Channels outputs, T* y) {
  constexpr int64_t kRows = 4;  // a sum is loaded and stored once for so many products
  const T* weights = layer.weights + inputs.first * layer.outputs;
  int64_t i = inputs.first;
  for (; i + kRows <= inputs.last; i += kRows, weights += kRows * layer.outputs) {
    const T *a = weights, *b = a + layer.outputs, *c = b + layer.outputs, *d = c + layer.outputs;
    const T by_a = x[i], by_b = x[i + 1], by_c = x[i + 2], by_d = x[i + 3];
    for (int64_t o = outputs.first; o < outputs.last; ++o) {
      y[o] += (by_a * a[o] + by_b * b[o]) + (by_c * c[o] + by_d * d[o]);
    }
  }
  for (; i < inputs.last; ++i, weights += layer.outputs) {
    const T by = x[i];
    for (int64_t o = outputs.first; o < outputs.last; ++o) y[o] += by * weights[o];
  }
}

// Whether the outputs of all pixels stay in the innermost cache while weights pass by.
inline bool are_few(int64_t pixels) { return pixels <= 4; }

// The threads share the outputs, so that each weight is read once, a row of some outputs after the
// other.
template <typename T>
void few_pixels(ffi::ThreadPool& threads, const Layer<T>& layer, int64_t pixels, const T* x, T* y) {
  constexpr int64_t kLanes = Blocks<T>::kLanes, kWork = 1 << 14;  // weights of a thread, at least
  const int64_t most = std::min(layer.inputs * layer.outputs / kWork, layer.outputs / (4 * kLanes));
  const int64_t shares = std::clamp<int64_t>(most, 1, size(threads));
  parallel_for(threads, shares, [&](int64_t share) {
    const Channels some = part_of<T>(layer.outputs, share, shares);
    const auto totals = make_buffer<T>({pixels, layer.outputs});
    const auto sums = make_buffer<T>({layer.outputs});
    std::fill_n(totals.get(), pixels * layer.outputs, T(0));
    for (int64_t i = 0; i < layer.inputs; i += kTogether) {
      const Channels inputs{i, std::min(i + kTogether, layer.inputs)};
      for (int64_t p = 0; p < pixels; ++p) {
        T* const total = totals.get() + p * layer.outputs;
        std::fill_n(sums.get() + some.first, some.count(), T(0));
        add_pixel(layer, x + p * layer.inputs, inputs, some, sums.get());
        for (int64_t o = some.first; o < some.last; ++o) total[o] += sums[o];
      }
    }
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t next = some.first; next < some.last; next += kLanes) {
        const int64_t o = std::min(next, some.last - kLanes), at = p * layer.outputs + o;
        Vector<T, kLanes> result[1] = {load<Vector<T, kLanes>>(totals.get() + at)};
        layer.after.template store_all<kLanes>(y, at, 0, o, 0, result);
      }
    }
  });
}

}  // namespace flaxblocks
