// Cells: a few pixels by a few vectors of channels, whose sums are accumulated in registers. Each
// number of the operand is multiplied by all vectors of weights, and each vector of weights by all
// pixels.
#pragma once

#include "activation.h"
#include "common.h"

namespace flaxblocks {

// The largest cell: of 32 registers 28 hold sums, 3 weights and 1 a number of the operand; of 16,
// 12 hold sums, 2 weights and 1 a number.
constexpr int kPixels = kRegisters == 32 ? 7 : 6, kVectors = kRegisters == 32 ? 4 : 2;

// The outputs in blocks of up to `kVectors` vectors, as equal as possible: also those of each of some
// threads, where that can be.
template <typename T>
struct Blocks {
  static constexpr int64_t kLanes = kRegister / sizeof(T);
  int64_t outputs, vectors, count, tasks;

  // Where the outputs do not fill the vectors, the last block overlaps the one before it: one task
  // computes both, so that no two threads write the same numbers.
  explicit Blocks(int64_t outputs, int64_t threads = 1)
      : outputs(outputs), vectors(ceil_div(outputs, kLanes)) {
    const bool overlap = outputs % kLanes;
    const int64_t least = std::max<int64_t>(ceil_div(vectors, kVectors), overlap ? 2 : 1);
    const int64_t even = ceil_div(least, threads) * threads;
    count = overlap || even > vectors ? least : even;
    tasks = overlap ? count - 1 : count;
  }
  // The first output of a block.
  int64_t first(int64_t block) const {
    const int64_t here = vectors * (block + 1) / count - vectors * block / count;
    return std::min(vectors * block / count * kLanes, outputs - here * kLanes);
  }
  // The first block of one of `spans` spans of tasks, and the block after its last.
  std::pair<int64_t, int64_t> span(int64_t i, int64_t spans) const {
    const int64_t last = tasks * (i + 1) / spans;
    return {tasks * i / spans, last == tasks ? count : last};
  }
  // Calls `f` with the first output of a block and its number of vectors, a compile-time constant.
  template <typename F>
  void with(int64_t block, F&& f) const {
    const int64_t here = vectors * (block + 1) / count - vectors * block / count;
    with_constant<kVectors>(here, [&](auto here) { f(first(block), here); });
  }
  // Calls `f` as `with` does, for each block of a task.
  template <typename F>
  void with_task(int64_t task, const F& f) const {
    with(task, f);
    if (task == tasks - 1 && tasks < count) with(count - 1, f);
  }
};

// Calls `f` with the number of pixels of a cell of so many vectors, see `with_width`. In float64,
// which is not for speed, there are fewer: all would be a third of the library.
template <typename T, int Vectors, typename F>
void with_pixels(int64_t count, const F& f) {
  constexpr bool kFast = std::is_same_v<T, float>;
  constexpr int kMost = kFast && 2 * Vectors <= kVectors ? 2 * kPixels : kPixels;
  with_width<kMost, kPixels, kFast ? 4 : 1, kFast ? 2 : 1, 1>(count, 1, f);
}

// Adds `count` products of each of `Width` numbers, `number(w, i)`, with `Vectors` vectors of
// factors, `stride` apart, to the sums.
//
// Where sums, factors and a number do not fit in the registers, the last factors are reloaded from
// the cache for each number. `to` takes a copy of the factors, one product's after the other's;
// null for none.
template <int Vectors, int Width, typename V, typename T, typename F, typename To = std::nullptr_t>
inline void add_products(V (&sums)[Width][Vectors], const F& number, const T* factors,
                         int64_t stride, int64_t count, To to = nullptr) {
  constexpr int kLanes = kRegister / sizeof(T);
  constexpr int kHeld = (Width + 1) * Vectors < kRegisters ? Vectors : Vectors - 1;
  for (int64_t i = 0; i < count; ++i) {
    const T* from = factors + i * stride;
    V held[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < kHeld; ++v) held[v] = load<V>(from + v * kLanes);
    if constexpr (!std::is_null_pointer_v<To>) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v, to += kLanes) {
        store(to, v < kHeld ? held[v] : load<V>(from + v * kLanes));
      }
    }
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

// How many inputs of a 1x1 convolution a panel of weights has: about `kTogether`, and all where there
// are not many more, so that no sums wait in memory for the next panel. The sums of 512 have the
// rounding error of PyTorch's, 4.1e-7 of the result's scale, as XLA's mostly have.
template <typename T>
int64_t panel_inputs(int64_t inputs) {
  constexpr int64_t kMost = 2 * kTogether, kLine = 64 / sizeof(T);
  if (inputs <= kMost) return inputs;
  const int64_t panels = (inputs + kTogether / 2) / kTogether;
  return ceil_div(ceil_div(inputs, panels), kLine) * kLine;
}

// Whether rows of so many numbers are so far apart that a column of them shares a few sets of the
// cache, and worth copying: to copy columns of one line instead of four takes longer.
template <typename T>
bool share_sets(int64_t apart) {
  constexpr int64_t kApart = kRegister == 64 ? 1024 : 2048;
  return apart * static_cast<int64_t>(sizeof(T)) % kApart == 0;
}

// Adds the sums to the totals, or makes them the totals.
template <int Vectors, int Width, typename V>
inline void add_sums(V (&totals)[Width][Vectors], const V (&sums)[Width][Vectors], bool is_first) {
#pragma GCC unroll 16
  for (int w = 0; w < Width; ++w) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      totals[w][v] = is_first ? sums[w][v] : totals[w][v] + sums[w][v];
    }
  }
}

// Stores sums that are in registers, see `store_cell`.
template <int Vectors, int Width, typename V, typename T>
[[gnu::always_inline]] inline void store_sums(V (&sums)[Width][Vectors], const Epilogue<T>& after,
                                              T* result, int64_t first, int64_t apart,
                                              int64_t channel) {
  constexpr int kLanes = kRegister / sizeof(T);
  if (is_smooth(after.activation)) {
    V copy[Width][Vectors];
    std::memcpy(copy, sums, sizeof(sums));
    return after.template store_smoothly<kLanes>(result, first, apart, channel, copy[0], Width,
                                                 Vectors);
  }
#pragma GCC unroll 16
  for (int w = 0; w < Width; ++w) {
    after.template store_all<kLanes>(result, first + w * apart, kLanes, channel, kLanes, sums[w]);
  }
}

// Stores a cell whose first number is at `first` of the result and whose pixels are `apart`.
//
// Not inlined: the registers that it needs would be taken from the sums.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void store_cell(V (&sums)[Width][Vectors], const Epilogue<T>& after, T* result,
                                  int64_t first, int64_t apart, int64_t channel) {
  constexpr int kLanes = kRegister / sizeof(T);
  if (is_smooth(after.activation)) {
    return after.template store_smoothly<kLanes>(result, first, apart, channel, sums[0], Width,
                                                 Vectors);
  }
  for (int w = 0; w < Width; ++w) {
    after.template store_all<kLanes>(result, first + w * apart, kLanes, channel, kLanes, sums[w]);
  }
}

}  // namespace flaxblocks
