// What cells prefetch while they multiply.
#pragma once

#include "cells.h"

namespace flaxblocks {

// Rows of numbers, the first at `at`, to be prefetched a line at a time; none where they are not
// apart.
//
// Row after row, since memory gives adjacent lines at once: with a column of lines first, 2048 to
// 512 channels of 7x7 pixels took 325 us on 2 cores in place of 249.
template <typename T>
struct Ahead {
  static constexpr int64_t kLine = 64 / sizeof(T);
  const T* at = nullptr;
  int64_t apart = 0, lines = 1;  // from one row to the next, and of a row
  int64_t line = 0;

  bool is_any() const { return apart > 0; }
  Ahead from(int64_t row) const { return {at + row * apart, apart, lines}; }
  void fetch() {
    __builtin_prefetch(at, 0, 2);
    const bool is_last = ++line == lines;
    at += is_last ? apart - (lines - 1) * kLine : kLine;
    if (is_last) line = 0;
  }
};

// The cache lines of so many vectors.
template <int Vectors>
constexpr int kLines = std::max<int>(1, Vectors * kRegister / 64);

// What the cells of a panel prefetch: the weights of the next panel, in parts, and what cells
// further on add and store, which may have left the cache since it was last used. Of few cells, the
// weights come first.
template <typename T>
struct Coming {
  Ahead<T> weights;
  int64_t rows, parts, every;  // of the weights, their parts, and the cells to a part
  const T *residual, *result;  // null for none

  Ahead<T> during(int64_t cell, int64_t next, int64_t apart) const {
    const int64_t part = cell / every;
    if (cell % every == 0 && part < parts) return weights.from(part * rows / parts);
    const T* from = residual && cell / 2 % 2 == 0 ? residual : result;
    return from ? Ahead<T>{from + next, apart, parts} : Ahead<T>{};
  }
};

// Adds products to the sums as `add_products` does, and prefetches a line for each number.
template <int Vectors, int Width, typename V, typename T, typename F, typename... To>
[[gnu::always_inline]] inline void add_products_ahead(V (&sums)[Width][Vectors], const F& number,
                                                      const T* factors, int64_t stride,
                                                      int64_t count, Ahead<T>& ahead, To... to) {
  const auto fetching = [&](int w, int64_t i) {
    if (w == 0) ahead.fetch();
    return number(w, i);
  };
  add_products(sums, fetching, factors, stride, count, to...);
}

}  // namespace flaxblocks
