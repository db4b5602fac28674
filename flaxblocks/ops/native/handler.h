// What the entry points share: the checks of their arguments, and how errors are answered.
#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "activation.h"

namespace flaxblocks {

using Numbers = ffi::Span<const int64_t>;
using Dimensions = ffi::AnyBuffer::Dimensions;

// Strides, dilations and padding stay below: their products with sizes fit in 64 bits.
constexpr int64_t kLargest = INT32_MAX;

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// Runs the body of an entry point. Whatever it throws becomes an error of the program.
template <typename F>
ffi::Error answered(const F& f) {
  try {
    f();
    return ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "flaxblocks: out of memory");
  } catch (const std::length_error&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "flaxblocks: out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::InvalidArgument(std::string("flaxblocks: ") + error.what());
  }
}

// Calls `f` with a zero of the dtype that all arrays have.
template <typename F>
void with_type(std::initializer_list<ffi::AnyBuffer> arrays, const F& f) {
  const ffi::DataType type = arrays.begin()->element_type();
  for (const ffi::AnyBuffer& array : arrays) {
    require(array.element_type() == type, "all arrays must have one dtype");
  }
  require(type == ffi::F32 || type == ffi::F64, "the dtype must be float32 or float64");
  type == ffi::F32 ? f(float()) : f(double());
}

// Calls `f` with the channels of a group, as a constant that the narrow kernels are compiled for.
template <typename F>
void with_group(int64_t channels, const F& f) {
  switch (channels) {
    case 1: return f(std::integral_constant<int, 1>());
    case 4: return f(std::integral_constant<int, 4>());
    case 8: return f(std::integral_constant<int, 8>());
  }
  throw std::invalid_argument("a group must have 1, 4 or 8 channels");
}

inline void check_pair(Numbers pair, int64_t least, const char* what) {
  require(pair.size() == 2, what);
  for (int64_t number : pair) require(number >= least && number <= kLargest, what);
}

inline void check_geometry(Numbers strides, Numbers low, Numbers dilation) {
  check_pair(strides, 1, "`strides` must be 2 positive numbers");
  check_pair(low, -kLargest, "`low` must be 2 numbers");
  check_pair(dilation, 1, "`dilation` must be 2 positive numbers");
}

inline Activation activation_of(int64_t number) {
  require(number >= 0 && number < kActivations, "`activation` is none that there is");
  return static_cast<Activation>(number);
}

inline bool are_same(Dimensions a, Dimensions b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// The shapes of a convolution, or of its gradient with respect to the kernel, checked.
inline Shapes shapes_of(const ffi::AnyBuffer& operand, const ffi::AnyBuffer& kernel,
                        const ffi::AnyBuffer& result, Numbers strides, Numbers low,
                        Numbers dilation, bool transposed) {
  const Dimensions x = operand.dimensions(), k = kernel.dimensions(), y = result.dimensions();
  require(x.size() == 4 && k.size() == 4 && y.size() == 4, "arrays must have 4 axes");
  require(x[0] == y[0], "input and output must have as many images");
  require(k[0] > 0 && k[1] > 0, "the kernel must have taps");
  require(k[2] > 0 && x[3] > 0 && x[3] % k[2] == 0, "the inputs must fill the kernel's groups");
  require(k[3] > 0 && y[3] == k[3] && k[3] % (x[3] / k[2]) == 0,
          "the outputs must be the kernel's, as many in each group");
  check_geometry(strides, low, dilation);
  auto axis = [&](int i) {
    return Axis(x[1 + i], y[1 + i], k[i], strides[i], low[i], dilation[i], transposed);
  };
  return {x[0], x[3], y[3], axis(0), axis(1)};
}

// The channels per group of a narrow kernel: as many inputs as outputs.
inline int64_t narrow_group(const Shapes& shapes, const ffi::AnyBuffer& kernel) {
  require(shapes.from_channels == shapes.to_channels, "a group must have as many outputs as inputs");
  return kernel.dimensions()[2];
}

// Whether the outputs of a group fill a vector, which dense kernels compute at least.
template <typename T>
void check_vector(int64_t outputs) {
  require(outputs * static_cast<int64_t>(sizeof(T)) >= kRegister, "the outputs must fill a vector");
}

// Null for an array without elements.
template <typename T>
const T* optional(const ffi::AnyBuffer& array) {
  return array.element_count() ? array.typed_data<T>() : nullptr;
}

// What a convolution applies to its sums, checked against its result.
template <typename T>
Epilogue<T> epilogue_of(const ffi::AnyBuffer& bias, const ffi::AnyBuffer& residual,
                        const ffi::AnyBuffer& result, int64_t activation) {
  const int64_t outputs = result.dimensions().back();
  require(bias.element_count() == 0 || bias.element_count() == static_cast<size_t>(outputs),
          "the bias must have a number for each output");
  require(residual.element_count() == 0 || are_same(residual.dimensions(), result.dimensions()),
          "the residual must have the result's shape");
  return {optional<T>(bias), activation_of(activation), optional<T>(residual)};
}

}  // namespace flaxblocks

#define FLAXBLOCKS_GEOMETRY                              \
  Attr<xla::ffi::Span<const int64_t>>("strides")         \
      .Attr<xla::ffi::Span<const int64_t>>("low")        \
      .Attr<xla::ffi::Span<const int64_t>>("dilation")

// The only names that the library exports.
#define FLAXBLOCKS_HANDLER(name, function, binding)                     \
  _Pragma("GCC visibility push(default)")                               \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding);               \
  _Pragma("GCC visibility pop") static_assert(true)

#define FLAXBLOCKS_CONVOLUTION(name, function)                          \
  FLAXBLOCKS_HANDLER(name, function,                                    \
                     xla::ffi::Ffi::Bind()                              \
                         .Ctx<xla::ffi::ThreadPool>()                   \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Ret<xla::ffi::AnyBuffer>()                    \
                         .FLAXBLOCKS_GEOMETRY                           \
                         .Attr<bool>("transposed")                      \
                         .Attr<int64_t>("activation"))

#define FLAXBLOCKS_KERNEL_GRADIENT(name, function)                      \
  FLAXBLOCKS_HANDLER(name, function,                                    \
                     xla::ffi::Ffi::Bind()                              \
                         .Ctx<xla::ffi::ThreadPool>()                   \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Arg<xla::ffi::AnyBuffer>()                    \
                         .Ret<xla::ffi::AnyBuffer>()                    \
                         .FLAXBLOCKS_GEOMETRY)
