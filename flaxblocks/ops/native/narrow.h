// Convolutions in groups of 1, 4 or 8 channels, and their gradients with respect to the input.
//
// The result is computed in cells, a few pixels of one row by a vector of channels, which are
// accumulated in registers and written once. Where a group has several channels, each lane of the
// operand is broadcast within its group and multiplied by the weights of all outputs of the group.
#pragma once

#include "activation.h"
#include "threads.h"

namespace flaxblocks {

// One phase of one row of the result.
template <typename T>
struct NarrowRow {
  const T* operand;  // the image
  const T* kernel;
  T* result;  // the row
  const std::vector<RowTap>& rows;
  const Axis& columns;
  int64_t phase, channels;
  int64_t some;  // channels that are computed, from the pointers on
  int64_t row_step;
  int64_t apart;  // from one pixel of the operand to the next
  Epilogue<T> after;
};

// Broadcasts lane `I` of each group to all lanes of the group.
template <int I, int Group, typename V, int... Lanes>
inline V spread(V v, std::integer_sequence<int, Lanes...>) {
  if constexpr (Group == 1) return v;
  return __builtin_shufflevector(v, v, (Lanes / Group * Group + I)...);
}

// Adds column j of the operand to the sums of the pixels that read it through a tap of the run.
// `weights` has a vector for each tap and lane of a group.
template <int Group, int N, int Width, int Run, typename V, int... I>
inline void add_column(V* sums, int j, V x, const V (&weights)[Run][Group],
                       std::integer_sequence<int, I...>) {
  auto add_lane = [&](auto i) {
    const V lanes = spread<i, Group>(x, std::make_integer_sequence<int, N>());
#pragma GCC unroll 8
    for (int r = 0; r < Run; ++r) {
      if (j >= r && j - r < Width) sums[j - r] += lanes * weights[r][i];
    }
  };
  (add_lane(std::integral_constant<int, I>()), ...);
}

// Prefetches what the cell below reads and writes while this one is computed. On one thread, 3x3,
// 8x56x56x144: 4.2 ms without, 2.4 ms with; with stride 2, 1.6 and 0.6 ms.
// Inlined by force: GCC drops calls of a function that does nothing but prefetch.
template <int Width, typename T>
[[gnu::always_inline]] inline void fetch_ahead(const NarrowRow<T>& row, int64_t m, int64_t c) {
  const int64_t channels = row.channels, step = row.columns.step;
  const T* x = row.operand + row.rows.back().operand + m * step * row.apart + c;
  for (int64_t below = 0; below < row.row_step; ++below) {
    x += row.columns.from * row.apart;
    for (int w = 0; w < Width * step; ++w) __builtin_prefetch(x + w * row.apart, 0, 2);
  }
  const int64_t apart = row.columns.count() * channels;
  const T* y = row.result + row.columns.to * channels + m * apart + c;
  for (int w = 0; w < Width; ++w) __builtin_prefetch(y + w * apart, 1, 2);
}

// Computes `Width` pixels from position m on, `N` channels from c on.
//
// Each column of the operand is read once for a whole run of adjacent taps: 8x28x28x192, 5x5, takes
// 1.2 ms with runs of 1 tap, 0.9 ms with runs of 5.
template <int Group, int N, int Width, int Run, bool Inside, typename T>
[[gnu::always_inline]] inline void narrow_cell(const NarrowRow<T>& row, int64_t m, int64_t c) {
  using V = Vector<T, N>;
  V totals[Width] = {}, sums[Width] = {};
  const int64_t channels = row.channels, step = Run > 1 ? 1 : row.columns.step;
  const auto& taps = row.columns.phases[row.phase];
  // Distance from one tap of a run to the next.
  const size_t count = Run > 1 ? Run : taps.size();
  const int64_t pitch = Run > 1 ? (taps[1].kernel - taps[0].kernel) * Group * channels : 0;
  for (const RowTap& tap : row.rows) {
    for (size_t t = 0; t < count; t += Run) {
      const int64_t first = m * step + taps[t].offset;
      const T* x = row.operand + tap.operand + c;
      const T* kernel = row.kernel + tap.kernel + taps[t].kernel * Group * channels + c;
      V weights[Run][Group];
#pragma GCC unroll 8
      for (int r = 0; r < Run; ++r) {
#pragma GCC unroll 8
        for (int i = 0; i < Group; ++i) weights[r][i] = load<V>(kernel + r * pitch + i * channels);
      }
#pragma GCC unroll 16
      for (int j = 0; j < Width + Run - 1; ++j) {
        const int64_t at = first + j * step;
        if (Inside || static_cast<uint64_t>(at) < static_cast<uint64_t>(row.columns.from)) {
          V lanes = load<V>(x + at * row.apart);
          keep(lanes);
          add_column<Group, N, Width, Run>(sums, j, lanes, weights,
                                           std::make_integer_sequence<int, Group>());
        }
      }
    }
    // Each row of the kernel has a partial sum: one sum of 72 products had four times XLA's error.
    if constexpr (Group > 1) {
#pragma GCC unroll 8
      for (int w = 0; w < Width; ++w) {
        totals[w] += sums[w];
        sums[w] = V{};
      }
    }
  }
  const int64_t apart = row.columns.count() * channels;
  const int64_t y = (m * row.columns.count() + row.phase) * channels + c;
  if constexpr (Group > 1) {
    row.after.template store_all<N>(row.result, y, apart, c, 0, totals);
  } else {
    row.after.template store_all<N>(row.result, y, apart, c, 0, sums);
  }
}

// Computes `Width` pixels from position m on, all channels. The cell is inlined, so that what cells
// share is computed once: 3x3 over 56x56x144 takes 0.10 ms on one thread in place of 0.12.
template <int Group, int N, int Width, int Run, bool Inside, typename T>
[[gnu::noinline]] void narrow_cells(const NarrowRow<T>& row, int64_t m) {
  for (int64_t first = 0; first < row.some; first += N) {
    const int64_t c = std::min(first, row.some - N);
    if (row.row_step && !row.rows.empty()) fetch_ahead<Width>(row, m, c);
    narrow_cell<Group, N, Width, Run, Inside>(row, m, c);
  }
}

// What is compiled for speed. The rest, float64 and channels too few for a vector, has fewer forms:
// they would be most of the time that the package takes to build.
template <int Group, int N, typename T>
constexpr bool kIsFast = N == kNarrow<T, Group> && std::is_same_v<T, float>;

template <int Group, int N, int Run, typename T>
void narrow_row(const NarrowRow<T>& row) {
  const int64_t count = row.columns.positions(row.phase);
  constexpr bool kFast = kIsFast<Group, N, T>;
  const bool all_inside = kFast && row.columns.inside(row.phase, 0, count);
  // 7 sums leave room for weights in 16 registers, and 7 divides 14, 28, 56 and 112.
  with_width<kFast ? 7 : 4, 4, 1>(count, 1, [&](auto width) {
    for (int64_t start = 0; start < count; start += width) {
      const int64_t m = std::min<int64_t>(start, count - width);
      if constexpr (kFast) {
        if (all_inside || row.columns.inside(row.phase, m, width)) {
          narrow_cells<Group, N, width, Run, true>(row, m);
          continue;
        }
      }
      narrow_cells<Group, N, width, Run, false>(row, m);
    }
  });
}

// Dispatches to the run length compiled for this phase: whole rows of the usual kernels.
template <int Group, int N, typename T>
void narrow_runs(const NarrowRow<T>& row) {
  if constexpr (kIsFast<Group, N, T>) {
    const int64_t run = row.columns.run(row.phase);
    if (run == 3) return narrow_row<Group, N, 3>(row);
    if constexpr (Group == 1) {
      if (run == 5) return narrow_row<Group, N, 5>(row);
      if (run == 7) return narrow_row<Group, N, 7>(row);
    }
  }
  narrow_row<Group, N, 1>(row);
}

template <int Group, int N, typename T>
void narrow(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand, const T* kernel,
            T* result, const Epilogue<T>& after) {
  const int64_t rows = shapes.rows.to, channels = shapes.to_channels;
  const int64_t image = shapes.rows.from * shapes.columns.from * channels;
  // A few pieces per thread, so that a slow thread does not keep the others waiting.
  const int64_t count = shapes.images * rows, pieces = std::min(count, 4 * size(threads));
  parallel_for(threads, pieces, [&](int64_t piece) {
    std::vector<RowTap> taps;
    for (int64_t i = count * piece / pieces; i < count * (piece + 1) / pieces; ++i) {
      meet(shapes, i % rows, Group * channels, taps);
      for (int64_t phase = 0; phase < shapes.columns.count(); ++phase) {
        narrow_runs<Group, N>(NarrowRow<T>{operand + i / rows * image, kernel,
                                           result + i * shapes.columns.to * channels, taps,
                                           shapes.columns, phase, channels, channels,
                                           shapes.rows.step, channels,
                                           after.at(i * shapes.columns.to * channels)});
      }
    }
  });
}

}  // namespace flaxblocks
