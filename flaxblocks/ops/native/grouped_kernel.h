// The gradient of a 3x3 convolution in groups of one or two vectors of outputs, with stride 1 or 2,
// with respect to its kernel.
//
// A number of the operand is multiplied with the gradients of all pixels that it meets by a row of
// the kernel: one load for three multiply-adds, where the cells of `kernel_tap.h` need one for each.
// On two threads 8x14x14 in 32 groups of 16 takes 0.54 ms; by those cells, 1.3.
#pragma once

#include "grouped.h"

namespace flaxblocks {

// A vector of outputs of a group, from output `o` on, and the group's inputs, from `i` on.
template <typename T, int Step>
class GroupKernel {
 public:
  static constexpr int kLanes = kRegister / sizeof(T), kTaps = 3;
  static constexpr int kInputs = kRegisters == 32 ? 8 : 4;  // whose sums are in registers
  using V = Vector<T, kLanes>;

  GroupKernel(const Shapes& shapes, int64_t inputs, int64_t i, int64_t o)
      : shapes_(shapes),
        inputs_(inputs),
        i_(i),
        o_(o),
        most_(std::clamp<int64_t>(kTogether / shapes.columns.to, 1, shapes.rows.to)),
        operand_(make_buffer<T>({operand_rows(), operand_row()})),
        gradient_(make_buffer<T>({most_, gradient_row()})),
        totals_(make_buffer<V>({kTaps * kTaps, inputs})) {
    std::fill_n(operand_.get(), operand_rows() * operand_row(), T(0));
    std::fill_n(gradient_.get(), most_ * gradient_row(), T(0));
    std::fill_n(totals_.get(), kTaps * kTaps * inputs, V{});
  }

  // Adds what the rows from `first` to `last`, numbered across all images, contribute.
  void add(const T* operand, const T* gradient, int64_t first, int64_t last) {
    const int64_t rows = shapes_.rows.to, image = shapes_.rows.from * shapes_.columns.from;
    for (int64_t r = first, next; r < last; r = next) {
      next = std::min({r + most_, (r / rows + 1) * rows, last});
      copy_operand(operand + r / rows * image * shapes_.from_channels, r % rows, next - r);
      copy_gradient(gradient + r * shapes_.columns.to * shapes_.to_channels, next - r);
      for (int tap = 0; tap < kTaps; ++tap) {
        for (int64_t i = 0; i < inputs_; i += kInputs) add_rows(r % rows, next - r, tap, i);
      }
    }
  }

  void store_to(T* kernel) const {
    for (int64_t n = 0; n < kTaps * kTaps * inputs_; ++n) {
      store(kernel + n * shapes_.to_channels + o_, totals_[n]);
    }
  }

 private:
  int64_t operand_rows() const { return (most_ - 1) * Step + kTaps; }
  // Numbers of a row of the copies, with their padding: that of the convolution, and two pixels of
  // zeros on either side.
  int64_t operand_row() const { return (shapes_.columns.to * Step + 2) * inputs_; }
  int64_t gradient_row() const { return (shapes_.columns.to + 4) * kLanes; }

  // The row of the operand that a row of the result meets by the first row of the kernel.
  int64_t met_by(int64_t row) const { return row * Step + shapes_.rows.phases[0][0].offset; }
  bool is_row(int64_t at) const { return at >= 0 && at < shapes_.rows.from; }

  // The columns of the padded operand that are not padding.
  Channels columns() const {
    const int64_t left = -shapes_.columns.phases[0][0].offset;
    const int64_t last = (shapes_.columns.to - 1) * Step + kTaps;
    const int64_t first = std::clamp<int64_t>(left, 0, last);
    return {first, std::clamp(left + shapes_.columns.from, first, last)};
  }

  // Copies and prefetches the rows that the next rows meet.
  void copy_operand(const T* image, int64_t row, int64_t rows) {
    const int64_t apart = shapes_.from_channels, below = rows * Step * shapes_.columns.from * apart;
    const auto [first, last] = columns();
    for (int64_t y = 0; y < (rows - 1) * Step + kTaps; ++y) {
      const int64_t at = met_by(row) + y;
      if (!is_row(at)) continue;
      const int64_t column = first + shapes_.columns.phases[0][0].offset;
      const T* from = image + (at * shapes_.columns.from + column) * apart + i_;
      T* to = operand_.get() + y * operand_row() + first * inputs_;
      for (int64_t x = first; x < last; ++x, from += apart, to += inputs_) {
        __builtin_prefetch(from + below, 0, 2);
        for (int64_t i = 0; i < inputs_; i += kInputs) {
          std::memcpy(to + i, from + i, kInputs * sizeof(T));
        }
      }
    }
  }

  void copy_gradient(const T* gradient, int64_t rows) {
    const int64_t columns = shapes_.columns.to, apart = shapes_.to_channels;
    const T* from = gradient + o_;
    for (int64_t y = 0; y < rows; ++y) {
      T* to = gradient_.get() + y * gradient_row() + 2 * kLanes;
      for (int64_t x = 0; x < columns; ++x, from += apart, to += kLanes) {
        __builtin_prefetch(from + rows * columns * apart, 0, 2);
        store(to, load<V>(from));
      }
    }
  }

  // Adds the products of some rows by one row of the kernel, for `kInputs` inputs. Not inlined: the
  // sums take the registers.
  [[gnu::noinline]] void add_rows(int64_t row, int64_t rows, int tap, int64_t i) {
    const Channels inside = columns();
    V sums[kTaps][kInputs] = {};
    for (int64_t y = 0; y < rows; ++y) {
      if (!is_row(met_by(row) + y * Step + tap)) continue;
      const T* x = operand_.get() + (y * Step + tap) * operand_row() + i;
      const T* g = gradient_.get() + y * gradient_row() + 2 * kLanes;
      if constexpr (Step == 1) {
        add_row(sums, x, g, inside);
      } else {
        add_every_second(sums, x, g, inside);
      }
    }
    V* total = totals_.get() + tap * kTaps * inputs_ + i;
    for (int t = 0; t < kTaps; ++t, total += inputs_) {
      for (int n = 0; n < kInputs; ++n) total[n] += sums[t][n];
    }
  }

  // Column p meets the gradient of column p - t by column t of the kernel.
  [[gnu::always_inline]] void add_row(V (&sums)[kTaps][kInputs], const T* x, const T* g,
                                      Channels inside) const {
    V second = load<V>(g + (inside.first - 1) * kLanes);
    V third = load<V>(g + (inside.first - 2) * kLanes);
    for (int64_t p = inside.first; p < inside.last; ++p) {
      const V first = load<V>(g + p * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) {
        V value = x[p * inputs_ + i] - V{};
        keep(value);
        sums[0][i] += value * first;
        sums[1][i] += value * second;
        sums[2][i] += value * third;
      }
      third = second;
      second = first;
    }
  }

  // Column 2q meets the gradients of columns q and q - 1 by the outer columns of the kernel, column
  // 2q + 1 that of column q by the middle one.
  [[gnu::always_inline]] void add_every_second(V (&sums)[kTaps][kInputs], const T* x, const T* g,
                                               Channels inside) const {
    V before = load<V>(g + (inside.first / 2 - 1) * kLanes);
    for (int64_t q = inside.first / 2; 2 * q < inside.last; ++q) {
      const V here = load<V>(g + q * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) {
        V value = x[2 * q * inputs_ + i] - V{};
        keep(value);
        sums[0][i] += value * here;
        sums[2][i] += value * before;
        sums[1][i] += x[(2 * q + 1) * inputs_ + i] * here;
      }
      before = here;
    }
  }

  const Shapes& shapes_;
  int64_t inputs_, i_, o_, most_;  // rows that are copied at most
  Buffer<T> operand_, gradient_;
  Buffer<V> totals_;
};

// Whether this computes the gradient in less time than `dense_kernel`.
template <typename T>
bool has_few_outputs(const Shapes& shapes, int64_t inputs) {
  constexpr int64_t kLanes = kRegister / sizeof(T), kMost = 2;
  const int64_t groups = shapes.from_channels / inputs, outputs = shapes.to_channels / groups;
  return groups > 1 && outputs % kLanes == 0 && outputs <= kMost * kLanes &&
         inputs % GroupKernel<T, 1>::kInputs == 0 && has_three_taps(shapes);
}

template <int Step, typename T>
void grouped_kernel(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs,
                    const T* operand, const T* gradient, T* kernel) {
  constexpr int64_t kLanes = kRegister / sizeof(T), kTasks = 32;
  const int64_t vectors = shapes.to_channels / kLanes, rows = shapes.images * shapes.rows.to;
  const int64_t outputs = shapes.to_channels / (shapes.from_channels / inputs);
  const int64_t bands = std::min(rows, ceil_div(kTasks, vectors));
  const int64_t weights = 9 * inputs * shapes.to_channels;
  std::vector<T> sums(bands == 1 ? 0 : bands * weights);
  parallel_for(threads, bands * vectors, [&](int64_t task) {
    const int64_t band = task / vectors, o = task % vectors * kLanes;
    GroupKernel<T, Step> one(shapes, inputs, o / outputs * inputs, o);
    one.add(operand, gradient, rows * band / bands, rows * (band + 1) / bands);
    one.store_to(bands == 1 ? kernel : sums.data() + band * weights);
  });
  if (bands > 1) add_bands(threads, sums, bands, kernel);
}

}  // namespace flaxblocks
