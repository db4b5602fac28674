// The gradient of a dense convolution, or of one with wide groups, with respect to its kernel.
//
// It is computed a tap at a time, see `kernel_tap.h`, by tasks of inputs, outputs and bands of rows.
// The bands depend on the shapes alone, so the result does not depend on the number of threads.
#pragma once

#include "kernel_tap.h"
#include "threads.h"

namespace flaxblocks {

// What one call computes: `inputs` inputs of each group at each tap, which may be those of several
// adjacent pixels.
template <typename T>
void sum_kernel(ffi::ThreadPool& threads, const Shapes& shapes, int64_t groups, int64_t inputs,
                const T* operand, const T* gradient, T* kernel) {
  constexpr int64_t kTasks = 32, kEven = 8;
  const int64_t channels = shapes.to_channels, rows = shapes.images * shapes.rows.to;
  const int64_t taps = shapes.rows.taps * shapes.columns.taps, weights = taps * inputs * channels;
  const Blocks<T> outputs(channels / groups);
  // Where inputs are copied, more of them stay in the cache.
  const int64_t most = copies_inputs<T>(shapes, outputs.outputs) ? 37 : 20;  // cells of a span
  // A cell of all outputs, or of as many as there are registers for.
  with_constant<kVectors>(outputs.count == 1 ? outputs.vectors : kVectors, [&](auto vectors) {
    with_pixels<T, vectors>(inputs, [&](auto width) {
      const int64_t cells = ceil_div(inputs, width), spans = ceil_div(cells, most);
      // With few weights the threads share bands of rows, with many they share the weights.
      const int64_t parts = taps * groups * spans;
      const int64_t bands = std::min(rows, ceil_div(kTasks, parts * outputs.tasks));
      // A task has all outputs where inputs share sets of the cache, so that it reads or copies them
      // once, and few tasks are as many for each thread.
      auto is_even = [&](int64_t tasks) {
        return tasks % size(threads) == 0 || tasks >= kEven * size(threads);
      };
      int64_t pieces = share_sets<T>(inputs_apart(shapes)) ? 1 : outputs.tasks;
      while (pieces < outputs.tasks && !is_even(bands * parts * pieces)) ++pieces;
      std::vector<T> sums(bands == 1 ? 0 : bands * weights);
      parallel_for(threads, bands * parts * pieces, [&](int64_t task) {
        const int64_t span = task / pieces % spans, group = task / pieces / spans % groups;
        const int64_t tap = task / pieces / spans / groups % taps, band = task / pieces / parts;
        const DenseTap<T> at(shapes, operand, gradient, tap);
        const TapWeights<T> part{at,
                                 outputs,
                                 inputs,
                                 group * inputs,
                                 group * outputs.outputs,
                                 {cells * span / spans, cells * (span + 1) / spans},
                                 outputs.span(task % pieces, pieces)};
        T* const to = bands == 1 ? kernel : sums.data() + band * weights;
        sum_tap<width>(part, rows * band / bands, rows * (band + 1) / bands,
                       to + tap * inputs * channels);
      });
      if (bands > 1) add_bands(threads, sums, bands, kernel);
    });
  });
}

// Whether a pixel has so few inputs that cells would be almost empty, and all those that a row of
// the kernel meets are one after the other.
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
