// 1x1 convolutions of the pixels of a few rows.
#pragma once

#include "activation.h"
#include "dense.h"

namespace flaxblocks {

template <typename T>
struct Layer {
  const T* weights = nullptr;  // inputs x outputs; null for none
  int64_t inputs = 0, outputs = 0;
  Epilogue<T> after;
};

// Adds the products of `Width` pixels with the weights of some inputs and `Vectors` vectors of
// outputs.
//
// Not inlined: GCC 12 would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void multiply(V (&totals)[Width][Vectors], const T* from, int64_t apart,
                                const T* weights, int64_t inputs, int64_t outputs) {
  V sums[Width][Vectors] = {};
  const T* x[Width];
  for (int w = 0; w < Width; ++w) x[w] = from + w * apart;
  add_products(sums, [&](int w, int64_t i) { return x[w][i]; }, weights, outputs, inputs);
  add_sums(totals, sums);
}

// The weights of a cell are rows of `outputs` numbers.
template <int Vectors, int Width, typename T>
void pointwise_cell(const Layer<T>& layer, const T* weights, int64_t outputs, const T* from, T* to,
                    int64_t apart, int64_t pixel, int64_t o) {
  constexpr int kLanes = kRegister / sizeof(T);
  Vector<T, kLanes> totals[Width][Vectors] = {};
  for (int64_t i = 0; i < layer.inputs; i += kTogether) {
    multiply(totals, from + pixel * layer.inputs + i, layer.inputs, weights + i * outputs,
             std::min(kTogether, layer.inputs - i), outputs);
  }
  store_cell(totals, layer.after, to, pixel * apart + o, apart, o);
}

// The outputs of some blocks, of `rows` rows of `pixels` pixels each, which need not be contiguous.
// Each block of weights is used for all pixels before the next, so that it stays in the cache; if
// `packs`, packed contiguously first.
template <typename T, typename From, typename To>
void pointwise_blocks(const Layer<T>& layer, int64_t first, int64_t last, bool packs, int64_t rows,
                      int64_t pixels, int64_t apart, const From& from, const To& to) {
  constexpr int64_t kLanes = kRegister / sizeof(T);
  const Blocks<T> blocks(layer.outputs);
  const auto packed = packs ? make_buffer<T>({layer.inputs, kVectors, kLanes}) : Buffer<T>();
  for (int64_t block = first; block < last; ++block) {
    blocks.with(block, [&](int64_t o, auto vectors) {
      constexpr int64_t kBlock = vectors * kLanes;
      for (int64_t i = 0; i < layer.inputs && packs; ++i) {
        std::copy_n(layer.weights + i * layer.outputs + o, kBlock, packed.get() + i * kBlock);
      }
      const T* weights = packs ? packed.get() : layer.weights + o;
      const int64_t outputs = packs ? kBlock : layer.outputs;
      for (int64_t row = 0; row < rows; ++row) {
        with_pixels<T>(pixels, [&](auto width) {
          for (int64_t start = 0; start < pixels; start += width) {
            const int64_t pixel = std::min<int64_t>(start, pixels - width);
            pointwise_cell<vectors, width>(layer, weights, outputs, from(row), to(row), apart,
                                           pixel, o);
          }
        });
      }
    });
  }
}

// All outputs of a few rows. Long columns of weights that are used often are packed, see `dense`:
// 8x7x7, 2048 to 512 channels, takes 1.7 ms in place of 1.9.
template <typename T, typename From, typename To>
void pointwise(const Layer<T>& layer, int64_t rows, int64_t pixels, int64_t apart,
               const From& from, const To& to) {
  constexpr int64_t kMuch = 100, kLong = 1024;
  const bool packs = rows * pixels >= kMuch && layer.inputs >= kLong;
  pointwise_blocks(layer, 0, Blocks<T>(layer.outputs).count, packs, rows, pixels, apart, from, to);
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

// Whether rows of weights are so far apart that a column of them shares a few sets of the cache,
// and there are pixels enough to be worth packing it.
template <typename T>
bool shares_sets(const Layer<T>& layer, int64_t pixels) {
  // To pack columns of one line instead of four takes longer.
  constexpr int64_t kApart = kRegister == 64 ? 1024 : 2048, kMany = 128, kMuch = 32;
  const int64_t apart = layer.outputs * static_cast<int64_t>(sizeof(T));
  return apart % kApart == 0 && layer.inputs >= kMany && pixels >= kMuch;
}

// The threads share the blocks of outputs, and each packs its own. Processor time on one core as a
// part of that without packing: 7x7, 2048 to 512 channels, 0.43 (AVX2: 0.50), 512 to 2048, 0.51
// (0.62); 14x14, 256 to 1024, 0.85 (0.83); 28x28, 128 to 512, 0.70 (0.91).
template <typename T>
void pointwise_packed(ffi::ThreadPool& threads, const Layer<T>& layer, int64_t pixels, const T* x,
                      T* y) {
  constexpr int64_t kLeast = 28 * kPixels, kCache = 512 << 10;  // pixels, and their bytes
  const int64_t size_of_pixel = layer.inputs * static_cast<int64_t>(sizeof(T));
  const int64_t pieces = ceil_div(pixels, std::max(kLeast, kCache / size_of_pixel));
  const Blocks<T> blocks(layer.outputs);
  const int64_t groups = std::min(blocks.count, ceil_div(4 * size(threads), pieces));
  parallel_for(threads, pieces * groups, [&](int64_t i) {
    const int64_t piece = i / groups, group = i % groups;
    const int64_t first = pixels * piece / pieces, last = pixels * (piece + 1) / pieces;
    Layer<T> part = layer;
    part.after = layer.after.at(first * layer.outputs);
    pointwise_blocks(part, blocks.count * group / groups, blocks.count * (group + 1) / groups, true,
                     1, last - first, layer.outputs,
                     [&](int64_t) { return x + first * layer.inputs; },
                     [&](int64_t) { return y + first * layer.outputs; });
  });
}

// All pixels of a convolution. Where the weights fit in the cache, all outputs of a few pixels are
// computed before the next pixels, so that arrays are read and written in order: 8x56x56, 64 to 256
// channels with a residual takes 3.6 ms; a few outputs of many pixels at a time takes 4.5.
template <typename T>
void pointwise(ffi::ThreadPool& threads, const Layer<T>& layer, int64_t pixels, const T* x, T* y) {
  if (shares_sets(layer, pixels)) return pointwise_packed(threads, layer, pixels, x, y);
  constexpr int64_t kMost = 28 * kPixels, kCache = 128 << 10;
  const int64_t weights = layer.inputs * layer.outputs * static_cast<int64_t>(sizeof(T));
  const int64_t step = weights <= kCache ? kPixels : kMost;
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
