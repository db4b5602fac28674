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

  NarrowRow slice(Channels part) const {
    NarrowRow row = *this;
    row.operand += part.first;
    row.kernel += part.first;
    row.result += part.first;
    row.some = part.count();
    row.after = after.from(part.first);
    return row;
  }
};

// Rows of the result that are filtered a part of the channels after the other.
constexpr int64_t kRowsInCache = 4;

// How many parts `channels` are filtered in, so that a core's first cache holds the rows of the
// operand below a kernel until the next row of the result reads most of them again.
template <typename T>
int64_t parts_in_cache(const Axis& rows, const Axis& columns, int64_t channels) {
  constexpr int64_t kBytes = 24 << 10, kLeast = 2 * kNarrow<T, 1>;
  const int64_t pixels = std::max<int64_t>(1, rows.taps * columns.from);
  const int64_t fit = kBytes / (pixels * static_cast<int64_t>(sizeof(T)));
  return std::max<int64_t>(1, channels / std::max(fit, kLeast));
}

// Broadcasts lane `I` of each group to all lanes of the group.
template <int I, int Group, typename V, int... Lanes>
inline V spread(V v, std::integer_sequence<int, Lanes...>) {
  if constexpr (Group == 1) return v;
  return __builtin_shufflevector(v, v, (Lanes / Group * Group + I)...);
}

// Adds column j of the operand to the sums of the pixels that read it through a tap of the run. A
// pixel reads `Step` columns after the one before it. `weights` has a vector for each tap and lane of
// a group.
template <int Group, int N, int Width, int Run, int Step, typename V, int... I>
inline void add_column(V* sums, int j, V x, const V (&weights)[Run][Group],
                       std::integer_sequence<int, I...>) {
  auto add_lane = [&](auto i) {
    const V lanes = spread<i, Group>(x, std::make_integer_sequence<int, N>());
#pragma GCC unroll 8
    for (int r = 0; r < Run; ++r) {
      const int w = (j - r) / Step;
      if (j >= r && (j - r) % Step == 0 && w < Width) sums[w] += lanes * weights[r][i];
    }
  };
  (add_lane(std::integral_constant<int, I>()), ...);
}

// The taps of a phase of a row. In plain numbers: behind references the compiler would read them
// again for each cell, since what a cell stores might change them.
struct NarrowTaps {
  const RowTap *rows, *rows_end;
  const Axis::Tap* columns;
  int64_t count, pitch;  // of the columns, and from one's weights to the next one's
  int64_t step, from;    // pixels

  template <typename T>
  NarrowTaps(const NarrowRow<T>& row, int64_t group)
      : rows(row.rows.data()),
        rows_end(rows + row.rows.size()),
        columns(row.columns.phases[row.phase].data()),
        count(row.columns.phases[row.phase].size()),
        pitch(count > 1 ? (columns[1].kernel - columns[0].kernel) * group * row.channels : 0),
        step(row.columns.step),
        from(row.columns.from) {}
};

// Prefetches what the cell below reads and writes while this one is computed. On one thread, 3x3,
// 8x56x56x144: 4.2 ms without, 2.4 ms with; with stride 2, 1.6 and 0.6 ms.
// Inlined by force: GCC drops calls of a function that does nothing but prefetch.
template <int Width, typename T>
[[gnu::always_inline]] inline void fetch_ahead(const NarrowRow<T>& row, const NarrowTaps& taps,
                                               int64_t m, int64_t c) {
  const T* x = row.operand + taps.rows_end[-1].operand + m * taps.step * row.apart + c;
  for (int64_t below = 0; below < row.row_step; ++below) {
    x += taps.from * row.apart;
    for (int w = 0; w < Width * taps.step; ++w) __builtin_prefetch(x + w * row.apart, 0, 2);
  }
  const int64_t apart = row.columns.count() * row.channels;
  const T* y = row.result + row.columns.to * row.channels + m * apart + c;
  for (int w = 0; w < Width; ++w) __builtin_prefetch(y + w * apart, 1, 2);
}

// Computes `Width` pixels from position m on, `N` channels from c on.
//
// Each column of the operand is read once for a whole run of adjacent taps: 8x28x28x192, 5x5, takes
// 1.2 ms with runs of 1 tap, 0.9 ms with runs of 5.
template <int Group, int N, int Width, int Run, int Step, bool Inside, typename T>
[[gnu::always_inline]] inline void narrow_cell(const NarrowRow<T>& row, const NarrowTaps& taps,
                                               int64_t m, int64_t c) {
  using V = Vector<T, N>;
  V totals[Width] = {}, sums[Width] = {};
  const int64_t channels = row.channels;
  // Columns are read one after the other for a run, else those of one tap.
  constexpr int kColumns = Run > 1 ? (Width - 1) * Step + Run : Width;
  const int64_t step = Run > 1 ? 1 : taps.step;
  for (const RowTap* tap = taps.rows; tap != taps.rows_end; ++tap) {
    for (int64_t t = 0; t < (Run > 1 ? Run : taps.count); t += Run) {
      const int64_t first = m * taps.step + taps.columns[t].offset;
      const T* x = row.operand + tap->operand + c;
      const T* kernel = row.kernel + tap->kernel + taps.columns[t].kernel * Group * channels + c;
      V weights[Run][Group];
#pragma GCC unroll 8
      for (int r = 0; r < Run; ++r) {
#pragma GCC unroll 8
        for (int i = 0; i < Group; ++i) {
          weights[r][i] = load<V>(kernel + r * taps.pitch + i * channels);
        }
      }
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        const int64_t at = first + j * step;
        if (Inside || static_cast<uint64_t>(at) < static_cast<uint64_t>(taps.from)) {
          V lanes = load<V>(x + at * row.apart);
          keep(lanes);
          add_column<Group, N, Width, Run, Step>(sums, j, lanes, weights,
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
template <int Group, int N, int Width, int Run, int Step, bool Inside, typename T>
[[gnu::noinline]] void narrow_cells(const NarrowRow<T>& given, int64_t m) {
  const NarrowRow<T> row = given;
  const NarrowTaps taps(row, Group);
  const bool ahead = row.row_step && taps.rows != taps.rows_end;
  for (int64_t first = 0; first < row.some; first += N) {
    const int64_t c = std::min(first, row.some - N);
    if (ahead) fetch_ahead<Width>(row, taps, m, c);
    narrow_cell<Group, N, Width, Run, Step, Inside>(row, taps, m, c);
  }
}

// What is compiled for speed. The rest, float64 and channels too few for a vector, has fewer forms:
// they would be most of the time that the package takes to build.
template <int Group, int N, typename T>
constexpr bool kIsFast = N == kNarrow<T, Group> && std::is_same_v<T, float>;

template <int Group, int N, int Run, int Step, typename T>
void narrow_row(const NarrowRow<T>& row) {
  const int64_t count = row.columns.positions(row.phase);
  constexpr bool kFast = kIsFast<Group, N, T>;
  const bool all_inside = kFast && row.columns.inside(row.phase, 0, count);
  // 7 sums leave room for weights in 16 registers, 14 in 32; both divide 14, 28, 56 and 112.
  constexpr int kHalf = kFast ? 7 : 4, kMost = kFast && Group == 1 && kRegisters == 32 ? 14 : kHalf;
  with_width<kMost, kHalf, 4, 1>(count, 1, [&](auto width) {
    for (int64_t start = 0; start < count; start += width) {
      const int64_t m = std::min<int64_t>(start, count - width);
      if constexpr (kFast) {
        if (all_inside || row.columns.inside(row.phase, m, width)) {
          narrow_cells<Group, N, width, Run, Step, true>(row, m);
          continue;
        }
      }
      narrow_cells<Group, N, width, Run, Step, false>(row, m);
    }
  });
}

// Dispatches to what is compiled for this phase: whole rows of the usual kernels and strides.
template <int Group, int N, typename T>
void narrow_runs(const NarrowRow<T>& row) {
  if constexpr (kIsFast<Group, N, T>) {
    const int64_t run = row.columns.run(row.phase), step = row.columns.step;
    if (run == 3 && step == 1) return narrow_row<Group, N, 3, 1>(row);
    if constexpr (Group == 1) {
      if (run == 5 && step == 1) return narrow_row<Group, N, 5, 1>(row);
      if (run == 7 && step == 1) return narrow_row<Group, N, 7, 1>(row);
      if (run == 3 && step == 2) return narrow_row<Group, N, 3, 2>(row);
      if (run == 5 && step == 2) return narrow_row<Group, N, 5, 2>(row);
    }
  }
  narrow_row<Group, N, 1, 1>(row);
}

template <int Group, int N, typename T>
void narrow(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand, const T* kernel,
            T* result, const Epilogue<T>& after) {
  const int64_t rows = shapes.rows.to, channels = shapes.to_channels;
  const int64_t image = shapes.rows.from * shapes.columns.from * channels;
  // A few pieces per thread, so that a slow thread does not keep the others waiting.
  const int64_t count = shapes.images * rows, pieces = std::min(count, 4 * size(threads));
  const int64_t parts = Group == 1 ? parts_in_cache<T>(shapes.rows, shapes.columns, channels) : 1;
  parallel_for(threads, pieces, [&](int64_t piece) {
    std::vector<RowTap> taps;
    const int64_t last = count * (piece + 1) / pieces;
    for (int64_t first = count * piece / pieces, end; first < last; first = end) {
      end = std::min(first + kRowsInCache, last);
      for (int64_t part = 0; part < parts; ++part) {
        for (int64_t i = first; i < end; ++i) {
          meet(shapes, i % rows, Group * channels, taps);
          for (int64_t phase = 0; phase < shapes.columns.count(); ++phase) {
            narrow_runs<Group, N>(NarrowRow<T>{operand + i / rows * image, kernel,
                                               result + i * shapes.columns.to * channels, taps,
                                               shapes.columns, phase, channels, channels,
                                               shapes.rows.step, channels,
                                               after.at(i * shapes.columns.to * channels)}
                                      .slice(part_of<T>(channels, part, parts)));
          }
        }
      }
    }
  });
}

}  // namespace flaxblocks
