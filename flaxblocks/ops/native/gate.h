// The squeeze-and-excitation gate: each channel times a factor made from all channels' means.
#pragma once

#include "pointwise.h"
#include "pool.h"

namespace flaxblocks {

// Multiplies some channels of pixels by their factors.
template <typename T>
void scale(const T* x, int64_t pixels, int64_t channels, Channels some, const T* factors, T* y) {
  for (int64_t i = 0; i < pixels; ++i, x += channels, y += channels) {
    for (int64_t c = some.first; c < some.last; ++c) y[c] = x[c] * factors[c];
  }
}

// What makes the factors of one image.
//
// Each row of pixels has a sum of its own, and each part of the channels' products with the weights:
// threads that share rows or channels do not wait for each other, and the result does not depend on
// how many share.
template <typename T>
class Excitation {
 public:
  Excitation(const Layer<T>& squeeze, const Layer<T>& excite, int64_t rows, int64_t columns)
      : squeeze_(squeeze),
        excite_(excite),
        rows_(rows),
        pixels_(rows * columns),
        parts_(std::clamp<int64_t>(excite.outputs / kPart, 1, kMost)),
        rows_sums_(make_buffer<T>({rows, excite.outputs})),
        products_(make_buffer<T>({parts_, squeeze.outputs})),
        factors_(make_buffer<T>({excite.outputs})) {}

  // A thread's share of the channels: those of its parts.
  Channels channels(int64_t share, int64_t shares) const {
    const int64_t first = parts_ * share / shares, last = parts_ * (share + 1) / shares;
    if (first == last) return {0, 0};
    return {part_of<T>(excite_.outputs, first, parts_).first,
            part_of<T>(excite_.outputs, last - 1, parts_).last};
  }

  // Where the sums of a row belong.
  T* row(int64_t i) { return rows_sums_.get() + i * excite_.outputs; }

  // Multiplies a thread's share of the means, after all rows of its channels are summed.
  void squeeze(int64_t share, int64_t shares) {
    const auto means = make_buffer<T>({excite_.outputs});
    for (int64_t part = parts_ * share / shares; part < parts_ * (share + 1) / shares; ++part) {
      const Channels some = part_of<T>(excite_.outputs, part, parts_);
      std::fill_n(means.get() + some.first, some.count(), T(0));
      for (int64_t i = 0; i < rows_; ++i) {
        for (int64_t c = some.first; c < some.last; ++c) means[c] += row(i)[c];
      }
      for (int64_t c = some.first; c < some.last; ++c) means[c] /= static_cast<T>(pixels_);
      T* const products = products_.get() + part * squeeze_.outputs;
      std::fill_n(products, squeeze_.outputs, T(0));
      add_pixel(squeeze_, means.get(), some, {0, squeeze_.outputs}, products);
    }
  }

  // Computes the factors of some channels, after all are squeezed.
  void excite(Channels some) {
    const auto squeezed = make_buffer<T>({squeeze_.outputs});
    std::copy_n(squeeze_.after.bias, squeeze_.outputs, squeezed.get());
    for (int64_t part = 0; part < parts_; ++part) {
      const T* products = products_.get() + part * squeeze_.outputs;
      for (int64_t o = 0; o < squeeze_.outputs; ++o) squeezed[o] += products[o];
    }
    activate_all(squeeze_.after.activation, squeezed.get(), squeeze_.outputs);
    T* const factors = factors_.get();
    std::copy(excite_.after.bias + some.first, excite_.after.bias + some.last,
              factors + some.first);
    add_pixel(excite_, squeezed.get(), {0, squeeze_.outputs}, some, factors);
    activate_all(excite_.after.activation, factors + some.first, some.count());
  }

  const T* factors() const { return factors_.get(); }

 private:
  static constexpr int64_t kPart = 32, kMost = 16;

  static void activate_all(Activation activation, T* x, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Vector<T, 1> one[1] = {{x[i]}};
      activate<T, 1>(activation, one);
      x[i] = one[0][0];
    }
  }

  const Layer<T>&squeeze_, &excite_;
  int64_t rows_, pixels_, parts_;
  Buffer<T> rows_sums_, products_, factors_;
};

template <typename T>
struct Gate {
  int64_t images, rows, columns;
  Layer<T> squeeze, excite;
  const T* x;
  T* y;  // may be x

  int64_t channels() const { return excite.outputs; }
  int64_t offset(int64_t image, int64_t row) const {
    return (image * rows + row) * columns * channels();
  }
};

// As many images at a time as there are threads, so that an image is still in the cache when its
// factors are known. Where there are fewer, the threads share their channels, as they do in the
// grouped convolution before a gate: what another core wrote takes several times as long to read.
template <typename T>
void gated(ffi::ThreadPool& threads, const Gate<T>& gate) {
  constexpr int64_t kLeast = 1 << 14, kStages = 2;
  const int64_t channels = gate.channels();
  // To share few numbers takes longer than to compute them.
  const int64_t sharing = gate.offset(gate.images, 0) < kLeast ? 1 : size(threads);
  const int64_t most = std::min(gate.images, sharing), shares = ceil_div(sharing, most);
  std::vector<Excitation<T>> excitations;
  for (int64_t i = 0; i < most; ++i) {
    excitations.emplace_back(gate.squeeze, gate.excite, gate.rows, gate.columns);
  }
  std::vector<int64_t> counts;
  for (int64_t first = 0; first < gate.images; first += most) {
    counts.insert(counts.end(), kStages, std::min(most, gate.images - first) * shares);
  }
  parallel_stages(threads, counts, [&](int64_t stage, int64_t task) {
    const int64_t slot = task / shares, share = task % shares;
    const int64_t image = gate.offset(stage / kStages * most + slot, 0);
    Excitation<T>& excitation = excitations[slot];
    const Channels some = excitation.channels(share, shares);
    if (some.count() == 0) return;
    if (stage % kStages == 0) {
      for (int64_t row = 0; row < gate.rows; ++row) {
        sum_row(gate.x + image + gate.offset(0, row) + some.first, gate.columns, channels,
                some.count(), excitation.row(row) + some.first);
      }
      excitation.squeeze(share, shares);
    } else {
      excitation.excite(some);
      scale(gate.x + image, gate.rows * gate.columns, channels, some, excitation.factors(),
            gate.y + image);
    }
  });
}

}  // namespace flaxblocks
