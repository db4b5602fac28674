// The gradient of a dense convolution's kernel at one tap: a product of inputs and gradients.
//
// It is computed in cells, a few inputs by a few vectors of outputs, which are accumulated in
// registers over the pixels of some rows.
#pragma once

#include "cells.h"
#include "common.h"

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

// Pixels of a row of the result whose tap lies within the operand: where they begin in the operand
// and in the gradient, and how many pixels of the chunk are before them.
struct Run {
  int64_t x, gradient, before, count;
};

// The runs of the rows from `first` to `last`, numbered across all images.
template <typename T>
std::vector<Run> find_runs(const DenseTap<T>& tap, int64_t first, int64_t last) {
  const Axis &rows = tap.shapes.rows, &columns = tap.shapes.columns;
  const int64_t column = tap.begin * columns.step + tap.column;
  std::vector<Run> runs;
  int64_t before = 0;
  for (int64_t r = first; r < last && tap.begin < tap.end; ++r) {
    const int64_t at = r % rows.to * rows.step + tap.row;
    if (at < 0 || at >= rows.from) continue;
    const int64_t pixel = (r / rows.to * rows.from + at) * columns.from + column;
    runs.push_back({pixel * tap.shapes.from_channels,
                    (r * columns.to + tap.begin) * tap.shapes.to_channels, before,
                    tap.end - tap.begin});
    before += runs.back().count;
  }
  return runs;
}

// Numbers of pixels: in an array, or in a copy of a chunk's pixels one after the other.
template <typename T>
struct Source {
  const T* at;
  int64_t apart;  // from one pixel to the next
  bool is_copy;

  const T* of(const Run& run, int64_t offset) const {
    return at + (is_copy ? run.before * apart : offset);
  }
};

// A few inputs and a block of outputs, and where it copies the gradients to; null for nowhere.
template <typename T>
struct KernelCell {
  Source<T> x, gradient;
  T* copy;
};

// Sums a cell over some runs. Unless these are the first, `totals` are added; the sums are stored in
// `totals` or, where it is given, in `to`, whose rows are `outputs` apart.
//
// Not inlined: GCC would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void sum_cell(V (&totals)[Width][Vectors], bool is_first, T* to, int64_t outputs,
                                const KernelCell<T>& cell, const std::vector<Run>& runs) {
  constexpr int kLanes = kRegister / sizeof(T), kBlock = Vectors * kLanes;
  const int64_t x_apart = cell.x.apart, g_apart = cell.gradient.apart;
  V sums[Width][Vectors] = {};
  for (const Run& run : runs) {
    const T *const x = cell.x.of(run, run.x), *const g = cell.gradient.of(run, run.gradient);
    const auto number = [&](int w, int64_t m) { return x[m * x_apart + w]; };
    if (cell.copy) {
      add_products(sums, number, g, g_apart, run.count, cell.copy + run.before * kBlock);
    } else {
      add_products(sums, number, g, g_apart, run.count);
    }
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

// How far the inputs of a row's pixels are apart.
inline int64_t inputs_apart(const Shapes& shapes) {
  return shapes.columns.step * shapes.from_channels;
}

// Whether inputs are copied, once for so many outputs: for fewer it takes longer than it gains. In
// the step of a bottleneck, 8x14x14 of 1024 to 512 channels takes 3.9 ms with copies and 5.0 without.
template <typename T>
bool copies_inputs(const Shapes& shapes, int64_t outputs) {
  constexpr int64_t kMany = 512;
  return outputs >= kMany && share_sets<T>(inputs_apart(shapes));
}

// The weights of some cells of inputs and some blocks of outputs of a group at a tap.
template <typename T>
struct TapWeights {
  const DenseTap<T>& tap;
  const Blocks<T>& outputs;
  int64_t inputs;         // of the group
  int64_t input, output;  // the group's first
  std::pair<int64_t, int64_t> cells, blocks;

  int64_t across() const { return cells.second - cells.first; }
  int64_t down() const { return blocks.second - blocks.first; }
  bool copies_inputs() const {
    return flaxblocks::copies_inputs<T>(tap.shapes, down() * outputs.outputs / outputs.count);
  }
  bool copies_gradients() const {
    return share_sets<T>(tap.shapes.to_channels) && across() > 1;
  }
  // The first input of a cell. The last cell overlaps the one before it.
  template <int Width>
  int64_t first(int64_t cell) const {
    return std::min<int64_t>(cell * Width, inputs - Width);
  }
};

// Copies the inputs of the cells, a cell's after the other's.
template <int Width, typename T>
void copy_inputs(const TapWeights<T>& part, const std::vector<Run>& runs, int64_t pixels, T* copy) {
  for (const Run& run : runs) {
    const T* from = part.tap.operand + part.input + run.x;
    for (int64_t m = 0; m < run.count; ++m, from += inputs_apart(part.tap.shapes)) {
      T* to = copy + (run.before + m) * Width;
      for (int64_t cell = part.cells.first; cell < part.cells.second; ++cell) {
        std::memcpy(to, from + part.template first<Width>(cell), Width * sizeof(T));
        to += pixels * Width;
      }
    }
  }
}

// Stores the gradients of the weights, summed over the rows from `first` to `last`. All cells process
// some pixels before the next ones, so that what they read stays in the cache. The first cell of a
// block copies the block's gradients: to copy them beforehand takes 4 % of the time.
template <int Width, typename T>
void sum_tap(const TapWeights<T>& part, int64_t first, int64_t last, T* kernel) {
  using V = Vector<T, Blocks<T>::kLanes>;
  const DenseTap<T>& tap = part.tap;
  const int64_t x_apart = inputs_apart(tap.shapes), channels = tap.shapes.to_channels;
  const int64_t rows = last - first;
  const int64_t columns = std::max(tap.end - tap.begin, int64_t{0});
  const int64_t chunks = std::clamp(rows * columns / kTogether, int64_t{1}, rows);
  const int64_t most = ceil_div(rows, chunks) * columns;  // pixels of a chunk
  const bool copies_x = part.copies_inputs(), copies_g = part.copies_gradients();
  const auto inputs = make_buffer<T>({copies_x ? part.across() * most * Width : 0});
  const auto gradients = make_buffer<V>({copies_g ? most * kVectors : 0});
  const auto totals = make_buffer<V>({part.across() * part.down(), Width * kVectors});
  T* const copy = reinterpret_cast<T*>(gradients.get());
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::vector<Run> runs = find_runs(tap, first + rows * chunk / chunks,
                                            first + rows * (chunk + 1) / chunks);
    const int64_t pixels = runs.empty() ? 0 : runs.back().before + runs.back().count;
    const std::vector<Run> as_one{{0, 0, 0, pixels}};
    if (copies_x) copy_inputs<Width>(part, runs, pixels, inputs.get());
    V* total = totals.get();
    for (int64_t block = part.blocks.first; block < part.blocks.second; ++block) {
      part.outputs.with(block, [&](int64_t at, auto vectors) {
        constexpr int64_t kBlock = vectors * Blocks<T>::kLanes;
        const int64_t o = part.output + at;
        for (int64_t n = 0; n < part.across(); ++n, total += Width * kVectors) {
          const int64_t i = part.template first<Width>(part.cells.first + n);
          const bool is_ready = copies_g && n > 0;
          const KernelCell<T> cell{
              copies_x ? Source<T>{inputs.get() + n * pixels * Width, Width, true}
                       : Source<T>{tap.operand + part.input + i, x_apart, false},
              is_ready ? Source<T>{copy, kBlock, true}
                       : Source<T>{tap.gradient + o, channels, false},
              copies_g && n == 0 ? copy : nullptr};
          sum_cell<vectors, Width>(*reinterpret_cast<V(*)[Width][vectors]>(total), chunk == 0,
                                   chunk + 1 < chunks ? nullptr : kernel + i * channels + o,
                                   channels, cell, copies_x && is_ready ? as_one : runs);
        }
      });
    }
  }
}

}  // namespace flaxblocks
