// The gradient of a dense convolution, or of one in wide groups, with respect to its kernel.
//
// A cell of the kernel, a few inputs times a few vectors of outputs at one tap, is added up in
// registers over all pixels of a band of rows. The bands depend on the shapes alone, so the result
// does not depend on the number of threads.
#pragma once

#include "dense.h"

namespace flaxblocks {

template <typename T>
struct DenseGradient {
  const Shapes& shapes;
  const T* operand;
  const T* gradient;
  int64_t first, last;  // the band, rows of all images
};

// The weights at one tap between inputs from `i` on, of all channels, and outputs from `o` on.
template <int Vectors, int Width, typename T>
void kernel_cell(const DenseGradient<T>& band, const Axis::Tap& row_tap, const Axis::Tap& tap,
                 int64_t i, int64_t o, T* weights) {
  using V = Vector<T, kRegister / sizeof(T)>;
  constexpr int kLanes = kRegister / sizeof(T);
  const Axis &rows = band.shapes.rows, &columns = band.shapes.columns;
  const int64_t inputs = band.shapes.from_channels, outputs = band.shapes.to_channels;
  Sums<V, Width, Vectors> sums;
  // The pixels whose tap lies within the operand.
  const int64_t begin = ceil_div(std::max(-tap.offset, int64_t{0}), columns.step);
  const int64_t room = columns.from - 1 - tap.offset;
  const int64_t end = room < 0 ? 0 : std::min(columns.to, room / columns.step + 1);
  for (int64_t r = band.first; r < band.last; ++r) {
    const int64_t at = r % rows.to * rows.step + row_tap.offset;
    if (at < 0 || at >= rows.from || begin >= end) continue;
    const int64_t x = ((r / rows.to * rows.from + at) * columns.from + tap.offset) * inputs + i;
    const T* g = band.gradient + r * columns.to * outputs + o;
    for (int64_t m = begin; m < end; ++m) {
      const T* values = band.operand + x + m * columns.step * inputs;
      V factors[Vectors];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) factors[v] = load<V>(g + m * outputs + v * kLanes);
#pragma GCC unroll 8
      for (int w = 0; w < Width; ++w) {
        const T value = values[w];
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sums.terms[w][v] += value * factors[v];
      }
    }
    sums.count(end - begin);
  }
  sums.finish();
#pragma GCC unroll 8
  for (int w = 0; w < Width; ++w) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(weights + w * outputs + v * kLanes, sums.totals[w][v]);
  }
}

template <typename T>
void dense_kernel(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs, const T* operand,
                  const T* gradient, T* kernel) {
  constexpr int64_t kLanes = kRegister / sizeof(T), kTasks = 32;
  const int64_t channels = shapes.to_channels, groups = shapes.from_channels / inputs;
  const int64_t outputs = channels / groups, rows = shapes.images * shapes.rows.to;
  const int64_t taps = shapes.rows.taps * shapes.columns.taps, weights = taps * inputs * channels;
  with_width<kVectors, kVectors / 2, 1>(outputs, kLanes, [&](auto vectors) {
    const int64_t in_group = ceil_div(outputs, vectors * kLanes), blocks = groups * in_group;
    // Few weights are shared out by bands of rows, many by themselves.
    const int64_t bands = std::min(rows, ceil_div(kTasks, taps * blocks));
    std::vector<T> sums(bands == 1 ? 0 : bands * weights);
    parallel_for(threads, bands * taps * blocks, [&](int64_t task) {
      const int64_t band = task / (taps * blocks), tap = task / blocks % taps;
      const int64_t block = task % blocks, group = block / in_group;
      const int64_t o = group * outputs + std::min(block % in_group * vectors * kLanes,
                                                   outputs - vectors * kLanes);
      const DenseGradient<T> part{shapes, operand, gradient, rows * band / bands,
                                  rows * (band + 1) / bands};
      T* to = (bands == 1 ? kernel : sums.data() + band * weights) + tap * inputs * channels + o;
      with_width<kPixels, 4, 2, 1>(inputs, 1, [&](auto width) {
        for (int64_t start = 0; start < inputs; start += width) {
          const int64_t i = std::min<int64_t>(start, inputs - width);
          kernel_cell<vectors, width>(part, shapes.rows.phases[0][tap / shapes.columns.taps],
                                      shapes.columns.phases[0][tap % shapes.columns.taps],
                                      group * inputs + i, o, to + i * channels);
        }
      });
    });
    if (bands > 1) add_bands(threads, sums, bands, kernel);
  });
}

}  // namespace flaxblocks
