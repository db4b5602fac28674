// Convolutions that are dense or have wide groups, and their gradients with respect to the input.
//
// The result is computed in cells, a few pixels of one row by a few vectors of channels, which are
// accumulated in registers: each number of the operand is multiplied by all vectors of weights, and
// each vector of weights by all pixels.
#pragma once

#include "activation.h"
#include "threads.h"

namespace flaxblocks {

// The largest cell: of 32 registers 28 hold sums, 3 weights and 1 a number of the operand; of 16,
// 12 hold sums, 2 weights and 1 a number.
constexpr int kPixels = kRegisters == 32 ? 7 : 6, kVectors = kRegisters == 32 ? 4 : 2;

// The outputs in blocks of up to `kVectors` vectors, as equal as possible.
template <typename T>
struct Blocks {
  static constexpr int64_t kLanes = kRegister / sizeof(T);
  int64_t outputs, vectors, count, tasks;

  // Where the outputs do not fill the vectors, the last block overlaps the one before it: one task
  // computes both, so that no two threads write the same numbers.
  explicit Blocks(int64_t outputs) : outputs(outputs), vectors(ceil_div(outputs, kLanes)) {
    const bool overlap = outputs % kLanes;
    count = std::max<int64_t>(ceil_div(vectors, kVectors), overlap ? 2 : 1);
    tasks = overlap ? count - 1 : count;
  }
  // Calls `f` with the first output of a block and its number of vectors, a compile-time constant.
  template <typename F>
  void with(int64_t block, F&& f) const {
    const int64_t first = vectors * block / count;
    with_constant<kVectors>(vectors * (block + 1) / count - first, [&](auto here) {
      f(std::min(first * kLanes, outputs - here * kLanes), here);
    });
  }
  // Calls `f` as `with` does, for each block of a task.
  template <typename F>
  void with_task(int64_t task, const F& f) const {
    with(task, f);
    if (task == tasks - 1 && tasks < count) with(count - 1, f);
  }
};

// Calls `f` with the number of pixels of a cell, see `with_width`. In float64, which is not for speed,
// there are fewer: all would be a third of the library.
template <typename T, typename F>
void with_pixels(int64_t count, const F& f) {
  constexpr bool kFast = std::is_same_v<T, float>;
  with_width<kPixels, kFast ? 4 : 1, kFast ? 2 : 1, 1>(count, 1, f);
}

// One phase of one row of the result, in one group.
template <typename T>
struct DenseRow {
  const T* operand;  // the image, at the group's first channel
  const T* kernel;   // at the first channel of the cells
  T* result;  // the row
  const T* zeros;
  const std::vector<RowTap>& rows;
  const Axis& columns;
  int64_t phase, inputs, outputs;  // of the kernel's rows
  int64_t from_channels, to_channels;
  Epilogue<T> after;  // its residual is the row's
};

// Adds `count` products of each of `Width` numbers, `number(w, i)`, with `Vectors` vectors of
// factors, `stride` apart, to the sums.
//
// Where sums, factors and a number do not fit in the registers, the last factors are reloaded from
// the cache for each number.
template <int Vectors, int Width, typename V, typename T, typename F>
inline void add_products(V (&sums)[Width][Vectors], const F& number, const T* factors,
                         int64_t stride, int64_t count) {
  constexpr int kLanes = kRegister / sizeof(T);
  constexpr int kHeld = (Width + 1) * Vectors < kRegisters ? Vectors : Vectors - 1;
  for (int64_t i = 0; i < count; ++i) {
    const T* from = factors + i * stride;
    V held[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < kHeld; ++v) held[v] = load<V>(from + v * kLanes);
#pragma GCC unroll 16
    for (int w = 0; w < Width; ++w) {
      const T value = number(w, i);
#pragma GCC unroll 8
      for (int v = 0; v < kHeld; ++v) sums[w][v] += value * held[v];
      if constexpr (kHeld < Vectors) {
        asm("" : "+r"(from));  // else GCC keeps the vector and spills sums
        sums[w][kHeld] += value * load<V>(from + kHeld * kLanes);
      }
    }
  }
}

// Number of products in a partial sum: one running sum of 512 x 9 products has eight times the
// rounding error.
constexpr int64_t kTogether = 256;

template <int Vectors, int Width, typename V>
inline void add_sums(V (&totals)[Width][Vectors], const V (&sums)[Width][Vectors]) {
#pragma GCC unroll 16
  for (int w = 0; w < Width; ++w) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) totals[w][v] += sums[w][v];
  }
}

// Stores a cell whose first number is at `first` of the result and whose pixels are `apart`.
//
// Not inlined: the registers that it needs would be taken from the sums.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void store_cell(V (&sums)[Width][Vectors], const Epilogue<T>& after, T* result,
                                  int64_t first, int64_t apart, int64_t channel) {
  constexpr int kLanes = kRegister / sizeof(T);
  for (int w = 0; w < Width; ++w) {
    after.template store_all<kLanes>(result, first + w * apart, kLanes, channel, kLanes, sums[w]);
  }
}

// Adds the products at the taps from `first` to `last`, counted along the rows of the kernel, with
// `count` inputs from `input` on, to the totals of a cell.
//
// Not inlined: GCC would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void add_taps(V (&totals)[Width][Vectors], const DenseRow<T>& row, int64_t m,
                                int64_t first, int64_t last, int64_t input, int64_t count) {
  const std::vector<Axis::Tap>& columns = row.columns.phases[row.phase];
  const int64_t in_row = static_cast<int64_t>(columns.size());
  V sums[Width][Vectors] = {};
  for (int64_t t = first; t < last; ++t) {
    const RowTap& tap = row.rows[t / in_row];
    const Axis::Tap& column = columns[t % in_row];
    const T* x[Width];
    for (int w = 0; w < Width; ++w) {
      const int64_t at = (m + w) * row.columns.step + column.offset;
      const bool inside = at >= 0 && at < row.columns.from;
      x[w] = (inside ? row.operand + tap.operand + at * row.from_channels : row.zeros) + input;
    }
    const T* weights =
        row.kernel + tap.kernel + (column.kernel * row.inputs + input) * row.outputs;
    add_products(sums, [&](int w, int64_t i) { return x[w][i]; }, weights, row.outputs, count);
  }
  add_sums(totals, sums);
}

// `Width` pixels from position m on, `Vectors` vectors of channels from o on.
template <int Vectors, int Width, typename T>
void dense_cell(const DenseRow<T>& row, int64_t m, int64_t o) {
  const int64_t in_row = static_cast<int64_t>(row.columns.phases[row.phase].size());
  const int64_t taps = static_cast<int64_t>(row.rows.size()) * in_row;
  const int64_t some = std::max(int64_t{1}, kTogether / row.inputs);
  Vector<T, kRegister / sizeof(T)> totals[Width][Vectors] = {};
  for (int64_t t = 0; t < taps; t += some) {
    for (int64_t i = 0; i < row.inputs; i += kTogether) {
      add_taps(totals, row, m, t, std::min(t + some, taps), i, std::min(kTogether, row.inputs - i));
    }
  }
  const int64_t apart = row.columns.count() * row.to_channels;
  const int64_t first = (m * row.columns.count() + row.phase) * row.to_channels + o;
  store_cell(totals, row.after, row.result, first, apart, o);
}

template <int Vectors, typename T>
void dense_row(const DenseRow<T>& row, int64_t o) {
  const int64_t count = row.columns.positions(row.phase);
  with_pixels<T>(count, [&](auto width) {
    for (int64_t start = 0; start < count; start += width) {
      dense_cell<Vectors, width>(row, std::min<int64_t>(start, count - width), o);
    }
  });
}

// Computes a few rows for the channels of one cell at a time, so that the weights stay in the
// cache.
template <typename T>
void dense(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs, const T* operand,
           const T* kernel, T* result, const Epilogue<T>& after) {
  const Axis& columns = shapes.columns;
  const int64_t rows = shapes.rows.to, channels = shapes.to_channels;
  const int64_t groups = shapes.from_channels / inputs;
  const int64_t image = shapes.rows.from * columns.from * shapes.from_channels;
  const int64_t weights = shapes.rows.taps * columns.taps * inputs;
  const std::vector<T> zeros(inputs);
  const Blocks<T> in_group(channels / groups);
  const int64_t tasks = groups * in_group.tasks, count = shapes.images * rows;
  const int64_t pieces = std::min(count, ceil_div(4 * size(threads), tasks));
  parallel_for(threads, tasks * pieces, [&](int64_t i) {
    const int64_t task = i / pieces, piece = i % pieces, group = task / in_group.tasks;
    in_group.with_task(task % in_group.tasks, [&](int64_t first, auto vectors) {
      constexpr int64_t kBlock = vectors * Blocks<T>::kLanes;
      const int64_t o = group * in_group.outputs + first;
      // Packed contiguously: rows that are a power of two apart would share a few sets of the
      // cache.
      const auto packed = channels == kBlock ? Buffer<T>() : make_buffer<T>({weights, kBlock});
      for (int64_t w = 0; w < weights && packed; ++w) {
        std::copy_n(kernel + w * channels + o, kBlock, packed.get() + w * kBlock);
      }
      std::vector<RowTap> taps;
      for (int64_t r = count * piece / pieces; r < count * (piece + 1) / pieces; ++r) {
        meet(shapes, r % rows, inputs * kBlock, taps);
        for (int64_t phase = 0; phase < columns.count(); ++phase) {
          dense_row<vectors>(
              DenseRow<T>{operand + r / rows * image + group * inputs,
                          packed ? packed.get() : kernel, result + r * columns.to * channels,
                          zeros.data(), taps, columns, phase, inputs, kBlock, shapes.from_channels,
                          channels, after.at(r * columns.to * channels)},
              o);
        }
      }
    });
  });
}

}  // namespace flaxblocks
