// The squeeze-and-excitation gate: each channel times a factor made from all channels' means.
#pragma once

#include "pointwise.h"

namespace flaxblocks {

// The outputs from `first` to `last` of a 1x1 convolution of a single pixel, at their places in `y`.
template <typename T>
void product(const Layer<T>& layer, const T* x, int64_t first, int64_t last, T* y) {
  std::copy(layer.after.bias + first, layer.after.bias + last, y + first);
  for (int64_t i = 0; i < layer.inputs; ++i) {
    const T* weights = layer.weights + i * layer.outputs;
    for (int64_t o = first; o < last; ++o) y[o] += x[i] * weights[o];
  }
  for (int64_t o = first; o < last; ++o) {
    Vector<T, 1> one[1] = {{y[o]}};
    activate<T, 1>(layer.after.activation, one);
    y[o] = one[0][0];
  }
}

template <typename T>
struct Gate {
  int64_t images, rows, columns;
  Layer<T> squeeze, excite;
  const T* x;
  T* y;  // may be x

  int64_t channels() const { return excite.outputs; }
  int64_t offset(int64_t image) const { return image * rows * columns * channels(); }
};

// Some channels' means over an image. Each row has a sum of its own, which loses less.
template <typename T>
void average(const Gate<T>& gate, int64_t image, int64_t first, int64_t last, T* means) {
  const T* x = gate.x + gate.offset(image);
  std::vector<T> sums(last - first);
  std::fill(means + first, means + last, T(0));
  for (int64_t row = 0; row < gate.rows; ++row) {
    std::fill(sums.begin(), sums.end(), T(0));
    for (int64_t column = 0; column < gate.columns; ++column, x += gate.channels()) {
      for (int64_t c = first; c < last; ++c) sums[c - first] += x[c];
    }
    for (int64_t c = first; c < last; ++c) means[c] += sums[c - first];
  }
  for (int64_t c = first; c < last; ++c) means[c] /= static_cast<T>(gate.rows * gate.columns);
}

// Multiplies some channels of an image by their factors.
template <typename T>
void multiply(const Gate<T>& gate, int64_t image, int64_t first, int64_t last, const T* factors) {
  const T* x = gate.x + gate.offset(image);
  T* y = gate.y + gate.offset(image);
  for (int64_t i = 0; i < gate.rows * gate.columns; ++i) {
    for (int64_t c = first; c < last; ++c) y[c] = x[c] * factors[c];
    x += gate.channels(), y += gate.channels();
  }
}

// As many images at a time as there are threads, so that an image is still in the cache when its
// factors are known. Where there are fewer, the threads share their channels, and whole cache lines.
template <typename T>
void gated(ffi::ThreadPool& threads, const Gate<T>& gate) {
  constexpr int64_t kLine = 64 / sizeof(T), kLeast = 1 << 16;
  const int64_t channels = gate.channels(), squeezed = gate.squeeze.outputs;
  // To share few numbers takes longer than to compute them.
  const int64_t sharing = gate.offset(gate.images) < kLeast ? 1 : size(threads);
  const int64_t most = std::min(gate.images, sharing), lines = ceil_div(channels, kLine);
  const int64_t slices = std::min(lines, ceil_div(sharing, most));
  const int64_t groups = ceil_div(gate.images, most);
  const auto means = make_buffer<T>({most, channels}), few = make_buffer<T>({most, squeezed});
  const auto factors = make_buffer<T>({most, channels});
  std::vector<int64_t> counts;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t images = std::min(most, gate.images - group * most);
    counts.insert(counts.end(), {images * slices, images, images * slices});
  }
  parallel_stages(threads, counts, [&](int64_t stage, int64_t i) {
    const int64_t parts = stage % 3 == 1 ? 1 : slices, slot = i / parts;
    const int64_t image = stage / 3 * most + slot;
    const int64_t first = lines * (i % parts) / parts * kLine;
    const int64_t last = std::min(channels, lines * (i % parts + 1) / parts * kLine);
    T *const mean = means.get() + slot * channels, *const factor = factors.get() + slot * channels;
    if (stage % 3 == 0) return average(gate, image, first, last, mean);
    T* const hidden = few.get() + slot * squeezed;
    if (stage % 3 == 1) return product(gate.squeeze, mean, 0, squeezed, hidden);
    product(gate.excite, hidden, first, last, factor);
    multiply(gate, image, first, last, factor);
  });
}

}  // namespace flaxblocks
