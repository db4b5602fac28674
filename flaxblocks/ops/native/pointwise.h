// 1x1 convolutions of the pixels of a few rows.
#pragma once

#include "few_pixels.h"
#include "pointwise_panels.h"

namespace flaxblocks {

// Adds the products of `Width` pixels with the weights of some inputs and `Vectors` vectors of
// outputs to the totals, which the first ones make.
//
// Not inlined: GCC 12 would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void multiply(V (&totals)[Width][Vectors], const T* from, int64_t apart,
                                const T* weights, int64_t inputs, int64_t outputs,
                                bool is_first) {
  V sums[Width][Vectors] = {};
  const T* x[Width];
  for (int w = 0; w < Width; ++w) x[w] = from + w * apart;
  add_products(sums, [&](int w, int64_t i) { return x[w][i]; }, weights, outputs, inputs);
  add_sums(totals, sums, is_first);
}

// Computes and stores a cell whose pixels fit in one partial sum.
//
// Of few inputs the sums' way through memory to `store_cell` was a third of the time: 16 to 64
// channels took 1.6 us in place of 1.1 for 112 pixels.
template <int Vectors, int Width, typename T>
[[gnu::noinline]] void short_cell(const Layer<T>& layer, const T* from, T* to, int64_t first,
                                  int64_t apart, int64_t o) {
  constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;
  V sums[Width][Vectors] = {};
  const T* x[Width];
  for (int w = 0; w < Width; ++w) x[w] = from + w * layer.inputs;
  add_products(sums, [&](int w, int64_t i) { return x[w][i]; }, layer.weights + o, layer.apart,
               layer.inputs);
  store_sums(sums, layer.after, to, first, apart, o);
}

template <int Vectors, int Width, typename T>
void pointwise_cell(const Layer<T>& layer, const T* from, T* to, int64_t apart, int64_t pixel,
                    int64_t o) {
  constexpr int kLanes = kRegister / sizeof(T);
  const int64_t first = pixel * apart + o;
  from += pixel * layer.inputs;
  const int64_t some = panel_inputs<T>(layer.inputs);
  if (layer.inputs == some) {
    return short_cell<Vectors, Width>(layer, from, to, first, apart, o);
  }
  Vector<T, kLanes> totals[Width][Vectors];
  for (int64_t i = 0; i < layer.inputs; i += some) {
    multiply(totals, from + i, layer.inputs, layer.weights + i * layer.apart + o,
             std::min(some, layer.inputs - i), layer.apart, i == 0);
  }
  store_cell(totals, layer.after, to, first, apart, o);
}

// All outputs of `rows` rows of `pixels` pixels each, which need not be contiguous. Each block of
// weights is used for all pixels before the next, so that it stays in the cache.
template <typename T, typename From, typename To>
void pointwise(const Layer<T>& layer, int64_t rows, int64_t pixels, int64_t apart,
               const From& from, const To& to) {
  const Blocks<T> blocks(layer.outputs);
  for (int64_t block = 0; block < blocks.count; ++block) {
    blocks.with(block, [&](int64_t o, auto vectors) {
      with_pixels<T, vectors>(pixels, [&](auto width) {
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t start = 0; start < pixels; start += width) {
            const int64_t pixel = std::min<int64_t>(start, pixels - width);
            pointwise_cell<vectors, width>(layer, from(row), to(row), apart, pixel, o);
          }
        }
      });
    });
  }
}

// Prefetches what is read and written a few pixels further on.
template <typename T>
void fetch(const Layer<T>& layer, const T* x, const T* y, const T* residual, int64_t pixels) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < pixels * layer.inputs; i += kLine) __builtin_prefetch(x + i, 0, 2);
  for (int64_t i = 0; i < pixels * layer.outputs; i += kLine) {
    __builtin_prefetch(y + i, 1, 2);
    if (residual) __builtin_prefetch(residual + i, 0, 2);
  }
}

// Whether there are more weights than numbers of the arrays: the threads share the weights then.
template <typename T>
bool is_mostly_weights(const Layer<T>& layer, int64_t pixels) {
  return layer.inputs * layer.outputs > pixels * (layer.inputs + layer.outputs);
}

// Whether columns of weights share sets of the cache, and there are pixels enough to be worth
// packing them.
template <typename T>
bool is_worth_packing(const Layer<T>& layer, int64_t pixels) {
  constexpr int64_t kMany = 128, kMuch = 32;
  return share_sets<T>(layer.outputs) && layer.inputs >= kMany && pixels >= kMuch;
}

// Whether the pixels come from memory that no cache holds, and are worth prefetching.
template <typename T>
bool are_far(const Layer<T>& layer, int64_t pixels) {
  constexpr int64_t kFar = 2 << 20, kMany = 64;
  return layer.inputs >= kMany && pixels * layer.inputs * static_cast<int64_t>(sizeof(T)) > kFar;
}

// All pixels of a convolution. Of few inputs, or where pixels and weights fit in the cache, the
// weights are read where they are, and all outputs of a few pixels are computed before the next
// pixels, so that arrays are read and written in order: 8x112x112, 16 to 96 channels, takes 1.1 ms;
// by panels it takes 1.9.
template <typename T>
void pointwise(ffi::ThreadPool& threads, const Layer<T>& layer, int64_t pixels, const T* x, T* y) {
  if (are_few(pixels)) return few_pixels(threads, layer, pixels, x, y);
  if (is_worth_packing(layer, pixels) || is_mostly_weights(layer, pixels) ||
      are_far(layer, pixels)) {
    return pointwise_by_panels(threads, layer, pixels, x, y);
  }
  constexpr int64_t kMost = 28 * kPixels, kCache = 128 << 10, kWork = 1 << 14;
  const int64_t weights = layer.inputs * layer.outputs;
  const bool streams = weights * static_cast<int64_t>(sizeof(T)) <= kCache;
  // A step takes longer to begin than a few pixels of a few channels to compute.
  const int64_t step = streams ? std::min(ceil_div(kWork, weights) * kPixels, kMost) : kMost;
  const int64_t pieces = std::max(ceil_div(pixels, kMost), std::min(pixels, size(threads)));
  parallel_for(threads, pieces, [&](int64_t piece) {
    const int64_t last = pixels * (piece + 1) / pieces;
    for (int64_t first = pixels * piece / pieces; first < last; first += step) {
      Layer<T> part = layer;
      part.after = layer.after.at(first * layer.outputs);
      const T* from = x + first * layer.inputs;
      T* to = y + first * layer.outputs;
      if (step == kPixels) {
        const T* residual = part.after.residual;
        fetch(layer, from + 2 * step * layer.inputs, to + 2 * step * layer.outputs,
              residual ? residual + 2 * step * layer.outputs : nullptr, step);
      }
      pointwise(part, 1, std::min(step, last - first), layer.outputs,
                [&](int64_t) { return from; }, [&](int64_t) { return to; });
    }
  });
}

}  // namespace flaxblocks
