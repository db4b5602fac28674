// Dense convolutions, in one group or in wide ones, and their gradients with respect to the input.
//
// A cell of the result, a few pixels of one row times a few vectors of channels, is added up in
// registers: each number of the operand is multiplied with all the vectors, each vector of weights
// with all the pixels.
#pragma once

#include "activation.h"

namespace flaxblocks {

// The largest cell: 28 sums and 4 weights fill 32 registers, 12 sums, 2 weights and a number 16.
// 7 x 4 reaches 114 GFLOP/s on one thread with AVX-512, 6 x 4 as much where 6 divides the pixels,
// 14 x 2 as much where there are 14.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int kPixels = 6, kVectors = 2;
#else
constexpr int kPixels = 7, kVectors = 4;
#endif

// One phase of one row of the result, one group.
template <typename T>
struct DenseRow {
  const T* operand;  // the image, from the group's channels on
  const T* kernel;
  T* result;  // the row
  const T* zeros;
  const std::vector<RowTap>& rows;
  const Axis& columns;
  int64_t phase, inputs, from_channels, to_channels;
  Epilogue<T> after;  // its residual is the row's
};

// The sums of a cell. Those of some hundred products are added to totals: a sum of 512 x 9, one by
// one, has eight times the error.
template <typename V, int Width, int Vectors>
struct Sums {
  V totals[Width][Vectors] = {}, terms[Width][Vectors] = {};
  int64_t products = 0;

  void count(int64_t more) {
    products += more;
    if (products >= 256) finish();
  }
  void finish() {
#pragma GCC unroll 8
    for (int w = 0; w < Width; ++w) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        totals[w][v] += terms[w][v];
        terms[w][v] = V{};
      }
    }
    products = 0;
  }
};

// Adds the products with inputs from `first` to `last`, at one tap.
template <int Vectors, int Width, typename V, typename T>
inline void add_inputs(V (&sums)[Width][Vectors], const T* const (&x)[Width], const T* weights,
                       int64_t first, int64_t last, int64_t channels) {
  constexpr int kLanes = kRegister / sizeof(T);
  for (int64_t i = first; i < last; ++i) {
    V factors[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) factors[v] = load<V>(weights + i * channels + v * kLanes);
#pragma GCC unroll 8
    for (int w = 0; w < Width; ++w) {
      const T value = x[w][i];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[w][v] += value * factors[v];
    }
  }
}

// Stores a cell whose first number is at `first` of the result, its pixels `apart`.
//
// A function of its own: what it needs in registers, the sums would have to leave.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void store_cell(const V (&sums)[Width][Vectors], const Epilogue<T>& after,
                                  T* result, int64_t first, int64_t apart, int64_t channel) {
  constexpr int kLanes = kRegister / sizeof(T);
  for (int w = 0; w < Width; ++w) {
    for (int v = 0; v < Vectors; ++v) {
      after.template store_at<kLanes>(result, first + w * apart + v * kLanes, channel + v * kLanes,
                                      sums[w][v]);
    }
  }
}

// `Width` pixels from position m on, `Vectors` of channels from o on.
template <int Vectors, int Width, typename T>
void dense_cell(const DenseRow<T>& row, int64_t m, int64_t o) {
  using V = Vector<T, kRegister / sizeof(T)>;
  Sums<V, Width, Vectors> sums;
  for (const RowTap& tap : row.rows) {
    for (const Axis::Tap& column : row.columns.phases[row.phase]) {
      const T* x[Width];
      for (int w = 0; w < Width; ++w) {
        const int64_t at = (m + w) * row.columns.step + column.offset;
        const bool inside = at >= 0 && at < row.columns.from;
        x[w] = inside ? row.operand + tap.operand + at * row.from_channels : row.zeros;
      }
      const T* weights = row.kernel + tap.kernel + column.kernel * row.inputs * row.to_channels + o;
      constexpr int64_t kMost = 256;
      for (int64_t i = 0; i < row.inputs; i += kMost) {
        const int64_t last = std::min(i + kMost, row.inputs);
        add_inputs(sums.terms, x, weights, i, last, row.to_channels);
        sums.count(last - i);
      }
    }
  }
  sums.finish();
  const int64_t apart = row.columns.count() * row.to_channels;
  const int64_t first = (m * row.columns.count() + row.phase) * row.to_channels + o;
  store_cell(sums.totals, row.after, row.result, first, apart, o);
}

template <int Vectors, typename T>
void dense_row(const DenseRow<T>& row, int64_t o) {
  const int64_t count = row.columns.positions(row.phase);
  with_width<kPixels, 4, 2, 1>(count, 1, [&](auto width) {
    for (int64_t start = 0; start < count; start += width) {
      dense_cell<Vectors, width>(row, std::min<int64_t>(start, count - width), o);
    }
  });
}

// A few rows, and as many channels as a cell has, are done together, so that their weights stay in
// the cache.
template <typename T>
void dense(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs, const T* operand,
           const T* kernel, T* result, const Epilogue<T>& after) {
  const Axis& columns = shapes.columns;
  const int64_t rows = shapes.rows.to, channels = shapes.to_channels;
  const int64_t groups = shapes.from_channels / inputs, outputs = channels / groups;
  const int64_t image = shapes.rows.from * columns.from * shapes.from_channels;
  const std::vector<T> zeros(inputs);
  constexpr int64_t kLanes = kRegister / sizeof(T);
  with_width<kVectors, kVectors / 2, 1>(outputs, kLanes, [&](auto vectors) {
    const int64_t in_group = ceil_div(outputs, vectors * kLanes), blocks = groups * in_group;
    const int64_t count = shapes.images * rows;
    const int64_t pieces = std::min(count, ceil_div(4 * size(threads), blocks));
    parallel_for(threads, blocks * pieces, [&](int64_t i) {
      const int64_t block = i / pieces, piece = i % pieces, group = block / in_group;
      const int64_t o = std::min(block % in_group * vectors * kLanes, outputs - vectors * kLanes);
      std::vector<RowTap> taps;
      for (int64_t r = count * piece / pieces; r < count * (piece + 1) / pieces; ++r) {
        meet(shapes, r % rows, inputs * channels, taps);
        for (int64_t phase = 0; phase < columns.count(); ++phase) {
          dense_row<vectors>(
              DenseRow<T>{operand + r / rows * image + group * inputs, kernel,
                          result + r * columns.to * channels, zeros.data(), taps, columns, phase,
                          inputs, shapes.from_channels, channels,
                          after.at(r * columns.to * channels)},
              group * outputs + o);
        }
      }
    });
  });
}

}  // namespace flaxblocks
