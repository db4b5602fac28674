// The means of whole images, and the largest pixels of windows.
#pragma once

#include "few_pixels.h"

namespace flaxblocks {

// Sums some channels of a row of pixels, which are `channels` apart.
template <typename T>
void sum_row(const T* x, int64_t pixels, int64_t channels, int64_t some, T* sums) {
  std::fill_n(sums, some, T(0));
  for (int64_t i = 0; i < pixels; ++i, x += channels) {
    for (int64_t c = 0; c < some; ++c) sums[c] += x[c];
  }
}

// Some channels' means over an image. Each row has a sum of its own, which loses less.
template <typename T>
void average(const T* x, int64_t rows, int64_t columns, int64_t channels, Channels some, T* means) {
  const int64_t count = some.count();
  const auto sums = make_buffer<T>({count});
  std::fill_n(means, count, T(0));
  for (int64_t row = 0; row < rows; ++row) {
    sum_row(x + row * columns * channels + some.first, columns, channels, count, sums.get());
    for (int64_t c = 0; c < count; ++c) means[c] += sums[c];
  }
  for (int64_t c = 0; c < count; ++c) means[c] /= static_cast<T>(rows * columns);
}

// Images of so many pixels and channels.
struct Images {
  int64_t count, rows, columns, channels;

  int64_t image() const { return rows * columns * channels; }
};

template <typename T>
void mean(ffi::ThreadPool& threads, const Images& images, const T* x, T* y) {
  constexpr int64_t kWork = 1 << 14;  // numbers of a task, at least
  const int64_t shares = std::clamp<int64_t>(images.image() / kWork, 1,
                                             ceil_div(size(threads), images.count));
  parallel_for(threads, images.count * shares, [&](int64_t i) {
    const Channels some = part_of<T>(images.channels, i % shares, shares);
    if (some.count() == 0) return;
    average(x + i / shares * images.image(), images.rows, images.columns, images.channels, some,
            y + i / shares * images.channels + some.first);
  });
}

// The larger of each pair of numbers; NaN where one is.
template <typename V>
V larger(V a, V b) {
  return (b > a) | (b != b) ? b : a;
}

// The largest pixels of `Width` windows of a row, `N` channels from c on; minus infinity where a
// window lies in the padding.
template <int Width, int N, typename T>
void largest(const Axis& columns, const std::vector<const T*>& rows, int64_t m, int64_t channels,
             int64_t c, T* to) {
  using V = Vector<T, N>;
  V best[Width];
  for (int w = 0; w < Width; ++w) best[w] = V{} - std::numeric_limits<T>::infinity();
  for (const T* row : rows) {
    for (const Axis::Tap& tap : columns.phases[0]) {
      for (int w = 0; w < Width; ++w) {
        const int64_t at = (m + w) * columns.step + tap.offset;
        if (at < 0 || at >= columns.from) continue;
        best[w] = larger(best[w], load<V>(row + at * channels + c));
      }
    }
  }
  for (int w = 0; w < Width; ++w) store(to + (m + w) * channels + c, best[w]);
}

template <typename T>
void max_pool(ffi::ThreadPool& threads, const Shapes& shapes, const T* x, T* y) {
  constexpr int kLanes = kRegister / sizeof(T);
  const Axis &rows = shapes.rows, &columns = shapes.columns;
  const int64_t channels = shapes.to_channels, all = shapes.images * rows.to;
  const int64_t tasks = std::min(all, 8 * size(threads));
  parallel_for(threads, tasks, [&](int64_t task) {
    std::vector<const T*> met;
    for (int64_t r = all * task / tasks; r < all * (task + 1) / tasks; ++r) {
      met.clear();
      for (const Axis::Tap& tap : rows.phases[0]) {
        const int64_t at = r % rows.to * rows.step + tap.offset;
        if (at < 0 || at >= rows.from) continue;
        met.push_back(x + (r / rows.to * rows.from + at) * columns.from * channels);
      }
      T* const to = y + r * columns.to * channels;
      with_width<4, 2, 1>(columns.to, 1, [&](auto width) {
        for (int64_t next = 0; next < columns.to; next += width) {
          const int64_t m = std::min<int64_t>(next, columns.to - width);
          for (int64_t first = 0; first < channels; first += kLanes) {
            const int64_t c = std::min<int64_t>(first, channels - kLanes);
            largest<width, kLanes>(columns, met, m, channels, c, to);
          }
        }
      });
    }
  });
}

// The gradient of `max_pool` with respect to some rows of its input: each window's goes to the first
// of its largest pixels.
template <typename T>
class MaxPoolGradient {
 public:
  static constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;

  MaxPoolGradient(const Shapes& shapes, const T* gradient, const T* x, T* result)
      : shapes_(shapes), gradient_(gradient), x_(x), result_(result) {}

  // Computes the rows of an image from `first` to `last`. Windows that begin above or end below
  // give to the rows of others as well, whose threads look into them again.
  void compute(int64_t image, int64_t first, int64_t last) const {
    const Axis& rows = shapes_.rows;
    const auto& taps = rows.phases[0];
    std::fill(result_ + row(image, first), result_ + row(image, last), T(0));
    for (int64_t r = 0; r < rows.to; ++r) {
      const int64_t top = r * rows.step + taps.front().offset;
      if (top >= last || r * rows.step + taps.back().offset < first) continue;
      for (int64_t m = 0; m < shapes_.columns.to; ++m) {
        const int64_t at = ((image * rows.to + r) * shapes_.columns.to + m) * shapes_.to_channels;
        for (int64_t next = 0; next < shapes_.to_channels; next += kLanes) {
          // The last vector leaves out what the one before it gave.
          const int64_t c = std::min(next, shapes_.to_channels - kLanes);
          give(image, r, m, at, c, next - c, first, last);
        }
      }
    }
  }

 private:
  int64_t row(int64_t image, int64_t i) const {
    return (image * shapes_.rows.from + i) * shapes_.columns.from * shapes_.to_channels;
  }

  void give(int64_t image, int64_t r, int64_t m, int64_t at, int64_t c, int64_t given,
            int64_t first, int64_t last) const {
    V best = V{} - std::numeric_limits<T>::infinity(), number = {};
    each_tap(image, r, m, [&](int64_t, int64_t offset, int n) {
      const V pixel = load<V>(x_ + offset + c);
      number = pixel > best ? V{} + T(n) : number;
      best = n == 0 ? pixel : larger(best, pixel);
    });
    V gradient = load<V>(gradient_ + at + c);
    for (int64_t lane = 0; lane < given; ++lane) gradient[lane] = 0;
    each_tap(image, r, m, [&](int64_t y, int64_t offset, int n) {
      if (y < first || y >= last) return;
      T* const to = result_ + offset + c;
      store(to, load<V>(to) + (number == T(n) ? gradient : V{}));
    });
  }

  // Calls `f` with the row, the offset and the number of each pixel of a window in the image.
  template <typename F>
  [[gnu::always_inline]] void each_tap(int64_t image, int64_t r, int64_t m, const F& f) const {
    const Axis &rows = shapes_.rows, &columns = shapes_.columns;
    int n = 0;
    for (const Axis::Tap& tap : rows.phases[0]) {
      const int64_t y = r * rows.step + tap.offset;
      for (const Axis::Tap& other : columns.phases[0]) {
        const int64_t x = m * columns.step + other.offset;
        if (y >= 0 && y < rows.from && x >= 0 && x < columns.from) {
          f(y, row(image, y) + x * shapes_.to_channels, n);
        }
        ++n;
      }
    }
  }

  const Shapes& shapes_;
  const T *gradient_, *x_;
  T* result_;
};

template <typename T>
void max_pool_gradient(ffi::ThreadPool& threads, const Shapes& shapes, const T* gradient,
                       const T* x, T* result) {
  constexpr int64_t kLeast = 8;  // rows of a band
  const int64_t rows = shapes.rows.from;
  const int64_t bands =
      std::clamp<int64_t>(rows / kLeast, 1, ceil_div(4 * size(threads), shapes.images));
  const MaxPoolGradient<T> all(shapes, gradient, x, result);
  parallel_for(threads, shapes.images * bands, [&](int64_t i) {
    all.compute(i / bands, rows * (i % bands) / bands, rows * (i % bands + 1) / bands);
  });
}

}  // namespace flaxblocks
