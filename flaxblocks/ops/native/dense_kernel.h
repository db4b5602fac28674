// The gradient of a dense convolution, or of one with wide groups, with respect to its kernel.
//
// The kernel is computed in cells, a few inputs by a few vectors of outputs at one tap, which are
// accumulated in registers over the pixels of a band of rows. The bands depend on the shapes alone,
// so the result does not depend on the number of threads.
#pragma once

#include "cells.h"
#include "threads.h"

namespace flaxblocks {

// What the weights at one tap are summed over.
template <typename T>
struct DenseTap {
  const Shapes& shapes;
  const T* operand;
  const T* gradient;
  int64_t row, column;  // the tap's offsets
  int64_t begin, end;   // the pixels of a row of the result whose tap lies within the operand

  DenseTap(const Shapes& shapes, const T* operand, const T* gradient, int64_t tap)
      : shapes(shapes), operand(operand), gradient(gradient) {
    const Axis& columns = shapes.columns;
    row = shapes.rows.phases[0][tap / columns.taps].offset;
    column = columns.phases[0][tap % columns.taps].offset;
    const int64_t room = columns.from - 1 - column;
    begin = ceil_div(std::max(-column, int64_t{0}), columns.step);
    end = room < 0 ? 0 : std::min(columns.to, room / columns.step + 1);
  }
};

// A range of rows of the result, numbered across all images, and where they begin.
struct Rows {
  int64_t first, last, image, row;
};

// Sums a cell, inputs from `i` and outputs from `o` on, over a few rows. Except for the first rows
// `totals` are added; the result is stored in `totals` or, for the last rows, in `to`.
template <int Vectors, int Width, typename V, typename T>
[[gnu::always_inline]] inline void add_rows(V (&totals)[Width][Vectors], bool is_first, T* to,
                                const DenseTap<T>& tap, Rows rows, int64_t i, int64_t o) {
  constexpr int kLanes = kRegister / sizeof(T);
  const Axis &axis = tap.shapes.rows, &columns = tap.shapes.columns;
  const int64_t inputs = tap.shapes.from_channels, outputs = tap.shapes.to_channels;
  const int64_t apart = columns.step * inputs;
  const int64_t column = tap.begin * columns.step + tap.column;
  V sums[Width][Vectors] = {};
  for (int64_t r = rows.first; r < rows.last; ++r) {
    const int64_t at = rows.row * axis.step + tap.row;
    if (at >= 0 && at < axis.from) {
      const int64_t pixel = (rows.image * axis.from + at) * columns.from + column;
      const T* x = tap.operand + pixel * inputs + i;
      const T* g = tap.gradient + (r * columns.to + tap.begin) * outputs + o;
      add_products(sums, [&](int w, int64_t m) { return x[m * apart + w]; }, g, outputs,
                   tap.end - tap.begin);
    }
    if (++rows.row == axis.to) rows.row = 0, ++rows.image;
  }
  if (!is_first) add_sums(sums, totals, false);
#pragma GCC unroll 16
  for (int w = 0; w < Width; ++w) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (to) {
        store(to + w * outputs + v * kLanes, sums[w][v]);
      } else {
        totals[w][v] = sums[w][v];
      }
    }
  }
}

// The gradients of the weights of the inputs from `i` on and `Vectors` vectors of outputs from `o`
// on, summed over the rows from `first` to `last`. All cells process a few rows before the next
// ones, so that what they read stays in the cache.
template <int Vectors, typename T>
void kernel_tap(const DenseTap<T>& tap, int64_t first, int64_t last, int64_t i, int64_t inputs,
                int64_t o, T* weights) {
  constexpr int64_t kLanes = kRegister / sizeof(T), kCells = 20;
  const int64_t pixels = std::max(tap.end - tap.begin, int64_t{0}), rows = tap.shapes.rows.to;
  const int64_t step = pixels ? ceil_div(kTogether, pixels) : last - first;
  with_pixels<T, kVectors>(inputs, [&](auto width) {
    Vector<T, kLanes> totals[kCells][width][Vectors];
    const int64_t all = ceil_div(inputs, width), groups = ceil_div(all, kCells);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t begin = all * group / groups, end = all * (group + 1) / groups;
      for (int64_t r = first; r < last; r += step) {
        const Rows few{r, std::min(r + step, last), r / rows, r % rows};
        for (int64_t cell = begin; cell < end; ++cell) {
          const int64_t input = std::min<int64_t>(cell * width, inputs - width);
          T* to = few.last == last ? weights + input * tap.shapes.to_channels : nullptr;
          add_rows(totals[cell - begin], r == first, to, tap, few, i + input, o);
        }
      }
    }
  });
}

// What one call computes: `inputs` inputs of each group at each tap, which may be those of several
// adjacent pixels.
template <typename T>
void sum_kernel(ffi::ThreadPool& threads, const Shapes& shapes, int64_t groups, int64_t inputs,
                const T* operand, const T* gradient, T* kernel) {
  constexpr int64_t kTasks = 32;
  const int64_t channels = shapes.to_channels, rows = shapes.images * shapes.rows.to;
  const int64_t taps = shapes.rows.taps * shapes.columns.taps, weights = taps * inputs * channels;
  const Blocks<T> in_group(channels / groups);
  const int64_t blocks = groups * in_group.tasks;
  // With few weights the threads share bands of rows, with many they share the weights.
  const int64_t bands = std::min(rows, ceil_div(kTasks, taps * blocks));
  std::vector<T> sums(bands == 1 ? 0 : bands * weights);
  parallel_for(threads, bands * taps * blocks, [&](int64_t task) {
    const int64_t band = task / (taps * blocks), tap = task / blocks % taps;
    const int64_t block = task % blocks, group = block / in_group.tasks;
    T* to = (bands == 1 ? kernel : sums.data() + band * weights) + tap * inputs * channels;
    in_group.with_task(block % in_group.tasks, [&](int64_t first, auto vectors) {
      const int64_t o = group * in_group.outputs + first;
      kernel_tap<vectors>(DenseTap<T>(shapes, operand, gradient, tap), rows * band / bands,
                          rows * (band + 1) / bands, group * inputs, inputs, o, to + o);
    });
  });
  if (bands > 1) add_bands(threads, sums, bands, kernel);
}

// Whether a pixel has so few inputs that cells would be almost empty, and all those that a row of the
// kernel meets are one after the other.
inline bool has_few_inputs(const Shapes& shapes, int64_t inputs) {
  constexpr int64_t kFew = 8;
  return inputs < kFew && inputs == shapes.from_channels && shapes.columns.taps > 1 &&
         shapes.columns.are_adjacent(0);
}

// Takes a row of the kernel for one tap, of a copy of the operand that holds the columns' padding.
template <typename T>
void sum_rows_of_kernel(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand,
                        const T* gradient, T* kernel) {
  const Axis& columns = shapes.columns;
  const int64_t inputs = shapes.from_channels, left = -columns.phases[0][0].offset;
  const int64_t width = (columns.to - 1) * columns.step + columns.taps;
  const int64_t begin = std::clamp<int64_t>(left, 0, width);
  const int64_t end = std::clamp<int64_t>(left + columns.from, begin, width);
  const int64_t rows = shapes.images * shapes.rows.from;
  const auto padded = make_buffer<T>({rows, width * inputs});
  const int64_t pieces = std::min(rows, 4 * size(threads));
  parallel_for(threads, pieces, [&](int64_t piece) {
    for (int64_t row = rows * piece / pieces; row < rows * (piece + 1) / pieces; ++row) {
      T* const to = padded.get() + row * width * inputs;
      const T* const from = operand + (row * columns.from + begin - left) * inputs;
      std::fill(to, to + begin * inputs, T(0));
      std::copy(from, from + (end - begin) * inputs, to + begin * inputs);
      std::fill(to + end * inputs, to + width * inputs, T(0));
    }
  });
  const Shapes as_one{shapes.images, inputs, shapes.to_channels, shapes.rows,
                      Axis(width, columns.to, 1, columns.step, 0, 1, false)};
  sum_kernel(threads, as_one, 1, columns.taps * inputs, padded.get(), gradient, kernel);
}

template <typename T>
void dense_kernel(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs, const T* operand,
                  const T* gradient, T* kernel) {
  if (has_few_inputs(shapes, inputs)) {
    return sum_rows_of_kernel(threads, shapes, operand, gradient, kernel);
  }
  sum_kernel(threads, shapes, shapes.from_channels / inputs, inputs, operand, gradient, kernel);
}

}  // namespace flaxblocks
