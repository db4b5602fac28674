// Normalization by the statistics of the batch, with its activation, and its gradients.
//
// Pixels are processed in blocks that depend on the shapes alone, each of which has sums of its own:
// they are added in double, and do not depend on the number of threads.
#pragma once

#include <cmath>

#include "activation.h"
#include "few_pixels.h"

namespace flaxblocks {

template <typename T>
struct BatchNorm {
  int64_t pixels, channels;
  const T *scale, *bias;
  T epsilon;
  Activation activation;

  // Pixels of a block, and the number of blocks. A block stays in the innermost cache.
  int64_t step() const { return std::clamp<int64_t>((1 << 13) / channels, 8, 512); }
  int64_t blocks() const { return ceil_div(pixels, step()); }
  std::pair<int64_t, int64_t> block(int64_t i) const {
    return {i * step(), std::min((i + 1) * step(), pixels)};
  }
};

// Calls `f` with the first channel of each group of up to four vectors, a constant number of them.
template <typename T, typename F>
void with_vectors(int64_t channels, const F& f) {
  constexpr int64_t kLanes = kRegister / sizeof(T), kMost = 4;
  int64_t c = 0;
  for (; c + kMost * kLanes <= channels; c += kMost * kLanes) {
    f(c, std::integral_constant<int, kMost>());
  }
  for (; c < channels; c += kLanes) {
    f(std::min(c, channels - kLanes), std::integral_constant<int, 1>());
  }
}

// Two sums for each channel and block.
template <typename T>
class PairSums {
 public:
  PairSums(int64_t blocks, int64_t channels)
      : blocks_(blocks), channels_(channels), sums_(make_buffer<T>({blocks, 2, channels})) {}

  T* of(int64_t block) { return sums_.get() + block * 2 * channels_; }

  // The sums of all blocks.
  std::pair<double, double> total(int64_t c) const {
    std::pair<double, double> total{0, 0};
    const T* sum = sums_.get() + c;
    for (int64_t i = 0; i < blocks_; ++i, sum += 2 * channels_) {
      total.first += sum[0];
      total.second += sum[channels_];
    }
    return total;
  }

 private:
  int64_t blocks_, channels_;
  Buffer<T> sums_;
};

// Adds two vectors to two sums for each pixel of a block, for all channels: `f(at, c)` returns those
// of the pixel at an offset. Several pixels have sums of their own, whose additions overlap.
template <typename T, typename F>
void sum_pairs(const BatchNorm<T>& norm, std::pair<int64_t, int64_t> block, T* sums, const F& f) {
  constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;
  with_vectors<T>(norm.channels, [&](int64_t c, auto count) {
    constexpr int kCount = decltype(count)::value, kRows = 4 / kCount * 2;
    V first[kRows][kCount] = {}, second[kRows][kCount] = {};
    auto add = [&](int64_t p, int row) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        const int64_t channel = c + v * kLanes;
        const std::pair<V, V> terms = f(p * norm.channels + channel, channel);
        first[row][v] += terms.first;
        second[row][v] += terms.second;
      }
    };
    int64_t p = block.first;
    for (; p + kRows <= block.second; p += kRows) {
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) add(p + row, row);
    }
    for (; p < block.second; ++p) add(p, 0);
    for (int v = 0; v < kCount; ++v) {
      V totals[2] = {};
      for (int row = 0; row < kRows; ++row) totals[0] += first[row][v], totals[1] += second[row][v];
      store(sums + c + v * kLanes, totals[0]);
      store(sums + norm.channels + c + v * kLanes, totals[1]);
    }
  });
}

// The threads' shares of channels, in whole cache lines.
template <typename T>
int64_t shares_of(ffi::ThreadPool& threads, int64_t channels) {
  return std::min(size(threads), ceil_div(channels, static_cast<int64_t>(64 / sizeof(T))));
}

// Normalizes. The values are summed about a rough mean, that of some pixels, and their distances
// from it are normalized: of values that are far larger than their deviation, sums and a rounded
// mean lose it.
template <typename T>
void batch_norm(ffi::ThreadPool& threads, const BatchNorm<T>& norm, const T* x, T* y, T* mean,
                T* var) {
  constexpr int64_t kSome = 64;
  constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;
  const int64_t channels = norm.channels, shares = shares_of<T>(threads, channels);
  const auto rough = make_buffer<T>({channels}), factor = make_buffer<T>({channels});
  const auto shift = make_buffer<T>({channels});
  PairSums<T> sums(norm.blocks(), channels);
  auto estimate = [&](int64_t share) {
    const Channels some = part_of<T>(channels, share, shares);
    const int64_t count = std::min(norm.pixels, kSome);
    std::fill_n(rough.get() + some.first, some.count(), T(0));
    for (int64_t i = 0; i < count; ++i) {
      const T* const pixel = x + norm.pixels * i / count * channels;
      for (int64_t c = some.first; c < some.last; ++c) rough[c] += pixel[c];
    }
    for (int64_t c = some.first; c < some.last; ++c) rough[c] /= static_cast<T>(count);
  };
  auto sum = [&](int64_t i) {
    sum_pairs(norm, norm.block(i), sums.of(i), [&](int64_t at, int64_t c) {
      const V distance = load<V>(x + at) - load<V>(rough.get() + c);
      return std::pair<V, V>(distance, distance * distance);
    });
  };
  auto combine = [&](int64_t share) {
    const Channels some = part_of<T>(channels, share, shares);
    for (int64_t c = some.first; c < some.last; ++c) {
      const auto [first, second] = sums.total(c);
      const double correction = first / norm.pixels, square = second / norm.pixels;
      mean[c] = static_cast<T>(rough[c] + correction);
      var[c] = static_cast<T>(std::max(square - correction * correction, 0.0));
      factor[c] = norm.scale[c] / std::sqrt(var[c] + norm.epsilon);
      shift[c] = static_cast<T>(norm.bias[c] - correction * factor[c]);
    }
  };
  auto apply = [&](int64_t i) {
    const auto [first, last] = norm.block(i);
    with_vectors<T>(channels, [&, first = first, last = last](int64_t c, auto count) {
      for (int64_t p = first; p < last; ++p) {
        V values[count];
        for (int v = 0; v < count; ++v) {
          const int64_t channel = c + v * kLanes;
          values[v] = (load<V>(x + p * channels + channel) - load<V>(rough.get() + channel)) *
                          load<V>(factor.get() + channel) +
                      load<V>(shift.get() + channel);
        }
        activate<T, kLanes>(norm.activation, values);
        for (int v = 0; v < count; ++v) store(y + p * channels + c + v * kLanes, values[v]);
      }
    });
  };
  parallel_stages(threads, {shares, norm.blocks(), shares, norm.blocks()},
                  [&](int64_t stage, int64_t i) {
    switch (stage) {
      case 0: return estimate(i);
      case 1: return sum(i);
      case 2: return combine(i);
      default: return apply(i);
    }
  });
}

// Calls `f` with a function from the input of an activation to its derivative, as PyTorch has it at
// the kinks.
template <typename T, typename F>
void with_slope(Activation activation, const F& f) {
  constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;
  const V zero = {}, one = zero + T(1);
  switch (activation) {
    case Activation::kRelu: return f([=](V z) { return z > 0 ? one : zero; });
    case Activation::kRelu6: return f([=](V z) { return (z > 0) & (z < 6) ? one : zero; });
    case Activation::kSigmoid:
      return f([=](V z) {
        const V s = sigmoid<T, kLanes>(z);
        return s * (1 - s);
      });
    case Activation::kSilu:
      return f([=](V z) {
        const V s = sigmoid<T, kLanes>(z);
        return s + z * s * (1 - s);
      });
    case Activation::kHardSigmoid:
      return f([=](V z) { return (z > -3) & (z < 3) ? zero + T(1) / 6 : zero; });
    case Activation::kHardSwish:
      return f([=](V z) { return z >= 3 ? one : z <= -3 ? zero : z / 3 + T(0.5); });
    default: return f([=](V) { return one; });
  }
}

// The gradients with respect to input, scale and bias, from that of the result.
template <typename T>
void batch_norm_gradient(ffi::ThreadPool& threads, const BatchNorm<T>& norm, const T* gradient,
                         const T* x, const T* mean, const T* var, T* by_input, T* by_scale,
                         T* by_bias) {
  constexpr int kLanes = kRegister / sizeof(T);
  using V = Vector<T, kLanes>;
  const int64_t channels = norm.channels, shares = shares_of<T>(threads, channels);
  const auto inverse = make_buffer<T>({channels}), factor = make_buffer<T>({channels});
  const auto shift = make_buffer<T>({channels}), stretch = make_buffer<T>({channels});
  PairSums<T> sums(norm.blocks(), channels);
  auto prepare = [&](int64_t share) {
    const Channels some = part_of<T>(channels, share, shares);
    for (int64_t c = some.first; c < some.last; ++c) {
      inverse[c] = 1 / std::sqrt(var[c] + norm.epsilon);
      factor[c] = norm.scale[c] / std::sqrt(var[c] + norm.epsilon);
    }
  };
  // The gradient before the activation and the distance from the mean at an offset.
  auto terms = [&](const auto& slope, int64_t at, int64_t c) {
    const V distance = load<V>(x + at) - load<V>(mean + c);
    const V z = distance * load<V>(factor.get() + c) + load<V>(norm.bias + c);
    return std::pair<V, V>(load<V>(gradient + at) * slope(z), distance);
  };
  auto sum = [&](int64_t i) {
    with_slope<T>(norm.activation, [&](const auto& slope) {
      sum_pairs(norm, norm.block(i), sums.of(i), [&](int64_t at, int64_t c) {
        const auto [before, distance] = terms(slope, at, c);
        return std::pair<V, V>(before, before * distance);
      });
    });
  };
  auto combine = [&](int64_t share) {
    const Channels some = part_of<T>(channels, share, shares);
    for (int64_t c = some.first; c < some.last; ++c) {
      const auto [first, second] = sums.total(c);
      by_bias[c] = static_cast<T>(first);
      by_scale[c] = static_cast<T>(second * inverse[c]);
      shift[c] = static_cast<T>(first / norm.pixels);
      stretch[c] = static_cast<T>(second * inverse[c] * inverse[c] / norm.pixels);
    }
  };
  auto spread = [&](int64_t i) {
    const auto [first, last] = norm.block(i);
    with_slope<T>(norm.activation, [&, first = first, last = last](const auto& slope) {
      with_vectors<T>(channels, [&](int64_t c, auto count) {
        for (int64_t p = first; p < last; ++p) {
          for (int v = 0; v < count; ++v) {
            const int64_t channel = c + v * kLanes, at = p * channels + channel;
            const auto [before, distance] = terms(slope, at, channel);
            store(by_input + at, load<V>(factor.get() + channel) *
                                     (before - load<V>(shift.get() + channel) -
                                      distance * load<V>(stretch.get() + channel)));
          }
        }
      });
    });
  };
  parallel_stages(threads, {shares, norm.blocks(), shares, norm.blocks()},
                  [&](int64_t stage, int64_t i) {
    switch (stage) {
      case 0: return prepare(i);
      case 1: return sum(i);
      case 2: return combine(i);
      default: return spread(i);
    }
  });
}

}  // namespace flaxblocks
