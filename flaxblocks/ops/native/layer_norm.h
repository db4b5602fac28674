// Layer normalization: each pixel over its channels.
#pragma once

#include <cmath>

#include "threads.h"

namespace flaxblocks {

template <typename T>
struct LayerNorm {
  int64_t channels;
  const T *scale, *bias;
  T epsilon;
};

// The sum of `term(x)` over all numbers.
template <typename T, typename F>
T sum_of(const T* x, int64_t count, const F& term) {
  constexpr int kLanes = kRegister / sizeof(T), kSums = 4;
  using V = Vector<T, kLanes>;
  V sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= count; i += kSums * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) sums[s] += term(load<V>(x + i + s * kLanes));
  }
  for (; i + kLanes <= count; i += kLanes) sums[0] += term(load<V>(x + i));
  T rest = 0;
  for (; i < count; ++i) rest += term(x[i]);
  const V sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (int lane = 0; lane < kLanes; ++lane) rest += sum[lane];
  return rest;
}

// Normalizes a pixel. The variance is taken about the mean: the difference of two squares may be
// all rounding.
template <typename T>
void normalize(const LayerNorm<T>& norm, const T* x, T* y) {
  const T count = static_cast<T>(norm.channels);
  const T mean = sum_of(x, norm.channels, [](auto v) { return v; }) / count;
  const T variance = sum_of(x, norm.channels, [mean](auto v) {
    const auto apart = v - mean;
    return apart * apart;
  }) / count;
  const T factor = 1 / std::sqrt(variance + norm.epsilon);
  for (int64_t c = 0; c < norm.channels; ++c) {
    y[c] = (x[c] - mean) * (factor * norm.scale[c]) + norm.bias[c];
  }
}

template <typename T>
void layer_norm(ffi::ThreadPool& threads, const LayerNorm<T>& norm, int64_t pixels, const T* x,
                T* y) {
  const int64_t pieces = std::min(pixels, 4 * size(threads));
  parallel_for(threads, pieces, [&](int64_t piece) {
    for (int64_t i = pixels * piece / pieces; i < pixels * (piece + 1) / pieces; ++i) {
      normalize(norm, x + i * norm.channels, y + i * norm.channels);
    }
  });
}

}  // namespace flaxblocks
