// Activation functions on vectors, with the same values as JAX's.
#pragma once

#include <cmath>
#include <limits>

#include "common.h"

namespace flaxblocks {

// In the order of `ACTIVATIONS` in targets.py.
enum class Activation : int64_t { kNone, kRelu, kRelu6, kSigmoid, kSilu, kHardSigmoid, kHardSwish };
constexpr int64_t kActivations = 7;

// Written so that NaN passes through.
template <typename V, typename T>
inline V clamp(V x, T low, T high) {
  x = x < low ? V{} + low : x;
  return x > high ? V{} + high : x;
}

// exp(x) = 2^n * exp(r), with a Taylor series for exp(r); the first omitted term is 6e-9.
template <int N>
inline Vector<float, N> exp(Vector<float, N> x) {
  using V = Vector<float, N>;
  constexpr float kShift = 12582912;  // 1.5 * 2^23: adding it rounds to an integer
  const V near = clamp(x, -87.0f, 88.0f);  // the range in which 2^n is finite and normal
  const V shifted = near * 1.44269504f + kShift, whole = shifted - kShift;
  const V r = (near - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2, split in two
  V sum = V{} + 1.0f / 5040;
  for (float factorial : {720.0f, 120.0f, 24.0f, 6.0f, 2.0f, 1.0f, 1.0f}) {
    sum = sum * r + 1 / factorial;
  }
  Vector<int32_t, N> bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;  // shifts the bits of kShift itself out
  V power;
  std::memcpy(&power, &bits, sizeof(power));
  return x > 88.0f ? V{} + std::numeric_limits<float>::infinity() : sum * power;
}

template <int N>
inline Vector<double, N> exp(Vector<double, N> x) {
  for (int i = 0; i < N; ++i) x[i] = std::exp(x[i]);
  return x;
}

// Replaces each of a few vectors by `f` of it, a register at a time.
template <typename T, int N, int Count, typename F>
[[gnu::always_inline]] inline void replace(Vector<T, N> (&values)[Count], const F& f) {
  constexpr int kLanes = std::min<int>(N, kRegister / sizeof(T));
#pragma GCC unroll 8
  for (Vector<T, N>& value : values) {
    Vector<T, kLanes> parts[N / kLanes];
    std::memcpy(parts, &value, sizeof(value));
    for (Vector<T, kLanes>& part : parts) part = f(part);
    std::memcpy(&value, parts, sizeof(value));
  }
}

template <typename V, typename T>
inline V exp_of(V x, T) {
  return exp<sizeof(V) / sizeof(T)>(x);
}

// Not inlined: in every kernel, at every width, they would be most of the library.
template <typename T, int N, int Count>
[[gnu::noinline]] void activate_smoothly(Activation activation, Vector<T, N> (&values)[Count]) {
  auto each = [&](auto f) { replace<T, N>(values, f); };
  switch (activation) {
    case Activation::kSigmoid: return each([](auto x) { return 1 / (1 + exp_of(-x, T())); });
    case Activation::kSilu: return each([](auto x) { return x / (1 + exp_of(-x, T())); });
    case Activation::kHardSigmoid:
      return each([](auto x) { return clamp(x + 3, T(0), T(6)) / 6; });
    case Activation::kHardSwish:
      return each([](auto x) { return x * (clamp(x + 3, T(0), T(6)) / 6); });
    default: return;
  }
}

// Applies the activation to each of a few vectors, in place.
template <typename T, int N, int Count>
[[gnu::always_inline]] inline void activate(Activation activation, Vector<T, N> (&values)[Count]) {
  auto each = [&](auto f) { replace<T, N>(values, f); };
  switch (activation) {
    case Activation::kNone: return;
    case Activation::kRelu:
      return each([](auto x) { return x < 0 ? decltype(x){} : x; });
    case Activation::kRelu6: return each([](auto x) { return clamp(x, T(0), T(6)); });
    default: return activate_smoothly<T, N>(activation, values);
  }
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

  // Stores vectors of sums at `offset` of the result, `apart` from each other. The first vector
  // holds the channels from `c` on, the next ones those from `c + step` on, and so forth.
  //
  // Branches on the activation once for all vectors: once per vector costs more than nine taps.
  template <int N, int Count>
  [[gnu::always_inline]] void store_all(T* result, int64_t offset, int64_t apart, int64_t c,
                                        int64_t step, Vector<T, N> (&sums)[Count]) const {
    using V = Vector<T, N>;
    if (bias) {
#pragma GCC unroll 8
      for (int i = 0; i < Count; ++i) sums[i] += load<V>(bias + c + i * step);
    }
    if (residual) {
#pragma GCC unroll 8
      for (int i = 0; i < Count; ++i) sums[i] += load<V>(residual + offset + i * apart);
    }
    activate<T, N>(activation, sums);
#pragma GCC unroll 8
    for (int i = 0; i < Count; ++i) store(result + offset + i * apart, sums[i]);
  }
};

}  // namespace flaxblocks
