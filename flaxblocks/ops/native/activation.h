// Activation functions on vectors, with the same values as JAX's.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cmath>
#include <limits>

#include "common.h"

namespace flaxblocks {

// In the order of `ACTIVATIONS` in targets.py.
enum class Activation : int64_t {
  kNone, kRelu, kRelu6, kSigmoid, kSilu, kHardSigmoid, kHardSwish, kGelu
};
constexpr int64_t kActivations = 8;

// The larger of two numbers, and the smaller; NaN where x is. Of a comparison and a choice GCC makes
// two instructions, for which AVX-512 has one.
template <typename V, typename T>
inline V at_least(T low, V x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vector<float, 16>>) return _mm512_max_ps(V{} + low, x);
#endif
  return x < low ? V{} + low : x;
}

template <typename V, typename T>
inline V at_most(T high, V x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vector<float, 16>>) return _mm512_min_ps(V{} + high, x);
#endif
  return x > high ? V{} + high : x;
}

template <typename V, typename T>
inline V clamp(V x, T low, T high) {
  return at_most(high, at_least(low, x));
}

// exp(x) = 2^n * exp(r), with a polynomial for exp(r) whose relative error is 3e-9. For x from -87 to
// 88, where 2^n is finite and normal.
template <int N>
inline Vector<float, N> exp_near(Vector<float, N> x) {
  using V = Vector<float, N>;
  auto of_rest = [](V r) {
    // Not one product after the other: what waits for its turn fills the processor's queue.
    const V r2 = r * r, middle = 0.49999994f + r * 0.166665211f;
    const V last = 0.041668389f + r * 0.00836871658f + r2 * 0.00138145976f;
    return (1 + r) + r2 * (middle + r2 * last);
  };
  auto rest_of = [&](V whole) {
    return (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2, split in two
  };
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    const V whole = _mm512_roundscale_ps(x * 1.44269504f, _MM_FROUND_TO_NEAREST_INT);
    return _mm512_scalef_ps(of_rest(rest_of(whole)), whole);
  }
#endif
  constexpr float kShift = 12582912;  // 1.5 * 2^23: adding it rounds to an integer
  const V shifted = x * 1.44269504f + kShift, whole = shifted - kShift;
  Vector<int32_t, N> bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;  // shifts the bits of kShift itself out
  V power;
  std::memcpy(&power, &bits, sizeof(power));
  return of_rest(rest_of(whole)) * power;
}

template <int N>
inline Vector<float, N> exp(Vector<float, N> x) {
  const Vector<float, N> infinity = Vector<float, N>{} + std::numeric_limits<float>::infinity();
  return x > 88.0f ? infinity : exp_near<N>(clamp(x, -87.0f, 88.0f));
}

template <int N>
inline Vector<double, N> exp(Vector<double, N> x) {
  for (int i = 0; i < N; ++i) x[i] = std::exp(x[i]);
  return x;
}

// Replaces a vector by `f` of it, a register at a time.
template <typename T, int N, typename F>
[[gnu::always_inline]] inline void replace(Vector<T, N>& value, const F& f) {
  constexpr int kLanes = std::min<int>(N, kRegister / sizeof(T));
  Vector<T, kLanes> parts[N / kLanes];
  std::memcpy(parts, &value, sizeof(value));
  for (Vector<T, kLanes>& part : parts) part = f(part);
  std::memcpy(&value, parts, sizeof(value));
}

// 1 / x, where both are normal numbers.
template <int N>
inline Vector<float, N> reciprocal(Vector<float, N> x) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    // A division would take as long as all the rest of a sigmoid.
    const Vector<float, N> rough = _mm512_rcp14_ps(x);
    return rough + rough * (1 - x * rough);
  }
#endif
  return 1 / x;
}

template <typename T, int N>
inline Vector<T, N> sigmoid(Vector<T, N> x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16) {
    const Vector<T, N> sum = 1 + exp_near<N>(-clamp(x, -87.0f, 87.0f));
    return x < -87.0f ? Vector<T, N>{} : reciprocal<N>(sum);
  }
#endif
  return 1 / (1 + exp<N>(-x));
}

// x times the normal distribution function. Its tail below -t is exp(-t^2 / 2) times what falls
// slowly, here a rational function of t, fitted from 0 to 13 with a relative error of 5e-9: so small
// values keep their precision, which 1 + erf would lose.
template <int N>
inline Vector<float, N> gelu(Vector<float, N> x) {
  using V = Vector<float, N>;
  constexpr float kFar = 13;  // beyond, the tail is below the normal numbers
  const V t = at_most(kFar, x < 0 ? -x : x);
  const V above = 0.5f + t * (0.434986701f + t * (0.180791911f + t * (0.0398114821f +
                                                                      t * 0.00399476006f)));
  const V below = 1 + t * (1.66785831f + t * (1.19233824f + t * (0.463021668f +
                                              t * (0.0998002355f + t * 0.0100132284f))));
  const V tail = exp_near<N>(t * t * -0.5f) * above * reciprocal<N>(below);
  return x * (x < -kFar ? V{} : x > 0 ? 1 - tail : tail);
}

template <int N>
inline Vector<double, N> gelu(Vector<double, N> x) {
  for (int i = 0; i < N; ++i) x[i] *= 0.5 * std::erfc(-x[i] * std::sqrt(0.5));
  return x;
}

template <typename V, typename T>
inline V sigmoid_of(V x, T) {
  return sigmoid<T, sizeof(V) / sizeof(T)>(x);
}

template <typename V, typename T>
inline V gelu_of(V x, T) {
  return gelu<sizeof(V) / sizeof(T)>(x);
}

// Calls `use` with the function of a vector that the activation is, which must be a smooth one.
template <typename T, typename F>
[[gnu::always_inline]] inline void with_smooth(Activation activation, const F& use) {
  switch (activation) {
    case Activation::kSigmoid: return use([](auto x) { return sigmoid_of(x, T()); });
    case Activation::kSilu: return use([](auto x) { return x * sigmoid_of(x, T()); });
    case Activation::kHardSigmoid:
      return use([](auto x) { return clamp(x + 3, T(0), T(6)) * (T(1) / 6); });
    case Activation::kHardSwish:
      return use([](auto x) { return x * (clamp(x + 3, T(0), T(6)) * (T(1) / 6)); });
    case Activation::kGelu: return use([](auto x) { return gelu_of(x, T()); });
    default: return;
  }
}

// Not inlined: in every kernel, at every width, they would be most of the library. Called for many
// vectors at once, whose arithmetic overlaps.
template <typename T, int N>
[[gnu::noinline]] void activate_smoothly(Activation activation, Vector<T, N>* values, int count) {
  with_smooth<T>(activation, [&](auto f) {
    for (int i = 0; i < count; ++i) replace<T, N>(values[i], f);
  });
}

// Whether the activation takes more than a maximum and a minimum.
inline bool is_smooth(Activation activation) { return activation > Activation::kRelu6; }

// Applies the activation, which must not be smooth, to each of a few vectors, in place.
template <typename T, int N, int Count>
[[gnu::always_inline]] inline void clip(Activation activation, Vector<T, N> (&values)[Count]) {
  auto each = [&](auto f) {
#pragma GCC unroll 16
    for (Vector<T, N>& value : values) replace<T, N>(value, f);
  };
  switch (activation) {
    case Activation::kRelu: return each([](auto x) { return at_least(T(0), x); });
    case Activation::kRelu6: return each([](auto x) { return clamp(x, T(0), T(6)); });
    default: return;
  }
}

// Applies the activation to each of a few vectors, in place.
template <typename T, int N, int Count>
[[gnu::always_inline]] inline void activate(Activation activation, Vector<T, N> (&values)[Count]) {
  if (is_smooth(activation)) return activate_smoothly<T, N>(activation, values, Count);
  clip<T, N>(activation, values);
}

// What is applied to the sums before they are stored: `activation(sums + bias + residual)`.
template <typename T>
struct Epilogue {
  const T* bias = nullptr;  // one number per channel; null for none
  Activation activation = Activation::kNone;
  const T* residual = nullptr;  // of the result's shape; null for none

  // The same epilogue for the part of the result that begins at `offset`.
  Epilogue at(int64_t offset) const {
    return {bias, activation, residual ? residual + offset : nullptr};
  }
  // The same epilogue for the channels from `c` on.
  Epilogue from(int64_t c) const {
    return {bias ? bias + c : nullptr, activation, residual ? residual + c : nullptr};
  }

  // Adds bias and residual to vectors of sums, which belong at `offset` of the result, `apart` from
  // each other. The first vector holds the channels from `c` on, the next ones those from `c + step`
  // on, and so forth.
  template <int N, int Count>
  [[gnu::always_inline]] void add_all(int64_t offset, int64_t apart, int64_t c, int64_t step,
                                      Vector<T, N> (&sums)[Count]) const {
    using V = Vector<T, N>;
    if (bias) {
#pragma GCC unroll 16
      for (int i = 0; i < Count; ++i) sums[i] += load<V>(bias + c + i * step);
    }
    if (residual) {
#pragma GCC unroll 16
      for (int i = 0; i < Count; ++i) sums[i] += load<V>(residual + offset + i * apart);
    }
  }

  // Stores vectors of sums, see `add_all`.
  //
  // Branches on the activation once for all vectors: once per vector costs more than nine taps.
  template <int N, int Count>
  [[gnu::always_inline]] void store_all(T* result, int64_t offset, int64_t apart, int64_t c,
                                        int64_t step, Vector<T, N> (&sums)[Count]) const {
    if (is_smooth(activation)) {
      // Of a copy: an array whose address goes elsewhere stays in memory from the first sum on. A
      // 3x3 cell took twice the time, whatever its activation.
      Vector<T, N> copy[Count];
#pragma GCC unroll 16
      for (int i = 0; i < Count; ++i) copy[i] = sums[i];
      return step ? store_smoothly<N>(result, offset, apart, c, copy, 1, Count)
                  : store_smoothly<N>(result, offset, apart, c, copy, Count, 1);
    }
    add_all<N>(offset, apart, c, step, sums);
    clip<T, N>(activation, sums);
#pragma GCC unroll 16
    for (int i = 0; i < Count; ++i) store(result + offset + i * apart, sums[i]);
  }

  // Stores a smooth activation of a cell's sums: of some pixels, `apart` in the result, and of each
  // some vectors one after the other, of the channels from `c` on.
  template <int N>
  [[gnu::noinline]] void store_smoothly(T* result, int64_t offset, int64_t apart, int64_t c,
                                        const Vector<T, N>* sums, int pixels, int vectors) const {
    using V = Vector<T, N>;
    with_smooth<T>(activation, [&](auto f) {
      for (int w = 0; w < pixels; ++w) {
        for (int v = 0; v < vectors; ++v) {
          const int64_t at = offset + w * apart + v * N;
          V value = sums[w * vectors + v];
          if (bias) value += load<V>(bias + c + v * N);
          if (residual) value += load<V>(residual + at);
          replace<T, N>(value, f);
          store(result + at, value);
        }
      }
    });
  }
};

}  // namespace flaxblocks
