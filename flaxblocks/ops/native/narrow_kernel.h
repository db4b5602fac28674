// The gradient of a convolution in groups of 1, 4 or 8 channels with respect to its kernel.
//
// Each band of rows has its own sums, which are added in order at the end. The bands depend on the
// shapes alone, so the result does not depend on the number of threads.
#pragma once

#include "narrow.h"

namespace flaxblocks {

// Of a tap in one row: its first element of the operand, its column there, its index in the kernel.
struct GradientTap {
  int64_t operand, column, kernel;
};

// Adds the products of all inputs of a group to the sums.
template <int Group, int N, typename V, int... I>
inline void add_group(V* sums, V x, V factor, std::integer_sequence<int, I...>) {
  ((sums[I] += spread<I, Group>(x, std::make_integer_sequence<int, N>()) * factor), ...);
}

// Adds one row's products to the sums of `Taps` weights, `N` channels from c on, in registers.
template <int Group, int N, int Taps, typename T>
void add_row(const T* operand, const T* gradient, T* sums, const GradientTap* taps,
             const Axis& columns, int64_t channels, int64_t c) {
  using V = Vector<T, N>;
  V totals[Taps][Group];
  constexpr auto kInputs = std::make_integer_sequence<int, Group>();
  int64_t x[Taps];
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (int t = 0; t < Taps; ++t) {
    for (int i = 0; i < Group; ++i) {
      totals[t][i] = load<V>(sums + (taps[t].kernel * Group + i) * channels + c);
    }
    x[t] = (taps[t].operand + taps[t].column) * channels + c;
    low = std::min(low, taps[t].column);
    high = std::max(high, taps[t].column);
  }
  const T* g = gradient + c;
  const int64_t step = columns.step * channels;
  // From `begin` to `end` all taps lie within the operand.
  const int64_t begin = std::min(columns.to, ceil_div(std::max(-low, int64_t{0}), columns.step));
  const int64_t room = columns.from - 1 - high;
  const int64_t end = std::max(begin, room < 0 ? 0 : std::min(columns.to, room / columns.step + 1));
  auto at_the_sides = [&](int64_t m, int64_t last) {
    for (; m < last; ++m) {
      const V factor = load<V>(g + m * channels);
      for (int t = 0; t < Taps; ++t) {
        const uint64_t at = static_cast<uint64_t>(taps[t].column + m * columns.step);
        if (at < static_cast<uint64_t>(columns.from)) {
          add_group<Group, N>(totals[t], load<V>(operand + x[t] + m * step), factor, kInputs);
        }
      }
    }
  };
  at_the_sides(0, begin);
  for (int64_t m = begin; m < end; ++m) {
    const V factor = load<V>(g + m * channels);
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t) {
      add_group<Group, N>(totals[t], load<V>(operand + x[t] + m * step), factor, kInputs);
    }
  }
  at_the_sides(end, columns.to);
  for (int t = 0; t < Taps; ++t) {
    for (int i = 0; i < Group; ++i) {
      store(sums + (taps[t].kernel * Group + i) * channels + c, totals[t][i]);
    }
  }
}

// Adds one row's products to the sums of all weights, from channel c on.
template <int Group, int N, typename T>
void add_row_to_all(const T* operand, const T* gradient, T* sums,
                    const std::vector<GradientTap>& taps, const Axis& columns, int64_t channels,
                    int64_t c) {
  // 9 sums at a time are a whole 3x3 kernel, and enough independent multiply-adds to hide their
  // latency; with groups at most 24 sums, or 12 of 16 registers, which leaves some for the operands.
  constexpr int kMost = Group == 1 ? 9 : kRegisters / (Group + 1);
  constexpr int kTaps = kIsFast<Group, N, T> ? kMost : std::min(kMost, 3);
  const int64_t count = static_cast<int64_t>(taps.size()), pieces = ceil_div(count, kTaps);
  for (; c + N <= channels; c += N) {
    for (int64_t p = 0; p < pieces; ++p) {
      const int64_t start = count * p / pieces, stop = count * (p + 1) / pieces;
      with_constant<kTaps>(stop - start, [&](auto number) {
        add_row<Group, N, number>(operand, gradient, sums, taps.data() + start, columns, channels,
                                  c);
      });
    }
  }
  // The remaining channels, in shorter vectors.
  if constexpr (N > Group) {
    add_row_to_all<Group, std::max(N / 4, Group)>(operand, gradient, sums, taps, columns,
                                                  channels, c);
  }
}

// The sums of all weights over the rows from `first` to `last`, numbered across all images.
template <int Group, typename T>
void add_band(const Shapes& shapes, const T* operand, const T* gradient, T* sums, int64_t first,
              int64_t last) {
  const Axis &rows = shapes.rows, &columns = shapes.columns;
  const int64_t channels = shapes.to_channels;
  std::vector<GradientTap> taps;
  for (int64_t i = first; i < last; ++i) {
    taps.clear();
    for (const Axis::Tap& row : rows.phases[0]) {
      const int64_t at = i % rows.to * rows.step + row.offset;
      if (at < 0 || at >= rows.from) continue;
      for (const Axis::Tap& column : columns.phases[0]) {
        taps.push_back({(i / rows.to * rows.from + at) * columns.from, column.offset,
                        row.kernel * columns.taps + column.kernel});
      }
    }
    add_row_to_all<Group, kNarrow<T, Group>>(operand, gradient + i * columns.to * channels, sums,
                                             taps, columns, channels, 0);
  }
}

template <int Group, typename T>
void narrow_kernel(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand,
                      const T* gradient, T* kernel) {
  constexpr int64_t kMostBands = 32;
  const int64_t rows = shapes.images * shapes.rows.to, bands = std::min(rows, kMostBands);
  const int64_t weights =
      shapes.rows.taps * shapes.columns.taps * Group * shapes.to_channels;
  std::vector<T> sums(bands * weights);
  parallel_for(threads, bands, [&](int64_t i) {
    add_band<Group>(shapes, operand, gradient, sums.data() + i * weights, rows * i / bands,
             rows * (i + 1) / bands);
  });
  add_bands(threads, sums, bands, kernel);
}

}  // namespace flaxblocks
