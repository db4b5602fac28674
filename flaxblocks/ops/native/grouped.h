// 3x3 convolutions in groups of a vector of inputs and of outputs, with stride 1 or 2.
//
// A vector of weights is too little for each number of the operand that is read: there are more loads
// than multiply-adds. So a number is multiplied with all weights of a kernel's row that meet it, and
// the last rows read are kept with their padding, so that their numbers are at known distances. On one
// thread 14x14 in 20 groups takes 91 us; as in `dense.h`, 130.
#pragma once

#include "activation.h"
#include "threads.h"

namespace flaxblocks {

// One group of one image.
template <typename T, int Step>
class GroupRows {
 public:
  static constexpr int kLanes = kRegister / sizeof(T), kTaps = 3;
  using V = Vector<T, kLanes>;

  // The group of the channels from c on.
  GroupRows(const Shapes& shapes, const T* kernel, int64_t c)
      : shapes_(shapes),
        channel_(c),
        pixels_((shapes.columns.to - 1) * Step + kTaps),
        rows_(make_buffer<T>({kTaps, pixels_, kLanes})),
        weights_(make_buffer<T>({kTaps * kTaps * kLanes, kLanes})) {
    pack_weights(kernel);
  }

  // Computes the rows of the result from `first` to `last`, and prefetches what the thread takes
  // next: the next group of the same rows, or the first group of the rows below. Numbers of a group
  // are a pixel apart, which no hardware foresees.
  void compute(const T* image, int64_t first, int64_t last, T* result, const Epilogue<T>& after) {
    const int64_t count = shapes_.columns.to, channels = shapes_.to_channels;
    const bool is_last = channel_ + kLanes == channels;
    const int64_t below = (last - first) * channels;
    ahead_ = is_last ? below * Step * shapes_.columns.from : channel_ + kLanes;
    const int64_t result_ahead = is_last ? below * count : channel_ + kLanes;
    int64_t read = first * Step;  // the next row to be kept, counted from the padding's first
    with_width<14, 7, 4, 2, 1>(count, 1, [&](auto width) {
      for (int64_t row = first; row < last; ++row) {
        for (; read < row * Step + kTaps; ++read) copy_row(image, read);
        for (int64_t start = 0; start < count; start += width) {
          const int64_t m = std::min<int64_t>(start, count - width);
          V sums[width] = {};
          for (int tap = 0; tap < kTaps; ++tap) add_row<width>(sums, row, tap, m);
          const T* const ahead = result + (row * count + m) * channels + result_ahead;
          for (int w = 0; w < width; ++w) __builtin_prefetch(ahead + w * channels, 0, 2);
          after.template store_all<kLanes>(result, (row * count + m) * channels + channel_, channels,
                                           channel_, 0, sums);
        }
      }
    });
  }

 private:
  void pack_weights(const T* kernel) {
    const Axis &rows = shapes_.rows, &columns = shapes_.columns;
    T* to = weights_.get();
    for (const Axis::Tap& row : rows.phases[0]) {
      for (const Axis::Tap& column : columns.phases[0]) {
        const int64_t tap = row.kernel * kTaps + column.kernel;
        for (int i = 0; i < kLanes; ++i, to += kLanes) {
          const T* from = kernel + (tap * kLanes + i) * shapes_.to_channels;
          __builtin_prefetch(from + channel_ + kLanes, 0, 2);
          store(to, load<V>(from + channel_));
        }
      }
    }
  }

  T* kept(int64_t row) const { return rows_.get() + row % kTaps * pixels_ * kLanes; }

  void copy_row(const T* image, int64_t row) {
    const Axis &rows = shapes_.rows, &columns = shapes_.columns;
    const int64_t y = row + rows.phases[0][0].offset, left = columns.phases[0][0].offset;
    const T* from = image + y * columns.from * shapes_.from_channels;
    T* to = kept(row);
    for (int64_t x = left; x < left + pixels_; ++x, to += kLanes) {
      const bool inside = y >= 0 && y < rows.from && x >= 0 && x < columns.from;
      const T* const pixel = from + x * shapes_.from_channels;
      if (inside) __builtin_prefetch(pixel + ahead_, 0, 2);
      store(to, inside ? load<V>(pixel + channel_) : V{});
    }
  }

  // Adds the products of one row of the kernel to the totals. Not inlined: the sums take the
  // registers. Each row has a sum of its own: one sum of 144 products had five times XLA's error.
  template <int Width>
  [[gnu::noinline]] void add_row(V (&totals)[Width], int64_t row, int tap, int64_t m) const {
    constexpr int kRead = (Width - 1) * Step + kTaps;
    const T* x = kept(row * Step + tap) + m * Step * kLanes;
    const T* weights = weights_.get() + tap * kTaps * kLanes * kLanes;
    V sums[Width] = {};
    for (int i = 0; i < kLanes; ++i) {
      V held[kTaps];
      for (int t = 0; t < kTaps; ++t) held[t] = load<V>(weights + (t * kLanes + i) * kLanes);
#pragma GCC unroll 32
      for (int p = 0; p < kRead; ++p) {
        V value = x[p * kLanes + i] - V{};  // in all lanes
        keep(value);
#pragma GCC unroll 3
        for (int t = 0; t < kTaps; ++t) {
          const int w = (p - t) / Step;
          if (p >= t && (p - t) % Step == 0 && w < Width) sums[w] += value * held[t];
        }
      }
    }
    for (int w = 0; w < Width; ++w) totals[w] += sums[w];
  }

  const Shapes& shapes_;
  int64_t channel_, pixels_, ahead_ = 0;
  Buffer<T> rows_, weights_;
};

// Whether it is a 3x3 convolution of adjacent pixels whose strides are 1 or 2.
inline bool has_three_taps(const Shapes& shapes) {
  auto is_three = [](const Axis& axis) {
    return axis.count() == 1 && axis.taps == 3 && axis.are_adjacent(0);
  };
  return is_three(shapes.rows) && is_three(shapes.columns) && shapes.rows.step <= 2 &&
         shapes.rows.step == shapes.columns.step;
}

// Whether it is a convolution that this computes in less time than `dense`.
template <typename T>
bool has_vector_groups(const Shapes& shapes, int64_t inputs) {
  constexpr int64_t kLanes = kRegister / sizeof(T);
  const int64_t groups = shapes.from_channels / inputs;
  return groups > 1 && inputs == kLanes && shapes.to_channels == shapes.from_channels &&
         has_three_taps(shapes);
}

template <int Step, typename T>
void grouped(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand, const T* kernel,
             T* result, const Epilogue<T>& after) {
  constexpr int64_t kLanes = kRegister / sizeof(T);
  // All groups of a band of rows are computed before the next, so that it is read from memory once:
  // with stride 2, 8x112x112x64 takes 1.8 ms an image at a time and 1.4 in bands.
  constexpr int64_t kBytes = 512 << 10, kPixels = 196;  // of a band: at most, and at least
  const int64_t groups = shapes.from_channels / kLanes, rows = shapes.rows.to;
  const int64_t numbers = shapes.rows.from * shapes.columns.from * shapes.from_channels;
  const int64_t enough = ceil_div(8 * size(threads), shapes.images * groups);
  const int64_t fit = std::min(ceil_div(numbers * static_cast<int64_t>(sizeof(T)), kBytes),
                               rows * shapes.columns.to / kPixels);
  const int64_t bands = std::min(rows, std::max(enough, fit));
  parallel_for(threads, shapes.images * bands * groups, [&](int64_t i) {
    const int64_t image = i / groups / bands, band = i / groups % bands;
    const int64_t from = image * shapes.rows.from * shapes.columns.from * shapes.from_channels;
    const int64_t to = image * rows * shapes.columns.to * shapes.to_channels;
    GroupRows<T, Step>(shapes, kernel, i % groups * kLanes)
        .compute(operand + from, rows * band / bands, rows * (band + 1) / bands, result + to,
                 after.at(to));
  });
}

}  // namespace flaxblocks
